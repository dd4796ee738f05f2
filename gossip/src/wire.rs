//! The workspace's only codec: a version byte, the length of the body as a little-endian `u32`, and
//! the body in postcard.
//!
//! What crosses a socket or a disk between two versions of the program goes through here and
//! nowhere else.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The format written. A reader refuses any other, so that a mixed cluster fails loudly instead of
/// misreading. It rises with every change of what nodes say to each other; two nodes of different
/// versions find that out while they shake hands.
pub const VERSION: u8 = 4;
/// The longest frame in bytes: what a reader takes at once unless it is told to take more. A longer
/// message travels in several.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The longest message between two nodes in bytes, header included; one from each peer and class
/// may be under way at a time. Guess: what a node can spare for a reader of one key.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Version and length.
const HEADER_BYTES: usize = 5;

/// Bytes that are not a message. Nothing was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Another version of the program wrote it.
    #[error("wire version {found}, this program speaks {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Longer than the reader allows. Found before anything is allocated.
    #[error("a message of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// What it claims or has.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// The body is cut off, has bytes left over, or is not of this type.
    #[error("the message is malformed")]
    Malformed,
}

/// Writes `message` with its header. Cannot fail: the types sent are trees of sized values.
///
/// The result may be longer than [`MESSAGE_BYTES_MAX`]; then no transport takes it.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Bytes {
    let mut out = vec![VERSION, 0, 0, 0, 0];
    out = postcard::to_extend(message, out)
        .expect("invariant: wire types have no sequence of unknown length");
    let length = u32::try_from(out.len() - HEADER_BYTES).unwrap_or(u32::MAX);
    out[1..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    Bytes::from(out)
}

/// Reads one message that fills `bytes`, of at most [`FRAME_BYTES_MAX`]. `T` may borrow from
/// `bytes`.
///
/// # Errors
/// [`WireError`].
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    decode_within(bytes, FRAME_BYTES_MAX)
}

/// As [`decode`], with a bound of the caller's: for doors at which strangers knock.
///
/// # Errors
/// [`WireError`].
pub fn decode_within<'a, T: Deserialize<'a>>(bytes: &'a [u8], max: usize) -> Result<T, WireError> {
    if bytes.len() > max {
        return Err(WireError::TooLarge {
            bytes: bytes.len() as u64,
            max: max as u64,
        });
    }
    let (header, body) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(WireError::Malformed)?;
    let [version, length @ ..] = *header;
    if version != VERSION {
        return Err(WireError::Version { found: version });
    }
    let length = u32::from_le_bytes(length);
    if length as usize > max - HEADER_BYTES {
        return Err(WireError::TooLarge {
            bytes: u64::from(length) + HEADER_BYTES as u64,
            max: max as u64,
        });
    }
    if length as usize != body.len() {
        return Err(WireError::Malformed);
    }
    // Length prefixes inside the body are checked by postcard against the bytes at hand; for
    // sequences serde reserves at most 1 MiB ahead.
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(WireError::Malformed),
    }
}

#[cfg(test)]
mod tests;
