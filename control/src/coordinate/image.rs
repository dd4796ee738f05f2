//! The state as bytes: a version byte, then postcard. Equal states have equal bytes, so a hash of
//! them tells whether two replicas have decided the same.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::state::Coordination;

#[cfg(test)]
mod tests;

/// The version that is written. Any other is refused.
const VERSION: u8 = 2;

/// Why bytes are not a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// They were written by another version, or are none of ours.
    #[error(
        "the state of the coordination group has version {found:?}; this program reads {VERSION}"
    )]
    Version {
        /// Their first byte.
        found: Option<u8>,
    },
    /// They are damaged, or no commands lead to such a state.
    #[error("the state of the coordination group is damaged")]
    Damaged,
}

impl Coordination {
    /// The state as bytes.
    ///
    /// **Law:** two states have the same bytes if, and only if, they are equal.
    pub fn encode(&self) -> Bytes {
        let bytes = postcard::to_extend(self, vec![VERSION]);
        let bytes = bytes.expect("invariant: every part of the state can be written");
        bytes.into()
    }

    /// The state that these are the bytes of.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let body = match bytes.split_first() {
            Some((&VERSION, body)) => body,
            other => {
                let found = other.map(|(&version, _)| version);
                return Err(ImageError::Version { found });
            }
        };
        let state: Self = match postcard::take_from_bytes(body) {
            Ok((state, [])) => state,
            _ => return Err(ImageError::Damaged),
        };
        if state.encode() == bytes {
            Ok(state)
        } else {
            Err(ImageError::Damaged)
        }
    }

    /// What replicas at one index compare.
    pub fn hash(&self) -> u128 {
        xxh3_128(&self.encode())
    }
}
