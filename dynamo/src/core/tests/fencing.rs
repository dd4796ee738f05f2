//! Two holders of one lock: A has token 1, was paused and goes on; B has token 2. Each test is a
//! schedule in which a simpler rule would break what B was told.

mod closed;
mod moves;
mod random;

use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{MemoryStore, Store};
use quorate_control::topology::KeyspaceId;

use super::net::{Net, node};
use crate::consistency::Consistency as C;
use crate::fence::{Claim, LockId};
use crate::op::{Mutation, Op, Query, Reply, Request, RequestError, SetExpiry};
use crate::protocol::{Config, Input, Message, RequestId, Ticket};

pub(super) fn claim(token: u64, sequence: u64, since: u64) -> Claim {
    Claim {
        lock: LockId::of(b"lock"),
        token,
        sequence,
        since,
    }
}

pub(super) fn get() -> Op {
    Op::Query("k".into(), Query::Get)
}

/// A read of another key of the same partition: it raises the fence and leaves the key of the
/// others alone, so that no entry of it stands in for the fence.
pub(super) fn touch() -> Op {
    Op::Query("other".into(), Query::Get)
}

pub(super) fn set(value: &str) -> Op {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let expiry = SetExpiry::Clear;
    Op::Mutate("k".into(), Mutation::Set { value, expiry })
}

pub(super) fn change(mutation: Mutation) -> Op {
    Op::Mutate("k".into(), mutation)
}

pub(super) fn value(text: &'static str) -> Reply {
    Reply::Value(text.into())
}

pub(super) fn fenced_by(outcome: &Result<Reply, RequestError>, by: u64) -> bool {
    matches!(outcome, Err(RequestError::Fenced { token, .. }) if *token == by)
}

impl Net {
    pub(super) fn ask_under(
        &mut self,
        at: u64,
        op: Op,
        claim: Claim,
    ) -> Result<Reply, RequestError> {
        let ticket = self.submit_under(at, op, C::Quorum, claim);
        self.answer(ticket)
    }

    /// A write of A that reaches node 1 alone. Afterwards, node 1 is still cut off.
    pub(super) fn stuck_at_1(&mut self, op: Op, claim: Claim) {
        self.cut(&[1], &[2, 3]);
        let outcome = self.ask_under(1, op, claim);
        let unknown = outcome.as_ref().is_err_and(RequestError::may_be_applied);
        assert!(unknown, "{outcome:?}");
    }

    pub(super) fn settle_down(&mut self) {
        self.heal();
        self.run(Duration::from_secs(5));
        self.assert_converged();
    }
}

#[test]
fn what_cannot_be_done_under_a_token_is_refused_before_anything() {
    let mut net = Net::new(&[3]);
    for level in [C::One, C::Two, C::LocalQuorum] {
        let ticket = net.submit_under(1, set("v"), level, claim(1, 1, 1));
        assert_eq!(net.answer(ticket), Err(RequestError::BelowQuorum { level }));
    }
    for (token, sequence, since) in [(0, 1, 1), (1, 1, 2)] {
        let outcome = net.ask_under(1, set("v"), claim(token, sequence, since));
        assert_eq!(outcome, Err(RequestError::BadClaim));
    }
    assert_eq!(net.get(1, "l", C::All), Ok(None));
}

