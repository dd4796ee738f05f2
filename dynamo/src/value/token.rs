//! The causal token: a client gets it with the values it reads and passes it back with its next
//! write.

use bytes::Bytes;
use quorate_crdt::CausalContext;

use crate::op::RequestError;

const VERSION: u8 = 1;

/// Encodes a context: one version byte, then postcard.
pub(super) fn token(seen: &CausalContext) -> Bytes {
    let mut bytes = vec![VERSION];
    bytes.extend(
        postcard::to_stdvec(seen).expect("invariant: a context always has a postcard form"),
    );
    bytes.into()
}

/// Decodes a token. An empty token has seen nothing.
pub(super) fn seen_by(token: &Bytes) -> Result<CausalContext, RequestError> {
    match token.split_first() {
        None => Ok(CausalContext::new()),
        Some((&VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|_shape| RequestError::BadToken)
        }
        Some(_) => Err(RequestError::BadToken),
    }
}
