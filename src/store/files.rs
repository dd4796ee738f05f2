//! What the engines and the data directory ask of the file system.

use std::io;
use std::path::Path;

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// Bytes that an ordinary user can still write on the device of `path`. With it a node refuses
/// writes before its engine fails.
///
/// # Errors
/// The error of the operating system.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let figures = rustix::fs::statvfs(path)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}
