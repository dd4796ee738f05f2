//! Whatever is done to an archive, it is refused or has the state that was saved.

use super::super::{
    By, ClientId, CoordinationCommand, CoordinationDeed, Holder, LockCommand, LockMode, Name,
    Patience, ProposalId, SessionSpec, Ttl,
};
use super::*;
use crate::topology::LogIndex;

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

/// A state with one lock, and how it begins with other numbers: the base, the last position, the
/// number of the last command, the highest token.
fn numbered(numbers: [u64; 4]) -> Bytes {
    let mut state = Coordination::default();
    let deed = CoordinationDeed::Lock(LockCommand::Acquire {
        by: By::New(SessionSpec {
            holder: Holder::default(),
            ttl: Ttl::try_from(1000).unwrap(),
            delay_ms: 0,
        }),
        names: vec![Name::try_from(Bytes::from_static(b"k")).unwrap()],
        mode: LockMode::Exclusive,
        patience: Patience::new(0, 0).unwrap(),
    });
    let id = ProposalId {
        client: ClientId(1),
        number: 1,
        awaited: 1,
    };
    state.apply(LogIndex(3), CoordinationCommand { id, deed }, &mut vec![]);
    let bytes = state.encode();
    let (version, [0, 3, 3, 3, rest @ ..]) = bytes.split_at(1) else {
        panic!("the numbers come first: {bytes:?}")
    };
    let numbers = postcard::to_extend(&numbers, version.to_vec()).unwrap();
    [&numbers, rest].concat().into()
}

/// With a right checksum, and numbers that leave none for what comes later: every replica would
/// stop over the next command, at every start.
#[test]
fn a_state_whose_numbers_are_used_up_is_refused() {
    let restored = |numbers| unarchived(&archived(OWN, &numbered(numbers)), OWN, false);
    assert!(restored([0, 3, 3, 3]).is_ok());
    assert!(restored([1 << 60, 3, 1 << 60, 1 << 60]).is_ok());
    let refused = Err(ArchiveError::State(ImageError::Damaged));
    for numbers in [
        [0, u64::MAX, 3, 3],
        [1 << 62, 3, 3, 3],
        [0, 3, 1 << 62, 3],
        [0, 3, 3, 1 << 62],
        [u64::MAX; 4],
        // The lock is held under a token that was never granted: as the oldest one that is held,
        // it would shut out all others for ever.
        [0, 3, 3, 2],
    ] {
        assert_eq!(restored(numbers), refused, "{numbers:?}");
        let mut group = Coordination::default();
        let state = numbered(numbers);
        for command in [
            RestoreCommand::Part {
                at: 0,
                bytes: state.clone(),
            },
            RestoreCommand::Finish(xxh3_128(&state)),
        ] {
            let outcome = group.about_restoring(command);
            if outcome != RestoreOutcome::Taken(state.len() as u64) {
                assert_eq!(outcome, RestoreOutcome::Refused, "{numbers:?}");
            }
        }
        assert_eq!(group, Coordination::default());
    }
}
