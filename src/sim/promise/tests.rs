//! Every check must be able to fail: a history that keeps its promises passes, and the same history
//! with one thing changed does not.

use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Limits, Reply, RequestError};

use super::judge;
use super::key::Judged;
use crate::sim::history::{Need, Told};
use crate::sim::oracle::{Destruction, Harm};
use crate::sim::plan::action::Action;
use crate::sim::plan::request::{Ask, Deed, Key, Kind, LAST, name};
use crate::sim::plan::{Plan, Step};

/// A request to three replicas at `QUORUM`, answered after 10 ms.
fn told(id: u32, at: u64, kind: Kind, deed: Deed, result: Result<Reply, RequestError>) -> Told {
    let ask = Ask {
        client: 0,
        keyspace: 0,
        ..Ask::new(id, 1, Key(kind, 0), deed)
    };
    let (from, to) = (Duration::from_millis(at), Duration::from_millis(at + 10));
    Told {
        ask,
        from,
        to,
        result,
        dot: None,
        need: Need::flat(3, 2),
        covers: Vec::new(),
    }
}

/// The first broken promise in a plan without any other fault.
fn verdict(history: &[Told], destroyed: &[Destruction]) -> Option<&'static str> {
    verdict_of(&calm(), history, destroyed)
}

/// A plan in which nothing happens, with the default limits.
fn calm() -> Plan {
    let mut plan = Plan::from_seed(1);
    plan.steps.clear();
    (plan.shape.skew_ms, plan.shape.loss, plan.limits) = (10, 0.0, Limits::default());
    plan
}

fn verdict_of(plan: &Plan, history: &[Told], destroyed: &[Destruction]) -> Option<&'static str> {
    let judged = Judged {
        plan,
        history,
        last: &[],
        heard: &[],
        of_holds: &[],
        destroyed,
        spread: 20,
    };
    judge(&judged).first().map(|violation| violation.check)
}

/// Damage to a node's copies at 50 ms.
fn harmed(node: u64, harm: Harm) -> Destruction {
    Destruction {
        at: Duration::from_millis(50),
        node: NodeId(node),
        harm,
    }
}

fn value(text: &str) -> Reply {
    Reply::Value(text.to_owned().into())
}

const DONE: Result<Reply, RequestError> = Ok(Reply::Done);
const ONE: Result<Reply, RequestError> = Ok(Reply::Integer(1));
const NIL: Result<Reply, RequestError> = Ok(Reply::Nil);
const OPEN: Result<Reply, RequestError> = Err(RequestError::Stopping);

#[test]
fn a_register_that_forgets_is_found_and_a_removed_one_may() {
    let set = told(1, 0, Kind::Register, Deed::Set, DONE);
    let lost = told(2, 100, Kind::Register, Deed::Get, NIL);
    assert_eq!(verdict(&[set.clone(), lost.clone()], &[]), Some("lost"));
    let kept = told(2, 100, Kind::Register, Deed::Get, Ok(value("v1")));
    assert_eq!(verdict(&[set.clone(), kept], &[]), None);
    let removal = told(3, 50, Kind::Register, Deed::Delete, OPEN);
    assert_eq!(verdict(&[set.clone(), removal, lost.clone()], &[]), None);
    // A write with an unknown outcome promises nothing.
    let unsure = Told {
        result: OPEN,
        ..set
    };
    assert_eq!(verdict(&[unsure, lost], &[]), None);
}

