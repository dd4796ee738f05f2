//! Who may have a lock beside whom, and whose hold a token names.

use super::*;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);

fn name() -> Name {
    Name::try_from(bytes::Bytes::from_static(b"k")).unwrap()
}

fn held(mode: LockMode, by: &[SessionId]) -> Locks {
    let mut locks = Locks::default();
    for &session in by {
        locks.grant(&name(), session, mode, FencingToken(session.0 + 10));
    }
    locks
}

#[test]
fn who_fits_beside_whom() {
    use LockMode::{Exclusive, Shared};
    let none = held(Shared, &[]);
    let (shared, both) = (held(Shared, &[A]), held(Shared, &[A, B]));
    let alone = held(Exclusive, &[A]);
    for (locks, session, mode, fit) in [
        (&none, A, Exclusive, Fit::Free),
        (&shared, B, Shared, Fit::Free),
        (&shared, B, Exclusive, Fit::Taken),
        (&shared, A, Shared, Fit::Again),
        (&shared, A, Exclusive, Fit::Upgrade),
        (&both, A, Exclusive, Fit::Shares { others: 1 }),
        (&alone, A, Exclusive, Fit::Again),
        (&alone, A, Shared, Fit::Again),
        (&alone, B, Exclusive, Fit::Taken),
        (&alone, B, Shared, Fit::Taken),
    ] {
        assert_eq!(
            locks.fit(&name(), session, mode),
            fit,
            "{session:?} {mode:?}"
        );
    }
}

#[test]
fn a_token_names_a_hold_only_while_it_is_that_of_the_grant() {
    let mut locks = held(LockMode::Shared, &[A, B]);
    let token = FencingToken(11);
    let ambiguous = NotHeld::Ambiguous { token, holders: 2 };
    assert_eq!(locks.holder(&name(), token, None), Err(ambiguous));
    assert_eq!(locks.holder(&name(), token, Some(B)), Ok(B));
    let stale = FencingToken(10);
    let lost = NotHeld::Lost { token: stale };
    assert_eq!(locks.holder(&name(), stale, Some(B)), Err(lost));
    assert_eq!(locks.release(&name(), A), 0);
    assert_eq!(locks.holder(&name(), token, None), Ok(B));
}

#[test]
fn an_upgrade_takes_a_new_token_and_a_downgrade_keeps_it() {
    let mut locks = held(LockMode::Shared, &[A]);
    let (old, new) = (FencingToken(11), FencingToken(20));
    assert_eq!(locks.grant(&name(), A, LockMode::Exclusive, new), (new, 2));
    assert!(locks.holder(&name(), old, None).is_err());
    locks.downgrade(&name());
    assert_eq!(locks.fit(&name(), B, LockMode::Shared), Fit::Free);
    assert_eq!(locks.holder(&name(), new, None), Ok(A));
}

#[test]
fn a_delay_holds_a_lost_lock_back_and_then_frees_it() {
    let mut locks = held(LockMode::Exclusive, &[A]);
    assert_eq!(locks.end(A, Some(100)), [name()]);
    assert_eq!(locks.fit(&name(), B, LockMode::Shared), Fit::Taken);
    assert_eq!(locks.tick(99), []);
    assert_eq!(locks.tick(100), [name()]);
    assert_eq!(locks.fit(&name(), B, LockMode::Shared), Fit::Free);
}
