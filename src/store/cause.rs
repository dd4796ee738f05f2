//! What the error of an engine means for a node: no space, no descriptors, a failed
//! synchronisation, or something else.

use std::io;

use quorate_control::store::StoreError;

use super::engine::Engine;

/// Whether `is` recognises an error of the operating system anywhere in the chain of causes.
fn caused_by(error: &(dyn std::error::Error + 'static), is: fn(&io::Error) -> bool) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| wraps(error, is))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// `source()` of an io error skips the error it wraps, and sled wraps io errors in io errors.
fn wraps(error: &io::Error, is: fn(&io::Error) -> bool) -> bool {
    is(error)
        || error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<io::Error>())
            .is_some_and(|inner| wraps(inner, is))
}

/// The device or the quota is exhausted.
pub(super) fn out_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The process or the machine has no file descriptor left.
pub(super) fn out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|code| {
        code == Errno::MFILE.raw_os_error() || code == Errno::NFILE.raw_os_error()
    })
}

/// `error` as a [`StoreError`] of `engine`, classified by its cause.
pub(super) fn engine_error(
    engine: Engine,
    operation: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    if caused_by(&error, out_of_space) {
        return StoreError::Full;
    }
    if caused_by(&error, out_of_descriptors) {
        return StoreError::Descriptors {
            engine: engine.name(),
            operation,
        };
    }
    StoreError::Engine {
        engine: engine.name(),
        operation,
        source: Box::new(error),
    }
}

/// The `error` of a synchronisation as a [`StoreError`]: what was written may be lost.
pub(super) fn sync_error(
    engine: Engine,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    if caused_by(&error, out_of_space) {
        return StoreError::Full;
    }
    StoreError::Sync {
        engine: engine.name(),
        source: Box::new(error),
    }
}
