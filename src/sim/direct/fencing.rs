//! Drills on fencing tokens. A holds token 1, is paused, and goes on; B has token 2. In each drill
//! a simpler rule would break what B was told. Replicas are n1, n2 and n3.

use std::time::Duration;

use quorate_control::store::MemoryStore;
use quorate_control::topology::{Phase, Placement};
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency as C;
use quorate_dynamo::fence::Claim;
use quorate_dynamo::op::{Mutation, Op, Query, Reply, RequestError, SetExpiry};
use quorate_dynamo::protocol::{Config, Input, Message, Timer};

use super::cores::{Cores, Letter, secs, set};
use super::drill::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    ("no-restate", "holder-reads-twice-differently", stuck_write),
    (
        "fold-by-clock",
        "holder-reads-twice-differently",
        stuck_write,
    ),
    ("delete-leaves-nothing", "removed-comes-back", removed),
    (
        "read-before-announce",
        "earlier-holder-succeeds",
        on_its_way,
    ),
    ("announce-at-one", "holder-misses-what-was-told", unseen),
    ("restate-at-one", "next-holder-misses-it", next_holder),
    (
        "overtaken-executes",
        "earlier-holder-overwrites",
        entry_without_fence,
    ),
    (
        "coordinator-only",
        "earlier-holder-succeeds",
        through_another_node,
    ),
    ("no-sequence", "order-of-one-holder", fast_clock),
    ("since-ignored", "given-up-appears", given_up),
    ("memory-fence", "earlier-holder-succeeds", restarted),
    ("filling-answers", "earlier-holder-succeeds", not_yet_filled),
    ("refill-from-one", "earlier-holder-succeeds", filled_by_one),
    ("wipe-loses-fence", "earlier-holder-succeeds", filled_again),
    ("hidden-unseen", "acknowledged-and-hidden", hidden),
    ("old-life", "earlier-holder-succeeds", late_report),
    ("stream-loses-fence", "earlier-holder-succeeds", moved),
    ("joint-ignored", "earlier-holder-succeeds", during_a_move),
    ("never-collected", "fences-pile-up", collected),
    ("closed-by-quorum", "element-appears", added_at_one),
    ("former-life-joins", "element-appears", added_and_lost),
    ("reap-early", "holder-reads-twice-differently", touched),
    ("marks-kept", "marks-pile-up", marks),
];

/// A read of another key: it raises the fence, and leaves `k` alone.
fn touch() -> Op {
    Op::Query("other".into(), Query::Get)
}

type Told = Option<Result<Reply, RequestError>>;

fn a(sequence: u64) -> Claim {
    Claim::new(b"lock", 1).numbered(sequence, 1)
}

fn b(sequence: u64) -> Claim {
    Claim::new(b"lock", 2).numbered(sequence, 1)
}

fn get() -> Op {
    Op::Query("k".into(), Query::Get)
}

fn is(told: &Told, value: &'static str) -> bool {
    *told == Some(Ok(Reply::Value(value.into())))
}

fn works(told: &Told) -> Verdict {
    holds(matches!(told, Some(Ok(_))), format!("{told:?}"))
}

fn fails(told: &Told) -> Verdict {
    let failed = matches!(told, Some(Err(_)));
    holds(failed, format!("the earlier holder was told {told:?}"))
}

/// Runs `op` under a lock at n1, and cuts n1 off as soon as it has executed it.
fn stuck_at_1(net: &mut Cores, op: Op, claim: Claim) -> Told {
    let ticket = submit_stuck_at_1(net, op, claim);
    net.answer(ticket)
}

fn submit_stuck_at_1(net: &mut Cores, op: Op, claim: Claim) -> u64 {
    let ticket = net.submit_under(1, op, claim);
    while let Some(letter) = net.queue.pop_front() {
        if matches!(letter.2, Message::Write { .. }) {
            net.queue.clear();
        } else {
            net.deliver(letter);
        }
    }
    net.cut(&[1], &[2, 3]);
    ticket
}

/// A's write is at n1 alone. B reads, and then n1 is back.
fn stuck_write() -> Verdict {
    let mut net = Cores::three();
    net.skew.insert(NodeId(1), 300);
    works(&net.ask_under(2, set("k", "v"), a(1)))?;
    // B is as quick as the difference of the clocks is small.
    submit_stuck_at_1(&mut net, set("k", "w"), a(2));
    let before = net.ask_under(2, get(), b(1));
    holds(is(&before, "v"), format!("{before:?}"))?;
    net.heal();
    net.run(secs(5));
    for at in 1..=3 {
        let after = net.ask_under(at, get(), b(1 + at));
        holds(is(&after, "v"), format!("n{at}: v, and then {after:?}"))?;
    }
    Ok(())
}

