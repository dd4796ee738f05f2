//! Decodes RESP2 replies from a byte stream, in whatever chunks it arrives.

use bytes::{Buf, Bytes, BytesMut};

use super::value::{Refusal, Value};

/// The longest string in a reply.
const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The most elements of one array.
const ARRAY_LENGTH_MAX: usize = 64 * 1024 * 1024;
/// How deep arrays may nest.
const DEPTH_MAX: usize = 16;
/// The longest line: a length, a number or an error.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The bytes are not a RESP2 reply. Unlike the `DecodeError` of `quorate-crdt`, it says nothing
/// about values: a reply that decodes may still be an error of the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A reply begins with a byte that names no type.
    #[error("no reply begins with byte {byte:#04x}")]
    Type {
        /// The byte.
        byte: u8,
    },
    /// A length or number is invalid, or beyond its bound.
    #[error("a length or number is not valid")]
    Number,
    /// A line is not terminated in time.
    #[error("a line does not end in CR LF within {LINE_BYTES_MAX} bytes")]
    Line,
    /// Arrays nest deeper than the bound.
    #[error("arrays nest deeper than {DEPTH_MAX}")]
    Depth,
}

/// The state of a reply that is not complete yet: the arrays around the current position, outermost
/// first.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    length: usize,
    values: Vec<Value>,
}

/// One step of decoding.
enum Token {
    Leaf(Value),
    Array(usize),
}

impl Decoder {
    /// Takes the next complete reply off `input`; `None` means that more bytes are needed. Only the
    /// last token is ever scanned twice.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Value>, DecodeError> {
        while let Some(token) = token(input)? {
            let mut value = match token {
                Token::Leaf(value) => value,
                Token::Array(0) => Value::Array(Vec::new()),
                Token::Array(_) if self.open.len() == DEPTH_MAX => return Err(DecodeError::Depth),
                Token::Array(length) => {
                    self.open.push(Open {
                        length,
                        values: Vec::with_capacity(length.min(1024)),
                    });
                    continue;
                }
            };
            loop {
                let Some(mut innermost) = self.open.pop() else {
                    return Ok(Some(value));
                };
                innermost.values.push(value);
                if innermost.values.len() < innermost.length {
                    self.open.push(innermost);
                    break;
                }
                value = Value::Array(innermost.values);
            }
        }
        Ok(None)
    }
}

/// Takes one token off `input`, or leaves it untouched if it is incomplete.
fn token(input: &mut BytesMut) -> Result<Option<Token>, DecodeError> {
    let Some(&kind) = input.first() else {
        return Ok(None);
    };
    if !matches!(kind, b'+' | b'-' | b':' | b'$' | b'*') {
        return Err(DecodeError::Type { byte: kind });
    }
    let window = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if input.len() < LINE_BYTES_MAX {
            Ok(None)
        } else {
            Err(DecodeError::Line)
        };
    };
    if end < 2 || input[end - 1] != b'\r' {
        return Err(DecodeError::Line);
    }
    if kind == b'$' {
        return bulk(input, end);
    }
    let line = input.split_to(end + 1).freeze().slice(1..end - 1);
    Ok(Some(match kind {
        b'+' => Token::Leaf(Value::Bulk(line)),
        b'-' => Token::Leaf(Value::Error(Refusal {
            text: String::from_utf8_lossy(&line).into_owned(),
        })),
        b':' => Token::Leaf(Value::Integer(number(&line)?)),
        _ => match length(&line, ARRAY_LENGTH_MAX)? {
            Some(length) => Token::Array(length),
            None => Token::Leaf(Value::Nil),
        },
    }))
}

/// A bulk string whose header line ends at `end`.
fn bulk(input: &mut BytesMut, end: usize) -> Result<Option<Token>, DecodeError> {
    let Some(length) = length(&input[1..end - 1], BULK_BYTES_MAX)? else {
        input.advance(end + 1);
        return Ok(Some(Token::Leaf(Value::Nil)));
    };
    let body = end + 1;
    let Some(tail) = input.get(body + length..body + length + 2) else {
        return Ok(None);
    };
    if tail != b"\r\n" {
        return Err(DecodeError::Line);
    }
    input.advance(body);
    let bytes: Bytes = input.split_to(length).freeze();
    input.advance(2);
    Ok(Some(Token::Leaf(Value::Bulk(bytes))))
}

fn number(text: &[u8]) -> Result<i64, DecodeError> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(DecodeError::Number)
}

/// A length; `None` for -1, which means null.
fn length(text: &[u8], max: usize) -> Result<Option<usize>, DecodeError> {
    match number(text)? {
        -1 => Ok(None),
        length => usize::try_from(length)
            .ok()
            .filter(|length| *length <= max)
            .map(Some)
            .ok_or(DecodeError::Number),
    }
}
