//! Saving a partition page by page, and restoring it.

use bytes::Bytes;
use quorate_control::topology::Partition;

use super::net::{Net, START_UNIX_MILLIS, node, secs};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, PartitionOp, Query, Reply, RequestError, SetExpiry};
use crate::protocol::{Input, Message};
use crate::saved::{PageEnd, SavedKey};

const ARCHIVE: u128 = 7;

fn page(
    net: &mut Net,
    at: u64,
    after: Option<PageEnd>,
    bytes: u32,
) -> (Vec<SavedKey>, Option<PageEnd>) {
    let op = Op::Partition(Partition(0), PartitionOp::Save { after, bytes });
    match net.ask(at, op, C::Quorum) {
        Ok(Reply::Page { keys, next }) => (keys, next.map(|end| *end)),
        other => panic!("{other:?}"),
    }
}

/// All pages of the partition, each through another node.
fn save(net: &mut Net, bytes: u32) -> Vec<SavedKey> {
    let nodes = net.cores.len() as u64;
    let (mut all, mut after, mut at) = (Vec::new(), None, 0);
    loop {
        let (keys, end) = page(net, 1 + at % nodes, after, bytes);
        assert!(!keys.is_empty() || end.is_none(), "a page brings something");
        all.extend(keys);
        at += 1;
        match end {
            Some(end) => after = Some(end),
            None => return all,
        }
    }
}

fn restoring(saved: &SavedKey, archive: u128) -> Op {
    let restore = Mutation::Restore {
        archive,
        expiry: saved.expiry,
        rows: saved.rows.clone(),
    };
    Op::Mutate(saved.key.clone(), restore)
}

/// Restores everything and returns how many rows were missing or older.
fn restore(net: &mut Net, at: u64, saved: &[SavedKey], archive: u128) -> i64 {
    let mut restored = 0;
    for key in saved {
        match net.ask(at, restoring(key, archive), C::Quorum) {
            Ok(Reply::Integer(rows)) => restored += rows,
            other => panic!("{other:?}"),
        }
    }
    restored
}

fn change(net: &mut Net, at: u64, key: &'static str, mutation: Mutation) {
    net.mutate(at, key, mutation, C::Quorum).expect("healthy");
}

fn names(prefix: &str, count: usize) -> Vec<Bytes> {
    let name = |number| Bytes::from(format!("{prefix}{number}"));
    (0..count).map(name).collect()
}

/// A partition with a key of every kind.
fn filled() -> Net {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    net.set(1, "text", "value", C::Quorum).expect("healthy");
    change(&mut net, 2, "set", Mutation::Add(names("member", 300)));
    let fields = names("field", 300)
        .into_iter()
        .map(|name| (name, "value".into()));
    change(&mut net, 3, "hash", Mutation::SetFields(fields.collect()));
    for at in 1..=3 {
        change(&mut net, at, "counter", Mutation::Increment(5));
        change(
            &mut net,
            at,
            "hash",
            Mutation::IncrementField("sum".into(), 2),
        );
    }
    change(
        &mut net,
        1,
        "set",
        Mutation::ExpireAt(START_UNIX_MILLIS + 3_600_000),
    );
    change(
        &mut net,
        2,
        "leased",
        Mutation::Set {
            value: "value".into(),
            expiry: SetExpiry::At(START_UNIX_MILLIS + 7_200_000),
        },
    );
    net
}

