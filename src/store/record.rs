//! Small files that are read and written as a whole and are never seen half written.
//!
//! Format: magic `QRUM`, version (u16 LE), length of the body (u32 LE), body (postcard), CRC-32 of
//! everything before it (u32 LE). A new file is written beside the old one, synchronised and
//! renamed into its place, and then the directory is synchronised: a crash leaves the old file or
//! the new one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::files::sync_dir;

const MAGIC: [u8; 4] = *b"QRUM";
const HEADER: usize = 10;
/// The largest file that is read. The records hold a name and a key at most.
const MAX_FILE: u64 = 1 << 20;

/// Why a small file could not be read or written. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It has the wrong shape or the wrong checksum.
    #[error("it is damaged")]
    Damaged,
    /// A later version of the program wrote it.
    #[error("it has format {found}; this program knows formats up to {supported}")]
    Newer {
        /// The format of the file.
        found: u16,
        /// The latest format that this program knows.
        supported: u16,
    },
    /// The operating system failed.
    #[error("the file system failed")]
    Io(#[from] io::Error),
}

/// A kind of small file.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// Its name in the data directory.
    const FILE: &'static str;
    /// Version of the body. An older one is refused as damaged until somebody writes a reader for
    /// it.
    const VERSION: u16;
}

fn encode<R: Record>(record: &R) -> Result<Vec<u8>, RecordError> {
    let body = postcard::to_stdvec(record)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|length| u64::from(*length) <= MAX_FILE - 64);
    let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&R::VERSION.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&body);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

fn decode<R: Record>(bytes: &[u8]) -> Result<R, RecordError> {
    let (rest, crc) = bytes.split_last_chunk::<4>().ok_or(RecordError::Damaged)?;
    let header = rest.get(..HEADER).ok_or(RecordError::Damaged)?;
    if header[..4] != MAGIC || crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return Err(RecordError::Damaged);
    }
    let version = u16::from_le_bytes([header[4], header[5]]);
    let length = u32::from_le_bytes([header[6], header[7], header[8], header[9]]);
    if version > R::VERSION {
        return Err(RecordError::Newer {
            found: version,
            supported: R::VERSION,
        });
    }
    let body = &rest[HEADER..];
    if version != R::VERSION || body.len() != length as usize {
        return Err(RecordError::Damaged);
    }
    match postcard::take_from_bytes(body) {
        Ok((record, [])) => Ok(record),
        _ => Err(RecordError::Damaged),
    }
}

/// The record in `dir`; `None` if there is no such file.
pub(super) fn read<R: Record>(dir: &Path) -> Result<Option<R>, RecordError> {
    let file = match File::open(dir.join(R::FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    decode(&bytes).map(Some)
}

/// Replaces the record in `dir`, durably.
pub(super) fn write<R: Record>(dir: &Path, record: &R) -> Result<(), RecordError> {
    let place = dir.join(R::FILE);
    let unfinished = place.with_extension("new");
    // An earlier attempt may have left a file.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = private_file(&unfinished)?;
    file.write_all(&encode(record)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, &place)?;
    Ok(sync_dir(dir)?)
}

/// A new file that only its owner may read, because it may hold a key.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