/// A's write is at n1 alone. B removes the key, and then n1 is back.
fn removed() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(2, set("k", "v"), a(1)))?;
    fails(&stuck_at_1(&mut net, set("k", "w"), a(2)))?;
    works(&net.ask_under(2, Op::Mutate("k".into(), Mutation::Delete), b(1)))?;
    net.heal();
    net.run(secs(5));
    let after = net.ask_under(3, get(), b(2));
    holds(after == Some(Ok(Reply::Nil)), format!("{after:?}"))
}

/// A's write is executed at n1 and on its way to n3. B reads at n2 and n3.
fn on_its_way() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(1, set("k", "v"), a(1)))?;
    for (node, millis) in [(1, 50), (3, 1)] {
        let (node, rtt) = (NodeId(node), Duration::from_millis(millis));
        net.input(2, Input::RoundTrip { node, rtt });
    }
    let late = net.submit_under(1, set("k", "w"), a(2));
    let letters = net.held_back(3);
    net.queue.clear();
    let read = net.submit_under(2, get(), b(1));
    let mut slow = Vec::new();
    while let Some(letter) = net.queue.pop_front() {
        if letter.1 == NodeId(3) && matches!(letter.2, Message::Write { .. }) {
            slow.push(letter);
        } else {
            net.deliver(letter);
        }
    }
    let read = net.reply(read);
    holds(is(&read, "v"), format!("{read:?}"))?;
    net.queue.extend(letters);
    fails(&net.answer(late))
}

/// A's write is at n1 and n3. B reads through n2.
fn unseen() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(2, set("k", "v"), a(1)))?;
    net.cut(&[2], &[1, 3]);
    works(&net.ask_under(1, set("k", "w"), a(2)))?;
    net.heal();
    let read = net.ask_under(2, get(), b(1));
    holds(
        is(&read, "w"),
        format!("A was told that w is written, and B {read:?}"),
    )
}

/// A's write is at n1 alone. B reads it there, and n1 is cut off. Then C reads.
fn next_holder() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(2, set("k", "v"), a(1)))?;
    fails(&stuck_at_1(&mut net, set("k", "w"), a(2)))?;
    net.heal();
    let read = stuck_at_1(&mut net, get(), b(1));
    let then = net.ask_under(2, get(), Claim::new(b"lock", 3).numbered(1, 1));
    holds(
        matches!(read, Some(Err(_))) || read == then,
        format!("{read:?}, and then {then:?}"),
    )
}

/// n1 gets B's entry, but not B's fence.
fn entry_without_fence() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(1, set("k", "v"), a(1)))?;
    net.cut(&[1], &[2, 3]);
    works(&net.ask_under(2, set("k", "b"), b(1)))?;
    net.heal();
    holds(net.reads(1, "k", C::Quorum, "b"), "a plain read repairs n1")?;
    fails(&net.ask_under(1, set("k", "w"), a(2)))?;
    net.run(secs(5));
    let read = net.ask_under(3, get(), b(2));
    holds(is(&read, "b"), format!("{read:?}"))
}

/// B has not reached n1, and A writes through it.
fn through_another_node() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(1, set("k", "v"), a(1)))?;
    net.cut(&[1], &[2, 3]);
    works(&net.ask_under(2, get(), b(1)))?;
    net.heal();
    fails(&net.ask_under(1, set("k", "w"), a(2)))
}

/// Of two writes of B, the first goes through a node whose clock is ahead.
fn fast_clock() -> Verdict {
    let mut net = Cores::three();
    net.skew.insert(NodeId(1), 300);
    net.cut(&[1], &[2]);
    works(&net.ask_under(1, set("k", "x"), b(1)))?;
    net.heal();
    works(&net.ask_under(2, set("k", "y"), b(2)))?;
    let read = net.ask_under(1, get(), b(3));
    holds(is(&read, "y"), format!("{read:?}"))
}

/// n3 has missed what was written under the lock, and takes a write without one.
fn hidden() -> Verdict {
    let mut net = Cores::three();
    net.cut(&[3], &[1, 2]);
    works(&net.ask_under(1, set("k", "v"), b(1)))?;
    net.heal();
    holds(net.set(3, "k", "plain", C::Quorum), "not written")?;
    holds(
        net.reads(1, "k", C::Quorum, "plain"),
        "acknowledged, and hidden",
    )
}

/// B gives up a write that is at n1 alone, and reads.
fn given_up() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(2, set("k", "v"), b(1)))?;
    fails(&stuck_at_1(&mut net, set("k", "x"), b(2)))?;
    let before = net.ask_under(2, get(), b(3).numbered(3, 3));
    net.heal();
    net.run(secs(5));
    let after = net.ask_under(3, get(), b(4).numbered(4, 3));
    holds(
        is(&before, "v") && before == after,
        format!("{before:?}, and then {after:?}"),
    )
}

