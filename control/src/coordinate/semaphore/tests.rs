//! Permits are counted, whatever order they come back in.

use super::*;

fn name() -> Name {
    Name::try_from(bytes::Bytes::from_static(b"s")).unwrap()
}

fn take(semaphores: &mut Semaphores, session: u64, count: u32, token: u64) {
    let permits = Permits {
        session: SessionId(session),
        taken: count,
        wait: WaitId(token),
    };
    semaphores.grant(&name(), permits, FencingToken(token));
}

#[test]
fn permits_are_given_until_there_are_none() {
    let mut semaphores = Semaphores::default();
    semaphores.prepare(&name(), 3, 2).unwrap();
    take(&mut semaphores, 1, 2, 10);
    assert!(semaphores.fits(&name(), 1));
    assert!(!semaphores.fits(&name(), 2));
    assert!(semaphores.release(&name(), FencingToken(10)));
    assert!(!semaphores.release(&name(), FencingToken(10)));
    assert!(semaphores.fits(&name(), 3));
    semaphores.tidy(&name());
    assert_eq!(semaphores, Semaphores::default());
}

#[test]
fn all_users_agree_on_the_size() {
    let mut semaphores = Semaphores::default();
    semaphores.prepare(&name(), 3, 1).unwrap();
    let other = AcquireRefusal::OtherSize { size: 3 };
    assert_eq!(semaphores.prepare(&name(), 4, 1), Err(other));
    for (size, wanted) in [(3, 0), (3, 4)] {
        let refusal = AcquireRefusal::BadPermits { wanted, size };
        assert_eq!(semaphores.prepare(&name(), size, wanted), Err(refusal));
    }
    assert_eq!(semaphores.resize(&name(), 4), Some(3));
    assert_eq!(semaphores.prepare(&name(), 4, 1), Ok(()));
}

#[test]
fn a_smaller_semaphore_waits_until_enough_is_back() {
    let mut semaphores = Semaphores::default();
    semaphores.prepare(&name(), 3, 1).unwrap();
    take(&mut semaphores, 1, 1, 10);
    take(&mut semaphores, 1, 1, 11);
    take(&mut semaphores, 2, 1, 12);
    semaphores.resize(&name(), 1);
    assert!(!semaphores.fits(&name(), 1));
    assert_eq!(semaphores.end(SessionId(1)), [name(), name()]);
    assert!(!semaphores.fits(&name(), 1));
    assert_eq!(semaphores.end(SessionId(2)), [name()]);
    assert!(semaphores.fits(&name(), 1));
}