#[test]
fn a_text_is_as_long_as_is_allowed_and_none_is_refused_that_fits() {
    let mut plan = calm();
    plan.limits.value_bytes = 7;
    let (append, read) = (
        |id, result| told(id, u64::from(id) * 20, Kind::Text, Deed::Append, result),
        |text| told(12, 400, Kind::Text, Deed::Get, Ok(value(text))),
    );
    let grown = |length| {
        [
            append(10, Ok(Reply::Integer(4))),
            append(11, Ok(Reply::Integer(length))),
        ]
    };
    assert_eq!(verdict_of(&plan, &grown(7), &[]), None);
    assert_eq!(verdict_of(&plan, &grown(8), &[]), Some("took-too-much"));
    let shown = |text| {
        [
            append(10, Ok(Reply::Integer(4))),
            append(11, OPEN),
            read(text),
        ]
    };
    assert_eq!(verdict_of(&plan, &shown("[10]"), &[]), None);
    assert_eq!(
        verdict_of(&plan, &shown("[10][11]"), &[]),
        Some("took-too-much")
    );
    let refused = Err(RequestError::TooLarge { bytes: 8, max: 7 });
    assert_eq!(
        verdict_of(
            &plan,
            &[
                append(10, Ok(Reply::Integer(4))),
                append(11, refused.clone())
            ],
            &[]
        ),
        None
    );
    assert_eq!(
        verdict_of(&plan, &[append(11, refused)], &[]),
        Some("refused-without-cause")
    );
}

#[test]
fn as_many_values_stand_beside_each_other_as_are_allowed() {
    let mut plan = calm();
    plan.limits.siblings = 2;
    let write = |id, copies, result| {
        let told = told(
            id,
            u64::from(id) * 20,
            Kind::Siblings,
            Deed::SetSeen(0),
            result,
        );
        Told {
            need: Need::flat(3, copies),
            ..told
        }
    };
    let read = |values: &[&str]| {
        let values = values
            .iter()
            .map(|value| (*value).to_owned().into())
            .collect();
        told(
            9,
            400,
            Kind::Siblings,
            Deed::Siblings,
            Ok(Reply::Siblings {
                token: "".into(),
                values,
            }),
        )
    };
    let three = |copies| {
        [
            write(1, copies, DONE),
            write(2, copies, DONE),
            write(3, copies, DONE),
            read(&["v1", "v2", "v3"]),
        ]
    };
    assert_eq!(
        verdict_of(&plan, &three(3), &[]),
        Some("took-too-much"),
        "all had two of them"
    );
    assert_eq!(
        verdict_of(&plan, &three(2), &[]),
        None,
        "one replica may have had none of them"
    );
    let refused = Err(RequestError::Siblings { count: 3, bytes: 6 });
    let third = |refused| [write(1, 3, DONE), write(2, 3, DONE), refused];
    assert_eq!(
        verdict_of(&plan, &third(write(3, 3, refused.clone())), &[]),
        None
    );
    assert_eq!(
        verdict_of(&plan, &[write(1, 3, DONE), write(3, 3, refused)], &[]),
        Some("refused-without-cause")
    );
}

#[test]
fn who_waits_in_vain_is_excused_by_whatever_is_done_to_the_cluster() {
    let late = RequestError::TimedOut {
        level: Consistency::Quorum,
        acked: 1,
        required: 2,
        missing: Vec::new(),
        may_be_applied: true,
    };
    let history = [told(1, 0, Kind::Register, Deed::Set, Err(late))];
    assert_eq!(verdict(&history, &[]), Some("timed-out-without-cause"));
    let mut plan = calm();
    plan.steps.push(Step {
        at: 5,
        action: Action::Crash(2),
    });
    assert_eq!(verdict_of(&plan, &history, &[]), None);
}

#[test]
fn a_write_is_excused_only_by_as_many_disks_as_it_had_copies() {
    let history = [
        told(1, 0, Kind::Register, Deed::Set, DONE),
        told(2, 100, Kind::Register, Deed::Get, NIL),
    ];
    let gone = |node| harmed(node, Harm::Gone);
    assert_eq!(verdict(&history, &[gone(1)]), Some("lost"));
    assert_eq!(verdict(&history, &[gone(1), gone(1)]), Some("lost"));
    assert_eq!(verdict(&history, &[gone(1), gone(2)]), None);
}