/// B has read at n1 and n2. n1 starts again, and then n2 is cut off.
fn restarted() -> Verdict {
    let mut net = Cores::three();
    for at in 1..=3 {
        net.boot_with(at, false, Config::default());
    }
    net.settle();
    works(&net.ask_under(1, set("k", "v"), a(1)))?;
    net.run(secs(3));
    net.cut(&[3], &[1, 2]);
    works(&net.ask_under(1, touch(), b(1)))?;
    net.heal();
    net.cut(&[2], &[1, 3]);
    let disk: MemoryStore = net.disk(1)?;
    net.start_on(1, &disk)?;
    net.run(secs(3));
    fails(&net.ask_under(3, set("k", "w"), a(2)))
}

/// B has read at n1 and n2 while n3 was cut off. n1 loses its disk and n2 is cut off from n3; if
/// `alone`, from n1 as well.
fn wiped(alone: bool) -> Result<Cores, String> {
    let mut net = Cores::three();
    works(&net.ask_under(1, set("k", "v"), a(1)))?;
    net.run(secs(3));
    net.cut(&[3], &[1, 2]);
    works(&net.ask_under(1, touch(), b(1)))?;
    net.queue.clear();
    net.heal();
    net.cut(&[2], if alone { &[1, 3] } else { &[3] });
    net.boot(1, true);
    Ok(net)
}

/// A tries through n3, which has not heard of B, again and again.
fn tries(net: &mut Cores) -> Verdict {
    for sequence in 2..7 {
        net.run(Duration::from_millis(300));
        fails(&net.ask_under(3, set("k", "w"), a(sequence)))?;
    }
    Ok(())
}

fn not_yet_filled() -> Verdict {
    let mut net = wiped(true)?;
    fails(&net.ask_under(3, set("k", "w"), a(2)))
}

fn filled_by_one() -> Verdict {
    tries(&mut wiped(true)?)
}

fn filled_again() -> Verdict {
    let mut net = wiped(false)?;
    net.run(secs(3));
    let filling = net.summary(1).is_none_or(|summary| summary.filling);
    holds(!filling, "n1 is not filled by n2 and n3")?;
    net.cut(&[2], &[1, 3]);
    tries(&mut net)
}

/// A report that n2 sent before it heard of B reaches n1 after n1 has lost its disk.
fn late_report() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(1, set("k", "v"), a(1)))?;
    net.run(secs(3));
    let mut old = None;
    for _ in 0..20 {
        net.input(2, Input::Timer(Timer::AntiEntropy));
        let report = |letter: &&Letter| {
            (letter.0, letter.1) == (NodeId(2), NodeId(1)) && matches!(letter.2, Message::Seen(_))
        };
        old = old.or(net.queue.iter().find(report).cloned());
        net.queue.clear();
    }
    let old = old.ok_or("n2 reports nothing")?;
    net.cut(&[3], &[1, 2]);
    works(&net.ask_under(1, touch(), b(1)))?;
    net.queue.clear();
    net.heal();
    net.cut(&[2], &[1, 3]);
    net.boot(1, true);
    net.run(secs(1));
    net.deliver(old);
    tries(&mut net)
}

fn switch(net: &mut Cores) {
    net.set_placement(|placement| {
        if let Some(transition) = &mut placement.transition {
            transition.phase = Phase::Switching;
        }
    });
    net.run(secs(1));
}

fn end_move(net: &mut Cores) {
    net.set_placement(|placement| {
        *placement = Placement::stable(placement.epoch, [3, 4, 5].map(NodeId).to_vec());
    });
}

/// The partition moves to n3, n4 and n5. B has read at n1 and n2, and n3 never hears from them.
fn moved() -> Verdict {
    let mut net = Cores::new(5, 3, |_| {});
    works(&net.ask_under(1, set("k", "v"), a(1)))?;
    net.run(secs(3));
    net.cut(&[3], &[1, 2]);
    works(&net.ask_under(1, touch(), b(1)))?;
    net.begin_move(&[3, 4, 5]);
    net.run(secs(3));
    switch(&mut net);
    end_move(&mut net);
    net.cut(&[1, 2], &[3, 4, 5]);
    fails(&net.ask_under(4, set("k", "w"), a(2)))
}

