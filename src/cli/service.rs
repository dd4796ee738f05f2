//! Tells systemd, or whichever service manager started this process, how far it is: `sd_notify(3)`,
//! for a unit with `Type=notify`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What a service manager wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It serves.
    Ready,
    /// It is about to end.
    Stopping,
}

/// Tells the service manager, if there is one. A manager that does not listen is no reason to fail.
pub(super) fn tell(progress: Progress) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, progress) {
        tracing::warn!(%error, "the service manager could not be told how far this node is");
    }
}

/// A name that begins with `@` is not in the file system.
fn send(socket: &OsStr, progress: Progress) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let message: &[u8] = match progress {
        Progress::Ready => b"READY=1\n",
        Progress::Stopping => b"STOPPING=1\n",
    };
    UnixDatagram::unbound()?
        .send_to_addr(message, &address)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_is_told_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("quorate-test-{}", std::process::id());
        let here = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, listener) in [
            (path.clone().into_os_string(), UnixDatagram::bind(&path)),
            (format!("@{name}").into(), UnixDatagram::bind_addr(&here)),
        ] {
            let listener = listener.unwrap();
            send(&socket, Progress::Ready).unwrap();
            send(&socket, Progress::Stopping).unwrap();
            let mut told = [0; 64];
            let length = listener.recv(&mut told).unwrap();
            assert_eq!(&told[..length], b"READY=1\n");
            let length = listener.recv(&mut told).unwrap();
            assert_eq!(&told[..length], b"STOPPING=1\n");
        }
        assert!(send(OsStr::new("/nowhere/notify"), Progress::Ready).is_err());
    }
}