#[test]
fn what_one_datacenter_wrote_for_itself_is_promised_to_no_other() {
    let write = |need| Told {
        need,
        ..told(1, 0, Kind::Register, Deed::Set, DONE)
    };
    let read = |need| Told {
        need,
        ..told(2, 100, Kind::Register, Deed::Get, NIL)
    };
    let (west, both) = ([(1, 0), (1, 1)], [(1, 1), (1, 1)]);
    for epoch in 1..=2 {
        let found = |wrote, reads| {
            verdict(
                &[
                    write(Need::local(1, wrote)),
                    read(Need::local(epoch, reads)),
                ],
                &[],
            )
        };
        assert_eq!(
            found(&west, &[(1, 1), (1, 0)]),
            None,
            "each a LOCAL_QUORUM of its own"
        );
        assert_eq!(
            found(&west, &west),
            Some("lost"),
            "LOCAL_QUORUM of the same"
        );
        assert_eq!(
            found(&west, &both),
            Some("lost"),
            "EACH_QUORUM finds what either has"
        );
        assert_eq!(
            found(&both, &[(1, 1), (1, 0)]),
            Some("lost"),
            "EACH_QUORUM is found by either"
        );
    }
}

#[test]
fn a_copy_that_was_set_back_is_read_until_it_has_heard_more_and_not_at_the_end() {
    let history = |read: Told| [told(1, 0, Kind::Register, Deed::Set, DONE), read];
    let read = told(2, 100, Kind::Register, Deed::Get, NIL);
    assert_eq!(
        verdict(&history(read.clone()), &[harmed(1, Harm::SetBack)]),
        None
    );
    let all = Told {
        need: Need::flat(3, 3),
        ..read.clone()
    };
    assert_eq!(
        verdict(&history(all), &[harmed(1, Harm::SetBack)]),
        Some("lost")
    );
    let last = Told {
        ask: Ask {
            id: LAST + 1,
            ..read.ask.clone()
        },
        ..read
    };
    assert_eq!(
        verdict(&history(last), &[harmed(1, Harm::SetBack)]),
        Some("lost")
    );
}

#[test]
fn a_rotten_value_is_excused_until_the_end_and_where_nobody_can_tell() {
    let rot = [harmed(1, Harm::Rotten)];
    let read = |id, at| told(id, at, Kind::Register, Deed::Get, Ok(value("w1")));
    assert_eq!(verdict(&[read(1, 100)], &rot), None);
    assert_eq!(verdict(&[read(LAST + 1, 60_000)], &rot), Some("invented"));
}

#[test]
fn an_older_value_that_a_removal_had_not_seen_shows_again() {
    let here = Told {
        need: Need::flat(3, 1),
        ..told(1, 0, Kind::Register, Deed::Set, DONE)
    };
    let elsewhere = told(2, 100, Kind::Register, Deed::Set, DONE);
    let removal = told(3, 200, Kind::Register, Deed::Delete, ONE);
    let read = told(4, 300, Kind::Register, Deed::Get, Ok(value("v1")));
    assert_eq!(
        verdict(&[here.clone(), elsewhere.clone(), read.clone()], &[]),
        Some("stale")
    );
    assert_eq!(verdict(&[here, elsewhere, removal, read], &[]), None);
}

#[test]
fn an_older_value_is_stale_only_when_the_clocks_tell_them_apart() {
    let read = told(3, 200, Kind::Register, Deed::Get, Ok(value("v1")));
    let history = |second: u64| {
        [
            told(1, 0, Kind::Register, Deed::Set, DONE),
            told(2, second, Kind::Register, Deed::Set, DONE),
            read.clone(),
        ]
    };
    assert_eq!(verdict(&history(100), &[]), Some("stale"));
    assert_eq!(verdict(&history(20), &[]), None);
}

#[test]
fn a_refused_write_must_never_show() {
    let refused = told(
        1,
        0,
        Kind::Register,
        Deed::Set,
        Err(RequestError::Overloaded),
    );
    assert_eq!(
        verdict(
            &[
                refused,
                told(2, 100, Kind::Register, Deed::Get, Ok(value("v1")))
            ],
            &[]
        ),
        Some("refused-but-applied")
    );
    assert_eq!(
        verdict(
            &[told(2, 100, Kind::Register, Deed::Get, Ok(value("v7")))],
            &[]
        ),
        Some("invented")
    );
}

