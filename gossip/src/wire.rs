//! Messages between nodes as bytes: a version byte, the length of the body as a little-endian
//! `u32`, and the body in postcard.
//!
//! A node also keeps its topology in this form. What must not depend on this crate, or must outlive
//! its version, has a form of its own: replicated values (`quorate_crdt::codec`), messages and
//! records of the control group, the rows of a replica, causal tokens of clients, and the small
//! files of a data directory.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The version that is written. A reader refuses any other, so a mixed cluster fails loudly instead
/// of misreading. It rises with every change of what nodes say to each other. Two nodes of
/// different versions find out during the handshake.
pub const VERSION: u8 = 8;
/// The longest frame in bytes: what a reader accepts at once unless it is told to accept more. A
/// longer message travels in several frames.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The longest message between two nodes in bytes, header included. One message from each peer and
/// class may be in flight at a time. Guess: what a node can spare for a reader of one key.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The version byte and the length.
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
    /// Longer than the reader allows. Detected before anything is allocated.
    #[error("a message of {bytes} bytes is too long: the limit is {max}")]
    TooLarge {
        /// The length that it has or claims.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The body is cut off, has bytes left over, or is of another type.
    #[error("the message is malformed")]
    Malformed,
}

/// Writes `message` with its header. Cannot fail: the types sent are trees of sized values.
///
/// The result may be longer than [`MESSAGE_BYTES_MAX`]. No transport accepts it then.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Bytes {
    let mut out = vec![VERSION, 0, 0, 0, 0];
    out = postcard::to_extend(message, out)
        .expect("invariant: wire types have no sequence of unknown length");
    let length = u32::try_from(out.len() - HEADER_BYTES).unwrap_or(u32::MAX);
    out[1..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    Bytes::from(out)
}

/// As [`encode`], for a message that may be long: its length is found first, so that it is written
/// once, into just the memory that it needs.
///
/// # Errors
/// [`WireError::TooLarge`] if it is longer than `max`; nothing was written.
pub fn encode_within<T: Serialize + ?Sized>(message: &T, max: usize) -> Result<Bytes, WireError> {
    let body = postcard::experimental::serialized_size(message)
        .expect("invariant: wire types have no sequence of unknown length");
    let bytes = body + HEADER_BYTES;
    if bytes > max {
        return Err(WireError::TooLarge {
            bytes: bytes as u64,
            max: max as u64,
        });
    }
    let mut out = Vec::with_capacity(bytes);
    out.push(VERSION);
    out.extend_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_le_bytes());
    out = postcard::to_extend(message, out)
        .expect("invariant: wire types have no sequence of unknown length");
    Ok(Bytes::from(out))
}

/// Reads a message that fills `bytes`, which may have up to [`FRAME_BYTES_MAX`]. `T` may borrow
/// from `bytes`.
///
/// # Errors
/// [`WireError`].
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    decode_within(bytes, FRAME_BYTES_MAX)
}

/// As [`decode`], with a limit of the caller's choice, for bytes that strangers send.
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
    // postcard checks the length prefixes inside the body against the bytes at hand, and serde
    // reserves at most 1 MiB in advance for a sequence.
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(WireError::Malformed),
    }
}

#[cfg(test)]
mod tests;