#[test]
fn a_request_under_a_token_that_names_no_level_needs_a_majority() {
    let mut net = Net::new(&[3]);
    net.set_topology(|topology| {
        for keyspace in topology.keyspaces.values_mut() {
            keyspace.read = "ONE".into();
            keyspace.write = "LOCAL_QUORUM".into();
        }
    });
    let ask = |net: &mut Net, op: Op| {
        let request = Request {
            keyspace: KeyspaceId(0),
            op,
            consistency: None,
            timeout: Duration::from_millis(500),
            datacenter: "dc1".into(),
            id: None,
            claim: None,
        };
        let request = request.fenced(claim(1, 1, 1));
        let ticket = Ticket(1_000);
        net.replies.remove(&ticket.0);
        net.input(node(1), Input::Request { ticket, request });
        net.answer(ticket.0)
    };
    assert_eq!(ask(&mut net, set("v")), Ok(Reply::Done));
    net.cut(&[1], &[2, 3]);
    for op in [set("w"), get()] {
        let outcome = ask(&mut net, op);
        assert!(
            matches!(
                outcome,
                Err(RequestError::TimedOut {
                    level: C::Quorum,
                    ..
                })
            ),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_later_holder_shuts_out_the_earlier_one_at_every_node() {
    let mut net = Net::new(&[3]);
    assert_eq!(net.ask_under(1, set("a"), claim(1, 1, 1)), Ok(Reply::Done));
    assert_eq!(net.ask_under(2, get(), claim(2, 1, 1)), Ok(value("a")));
    for at in 1..=3 {
        for op in [get(), set("late"), change(Mutation::Increment(1))] {
            let late = net.ask_under(at, op, claim(1, 2, 1));
            assert!(fenced_by(&late, 2), "n{at}: {late:?}");
            let may = late.as_ref().is_err_and(RequestError::may_be_applied);
            assert!(!may, "n{at} knows of the fence");
        }
    }
    assert_eq!(net.ask_under(3, get(), claim(2, 2, 1)), Ok(value("a")));
    net.settle_down();
}

#[test]
fn what_a_holder_has_read_is_not_replaced_by_an_earlier_write_that_was_stuck() {
    let mut net = Net::new(&[3]);
    // A's clock runs ahead, within the bound, and further than A waits.
    net.skew.insert(node(1), 300);
    net.timeout = Duration::from_millis(100);
    net.ask_under(2, set("v"), claim(1, 1, 1)).expect("healthy");
    net.stuck_at_1(set("w"), claim(1, 2, 1));
    assert_eq!(net.ask_under(2, get(), claim(2, 1, 1)), Ok(value("v")));
    net.settle_down();
    for at in 1..=3 {
        let read = net.ask_under(at, get(), claim(2, 1 + at, 1));
        assert_eq!(read, Ok(value("v")), "B at n{at}");
        let read = net.get(at, "k", C::Quorum);
        assert_eq!(read, Ok(Some("v".into())), "anybody at n{at}");
    }
    assert_eq!(net.ask_under(1, get(), claim(3, 1, 1)), Ok(value("v")), "C");
}

#[test]
fn what_a_holder_has_removed_does_not_come_back_with_an_earlier_write() {
    let element = || vec![Bytes::from("e")];
    let field = || vec![(Bytes::from("e"), Bytes::from("w"))];
    let contains = Op::Query("k".into(), Query::Contains(element()));
    let fields = Op::Query("k".into(), Query::Fields(element()));
    let cases = [
        (set("w"), change(Mutation::Delete), get(), Reply::Nil),
        (set("w"), change(Mutation::ExpireAt(1)), get(), Reply::Nil),
        (
            change(Mutation::Add(element())),
            change(Mutation::Remove(element())),
            contains,
            Reply::Integers(vec![0]),
        ),
        (
            change(Mutation::SetFields(field())),
            change(Mutation::RemoveFields(element())),
            fields,
            Reply::Values(vec![None]),
        ),
    ];
    for (stuck, removal, look, nothing) in cases {
        let mut net = Net::new(&[3]);
        net.ask_under(2, stuck.clone(), claim(1, 1, 1))
            .expect("healthy");
        if stuck == set("w") {
            net.stuck_at_1(stuck.clone(), claim(1, 2, 1));
        } else {
            // What looks before it writes is stuck after it has looked.
            let ticket = net.submit_under(1, stuck.clone(), C::Quorum, claim(1, 2, 1));
            net.cut_off_before_writes(1);
            assert!(net.answer(ticket).is_err());
        }
        assert_eq!(
            net.ask_under(2, removal.clone(), claim(2, 1, 1)),
            Ok(Reply::Integer(1)),
            "{removal:?}"
        );
        net.settle_down();
        for at in 1..=3 {
            let read = net.ask_under(at, look.clone(), claim(2, 1 + at, 1));
            assert_eq!(read, Ok(nothing.clone()), "n{at}: {removal:?}");
            let exists = net.query(at, "k", Query::Exists, C::One);
            assert_eq!(exists, Ok(Reply::Integer(0)), "n{at}: {removal:?}");
        }
    }
}

#[test]
fn a_string_or_an_expiry_of_an_earlier_holder_does_not_take_a_collection_away() {
    let fields = || Op::Query("k".into(), Query::Fields(vec!["f".into()]));
    let found = || Ok(Reply::Values(vec![Some("v".into())]));
    for stuck in [
        set("w"),
        change(Mutation::ExpireAt(super::net::START_UNIX_MILLIS + 60_000)),
    ] {
        let mut net = Net::new(&[3]);
        let field = change(Mutation::SetFields(vec![("f".into(), "v".into())]));
        net.ask_under(2, field, claim(1, 1, 1)).expect("healthy");
        let ticket = net.submit_under(1, stuck.clone(), C::Quorum, claim(1, 2, 1));
        net.cut_off_before_writes(1);
        assert!(net.answer(ticket).is_err());
        assert_eq!(net.ask_under(2, fields(), claim(2, 1, 1)), found());
        net.settle_down();
        net.run(Duration::from_mins(2));
        assert_eq!(
            net.ask_under(3, fields(), claim(2, 2, 1)),
            found(),
            "{stuck:?}"
        );
    }
}

#[test]
fn an_earlier_write_on_its_way_fails_once_a_later_holder_has_read() {
    let mut net = Net::new(&[3]);
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    for (other, millis) in [(1, 50), (3, 1)] {
        let (node_there, rtt) = (node(other), Duration::from_millis(millis));
        let input = Input::RoundTrip {
            node: node_there,
            rtt,
        };
        net.input(node(2), input);
    }
    // A's write is executed at n1 and on its way to n3.
    let late = net.submit_under(1, set("w"), C::Quorum, claim(1, 2, 1));
    let on_its_way: Vec<_> = net
        .queue
        .drain(..)
        .filter(|(_, to, _)| *to == node(3))
        .collect();
    // B reads at n2 and n3, the nearest. What it writes to n3 meanwhile is on its way, too.
    let read = net.submit_under(2, get(), C::Quorum, claim(2, 1, 1));
    let mut slow = Vec::new();
    while let Some((from, to, message)) = net.queue.pop_front() {
        if matches!(message, Message::Write { .. }) && to == node(3) {
            slow.push((from, to, message));
        } else {
            net.input(to, Input::Message { from, message });
        }
    }
    assert_eq!(
        net.replies
            .get(&read)
            .map(|reply| reply.clone().map(|answer| answer.reply)),
        Some(Ok(value("v")))
    );
    net.queue.extend(on_its_way);
    net.settle();
    let late = net.answer(late);
    assert!(fenced_by(&late, 2), "B has read v: {late:?}");
    net.queue.extend(slow);
    net.settle_down();
    assert_eq!(net.ask_under(1, get(), claim(2, 2, 1)), Ok(value("v")));
}

#[test]
fn a_later_holder_finds_what_the_earlier_one_was_told() {
    let mut net = Net::new(&[3]);
    net.ask_under(2, set("v"), claim(1, 1, 1)).expect("healthy");
    net.cut(&[2], &[1, 3]);
    net.ask_under(1, set("w"), claim(1, 2, 1))
        .expect("n1 and n3");
    net.heal();
    assert_eq!(net.ask_under(2, get(), claim(2, 1, 1)), Ok(value("w")));
}

#[test]
fn a_holder_is_answered_only_when_the_next_one_will_find_it() {
    let mut net = Net::new(&[3]);
    net.ask_under(2, set("v"), claim(1, 1, 1)).expect("healthy");
    net.stuck_at_1(set("w"), claim(1, 2, 1));
    net.heal();
    let read = net.submit_under(1, get(), C::Quorum, claim(2, 1, 1));
    net.cut_off_before_writes(1);
    let read = net.answer(read);
    let third = net.ask_under(2, get(), claim(3, 1, 1));
    assert!(read.is_err() || read == third, "{read:?}, then {third:?}");
}

#[test]
fn an_entry_is_as_good_as_a_fence() {
    let mut net = Net::new(&[3]);
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    net.cut(&[1], &[2, 3]);
    net.ask_under(2, set("b"), claim(2, 1, 1))
        .expect("n2 and n3");
    net.heal();
    // Somebody's read brings B's entry to n1, and not B's fence.
    assert_eq!(net.get(1, "k", C::Quorum), Ok(Some("b".into())));
    let late = net.ask_under(1, set("w"), claim(1, 2, 1));
    assert!(fenced_by(&late, 2), "{late:?}");
    net.settle_down();
    assert_eq!(net.ask_under(3, get(), claim(2, 2, 1)), Ok(value("b")));
}

#[test]
fn an_earlier_holder_is_refused_through_a_node_that_the_later_one_has_not_reached() {
    let mut net = Net::new(&[3]);
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    net.cut(&[1], &[2, 3]);
    assert_eq!(net.ask_under(2, get(), claim(2, 1, 1)), Ok(value("v")));
    net.heal();
    let late = net.ask_under(1, set("w"), claim(1, 2, 1));
    let error = late.expect_err("n2 and n3 are fenced");
    assert!(
        matches!(
            error,
            RequestError::Fenced {
                token: 2,
                may_be_applied: true,
                ..
            }
        ),
        "n1 has executed it: {error:?}"
    );
    net.settle_down();
    assert_eq!(net.ask_under(1, get(), claim(2, 2, 1)), Ok(value("v")));
}

#[test]
fn the_requests_of_one_holder_are_ordered_by_their_numbers_and_not_by_clocks() {
    let mut net = Net::new(&[3]);
    net.skew.insert(node(1), 300);
    net.cut(&[1], &[2]);
    net.ask_under(1, set("x"), claim(2, 1, 1))
        .expect("n1 and n3");
    net.heal();
    net.ask_under(2, set("y"), claim(2, 2, 1)).expect("healthy");
    assert_eq!(net.ask_under(1, get(), claim(2, 3, 1)), Ok(value("y")));
    net.settle_down();
    assert_eq!(net.get(3, "k", C::One), Ok(Some("y".into())));
}

#[test]
fn what_a_holder_has_given_up_does_not_appear_after_it_has_read() {
    let mut net = Net::new(&[3]);
    net.ask_under(2, set("v"), claim(2, 1, 1)).expect("healthy");
    net.stuck_at_1(set("x"), claim(2, 2, 1));
    assert_eq!(net.ask_under(2, get(), claim(2, 3, 3)), Ok(value("v")));
    net.settle_down();
    assert_eq!(net.ask_under(3, get(), claim(2, 4, 3)), Ok(value("v")));
    let again = net.ask_under(3, set("x"), claim(2, 2, 1));
    assert!(fenced_by(&again, 2), "it has been given up: {again:?}");
}

#[test]
fn a_holder_that_has_looked_reads_in_one_round_and_writes_nothing() {
    let mut net = Net::new(&[3]);
    net.set(1, "k", "v", C::All).expect("healthy");
    assert_eq!(net.ask_under(1, get(), claim(1, 1, 1)), Ok(value("v")));
    net.settle_down();
    let before = net.summary(1).context;
    for at in 1..=3 {
        assert_eq!(
            net.ask_under(at, get(), claim(1, 1 + at, 1)),
            Ok(value("v"))
        );
    }
    assert_eq!(net.summary(1).context, before, "no event was made");
}

#[test]
fn a_restart_forgets_no_fence() {
    let mut net = Net::new(&[3]);
    net.config = Config::default();
    net.boot_all();
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    net.run(Duration::from_secs(3));
    net.cut(&[3], &[1, 2]);
    assert_eq!(net.ask_under(1, touch(), claim(2, 1, 1)), Ok(Reply::Nil));
    net.cut(&[2], &[1]);
    net.heal_between(&[1], &[3]);
    net.restart(node(1));
    net.run(Duration::from_secs(3));
    let late = net.ask_under(3, set("w"), claim(1, 2, 1));
    assert!(late.is_err(), "n1 was fenced: {late:?}");
}

/// B has read at n1 and n2 while n3 was cut off. Then n1 loses its disk, and n2 is cut off from n3.
fn fenced_at_1_and_2_and_1_wiped(connected: bool) -> Net {
    let mut net = Net::new(&[3]);
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    net.run(Duration::from_secs(3));
    net.cut(&[3], &[1, 2]);
    assert_eq!(net.ask_under(1, touch(), claim(2, 1, 1)), Ok(Reply::Nil));
    net.drop_all();
    if !connected {
        net.cut(&[1], &[2]);
    }
    net.heal_between(&[1], &[3]);
    net.boot(node(1), true);
    net
}

/// A tries through n3, which knows nothing of B, for as long as it takes.
fn late_through_3(net: &mut Net, tries: u64) -> Vec<Result<Reply, RequestError>> {
    (0..tries)
        .map(|n| {
            net.run(Duration::from_millis(300));
            net.ask_under(3, set("w"), claim(1, 2 + n, 1))
        })
        .collect()
}

#[test]
fn a_replica_that_lost_its_disk_admits_nobody_before_it_is_filled() {
    let mut net = fenced_at_1_and_2_and_1_wiped(false);
    let late = net.ask_under(3, set("w"), claim(1, 2, 1));
    assert!(late.is_err(), "n1 has lost its fence: {late:?}");
}

#[test]
fn a_replica_is_filled_by_a_majority_of_the_others() {
    let mut net = fenced_at_1_and_2_and_1_wiped(false);
    for late in late_through_3(&mut net, 5) {
        assert!(late.is_err(), "only n2 knows of B: {late:?}");
    }
}

#[test]
fn a_replica_that_was_filled_again_has_the_fences() {
    let mut net = fenced_at_1_and_2_and_1_wiped(true);
    net.run(Duration::from_secs(3));
    assert!(!net.summary(1).filling);
    net.cut(&[2], &[1, 3]);
    for late in late_through_3(&mut net, 5) {
        assert!(late.is_err(), "n1 was told of B: {late:?}");
    }
}

#[test]
fn a_report_to_an_earlier_life_fills_nobody() {
    let mut net = Net::new(&[3]);
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    net.run(Duration::from_secs(3));
    // A report of n2 is on its way.
    let mut old = None;
    while old.is_none() {
        net.input(node(2), Input::Timer(crate::protocol::Timer::AntiEntropy));
        let report = |(from, to, message): &&(_, _, Message)| {
            *from == node(2) && *to == node(1) && matches!(message, Message::Seen(_))
        };
        old = net.queue.iter().find(report).cloned();
        net.drop_all();
    }
    net.cut(&[3], &[1, 2]);
    assert_eq!(net.ask_under(1, touch(), claim(2, 1, 1)), Ok(Reply::Nil));
    net.drop_all();
    net.cut(&[1], &[2]);
    net.heal_between(&[1], &[3]);
    net.boot(node(1), true);
    net.run(Duration::from_secs(1));
    let (from, to, message) = old.expect("found");
    net.input(to, Input::Message { from, message });
    for late in late_through_3(&mut net, 5) {
        assert!(late.is_err(), "n2 sent that before it knew of B: {late:?}");
    }
}

#[test]
fn what_is_written_without_a_token_over_a_guarded_value_takes_over_its_rank() {
    let mut net = Net::new(&[3]);
    net.ask_under(1, set("v"), claim(2, 1, 1)).expect("healthy");
    net.set(2, "k", "plain", C::Quorum).expect("healthy");
    assert_eq!(net.get(3, "k", C::Quorum), Ok(Some("plain".into())));
    net.mutate(2, "k", Mutation::Delete, C::Quorum)
        .expect("healthy");
    assert_eq!(net.get(1, "k", C::Quorum), Ok(None));
    assert_eq!(
        net.mutate(3, "k", Mutation::Delete, C::Quorum),
        Ok(Reply::Integer(0)),
        "what is left of the first is no key"
    );
    net.mutate(3, "k", Mutation::Add(vec!["e".into()]), C::Quorum)
        .expect("healthy");
    let members = net.query(1, "k", Query::Members, C::Quorum);
    assert_eq!(members, Ok(Reply::List(vec!["e".into()])));
    net.settle_down();
}

#[test]
fn what_is_written_without_a_token_is_not_hidden_behind_what_its_node_has_missed() {
    let elements = || vec![Bytes::from("e")];
    let cases = [
        (set("v"), set("plain"), get(), value("plain")),
        (
            change(Mutation::Delete),
            change(Mutation::Add(elements())),
            Op::Query("k".into(), Query::Contains(elements())),
            Reply::Integers(vec![1]),
        ),
    ];
    for (guarded, plain, look, found) in cases {
        let mut net = Net::new(&[3]);
        net.cut(&[3], &[1, 2]);
        net.ask_under(1, guarded, claim(2, 1, 1))
            .expect("n1 and n2");
        net.heal();
        let written = net.ask(3, plain.clone(), C::Quorum);
        assert!(written.is_ok(), "{plain:?}: {written:?}");
        assert_eq!(net.ask(1, look.clone(), C::Quorum), Ok(found.clone()));
        net.settle_down();
        assert_eq!(net.ask(2, look, C::One), Ok(found), "{plain:?}");
    }
}

#[test]
fn increments_under_a_token_are_counted_once_beside_those_of_others() {
    let mut net = Net::new(&[3]);
    net.mutate(3, "k", Mutation::Increment(5), C::All)
        .expect("healthy");
    let add = || change(Mutation::Increment(1));
    assert_eq!(
        net.ask_under(1, add(), claim(1, 1, 1)),
        Ok(Reply::Integer(6))
    );
    // An increment that is stuck at n1 counts nowhere once B has looked.
    let ticket = net.submit_under(1, add(), C::Quorum, claim(1, 2, 1));
    net.cut_off_before_writes(1);
    assert!(net.answer(ticket).is_err());
    assert_eq!(
        net.ask_under(2, add(), claim(2, 1, 1)),
        Ok(Reply::Integer(7))
    );
    net.mutate(3, "k", Mutation::Increment(10), C::Quorum)
        .expect("n2 and n3");
    net.settle_down();
    for at in 1..=3 {
        assert_eq!(net.ask_under(at, get(), claim(2, 2, 1)), Ok(value("17")));
    }
}

#[test]
fn siblings_stay_beside_each_other_under_a_token() {
    let mut net = Net::new(&[3]);
    for (at, value) in [(1, "x"), (2, "y")] {
        let token = Bytes::new();
        let value = value.into();
        net.mutate(at, "k", Mutation::SetWith { value, token }, C::Quorum)
            .expect("healthy");
    }
    let siblings = |net: &mut Net, at, claim| {
        let outcome = net.ask_under(at, Op::Query("k".into(), Query::Siblings), claim);
        let Ok(Reply::Siblings { values, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        values
    };
    let both = vec![Bytes::from("x"), Bytes::from("y")];
    assert_eq!(siblings(&mut net, 1, claim(1, 1, 1)), both);
    assert_eq!(siblings(&mut net, 3, claim(2, 1, 1)), both);
    net.ask_under(2, set("z"), claim(2, 2, 1)).expect("healthy");
    assert_eq!(siblings(&mut net, 1, claim(2, 3, 1)), vec!["z"]);
}

#[test]
fn an_expired_key_of_a_later_holder_does_not_uncover_an_earlier_value() {
    let mut net = Net::new(&[3]);
    net.config = Config::default();
    net.boot_all();
    net.ask_under(2, set("v"), claim(1, 1, 1)).expect("healthy");
    net.stuck_at_1(set("w"), claim(1, 2, 1));
    let soon = net.clock().unix_millis + 1_000;
    let short = change(Mutation::Set {
        value: "b".into(),
        expiry: SetExpiry::At(soon),
    });
    net.ask_under(2, short, claim(2, 1, 1)).expect("n2 and n3");
    net.run(Duration::from_mins(1));
    net.heal();
    net.run(Duration::from_mins(1));
    assert_eq!(net.get(1, "k", C::Quorum), Ok(None));
    assert_eq!(net.ask_under(1, get(), claim(2, 2, 1)), Ok(Reply::Nil));
}

#[test]
fn fences_are_erased_with_their_replica() {
    let mut net = Net::three_of(4);
    net.config = Config::default();
    net.boot_all();
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    let store = MemoryStore::new();
    let drain = |net: &mut Net, store: &MemoryStore| {
        let batch = net.cores.get_mut(&node(1)).expect("n1").drain();
        store.apply(batch).expect("in memory");
    };
    drain(&mut net, &store);
    let fences =
        |store| crate::fixture::records(store, quorate_control::store::Space::Causal, b"f");
    assert_eq!(fences(&store), 1);
    net.set_placement(|placement| placement.replicas = vec![node(2), node(3), node(4)]);
    net.run(Duration::from_secs(20));
    drain(&mut net, &store);
    assert_eq!(fences(&store), 0);
}

#[test]
fn a_request_under_a_token_takes_no_name() {
    let mut net = Net::new(&[3]);
    let id = RequestId::new("r".into());
    let ticket = net.submit_as(1, set("v"), C::Quorum, id, Some(claim(1, 1, 1)));
    assert_eq!(net.answer(ticket), Err(RequestError::NotUnderToken));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_broken_rule_is_noticed() {
    use crate::planted::*;
    super::noticed(&[
        (
            &NO_RESTATE,
            what_a_holder_has_read_is_not_replaced_by_an_earlier_write_that_was_stuck,
        ),
        (
            &FOLD_BY_CLOCK,
            what_a_holder_has_read_is_not_replaced_by_an_earlier_write_that_was_stuck,
        ),
        (
            &DELETE_LEAVES_NOTHING,
            what_a_holder_has_removed_does_not_come_back_with_an_earlier_write,
        ),
        (
            &READ_BEFORE_ANNOUNCE,
            an_earlier_write_on_its_way_fails_once_a_later_holder_has_read,
        ),
        (
            &ANNOUNCE_AT_ONE,
            a_later_holder_finds_what_the_earlier_one_was_told,
        ),
        (
            &RESTATE_AT_ONE,
            a_holder_is_answered_only_when_the_next_one_will_find_it,
        ),
        (&OVERTAKEN_EXECUTES, an_entry_is_as_good_as_a_fence),
        (
            &COORDINATOR_ONLY,
            an_earlier_holder_is_refused_through_a_node_that_the_later_one_has_not_reached,
        ),
        (
            &NO_SEQUENCE,
            the_requests_of_one_holder_are_ordered_by_their_numbers_and_not_by_clocks,
        ),
        (
            &SINCE_IGNORED,
            what_a_holder_has_given_up_does_not_appear_after_it_has_read,
        ),
        (&MEMORY_FENCE, a_restart_forgets_no_fence),
        (
            &FILLING_ANSWERS,
            a_replica_that_lost_its_disk_admits_nobody_before_it_is_filled,
        ),
        (
            &REFILL_FROM_ONE,
            a_replica_is_filled_by_a_majority_of_the_others,
        ),
        (
            &WIPE_LOSES_FENCE,
            a_replica_that_was_filled_again_has_the_fences,
        ),
        (
            &HIDDEN_UNSEEN,
            what_is_written_without_a_token_is_not_hidden_behind_what_its_node_has_missed,
        ),
        (&OLD_LIFE, a_report_to_an_earlier_life_fills_nobody),
    ]);
}