#[test]
fn what_was_removed_at_a_majority_stays_away() {
    let history = |kind, add: Deed, remove: Deed, shown: Told| {
        [
            told(1, 0, kind, add, ONE),
            told(2, 100, kind, remove, ONE),
            shown,
        ]
    };
    let back = told(3, 200, Kind::Register, Deed::Get, Ok(value("v1")));
    assert_eq!(
        verdict(&history(Kind::Register, Deed::Set, Deed::Delete, back), &[]),
        Some("came-back")
    );
    let back = told(
        3,
        200,
        Kind::Set,
        Deed::Members,
        Ok(Reply::List(vec!["m1".into()])),
    );
    assert_eq!(
        verdict(
            &history(
                Kind::Set,
                Deed::Add(vec![1]),
                Deed::Remove(vec![1]),
                back.clone()
            ),
            &[]
        ),
        Some("came-back")
    );
    // A concurrent addition stays.
    let beside = told(4, 95, Kind::Set, Deed::Add(vec![1]), ONE);
    let [add, removal, back] = history(Kind::Set, Deed::Add(vec![1]), Deed::Remove(vec![1]), back);
    assert_eq!(verdict(&[add, beside, removal, back], &[]), None);
}

#[test]
fn a_set_that_loses_an_element_is_found() {
    let add = told(1, 0, Kind::Set, Deed::Add(vec![1, 2]), ONE);
    let shown = told(
        2,
        100,
        Kind::Set,
        Deed::Members,
        Ok(Reply::List(vec!["m1".into()])),
    );
    assert_eq!(verdict(&[add, shown], &[]), Some("lost"));
}

#[test]
fn a_counter_is_between_what_is_sure_and_what_is_possible() {
    let count = |id, result| told(id, 0, Kind::Counter, Deed::Count(2), result);
    let shown = |text| told(9, 100, Kind::Counter, Deed::Get, Ok(value(text)));
    let history = |text| [count(1, ONE), count(2, OPEN), shown(text)];
    assert_eq!(verdict(&history("1"), &[]), Some("count-lost"));
    assert_eq!(verdict(&history("2"), &[]), None);
    assert_eq!(verdict(&history("4"), &[]), None);
    assert_eq!(verdict(&history("5"), &[]), Some("counted-twice"));
}

#[test]
fn a_field_is_counted_for_itself_and_downwards_too() {
    let count = |id, by, result| told(id, 0, Kind::Tally, Deed::CountField(1, by), result);
    let shown = |text| {
        told(
            9,
            100,
            Kind::Tally,
            Deed::Fields(vec![0, 1]),
            Ok(Reply::Values(vec![None, Some(text)])),
        )
    };
    let history = |text: &'static str| [count(1, 5, ONE), count(2, -2, OPEN), shown(text.into())];
    assert_eq!(verdict(&history("2"), &[]), Some("count-lost"));
    assert_eq!(verdict(&history("3"), &[]), None);
    assert_eq!(verdict(&history("5"), &[]), None);
    assert_eq!(verdict(&history("6"), &[]), Some("counted-twice"));
    assert_eq!(verdict(&history("x"), &[]), Some("invented"));
}

#[test]
fn a_counter_refuses_only_what_may_leave_its_range() {
    let count = |id, at, by, result| told(id, at, Kind::Counter, Deed::Count(by), result);
    let refused = |by| count(3, 200, by, Err(RequestError::Overflow));
    let full = count(1, 0, i64::MAX, ONE);
    assert_eq!(verdict(&[full.clone(), refused(1)], &[]), None);
    assert_eq!(
        verdict(&[full.clone(), refused(-1)], &[]),
        Some("refused-without-cause")
    );
    let open = count(2, 0, 2, OPEN);
    assert_eq!(
        verdict(&[full, open, refused(-1)], &[]),
        None,
        "the sum may be beyond the range"
    );
}

#[test]
fn a_text_keeps_every_part_and_each_once() {
    let append = |id, at| told(id, at, Kind::Text, Deed::Append, ONE);
    let shown = |text| told(9, 200, Kind::Text, Deed::Get, Ok(value(text)));
    assert_eq!(
        verdict(&[append(1, 0), append(2, 100), shown("[1][2]")], &[]),
        None
    );
    assert_eq!(
        verdict(&[append(1, 0), append(2, 100), shown("[2]")], &[]),
        Some("lost")
    );
    assert_eq!(
        verdict(&[append(1, 0), append(2, 100), shown("[1][2][2]")], &[]),
        Some("counted-twice")
    );
    // Of two concurrent appends, either may win.
    assert_eq!(
        verdict(&[append(1, 0), append(2, 5), shown("[2]")], &[]),
        None
    );
}

