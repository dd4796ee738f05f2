//! The order in which waiters are served.

use super::super::session::{Name, ResourceKind};
use super::*;

fn lock(name: &'static str) -> Resource {
    Resource {
        kind: ResourceKind::Lock,
        name: Name::try_from(bytes::Bytes::from_static(name.as_bytes())).unwrap(),
    }
}

fn join(queue: &mut Queue<()>, wait: u64, names: &[&'static str], priority: i8, now_ms: u64) {
    let patience = Patience::new(60_000, priority).unwrap();
    let resources = names.iter().map(|name| lock(name)).collect();
    queue.join(
        WaitId(wait),
        SessionId(wait),
        resources,
        (),
        patience,
        now_ms,
    );
}

fn line(queue: &Queue<()>, name: &'static str) -> Vec<u64> {
    queue.line(&lock(name)).map(|wait| wait.0).collect()
}

#[test]
fn waiting_weighs_as_much_as_priority() {
    let mut queue = Queue::default();
    join(&mut queue, 1, &["k"], 0, 0);
    join(&mut queue, 2, &["k"], 2, 0);
    join(&mut queue, 3, &["k"], 0, 0);
    join(&mut queue, 4, &["k"], 1, AGE_MS - 1);
    join(&mut queue, 5, &["k"], 1, AGE_MS + 1);
    assert_eq!(line(&queue, "k"), [2, 4, 1, 3, 5]);
    assert_eq!(queue.position(WaitId(5)), 5);
    assert_eq!(queue.position(WaitId(4)), 2);
}

#[test]
fn nobody_is_ready_behind_another_in_any_line() {
    let mut queue = Queue::default();
    join(&mut queue, 1, &["a"], 0, 0);
    join(&mut queue, 2, &["a", "b"], 0, 0);
    join(&mut queue, 3, &["b"], 0, 0);
    assert_eq!(queue.ready(&lock("b"), |_| true), None);
    assert_eq!(queue.ready(&lock("a"), |_| true), Some(WaitId(1)));
    assert_eq!(
        queue.ready(&lock("a"), |waiter| waiter.session.0 != 1),
        None
    );
    queue.leave(WaitId(1));
    assert_eq!(queue.ready(&lock("b"), |_| true), Some(WaitId(2)));
}

#[test]
fn whoever_leaves_leaves_no_trace() {
    let mut queue = Queue::default();
    join(&mut queue, 1, &["a", "b"], 0, 5);
    assert_eq!(queue.due(60_004), []);
    assert_eq!(queue.due(60_005), [WaitId(1)]);
    queue.leave(WaitId(1));
    assert_eq!(queue, Queue::default());
}
