//! A floor under the tokens: what it refuses, and for how long.

use super::net::{Net, node, secs};
use crate::consistency::Consistency as C;
use crate::fence::{Claim, LockId};
use crate::op::{Mutation, Op, Reply, RequestError};
use crate::protocol::Input;

fn add_under(net: &mut Net, token: u64) -> Result<Reply, RequestError> {
    let claim = Claim {
        lock: LockId::of(b"lock"),
        token,
        sequence: 1,
        since: 1,
    };
    let add = Op::Mutate("s".into(), Mutation::Add(vec!["x".into()]));
    let ticket = net.submit_under(1, add, C::Quorum, claim);
    net.answer(ticket)
}

fn refused(result: &Result<Reply, RequestError>) -> bool {
    matches!(result, Err(RequestError::Fenced { token: 6, .. }))
}

/// A lock that was never taken here has no fence of its own: only the floor refuses its earlier
/// holders, also after a restart.
#[test]
fn what_is_below_the_floor_is_refused_for_ever() {
    let mut net = Net::new(&[3]);
    net.config.persist = true;
    net.boot_all();
    net.run(secs(2));
    for at in 1..=3 {
        net.input(node(at), Input::Floor(6));
    }
    assert!(refused(&add_under(&mut net, 5)));
    for at in 1..=3 {
        net.restart(node(at));
    }
    net.run(secs(5));
    let late = add_under(&mut net, 5);
    assert!(refused(&late), "{late:?}");
    assert_eq!(add_under(&mut net, 6), Ok(Reply::Integer(1)));
}
