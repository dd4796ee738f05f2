//! The causal token that a client is given with a value and hands back with the next.

use bytes::Bytes;
use quorate_crdt::CausalContext;

use crate::op::RequestError;

const VERSION: u8 = 1;

/// The opaque form of a context: a version and postcard.
pub(super) fn token(seen: &CausalContext) -> Bytes {
    let mut bytes = vec![VERSION];
    bytes.extend(
        postcard::to_stdvec(seen).expect("invariant: a context always has a postcard form"),
    );
    bytes.into()
}

/// An empty token has seen nothing.
pub(super) fn seen_by(token: &Bytes) -> Result<CausalContext, RequestError> {
    match token.split_first() {
        None => Ok(CausalContext::new()),
        Some((&VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|_shape| RequestError::BadToken)
        }
        Some(_) => Err(RequestError::BadToken),
    }
}