fn everything(net: &mut Net) -> Vec<Result<Reply, RequestError>> {
    let questions = [
        ("text", Query::Get),
        ("set", Query::Members),
        ("set", Query::Expiry),
        ("hash", Query::Entries),
        ("counter", Query::Get),
        ("leased", Query::Get),
        ("leased", Query::Expiry),
    ];
    let ask = |(key, query): (&'static str, Query)| net.query(2, key, query, C::Quorum);
    questions.into_iter().map(ask).collect()
}

/// In pages of any size, into a cluster of another size, once and twice.
#[test]
fn what_was_saved_is_there_after_it_was_restored_however_often() {
    let mut net = filled();
    let before = everything(&mut net);
    for bytes in [1, 200, 5_000, u32::MAX] {
        let saved = save(&mut net, bytes);
        let mut other = Net::new(&[1]);
        other.run(secs(2));
        let other_is = |other: &mut Net| {
            let questions = ["text", "counter", "leased"];
            let got = questions.map(|key| other.query(1, key, Query::Get, C::Quorum));
            let set = other.query(1, "set", Query::Members, C::Quorum);
            let until = ["set", "leased"].map(|key| other.query(1, key, Query::Expiry, C::Quorum));
            let hash = other.query(1, "hash", Query::Entries, C::Quorum);
            let [text, counter, leased] = got;
            let [set_until, leased_until] = until;
            vec![text, set, set_until, hash, counter, leased, leased_until]
        };
        assert!(restore(&mut other, 1, &saved, ARCHIVE) > 0);
        assert_eq!(other_is(&mut other), before, "{bytes}");
        assert_eq!(restore(&mut other, 1, &saved, ARCHIVE), 0, "{bytes}");
        assert_eq!(other_is(&mut other), before, "{bytes}");
    }
    let saved = save(&mut net, 1_000);
    assert_eq!(
        restore(&mut net, 3, &saved, ARCHIVE),
        0,
        "nothing is missing"
    );
    assert_eq!(everything(&mut net), before);
}

#[test]
fn a_page_is_one_context_and_divides_only_what_is_longer() {
    let mut net = filled();
    let (all, end) = page(&mut net, 1, None, u32::MAX);
    assert_eq!(end, None);
    assert_eq!(all.len(), 5);
    let (mut after, mut parts, mut pages) = (None, Vec::new(), 0);
    loop {
        let (keys, end) = page(&mut net, 2, after, 2_000);
        let bytes: usize = keys.iter().map(SavedKey::weight).sum();
        assert!(bytes <= 2_000, "{bytes}");
        parts.extend(keys);
        pages += 1;
        match end {
            Some(end) => after = Some(end),
            None => break,
        }
    }
    assert!(pages > 3, "{pages}");
    let of = |key: &str| parts.iter().filter(|part| part.key == key).count();
    assert!(of("set") > 1 && of("hash") > 1);
    assert_eq!((of("text"), of("counter"), of("leased")), (1, 1, 1));
    let rows = |keys: &[SavedKey]| keys.iter().map(|key| key.rows.len()).sum::<usize>();
    assert_eq!(rows(&parts), rows(&all));
}

#[test]
fn a_backup_at_quorum_has_what_was_acknowledged_at_quorum() {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    net.cut(&[1], &[2, 3]);
    net.set(2, "k", "v", C::Quorum).expect("two of three");
    net.heal_between(&[1], &[2]);
    let (keys, _) = page(&mut net, 1, None, 1_000);
    assert_eq!(keys.len(), 1, "n1 had missed it");
    net.cut(&[1], &[2, 3]);
    let op = Op::Partition(
        Partition(0),
        PartitionOp::Save {
            after: None,
            bytes: 1_000,
        },
    );
    let alone = net.ask(1, op, C::Quorum);
    assert!(
        alone.as_ref().is_err_and(|error| !error.may_be_applied()),
        "{alone:?}"
    );
}

#[test]
fn what_was_written_later_wins_over_a_backup() {
    let mut net = filled();
    let saved = save(&mut net, 1_000);
    net.run(secs(1));
    net.set(1, "text", "later", C::Quorum).expect("healthy");
    change(
        &mut net,
        1,
        "hash",
        Mutation::SetFields(vec![("field7".into(), "later".into())]),
    );
    change(&mut net, 2, "counter", Mutation::Increment(1));
    change(&mut net, 2, "set", Mutation::Remove(names("member", 1)));
    change(&mut net, 3, "leased", Mutation::Delete);
    change(&mut net, 3, "leased", Mutation::Add(names("other", 2)));
    let restored = restore(&mut net, 1, &saved, ARCHIVE);
    assert_eq!(restored, 1, "the element that was removed");
    assert_eq!(net.get(3, "text", C::Quorum), Ok(Some("later".into())));
    assert_eq!(net.get(3, "counter", C::Quorum), Ok(Some("16".into())));
    let field = Query::Fields(vec!["field7".into(), "sum".into()]);
    assert_eq!(
        net.query(3, "hash", field, C::Quorum),
        Ok(Reply::Values(vec![Some("later".into()), Some("6".into())]))
    );
    assert_eq!(
        net.query(3, "leased", Query::Cardinality, C::Quorum),
        Ok(Reply::Integer(2)),
        "a key of another kind stays as it is"
    );
    assert_eq!(
        net.query(3, "leased", Query::Expiry, C::Quorum),
        Ok(Reply::Expiry(crate::op::Expiry::Never)),
        "and keeps the expiry that it has"
    );
}

#[test]
fn a_newer_backup_restores_over_an_older_one() {
    let mut net = filled();
    let older = save(&mut net, 1_000);
    net.run(secs(1));
    net.set(1, "text", "newer", C::Quorum).expect("healthy");
    let newer = save(&mut net, 1_000);
    for order in [[&older, &newer], [&newer, &older]] {
        let mut other = Net::new(&[3]);
        other.run(secs(20));
        for (archive, saved) in (1..).zip(order) {
            restore(&mut other, archive as u64, saved, archive);
        }
        assert_eq!(other.get(3, "text", C::Quorum), Ok(Some("newer".into())));
        assert_eq!(other.get(3, "counter", C::Quorum), Ok(Some("15".into())));
    }
}

/// n1 restores a counter and is cut off before anybody hears of it; n2 restores it again.
#[test]
fn a_counter_that_two_replicas_restore_is_counted_once() {
    let mut net = filled();
    let saved = save(&mut net, 1_000);
    let counter = saved
        .iter()
        .find(|key| key.key == "counter")
        .expect("saved");
    let mut other = Net::new(&[3]);
    other.run(secs(2));
    let ticket = other.submit(1, restoring(counter, ARCHIVE), C::Quorum);
    other.cut_off_before_writes(1);
    assert!(other.answer(ticket).is_err(), "nobody else has it");
    assert_eq!(
        restore(&mut other, 2, std::slice::from_ref(counter), ARCHIVE),
        1
    );
    other.heal();
    other.run(secs(5));
    other.assert_converged();
    assert_eq!(other.get(3, "counter", C::All), Ok(Some("15".into())));
}

#[test]
fn concurrent_values_are_saved_and_restored_beside_each_other() {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    net.cut(&[1], &[2, 3]);
    for at in [1, 2] {
        net.set(at, "k", &format!("n{at}"), C::One)
            .expect("one is enough");
    }
    net.heal();
    net.run(secs(3));
    let saved = save(&mut net, 1_000);
    let mut other = Net::new(&[1]);
    other.run(secs(2));
    assert_eq!(restore(&mut other, 1, &saved, ARCHIVE), 1);
    let both = |net: &mut Net| match net.query(1, "k", Query::Siblings, C::Quorum) {
        Ok(Reply::Siblings { values, .. }) => values,
        other => panic!("{other:?}"),
    };
    assert_eq!(both(&mut other), both(&mut net));
    assert_eq!(both(&mut other).len(), 2);
}

#[test]
fn what_has_expired_is_neither_saved_nor_restored() {
    let mut net = filled();
    let saved = save(&mut net, 1_000);
    net.skew.extend((1..=3).map(|at| (node(at), 5_400_000)));
    let later = save(&mut net, u32::MAX);
    assert!(
        later.iter().all(|key| key.key != "set"),
        "an hour and a half later"
    );
    let mut other = Net::new(&[1]);
    other.skew.insert(node(1), 5_400_000);
    other.run(secs(70));
    restore(&mut other, 1, &saved, ARCHIVE);
    let exists = |net: &mut Net, key| net.query(1, key, Query::Exists, C::Quorum);
    assert_eq!(exists(&mut other, "set"), Ok(Reply::Integer(0)));
    assert_eq!(exists(&mut other, "leased"), Ok(Reply::Integer(1)));
}

/// A backup from a cluster whose clock was a year ahead.
#[test]
fn a_stamp_from_the_future_does_not_make_a_restored_value_immortal() {
    let mut net = filled();
    let mut saved = save(&mut net, 1_000);
    for register in saved
        .iter_mut()
        .flat_map(|key| &mut key.rows)
        .flat_map(|row| &mut row.registers)
    {
        register.hlc = quorate_crdt::Hlc::from_parts(START_UNIX_MILLIS + 31_536_000_000, 0)
            .expect("before the last stamp");
    }
    let mut other = Net::new(&[3]);
    other.run(secs(2));
    other.cut(&[1], &[2, 3]);
    let text = saved.iter().find(|key| key.key == "text").expect("saved");
    other
        .ask(1, restoring(text, ARCHIVE), C::One)
        .expect("one is enough");
    other.run(secs(1));
    other
        .set(2, "text", "concurrent", C::Quorum)
        .expect("two of three");
    other.heal();
    other.run(secs(5));
    assert_eq!(other.get(1, "text", C::All), Ok(Some("concurrent".into())));
}

#[test]
fn a_page_is_asked_for_again_when_a_question_is_lost() {
    let mut net = filled();
    net.lose(1, |message| matches!(message, Message::Read { .. }));
    let (keys, _) = page(&mut net, 1, None, u32::MAX);
    assert_eq!(keys.len(), 5);
}

/// The parts of a set of thousands are submitted one after the other, as by a client that waits for
/// none of them, while one of three nodes hears nothing.
#[test]
fn the_parts_of_a_large_key_are_not_sent_again_with_each_other() {
    let mut net = Net::new(&[1]);
    net.run(secs(2));
    change(&mut net, 1, "set", Mutation::Add(names("member", 6_000)));
    let saved = save(&mut net, 20_000);
    assert!(saved.len() > 10, "{}", saved.len());
    let mut other = Net::new(&[3]);
    other.run(secs(2));
    other.cut(&[3], &[1, 2]);
    let tickets: Vec<u64> = saved
        .iter()
        .map(|part| other.submit(1, restoring(part, ARCHIVE), C::Quorum))
        .collect();
    let mut written = 0;
    while let Some((from, to, message)) = other.queue.pop_front() {
        if matches!(message, Message::Write { .. }) {
            written += postcard::to_stdvec(&message).expect("a message").len();
        }
        if other.hears(from, to) {
            other.input(to, Input::Message { from, message });
        }
    }
    let mut restored = 0;
    for ticket in tickets {
        match other.answer(ticket) {
            Ok(Reply::Integer(rows)) => restored += rows,
            outcome => panic!("{outcome:?}"),
        }
    }
    assert_eq!(restored, 6_000);
    let count = other.query(2, "set", Query::Cardinality, C::Quorum);
    assert_eq!(count, Ok(Reply::Integer(6_000)));
    // About a hundred bytes a member and replica. Sent again with each part, it is many times that.
    assert!(
        written < 6_000 * 3 * 120,
        "{written} bytes for three replicas"
    );
}

#[cfg(feature = "planted-bugs")]
#[test]
fn broken_rules_of_backups_are_noticed() {
    use crate::planted;
    super::noticed(&[
        (
            &planted::SAVED_UNSEEN,
            a_backup_at_quorum_has_what_was_acknowledged_at_quorum,
        ),
        (
            &planted::RESTORE_ADDS_TO_COUNTERS,
            what_was_saved_is_there_after_it_was_restored_however_often,
        ),
        (
            &planted::RESTORE_OVER_NEWER,
            what_was_written_later_wins_over_a_backup,
        ),
        (
            &planted::RESTORED_UNDER_OWN_MARK,
            a_counter_that_two_replicas_restore_is_counted_once,
        ),
    ]);
}
