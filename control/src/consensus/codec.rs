//! Messages and records of the control group as bytes: a version byte, then postcard. A record has
//! a CRC32 of its key and value in front.
//!
//! It is not `gossip::wire`, because this crate does not know gossip: to the transport a message of
//! the group is the body of a call, and it needs no length of its own.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::StoreError;

/// The version that is written. Any other is refused.
const VERSION: u8 = 4;
/// The longest message or record in bytes. The longest are snapshots: 100 keyspaces of 4096
/// partitions take some 10 MB. Guess.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;
const CRC_BYTES: usize = 4;

/// The bytes are not a message of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    #[error("{bytes} bytes are too long: the limit is {BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("unknown version {found:?}")]
    Version { found: Option<u8> },
    #[error("the bytes are not a message of this kind")]
    Malformed,
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Bytes, CodecError> {
    let bytes =
        postcard::to_extend(value, vec![VERSION]).map_err(|_postcard| CodecError::Malformed)?;
    if bytes.len() > BYTES_MAX {
        Err(CodecError::TooLong { bytes: bytes.len() })
    } else {
        Ok(bytes.into())
    }
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > BYTES_MAX {
        return Err(CodecError::TooLong { bytes: bytes.len() });
    }
    match bytes.split_first() {
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            _ => Err(CodecError::Malformed),
        },
        other => Err(CodecError::Version {
            found: other.map(|(&version, _)| version),
        }),
    }
}

/// A record with its checksum. The sum covers the key, so a record under the wrong key counts as
/// damaged.
pub(super) fn seal<T: Serialize>(key: &[u8], value: &T) -> Result<Bytes, CodecError> {
    let body = encode(value)?;
    let mut record = Vec::with_capacity(CRC_BYTES + body.len());
    record.extend_from_slice(&checksum(key, &body).to_le_bytes());
    record.extend_from_slice(&body);
    Ok(record.into())
}

pub(super) fn unseal<T: DeserializeOwned>(
    key: &[u8],
    record: &[u8],
    what: &'static str,
) -> Result<T, StoreError> {
    let damaged = StoreError::Damaged { what };
    match record.split_first_chunk::<CRC_BYTES>() {
        Some((sum, body)) if *sum == checksum(key, body).to_le_bytes() => {
            decode(body).map_err(|_codec| damaged)
        }
        _ => Err(damaged),
    }
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}
