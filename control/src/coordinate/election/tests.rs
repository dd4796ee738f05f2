//! Only the token of the leader speaks for it.

use super::*;

#[test]
fn a_leader_that_was_replaced_has_no_say() {
    let name = Name::try_from(Bytes::from_static(b"e")).unwrap();
    let mut elections = Elections::default();
    elections.grant(&name, SessionId(1), "one".into(), FencingToken(10));
    assert_eq!(elections.end(SessionId(1)), std::slice::from_ref(&name));
    elections.grant(&name, SessionId(2), "two".into(), FencingToken(11));
    assert_eq!(elections.holder(&name, FencingToken(10)), None);
    assert_eq!(
        elections.holder(&name, FencingToken(11)),
        Some(SessionId(2))
    );
    elections.proclaim(&name, "three".into());
    assert_eq!(elections.get(&name).unwrap().value, "three");
    elections.release(&name);
    assert_eq!(elections, Elections::default());
}
