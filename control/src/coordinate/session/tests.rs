//! Sessions end when their time has passed, and never earlier.

use std::sync::Arc;

use super::*;

fn spec(holder: &str, ttl: u64) -> SessionSpec {
    SessionSpec {
        holder: Holder::try_from(Arc::from(holder)).unwrap(),
        ttl: Ttl::try_from(ttl).unwrap(),
        delay_ms: 0,
    }
}

fn opened(ttls: &[u64]) -> Sessions {
    let mut sessions = Sessions::default();
    for (id, ttl) in (1..).zip(ttls) {
        sessions
            .open(SessionId(id), spec("a", *ttl), true, 0)
            .unwrap();
    }
    sessions.tick(1, 0);
    sessions
}

#[test]
fn a_session_ends_when_its_time_has_passed_and_not_earlier() {
    let mut sessions = opened(&[500, 600]);
    assert_eq!(sessions.tick(1, 499), []);
    assert_eq!(sessions.tick(1, 1), [SessionId(1)]);
    sessions.end(SessionId(1));
    assert!(sessions.renew(SessionId(2)));
    assert!(!sessions.renew(SessionId(1)));
    assert_eq!(sessions.tick(1, 599), []);
    assert_eq!(sessions.tick(1, 1), [SessionId(2)]);
}

#[test]
fn the_first_tick_of_a_leader_counts_nothing_and_a_late_one_of_the_last_neither() {
    let mut sessions = opened(&[500]);
    assert_eq!(sessions.tick(1, 499), []);
    assert_eq!(sessions.tick(2, 900), []);
    assert_eq!(sessions.tick(1, 900), []);
    assert_eq!(sessions.tick(2, 499), []);
    assert_eq!(sessions.tick(2, 1), [SessionId(1)]);
}

#[test]
fn a_leader_that_was_stopped_counts_a_second() {
    let mut sessions = opened(&[1500]);
    assert_eq!(sessions.tick(1, u64::MAX), []);
    assert_eq!(sessions.now_ms(), TICK_MS_MAX);
    assert_eq!(sessions.tick(1, u64::MAX), [SessionId(1)]);
}

#[test]
fn words_are_bounded_and_say_by_what() {
    for ms in [0, TTL_MS_MIN - 1, TTL_MS_MAX + 1, u64::MAX] {
        assert_eq!(Ttl::try_from(ms), Err(WordError::Ttl { ms }));
    }
    for bytes in [0, LOCK_NAME_BYTES_MAX + 1] {
        let name = bytes::Bytes::from(vec![b'x'; bytes]);
        assert_eq!(Name::try_from(name), Err(WordError::Name { bytes }));
    }
    let bytes = HOLDER_BYTES_MAX + 1;
    let holder: Arc<str> = "x".repeat(bytes).into();
    assert_eq!(Holder::try_from(holder), Err(WordError::Holder { bytes }));
    let ms = WAIT_MS_MAX + 1;
    assert_eq!(Patience::new(ms, 0), Err(WordError::Wait { ms }));
}

#[test]
fn what_is_read_is_bounded_like_what_is_asked() {
    let long = postcard::to_stdvec(&"x".repeat(HOLDER_BYTES_MAX + 1)).unwrap();
    assert!(postcard::from_bytes::<Holder>(&long).is_err());
    assert!(postcard::from_bytes::<Ttl>(&[0]).is_err());
    assert!(postcard::from_bytes::<Name>(&[0]).is_err());
    let patience = postcard::to_stdvec(&(WAIT_MS_MAX + 1, 0_i8)).unwrap();
    assert!(postcard::from_bytes::<Patience>(&patience).is_err());
}
