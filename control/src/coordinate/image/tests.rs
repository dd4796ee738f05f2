//! Bytes that no state has are refused, whatever is wrong with them.

use super::super::session::{SessionCommand, SessionSpec};
use super::super::{
    By, ClientId, CoordinationCommand, CoordinationDeed, Holder, LockCommand, LockMode,
    MetadataCommand, Name, Patience, ProposalId, Ttl,
};
use super::*;
use crate::topology::LogIndex;

/// A state with a session, a lock, a waiter and a value of metadata.
fn state() -> Coordination {
    let mut state = Coordination::default();
    let spec = SessionSpec {
        holder: Holder::default(),
        ttl: Ttl::try_from(1000).unwrap(),
        delay_ms: 0,
    };
    let lock = |wait_ms| {
        CoordinationDeed::Lock(LockCommand::Acquire {
            by: By::New(spec.clone()),
            names: vec![Name::try_from(Bytes::from_static(b"k")).unwrap()],
            mode: LockMode::Exclusive,
            patience: Patience::new(wait_ms, 0).unwrap(),
        })
    };
    let open = CoordinationDeed::Session(SessionCommand::Open(spec.clone()));
    let put = CoordinationDeed::Metadata(MetadataCommand::Put {
        name: Name::try_from(Bytes::from_static(b"m")).unwrap(),
        value: Bytes::from_static(b"v"),
        expected: None,
    });
    for (number, deed) in (1..).zip([open, lock(0), lock(500), put]) {
        let id = ProposalId {
            client: ClientId(1),
            number,
            awaited: 1,
        };
        let command = CoordinationCommand { id, deed };
        state.apply(LogIndex(number), command, &mut Vec::new());
    }
    state
}

#[test]
fn a_state_survives_being_written_and_equal_states_have_equal_hashes() {
    let state = state();
    let read = Coordination::decode(&state.encode()).unwrap();
    assert_eq!(read, state);
    assert_eq!(read.hash(), state.hash());
    assert_ne!(read.hash(), Coordination::default().hash());
}

#[test]
fn bytes_of_another_version_or_cut_short_are_refused() {
    let bytes = state().encode();
    let found = Some(VERSION + 1);
    let newer = [&[VERSION + 1], &bytes[1..]].concat();
    assert_eq!(
        Coordination::decode(&newer),
        Err(ImageError::Version { found })
    );
    let none = ImageError::Version { found: None };
    assert_eq!(Coordination::decode(&[]), Err(none));
    for end in 1..bytes.len() {
        assert_eq!(
            Coordination::decode(&bytes[..end]),
            Err(ImageError::Damaged)
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Coordination::decode(&longer), Err(ImageError::Damaged));
}

#[test]
fn whatever_bit_is_flipped_what_is_read_is_a_state_or_refused() {
    let bytes = state().encode();
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[at / 8] ^= 1 << (at % 8);
        if let Ok(read) = Coordination::decode(&flipped) {
            assert_eq!(read.encode(), flipped, "only one form is accepted");
        }
    }
}
