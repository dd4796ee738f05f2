//! Whole collections under a token: read when nothing of an earlier holder can appear in them any
//! more. A has token 1, B has token 2. Replicas are n1, n2 and n3.

use std::time::Duration;

use bytes::Bytes;

use super::super::net::{Net, node};
use super::{change, claim, fenced_by, get, set, touch, value};
use crate::consistency::Consistency as C;
use crate::op::{Expiry, Kind, Mutation, Op, Query, Reply, RequestError};
use crate::protocol::{Config, Input, Message, Refusal};

type Outcome = Result<Reply, RequestError>;

fn add(elements: &[&'static str]) -> Op {
    let elements = elements.iter().map(|element| Bytes::from(*element));
    change(Mutation::Add(elements.collect()))
}

fn members() -> Op {
    Op::Query("k".into(), Query::Members)
}

fn found(outcome: &Outcome, elements: &[&'static str]) -> bool {
    let Ok(Reply::List(list)) = outcome else {
        return false;
    };
    let mut list = list.clone();
    list.sort();
    list == elements
}

/// The nodes that a refusal names.
fn waits_for(outcome: &Outcome) -> Vec<u64> {
    match outcome {
        Err(RequestError::NotClosed { missing, refused }) => {
            let refused = refused.iter().map(|(node, _)| node);
            missing.iter().chain(refused).map(|node| node.0).collect()
        }
        other => panic!("{other:?}"),
    }
}

impl Net {
    /// The node `at` notices that another cannot be reached.
    fn misses(&mut self, at: u64, other: u64) {
        let (node_there, up) = (node(other), false);
        let input = Input::Reachable {
            node: node_there,
            up,
        };
        self.input(node(at), input);
    }

    /// A adds `e` at n1 alone. Afterwards n1 is still cut off.
    fn adds_at_1_alone(&mut self) {
        let ticket = self.submit_under(1, add(&["e"]), C::Quorum, claim(1, 9, 1));
        self.cut_off_before_writes(1);
        let outcome = self.answer(ticket);
        assert!(outcome.is_err(), "{outcome:?}");
    }
}

fn with_a_set() -> Net {
    let mut net = Net::new(&[3]);
    net.ask_under(2, add(&["a", "b"]), claim(1, 1, 1))
        .expect("healthy");
    net.run(Duration::from_secs(3));
    net
}

#[test]
fn whole_collections_are_read_under_a_token_in_one_round_of_all() {
    let mut net = with_a_set();
    let before = net.summary(1).context;
    assert!(found(
        &net.ask_under(1, members(), claim(2, 1, 1)),
        &["a", "b"]
    ));
    let count = net.ask_under(2, Op::Query("k".into(), Query::Cardinality), claim(2, 2, 1));
    assert_eq!(count, Ok(Reply::Integer(2)));
    let kind = net.ask_under(3, Op::Query("k".into(), Query::Kind), claim(2, 3, 1));
    assert_eq!(kind, Ok(Reply::Kind(Some(Kind::Set))));
    let exists = net.ask_under(1, Op::Query("k".into(), Query::Exists), claim(2, 4, 1));
    assert_eq!(exists, Ok(Reply::Integer(1)));
    let expiry = net.ask_under(1, Op::Query("k".into(), Query::Expiry), claim(2, 5, 1));
    assert_eq!(expiry, Ok(Reply::Expiry(Expiry::Never)));
    assert_eq!(net.summary(1).context, before, "nothing was written");
    for at in 1..=3 {
        let late = net.ask_under(at, add(&["late"]), claim(1, 2, 1));
        assert!(fenced_by(&late, 2), "every replica was asked: {late:?}");
    }
    let fields = Mutation::SetFields(vec![("f".into(), "v".into())]);
    net.ask_under(1, Op::Mutate("h".into(), fields), claim(2, 6, 1))
        .expect("healthy");
    let pairs = net.ask_under(3, Op::Query("h".into(), Query::Entries), claim(2, 7, 1));
    assert_eq!(pairs, Ok(Reply::Pairs(vec![("f".into(), "v".into())])));
    let count = net.ask_under(2, Op::Query("h".into(), Query::FieldCount), claim(2, 8, 1));
    assert_eq!(count, Ok(Reply::Integer(1)));
}

#[test]
fn what_a_later_holder_has_not_seen_of_a_set_never_appears_in_it() {
    let mut net = with_a_set();
    net.adds_at_1_alone();
    let read = net.ask_under(2, members(), claim(2, 1, 1));
    assert_eq!(waits_for(&read), [1], "n1 may have more: {read:?}");
    net.settle_down();
    let read = net.ask_under(2, members(), claim(2, 2, 1));
    for at in 1..=3 {
        let again = net.ask_under(at, members(), claim(2, 2 + at, 1));
        assert_eq!(read, again, "n{at}");
        let plain = net.ask(at, members(), C::Quorum);
        assert_eq!(read, plain, "n{at}");
    }
    assert!(found(&read, &["a", "b", "e"]), "{read:?}");
}

#[test]
fn once_all_have_said_that_they_are_fenced_a_set_is_read_without_one_of_them() {
    let mut net = with_a_set();
    net.ask_under(2, touch(), claim(2, 1, 1)).expect("healthy");
    net.run(Duration::from_secs(5));
    net.cut(&[1], &[2, 3]);
    net.misses(2, 1);
    net.misses(3, 1);
    let read = net.ask_under(2, members(), claim(2, 2, 1));
    assert!(found(&read, &["a", "b"]), "{read:?}");
    let read = net.ask_under(3, members(), claim(2, 3, 3));
    assert_eq!(
        waits_for(&read),
        [1],
        "n1 has not said that it refuses what B has given up"
    );
    let read = net.ask_under(3, members(), claim(3, 1, 1));
    assert_eq!(waits_for(&read), [1], "nor what B does: {read:?}");
}

#[test]
fn a_row_is_not_written_once_more_when_nothing_lower_can_appear() {
    let mut net = Net::new(&[3]);
    net.ask_under(2, set("v"), claim(1, 1, 1)).expect("healthy");
    net.ask_under(1, touch(), claim(2, 1, 1)).expect("healthy");
    net.run(Duration::from_secs(5));
    let before = net.summary(1).context;
    for at in 1..=3 {
        let read = net.ask_under(at, get(), claim(2, 1 + at, 1));
        assert_eq!(read, Ok(value("v")));
    }
    assert_eq!(net.summary(1).context, before, "no event was made");
}

#[test]
fn a_row_is_written_once_more_while_one_replica_may_have_something_lower() {
    let mut net = Net::new(&[3]);
    net.ask_under(2, set("v"), claim(1, 1, 1)).expect("healthy");
    net.run(Duration::from_secs(3));
    net.stuck_at_1(set("w"), claim(1, 2, 1));
    net.ask_under(2, touch(), claim(2, 1, 1))
        .expect("n2 and n3");
    net.run(Duration::from_secs(5));
    assert_eq!(net.ask_under(2, get(), claim(2, 2, 1)), Ok(value("v")));
    net.settle_down();
    for at in 1..=3 {
        let read = net.ask_under(at, get(), claim(2, 2 + at, 1));
        assert_eq!(read, Ok(value("v")), "n{at}");
    }
}

#[test]
fn a_set_is_not_closed_by_a_replica_that_is_being_filled() {
    let mut net = with_a_set();
    net.boot(node(1), true);
    let read = net.ask_under(2, members(), claim(2, 1, 1));
    let filling = |outcome: &Outcome| {
        matches!(outcome, Err(RequestError::NotClosed { refused, .. })
            if refused.contains(&(node(1), Refusal::Filling)))
    };
    assert!(filling(&read), "{read:?}");
    net.run(Duration::from_secs(5));
    assert!(found(
        &net.ask_under(2, members(), claim(2, 2, 1)),
        &["a", "b"]
    ));
}

/// A plain reader at n1 is bringing n3 up to what A has added there when n1 loses its disk.
#[test]
fn what_a_lost_replica_had_sent_does_not_appear_in_a_set_that_was_read() {
    let mut net = with_a_set();
    net.adds_at_1_alone();
    net.heal_between(&[1], &[3]);
    net.misses(1, 2);
    net.submit(1, members(), C::Quorum);
    let mut late = None;
    while let Some((from, to, message)) = net.queue.pop_front() {
        if matches!(message, Message::Write { .. }) {
            late = Some((from, to, message));
        } else if net.hears(from, to) {
            net.input(to, Input::Message { from, message });
        }
    }
    let (from, to, message) = late.expect("the reader repairs n3");
    net.heal();
    net.boot(node(1), true);
    net.run(Duration::from_secs(5));
    let read = net.ask_under(2, members(), claim(2, 1, 1));
    assert!(found(&read, &["a", "b"]), "{read:?}");
    net.input(to, Input::Message { from, message });
    net.settle();
    net.run(Duration::from_secs(5));
    for at in 1..=3 {
        let again = net.ask_under(at, members(), claim(2, 1 + at, 1));
        assert_eq!(again, read, "n{at}");
    }
}

#[test]
fn a_holder_that_has_not_heard_of_a_new_life_closes_nothing() {
    let mut net = Net::new(&[3]);
    net.config = Config::default();
    net.boot_all();
    net.ask_under(2, add(&["a"]), claim(1, 1, 1))
        .expect("healthy");
    net.run(Duration::from_secs(3));
    net.cut(&[1], &[3]);
    net.restart(node(1));
    net.run(Duration::from_secs(3));
    let read = net.ask_under(2, members(), claim(2, 1, 1));
    let unheard = |outcome: &Outcome| {
        matches!(outcome, Err(RequestError::NotClosed { refused, .. })
            if refused.iter().any(|(_, reason)| *reason == Refusal::OtherLives))
    };
    assert!(
        unheard(&read),
        "n3 would take what the former life of n1 had sent: {read:?}"
    );
}

#[test]
fn during_a_move_all_of_both_sets_must_answer() {
    let mut net = Net::three_of(5);
    net.ask_under(1, add(&["a"]), claim(1, 1, 1))
        .expect("healthy");
    net.run(Duration::from_secs(3));
    net.begin_move(&[3, 4, 5]);
    net.run(Duration::from_secs(3));
    net.cut(&[5], &[1, 2, 3, 4]);
    let read = net.ask_under(1, members(), claim(2, 1, 1));
    assert_eq!(waits_for(&read), [5], "{read:?}");
    net.heal();
    net.run(Duration::from_secs(1));
    assert!(found(&net.ask_under(1, members(), claim(2, 2, 1)), &["a"]));
}

#[test]
fn what_all_have_said_under_an_earlier_placement_closes_nothing() {
    let mut net = Net::three_of(5);
    net.ask_under(1, add(&["a"]), claim(1, 1, 1))
        .expect("healthy");
    net.run(Duration::from_secs(5));
    net.set_placement(|_| {});
    net.cut(&[3], &[1, 2]);
    let read = net.ask_under(1, members(), claim(1, 2, 1));
    assert_eq!(waits_for(&read), [3], "{read:?}");
}

#[test]
fn a_key_that_turns_out_to_be_a_collection_is_looked_at_everywhere() {
    let mut net = Net::new(&[3]);
    net.cut(&[1], &[2, 3]);
    net.ask_under(2, add(&["a"]), claim(1, 1, 1))
        .expect("n2 and n3");
    net.heal();
    // n1 has not heard of the key.
    let kind = net.ask_under(1, Op::Query("k".into(), Query::Kind), claim(2, 1, 1));
    assert_eq!(kind, Ok(Reply::Kind(Some(Kind::Set))));
    for at in 1..=3 {
        let late = net.ask_under(at, add(&["late"]), claim(1, 2, 1));
        assert!(fenced_by(&late, 2), "{late:?}");
    }
}

#[test]
fn a_holder_that_writes_beside_its_own_look_at_a_set_is_told_so() {
    let mut net = with_a_set();
    net.ask_under(1, add(&["c"]), claim(2, 5, 1))
        .expect("healthy");
    let read = net.ask_under(2, members(), claim(2, 4, 1));
    assert!(
        fenced_by(&read, 2),
        "a later request has been there: {read:?}"
    );
}

#[test]
fn a_node_that_has_started_closes_nothing_before_it_has_heard_of_all() {
    let mut net = Net::new(&[3]);
    net.config = Config::default();
    net.boot_all();
    net.ask_under(2, add(&["a"]), claim(1, 1, 1))
        .expect("healthy");
    net.run(Duration::from_secs(3));
    net.cut(&[1], &[3]);
    net.restart(node(1));
    net.run(Duration::from_secs(3));
    let read = net.ask_under(1, members(), claim(2, 1, 1));
    assert_eq!(waits_for(&read), [3], "{read:?}");
}

fn rows(net: &Net, at: u64) -> u64 {
    net.summary(at).rows
}

/// The key, a field and an element that B removes leave something, as long as A may have more.
#[test]
fn what_a_removal_leaves_is_gone_when_nothing_lower_can_appear() {
    let mut net = Net::new(&[3]);
    let fields = Mutation::SetFields(vec![("f".into(), "v".into()), ("g".into(), "v".into())]);
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    net.ask_under(1, Op::Mutate("h".into(), fields), claim(1, 2, 1))
        .expect("healthy");
    let removals = [
        change(Mutation::Delete),
        Op::Mutate("h".into(), Mutation::RemoveFields(vec!["f".into()])),
    ];
    for (sequence, removal) in (1..).zip(removals) {
        let removed = net.ask_under(2, removal, claim(2, sequence, 1));
        assert_eq!(removed, Ok(Reply::Integer(1)));
    }
    net.run(Duration::from_secs(15));
    assert_eq!(
        rows(&net, 1),
        4,
        "B itself may still have something under way"
    );
    for at in 1..=3 {
        net.input(node(at), Input::Floor(3));
    }
    net.run(Duration::from_secs(15));
    for at in 1..=3 {
        assert_eq!(rows(&net, at), 2, "the head of h and g are left at n{at}");
    }
    net.assert_converged();
    let late = net.ask_under(1, set("w"), claim(2, 3, 1));
    assert!(fenced_by(&late, 3), "{late:?}");
}

#[test]
fn what_a_removal_leaves_stays_while_one_replica_may_have_something_lower() {
    let mut net = Net::new(&[3]);
    net.ask_under(2, set("v"), claim(1, 1, 1)).expect("healthy");
    net.run(Duration::from_secs(3));
    net.stuck_at_1(set("w"), claim(1, 2, 1));
    net.ask_under(2, change(Mutation::Delete), claim(2, 1, 1))
        .expect("n2 and n3");
    for at in 2..=3 {
        net.input(node(at), Input::Floor(3));
    }
    net.run(Duration::from_secs(15));
    net.settle_down();
    for at in 1..=3 {
        let read = net.ask_under(at, get(), claim(3, at, 1));
        assert_eq!(read, Ok(Reply::Nil), "n{at}");
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_broken_rule_of_closure_is_noticed() {
    use crate::planted::{CLOSED_BY_QUORUM, FORMER_LIFE_JOINS, MARKS_KEPT, REAP_EARLY};
    super::super::noticed(&[
        (
            &CLOSED_BY_QUORUM,
            what_a_later_holder_has_not_seen_of_a_set_never_appears_in_it,
        ),
        (
            &REAP_EARLY,
            a_row_is_written_once_more_while_one_replica_may_have_something_lower,
        ),
        (
            &MARKS_KEPT,
            what_a_removal_leaves_is_gone_when_nothing_lower_can_appear,
        ),
        (
            &FORMER_LIFE_JOINS,
            what_a_lost_replica_had_sent_does_not_appear_in_a_set_that_was_read,
        ),
    ]);
}
