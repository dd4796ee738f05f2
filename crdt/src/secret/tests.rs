use alloc::format;

use super::*;

#[test]
fn a_secret_matches_itself_alone_and_does_not_show() {
    let secret = Secret::new("hunter2");
    assert!(secret.matches(b"hunter2") && secret == Secret::new(*b"hunter2"));
    for wrong in [&b""[..], b"hunter", b"hunter3", b"hunter22", b"Hunter2"] {
        assert!(!secret.matches(wrong) && secret != Secret::new(wrong));
    }
    assert!(Secret::default().matches(b"") && !Secret::default().matches(b"x"));
    assert_eq!(format!("{secret:?}"), "Secret(…)");
    assert_eq!(
        (secret.reveal(), Secret::new([0xff]).reveal()),
        ("hunter2", "")
    );
}

/// The form on the wire and on the disk: as that of a byte string.
#[test]
fn a_secret_is_written_as_a_byte_string() {
    let written = postcard::to_allocvec(&Secret::new([7, 200, 0])).unwrap();
    assert_eq!(written, [3, 7, 200, 0]);
    let read: Secret = postcard::from_bytes(&written).unwrap();
    assert_eq!(read.expose(), [7, 200, 0]);
    let cut: Result<Secret, _> = postcard::from_bytes(&[200, 1, 7]);
    assert!(cut.is_err());
}