#[test]
fn a_sibling_goes_only_when_a_token_covered_it() {
    let set = told(1, 0, Kind::Siblings, Deed::SetSeen(0), DONE);
    let over = |covers: Vec<u32>| Told {
        covers,
        ..told(2, 100, Kind::Siblings, Deed::SetSeen(0), DONE)
    };
    let shown = |values: &[&'static str]| {
        let values = values
            .iter()
            .map(|value| bytes::Bytes::from_static(value.as_bytes()))
            .collect();
        told(
            3,
            200,
            Kind::Siblings,
            Deed::Siblings,
            Ok(Reply::Siblings {
                token: bytes::Bytes::new(),
                values,
            }),
        )
    };
    assert_eq!(
        verdict(&[set.clone(), over(vec![]), shown(&["v2"])], &[]),
        Some("lost")
    );
    assert_eq!(
        verdict(&[set.clone(), over(vec![1]), shown(&["v2"])], &[]),
        None
    );
    assert_eq!(
        verdict(&[set, over(vec![1]), shown(&["v1", "v2"])], &[]),
        Some("came-back")
    );
}

#[test]
fn a_sibling_goes_with_a_removal_that_saw_it_and_may_go_with_a_blunt_set() {
    let set = |id, at, deed| told(id, at, Kind::Siblings, deed, ONE);
    let shown = |values: &[&'static str]| {
        let values = values
            .iter()
            .map(|value| bytes::Bytes::from_static(value.as_bytes()))
            .collect();
        told(
            3,
            200,
            Kind::Siblings,
            Deed::Siblings,
            Ok(Reply::Siblings {
                token: bytes::Bytes::new(),
                values,
            }),
        )
    };
    let history = |deed, values: &[&'static str]| {
        [
            set(1, 0, Deed::SetSeen(0)),
            set(2, 100, deed),
            shown(values),
        ]
    };
    assert_eq!(verdict(&history(Deed::Delete, &[]), &[]), None);
    assert_eq!(
        verdict(&history(Deed::Delete, &["v1"]), &[]),
        Some("came-back")
    );
    assert_eq!(verdict(&history(Deed::Set, &["v2"]), &[]), None);
    assert_eq!(
        verdict(&history(Deed::Set, &["v1", "v2"]), &[]),
        None,
        "its node may not have seen it"
    );
    assert_eq!(verdict(&history(Deed::Set, &["v1"]), &[]), Some("lost"));
}

#[test]
fn a_collection_is_gone_after_its_expiry_and_not_before() {
    let add = told(1, 0, Kind::Set, Deed::Add(vec![1]), ONE);
    let expires = |ms| told(2, 100, Kind::Set, Deed::ExpireIn { ms }, ONE);
    let shown = |at, members: &[&'static str]| {
        let members = members
            .iter()
            .map(|member| bytes::Bytes::from_static(member.as_bytes()))
            .collect();
        told(3, at, Kind::Set, Deed::Members, Ok(Reply::List(members)))
    };
    assert_eq!(
        verdict(&[add.clone(), expires(500), shown(1_000, &[])], &[]),
        None
    );
    assert_eq!(
        verdict(&[add.clone(), expires(500), shown(1_000, &["m1"])], &[]),
        Some("outlived-its-expiry")
    );
    assert_eq!(
        verdict(&[add.clone(), expires(5_000), shown(1_000, &["m1"])], &[]),
        None
    );
    assert_eq!(
        verdict(&[add.clone(), expires(5_000), shown(1_000, &[])], &[]),
        Some("lost")
    );
    // The expiry does not necessarily apply to an element added at the same time.
    let beside = told(4, 105, Kind::Set, Deed::Add(vec![1]), ONE);
    assert_eq!(
        verdict(&[add, expires(500), beside, shown(1_000, &["m1"])], &[]),
        None
    );
    let set = told(1, 0, Kind::Hash, Deed::SetFields(vec![1]), ONE);
    let expires = told(2, 100, Kind::Hash, Deed::ExpireIn { ms: 500 }, ONE);
    let shown = told(
        3,
        1_000,
        Kind::Hash,
        Deed::Fields(vec![1]),
        Ok(Reply::Values(vec![Some("v1".into())])),
    );
    assert_eq!(
        verdict(&[set.clone(), expires.clone(), shown.clone()], &[]),
        Some("outlived-its-expiry")
    );
    // Of two executions of one named change, the expiry may have seen only one.
    let mut repeated = set;
    repeated.ask.again = vec![1];
    assert_eq!(verdict(&[repeated, expires, shown], &[]), None);
}

