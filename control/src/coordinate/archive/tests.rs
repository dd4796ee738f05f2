//! Whatever is done to an archive, it is refused or has the state that was saved.

use super::*;

const OWN: ClusterId = ClusterId(7);

fn archive() -> Bytes {
    archived(OWN, &Coordination::default().encode())
}

#[test]
fn an_archive_has_the_state_that_was_saved() {
    let state = unarchived(&archive(), OWN, false).unwrap();
    assert_eq!(Coordination::decode(&state), Ok(Coordination::default()));
    let foreign = ArchiveError::Foreign { cluster: OWN };
    let other = ClusterId(8);
    assert_eq!(unarchived(&archive(), other, false), Err(foreign));
    assert_eq!(unarchived(&archive(), other, true), Ok(state));
}

#[test]
fn a_flipped_bit_a_missing_byte_and_a_foreign_form_are_refused() {
    let bytes = archive();
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(unarchived(&flipped.into(), OWN, true).is_err(), "bit {at}");
    }
    for end in 0..bytes.len() {
        let short = bytes.slice(..end);
        assert!(unarchived(&short, OWN, true).is_err(), "{end} bytes");
    }
    // The sum is right, and the state is none.
    let forged = archived(OWN, b"\x02nothing");
    assert_eq!(
        unarchived(&forged, OWN, false),
        Err(ArchiveError::State(ImageError::Damaged))
    );
}
