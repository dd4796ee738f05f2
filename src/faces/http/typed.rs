//! A key of any kind as a document: `GET …?typed=true`.
//!
//! A collection can have a million elements, and its document is several times as long as they are.
//! The faces share their thread with the network, so the document is made while its client reads
//! it, piece by piece, and after every piece others have their turn.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec::IntoIter;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;

use crate::doors::Printable;

/// A piece ends with the element with which it is longer than this. Guess: some hundred
/// microseconds of work.
const PIECE_BYTES: usize = 64 * 1024;

/// What a key holds.
pub(super) enum Held {
    String(Bytes),
    Hash(Vec<(Bytes, Bytes)>),
    Set(Vec<Bytes>),
}

/// The document of a key, and when the key expires.
pub(super) fn document(held: Held, expires: Option<u64>) -> Response {
    let mut document = Document::new(held, expires);
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let first = document.piece().unwrap_or_default();
    if document.end.is_none() {
        return (kind, first).into_response();
    }
    document.made = Some(first);
    (kind, Body::from_stream(document)).into_response()
}

/// A document that is not written yet.
struct Document {
    /// A piece that is made and not written yet.
    made: Option<Bytes>,
    /// What comes before the next element.
    before: &'static str,
    rest: Rest,
    /// What comes after the last one; `None` once that is written.
    end: Option<String>,
    /// Whether a piece was written and others have their turn.
    pauses: bool,
}

/// The elements that are not written yet.
enum Rest {
    String(Option<Bytes>),
    Hash(IntoIter<(Bytes, Bytes)>),
    Set(IntoIter<Bytes>),
}

#[derive(Serialize)]
struct Field {
    field: Printable,
    value: Printable,
}

impl Document {
    fn new(held: Held, expires: Option<u64>) -> Self {
        let (before, rest, closing) = match held {
            Held::String(value) => (
                r#"{"type":"string","value":"#,
                Rest::String(Some(value)),
                "",
            ),
            Held::Hash(fields) => (
                r#"{"type":"hash","fields":["#,
                Rest::Hash(fields.into_iter()),
                "]",
            ),
            Held::Set(members) => (
                r#"{"type":"set","members":["#,
                Rest::Set(members.into_iter()),
                "]",
            ),
        };
        let expires = expires.map_or_else(|| "null".to_owned(), |at| at.to_string());
        Self {
            made: None,
            before,
            rest,
            end: Some(format!(r#"{closing},"expires":{expires}}}"#)),
            pauses: false,
        }
    }

    /// The next piece; `None` after the last one.
    fn piece(&mut self) -> Option<Bytes> {
        if let Some(made) = self.made.take() {
            return Some(made);
        }
        let end = self.end.take()?;
        let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        while piece.len() < PIECE_BYTES {
            let Some(element) = self.rest.next() else {
                // An empty collection has no element to come before.
                let opening = if self.before == "," { "" } else { self.before };
                piece.extend_from_slice(opening.as_bytes());
                piece.extend_from_slice(end.as_bytes());
                return Some(piece.into());
            };
            piece.extend_from_slice(self.before.as_bytes());
            piece.extend_from_slice(element.as_bytes());
            self.before = ",";
        }
        self.end = Some(end);
        Some(piece.into())
    }
}

impl Rest {
    fn next(&mut self) -> Option<String> {
        match self {
            Self::String(value) => Some(text(&Printable::of(&value.take()?))),
            Self::Hash(fields) => fields.next().map(|(field, value)| {
                text(&Field {
                    field: Printable::of(&field),
                    value: Printable::of(&value),
                })
            }),
            Self::Set(members) => Some(text(&Printable::of(&members.next()?))),
        }
    }
}

fn text(element: &impl Serialize) -> String {
    serde_json::to_string(element).expect("invariant: elements have string keys and serialise")
}

impl Stream for Document {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.pauses = !self.pauses && self.end.is_some();
        if self.pauses {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.piece().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use serde_json::{Value, json};

    use super::*;

    /// The pieces of a document, and how often others had their turn.
    fn written(held: Held, expires: Option<u64>) -> (Vec<Bytes>, usize) {
        let mut document = Document::new(held, expires);
        let mut context = Context::from_waker(Waker::noop());
        let (mut pieces, mut turns) = (Vec::new(), 0);
        loop {
            match Pin::new(&mut document).poll_next(&mut context) {
                Poll::Pending => turns += 1,
                Poll::Ready(Some(piece)) => pieces.extend(piece),
                Poll::Ready(None) => return (pieces, turns),
            }
        }
    }

    fn read(held: Held, expires: Option<u64>) -> Value {
        let (pieces, _) = written(held, expires);
        serde_json::from_slice(&pieces.concat()).expect("a document")
    }

    #[test]
    fn a_document_says_what_a_key_holds() {
        let bytes = Bytes::from_static;
        assert_eq!(
            read(Held::String(bytes(b"a \"quoted\" word")), Some(7)),
            json!({"type": "string", "value": {"text": "a \"quoted\" word"}, "expires": 7})
        );
        assert_eq!(
            read(Held::Set(vec![bytes(b"a"), bytes(b"\xff")]), None),
            json!({"type": "set", "members": [{"text": "a"}, {"base64": "/w=="}], "expires": null})
        );
        assert_eq!(
            read(Held::Hash(vec![(bytes(b"f"), bytes(b"v"))]), None),
            json!({
                "type": "hash",
                "fields": [{"field": {"text": "f"}, "value": {"text": "v"}}],
                "expires": null
            })
        );
        assert_eq!(
            read(Held::Set(Vec::new()), None),
            json!({"type": "set", "members": [], "expires": null})
        );
    }

    /// Made at once, the document of a large set stops the network for seconds.
    #[test]
    fn a_long_document_is_made_in_pieces_and_others_have_their_turn_between_them() {
        let members: Vec<Bytes> = (0..50_000)
            .map(|n| format!("member-{n:06}").into())
            .collect();
        let count = members.len();
        let (pieces, turns) = written(Held::Set(members), None);
        assert!(
            pieces.len() > 10 && turns >= pieces.len(),
            "{}",
            pieces.len()
        );
        assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
        let document: Value = serde_json::from_slice(&pieces.concat()).expect("a document");
        assert_eq!(document["members"].as_array().map(Vec::len), Some(count));
    }
}