#[test]
fn a_key_is_of_another_kind_only_while_something_of_it_may_be_left() {
    let history = |removed| {
        let refused = told(
            3,
            200,
            Kind::Turning,
            Deed::Add(vec![1]),
            Err(RequestError::WrongKind),
        );
        [
            told(1, 0, Kind::Turning, Deed::Set, DONE),
            told(2, 100, Kind::Turning, Deed::Delete, removed),
            refused,
        ]
    };
    assert_eq!(verdict(&history(ONE), &[]), Some("refused-without-cause"));
    assert_eq!(verdict(&history(OPEN), &[]), None);
}

/// A request under a lock.
fn under(
    token: u64,
    sequence: u64,
    at: u64,
    deed: Deed,
    result: Result<Reply, RequestError>,
) -> Told {
    let mut told = told(at as u32, at, Kind::Guarded, deed, result);
    (told.ask.token, told.ask.sequence) = (token, sequence);
    told
}

#[test]
fn an_earlier_holder_that_succeeds_after_a_later_one_is_found() {
    let first = || under(1, 1, 100, Deed::Set, DONE);
    let later = || under(2, 1, 200, Deed::Get, Ok(value("v100")));
    let late = |result| under(1, 2, 300, Deed::Set, result);
    let history = |result| [first(), later(), late(result)];
    assert_eq!(
        verdict(&history(DONE), &[]),
        Some("earlier-holder-succeeds")
    );
    assert_eq!(verdict(&history(OPEN), &[]), None, "it was not told so");
    let mut begun_before = history(DONE);
    begun_before[2].from = Duration::from_millis(150);
    assert_eq!(
        verdict(&begun_before, &[]),
        Some("holder-reads-replaced"),
        "it began before, but then the later one had to find it"
    );
    begun_before[1].result = Ok(value("v300"));
    assert_eq!(verdict(&begun_before, &[]), None);
}

#[test]
fn what_a_holder_has_read_is_held_against_all_that_comes_later() {
    let first = || under(1, 1, 100, Deed::Set, DONE);
    let stuck = || under(1, 2, 150, Deed::Set, OPEN);
    let read = |at, sequence, found| under(2, sequence, at, Deed::Get, Ok(value(found)));
    let history = |before, after| [first(), stuck(), read(200, 1, before), read(300, 2, after)];
    assert_eq!(verdict(&history("v100", "v100"), &[]), None);
    assert_eq!(verdict(&history("v150", "v150"), &[]), None);
    assert_eq!(
        verdict(&history("v100", "v150"), &[]),
        Some("holder-reads-replaced")
    );
    let removed = under(2, 3, 400, Deed::Delete, ONE);
    let gone = under(3, 1, 500, Deed::Get, NIL);
    let back = under(3, 1, 500, Deed::Get, Ok(value("v150")));
    let then = |last| {
        let mut history = history("v100", "v100").to_vec();
        history.extend([removed.clone(), last]);
        verdict(&history, &[])
    };
    assert_eq!(then(gone), None);
    assert_eq!(then(back), Some("holder-reads-replaced"));
}