/// While the partition moves, B writes and reaches only n1 and n2.
fn during_a_move() -> Verdict {
    let mut net = Cores::new(5, 3, |_| {});
    works(&net.ask_under(1, set("k", "v"), a(1)))?;
    net.run(secs(3));
    net.begin_move(&[3, 4, 5]);
    net.run(secs(3));
    net.cut(&[1, 2], &[3, 4, 5]);
    let write = net.ask_under(1, set("k", "b"), b(1));
    switch(&mut net);
    end_move(&mut net);
    let late = net.ask_under(3, set("k", "w"), a(2));
    holds(
        matches!((&write, &late), (Some(Err(_)), _) | (_, Some(Err(_)))),
        format!("B was told {write:?}, and A {late:?}"),
    )
}

fn add(element: &'static str) -> Op {
    Op::Mutate("k".into(), Mutation::Add(vec![element.into()]))
}

fn members() -> Op {
    Op::Query("k".into(), Query::Members)
}

/// Neither holder is told something about the set that changes afterwards.
fn stays(net: &mut Cores, before: &Told) -> Verdict {
    net.heal();
    net.run(secs(5));
    for at in 1..=3 {
        let after = net.ask_under(at, members(), b(10 + at));
        holds(
            matches!(before, Some(Err(_))) || *before == after,
            format!("n{at}: {before:?}, and then {after:?}"),
        )?;
    }
    Ok(())
}

/// A has added an element at n1 alone. B reads the whole set.
fn added_at_one() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(2, add("a"), a(1)))?;
    net.run(secs(3));
    fails(&stuck_at_1(&mut net, add("e"), a(2)))?;
    let before = net.ask_under(2, members(), b(1));
    stays(&mut net, &before)
}

/// A has added an element at n1 alone. A plain reader there is bringing n3 up to that when n1 loses
/// its disk. B reads the whole set.
fn added_and_lost() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(2, add("a"), a(1)))?;
    net.run(secs(3));
    fails(&stuck_at_1(&mut net, add("e"), a(2)))?;
    net.heal();
    net.cut(&[2], &[1]);
    net.sees(&[1], 2, false);
    net.submit(1, members(), C::Quorum, None);
    let mut late = None;
    while let Some(letter) = net.queue.pop_front() {
        if matches!(letter.2, Message::Write { .. }) {
            late = Some(letter);
        } else {
            net.deliver(letter);
        }
    }
    let late = late.ok_or("the reader repairs nobody")?;
    net.heal();
    net.boot(1, true);
    net.run(secs(5));
    let before = net.ask_under(2, members(), b(1));
    works(&before)?;
    net.deliver(late);
    stays(&mut net, &before)
}

/// B has been in the partition while n1 was cut off, where A's write is stuck, and reads the row
/// later.
fn touched() -> Verdict {
    let mut net = Cores::three();
    works(&net.ask_under(2, set("k", "v"), a(1)))?;
    net.run(secs(3));
    fails(&stuck_at_1(&mut net, set("k", "w"), a(2)))?;
    works(&net.ask_under(2, touch(), b(1)))?;
    net.run(secs(5));
    let before = net.ask_under(2, get(), b(2));
    net.heal();
    net.run(secs(5));
    let after = net.ask_under(3, get(), b(3));
    holds(before == after, format!("{before:?}, and then {after:?}"))
}

/// Keys are written and removed under locks that nobody holds afterwards.
fn marks() -> Verdict {
    let mut net = Cores::three();
    for sequence in 1..=20_u64 {
        let key = bytes::Bytes::from(format!("k{sequence}"));
        let value = "v".into();
        let expiry = SetExpiry::Clear;
        let set = Op::Mutate(key.clone(), Mutation::Set { value, expiry });
        works(&net.ask_under(1, set, a(2 * sequence)))?;
        let delete = Op::Mutate(key, Mutation::Delete);
        works(&net.ask_under(2, delete, a(2 * sequence + 1)))?;
    }
    for at in 1..=3 {
        net.input(at, Input::Floor(2));
    }
    net.run(secs(20));
    let left = net.summary(3).map_or(0, |summary| summary.rows);
    holds(
        left == 0,
        format!("{left} rows are left of 20 removed keys"),
    )
}

/// A hundred locks come and go.
fn collected() -> Verdict {
    let mut net = Cores::three();
    for token in 1..=100_u64 {
        let claim = Claim::new(&token.to_be_bytes(), token);
        works(&net.ask_under(1, set("k", "v"), claim))?;
    }
    for at in 1..=3 {
        net.input(at, Input::Floor(100));
    }
    let kept = net
        .at
        .get(&NodeId(1))
        .map_or_else(Vec::new, |core| core.kept(false));
    let fences = kept.iter().filter(|kept| kept.what.starts_with("fences"));
    let kept: usize = fences.map(|kept| kept.held).sum();
    holds(
        kept <= 1,
        format!("{kept} fences are left of locks that nobody holds"),
    )?;
    fails(&net.ask_under(1, get(), Claim::new(b"stale", 99)))
}