#[test]
fn what_a_holder_has_read_of_a_whole_hash_is_held_against_all_that_comes_later() {
    let of_hash = |mut told: Told| {
        told.ask.key.0 = Kind::GuardedHash;
        told
    };
    let pairs = |ids: &[(u8, u32)]| {
        let pair = |(field, id): &(u8, u32)| (name(*field), format!("v{id}").into());
        Ok(Reply::Pairs(ids.iter().map(pair).collect()))
    };
    let first = || of_hash(under(1, 1, 100, Deed::SetFields(vec![0]), ONE));
    let stuck = || of_hash(under(1, 2, 150, Deed::SetFields(vec![1]), OPEN));
    let read = |at, sequence, ids| of_hash(under(2, sequence, at, Deed::Entries, pairs(ids)));
    let judged = |before, after| {
        let history = [first(), stuck(), read(200, 1, before), read(300, 2, after)];
        verdict(&history, &[])
    };
    assert_eq!(judged(&[(0, 100)], &[(0, 100)]), None);
    assert_eq!(judged(&[(0, 100), (1, 150)], &[(0, 100), (1, 150)]), None);
    let broken = Some("holder-reads-replaced");
    assert_eq!(judged(&[(0, 100)], &[(0, 100), (1, 150)]), broken);
    assert_eq!(judged(&[(0, 100), (1, 150)], &[(0, 100)]), broken);
    assert_eq!(judged(&[], &[]), broken, "it was told that field 0 is set");
    let removed = of_hash(under(2, 2, 250, Deed::RemoveFields(vec![0]), ONE));
    let then = [
        first(),
        read(200, 1, &[(0, 100)]),
        removed,
        read(300, 3, &[]),
    ];
    assert_eq!(verdict(&then, &[]), None);
}

#[test]
fn a_name_that_is_too_long_is_never_taken() {
    let taken = |number| {
        let mut told = told(1, 0, Kind::Register, Deed::Set, DONE);
        told.ask.key.1 = number;
        verdict(&[told], &[])
    };
    assert_eq!(
        [Key::LONG, Key::LONG + 1, Key::LONG + 2].map(taken),
        [None, None, Some("took-too-much")]
    );
}

#[test]
fn a_key_is_there_before_its_expiry_and_not_after() {
    let set = |ms| told(1, 0, Kind::Expiring, Deed::SetFor { ms }, DONE);
    let shown = |at, result| told(2, at, Kind::Expiring, Deed::Get, result);
    assert_eq!(
        verdict(&[set(10_000), shown(1_000, NIL)], &[]),
        Some("lost")
    );
    assert_eq!(verdict(&[set(500), shown(1_000, NIL)], &[]), None);
    assert_eq!(
        verdict(&[set(500), shown(1_000, Ok(value("v1")))], &[]),
        Some("outlived-its-expiry")
    );
}

#[test]
fn an_expiry_may_be_kept_in_place_of_a_later_one_by_a_write_at_the_same_time() {
    let write = |id, at, deed| told(id, at, Kind::Expiring, deed, DONE);
    let read = told(9, 1_000, Kind::Expiring, Deed::Get, NIL);
    let [early, late] = [
        write(1, 0, Deed::SetFor { ms: 500 }),
        write(2, 100, Deed::SetFor { ms: 10_000 }),
    ];
    assert_eq!(
        verdict(&[early.clone(), late.clone(), read.clone()], &[]),
        Some("lost")
    );
    assert_eq!(
        verdict(&[early, late, write(3, 105, Deed::SetKeep), read], &[]),
        None
    );
}

#[test]
fn a_reader_never_goes_back() {
    let read = |id, at, text| told(id, at, Kind::Cell, Deed::Get, Ok(value(text)));
    let sets = || {
        [
            told(1, 0, Kind::Cell, Deed::Set, DONE),
            told(2, 5, Kind::Cell, Deed::Set, DONE),
        ]
    };
    let [first, second] = sets();
    assert_eq!(
        verdict(
            &[
                first,
                second,
                read(3, 50, "v1"),
                read(4, 70, "v2"),
                read(5, 90, "v1")
            ],
            &[]
        ),
        Some("turned")
    );
    let [first, second] = sets();
    assert_eq!(
        verdict(
            &[
                first,
                second,
                read(3, 50, "v1"),
                read(4, 70, "v2"),
                read(5, 90, "v2")
            ],
            &[]
        ),
        None
    );
}
