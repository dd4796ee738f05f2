//! Random schedules: holders that are replaced at any moment and go on under their old tokens,
//! messages lost, repeated and delayed, nodes cut off and restarted, disks lost, moves.
//!
//! What is checked, for each row and partition:
//!
//! - **I1.** A request that began at a node after a later holder had been told of a success never
//!   succeeds.
//! - **I2.** The requests that succeeded, in the order of their ranks, are the history of one
//!   register: what one has left is never found replaced by something that ranks lower. An attempt
//!   of unknown outcome may have taken effect at its rank or not.
//! - **I3.** When the faults end, the last holder can read and write.
//!
//! Unlike the simulator's histories, these see every message, so a few rows are enough.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_control::store::{MemoryStore, Store};
use quorate_control::topology::{KeyspaceId, Phase, Placement};
use quorate_crdt::NodeId;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::super::net::{Net, node};
use super::claim;
use crate::consistency::Consistency as C;
use crate::fence::Rank;
use crate::op::{Mutation, Op, Query, Reply, RequestError, SetExpiry};
use crate::protocol::{Config, Input};

/// The rows: two strings and, from this one on, two fields of a hash.
const FIELDS: usize = 2;
const ROWS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    /// Reads the whole hash.
    Whole,
    Write,
    Remove,
}

/// A client with a token. It does not learn that it was replaced.
#[derive(Clone, Debug)]
struct Holder {
    token: u64,
    sequence: u64,
    since: u64,
    /// What is under way, by key.
    busy: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug)]
struct Sent {
    holder: usize,
    row: usize,
    kind: Kind,
    rank: Rank,
    /// The highest token that had succeeded when this began.
    announced: u64,
}

/// What a row holds: the rank of the write that made it, or nothing.
type Left = Option<Rank>;

struct Run {
    rng: SmallRng,
    net: Net,
    holders: Vec<Holder>,
    sent: BTreeMap<u64, Sent>,
    announced: u64,
    /// Requests that succeeded: by row, rank and what they left or found.
    done: Vec<Vec<(Rank, Left, bool)>>,
    /// Removals that began, by row.
    removals: Vec<Vec<Rank>>,
    disks: BTreeMap<NodeId, MemoryStore>,
    loss: f64,
    moved: bool,
}

/// The number of the row's key.
fn key_of(row: usize) -> usize {
    row.min(FIELDS)
}

fn key(row: usize) -> bytes::Bytes {
    format!("k{}", key_of(row)).into()
}

fn field(row: usize) -> bytes::Bytes {
    format!("f{row}").into()
}

fn text(rank: Rank) -> bytes::Bytes {
    format!("{}.{}", rank.token, rank.sequence).into()
}

fn parsed(text: &[u8]) -> Rank {
    let text = std::str::from_utf8(text).expect("ours");
    let (token, sequence) = text.split_once('.').expect("ours");
    Rank::of(
        token.parse().expect("ours"),
        sequence.parse().expect("ours"),
    )
}

fn op(row: usize, kind: Kind, rank: Rank) -> Op {
    match (kind, row >= FIELDS) {
        (Kind::Whole, _) => Op::Query(key(row), Query::Entries),
        (Kind::Read, false) => Op::Query(key(row), Query::Get),
        (Kind::Read, true) => Op::Query(key(row), Query::Fields(vec![field(row)])),
        (Kind::Write, false) => {
            let (value, expiry) = (text(rank), SetExpiry::Clear);
            Op::Mutate(key(row), Mutation::Set { value, expiry })
        }
        (Kind::Write, true) => Op::Mutate(
            key(row),
            Mutation::SetFields(vec![(field(row), text(rank))]),
        ),
        (Kind::Remove, false) => Op::Mutate(key(row), Mutation::Delete),
        (Kind::Remove, true) => Op::Mutate(key(row), Mutation::RemoveFields(vec![field(row)])),
    }
}

fn found(reply: &Reply, row: usize) -> Left {
    match reply {
        Reply::Pairs(pairs) => {
            let pair = pairs.iter().find(|(held, _)| *held == field(row));
            pair.map(|(_, text)| parsed(text))
        }
        Reply::Value(text) => Some(parsed(text)),
        Reply::Values(values) => values[0].as_ref().map(|text| parsed(text)),
        _ => None,
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut net = Net::three_of(5);
        net.config = Config::default();
        net.boot_all();
        for at in 1..=5 {
            net.skew.insert(node(at), rng.random_range(-150..150));
        }
        let loss = [0.0, 0.05, 0.2][rng.random_range(0..3)];
        let mut run = Self {
            rng,
            net,
            holders: Vec::new(),
            sent: BTreeMap::new(),
            announced: 0,
            done: vec![vec![(Rank::NONE, None, false)]; ROWS],
            removals: vec![Vec::new(); ROWS],
            disks: BTreeMap::new(),
            loss,
            moved: false,
        };
        run.grant();
        run
    }

    fn grant(&mut self) {
        self.holders.push(Holder {
            token: self.holders.len() as u64 + 1,
            sequence: 0,
            since: 1,
            busy: BTreeMap::new(),
        });
    }

    fn request(&mut self, at: u64, holder: usize, row: usize, kind: Kind) -> u64 {
        let held = &mut self.holders[holder];
        if held.busy.contains_key(&key_of(row)) {
            held.since = held.sequence + 1;
            held.busy.clear();
        }
        held.sequence += 1;
        let rank = Rank::of(held.token, held.sequence);
        let carried = claim(rank.token, rank.sequence, held.since);
        if kind == Kind::Remove {
            self.removals[row].push(rank);
        }
        let sent = Sent {
            holder,
            row,
            kind,
            rank,
            announced: self.announced,
        };
        let ticket = self
            .net
            .submit_under(at, op(row, kind, rank), C::Quorum, carried);
        self.holders[holder].busy.insert(key_of(row), ticket);
        self.sent.insert(ticket, sent);
        ticket
    }

    fn client(&mut self) {
        let newest = self.holders.len() - 1;
        let holder = if self.rng.random_bool(0.5) {
            newest
        } else {
            self.rng.random_range(newest.saturating_sub(2)..=newest)
        };
        let row = self.rng.random_range(0..ROWS);
        let kind = [
            Kind::Read,
            Kind::Read,
            Kind::Write,
            Kind::Write,
            Kind::Remove,
        ][self.rng.random_range(0..5)];
        let whole = kind == Kind::Read && row >= FIELDS && self.rng.random_bool(0.6);
        let kind = if whole { Kind::Whole } else { kind };
        let at = self.rng.random_range(1..=5);
        // Most wait for their answer; some give it up.
        if self.holders[holder].busy.contains_key(&key_of(row)) && self.rng.random_bool(0.8) {
            return;
        }
        self.request(at, holder, row, kind);
    }

    /// Delivers, loses or repeats one message that is on its way, in any order.
    fn deliver(&mut self) {
        if self.net.queue.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.net.queue.len());
        let (from, to, message) = self.net.queue.swap_remove_back(at).expect("in range");
        if self.rng.random_bool(0.05) {
            self.net.queue.push_back((from, to, message.clone()));
        }
        if !self.rng.random_bool(self.loss) && self.net.hears(from, to) {
            self.net.input(to, Input::Message { from, message });
        }
    }

    /// A node starts again: with its disk, or without.
    fn restart(&mut self, with_disk: bool) {
        let at = node(self.rng.random_range(1..=5));
        // Answers to its former life would reach nobody: a new process has new connections.
        self.net
            .queue
            .retain(|(from, to, _)| *from != at && *to != at);
        if with_disk {
            let disk = self.disks.entry(at).or_default();
            let batch = self.net.cores.get_mut(&at).expect("a node").drain();
            disk.apply(batch).expect("in memory");
            self.net.start_on(at, disk);
        } else if (1..=5).all(|other| {
            let summaries = self.net.cores[&node(other)].summaries();
            summaries.iter().all(|summary| !summary.filling)
        }) {
            let disk = MemoryStore::new();
            self.net.start_on(at, &disk);
            self.disks.insert(at, disk);
        }
    }

    fn next_phase(&mut self) {
        let placement = |net: &Net| net.topology.keyspaces[&KeyspaceId(0)].placement[0].clone();
        let now = placement(&self.net);
        let reported =
            |net: &Net, nodes: &[NodeId]| nodes.iter().all(|node| net.reports.contains(node));
        match now.transition {
            None if !self.moved => {
                self.moved = true;
                self.net.reports.clear();
                self.net.begin_move(&[3, 4, 5]);
            }
            Some(transition)
                if transition.phase == Phase::Copying && reported(&self.net, &transition.to) =>
            {
                self.net.reports.clear();
                self.net.set_placement(|placement| {
                    placement.transition.as_mut().expect("moving").phase = Phase::Switching;
                });
            }
            Some(transition)
                if transition.phase == Phase::Switching && reported(&self.net, &now.replicas) =>
            {
                self.net.set_placement(|placement| {
                    *placement = Placement::stable(placement.epoch, transition.to);
                });
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..1000) {
            0..600 => self.deliver(),
            600..780 => self.client(),
            780..790 => self.grant(),
            790..940 => {
                let millis = self.rng.random_range(1..250);
                self.net.hold(Duration::from_millis(millis));
            }
            940..950 => self.net.hold(Duration::from_secs(1)),
            950..970 => {
                self.net.heal();
                let at = self.rng.random_range(1..=5);
                let others: Vec<u64> = (1..=5).filter(|other| *other != at).collect();
                self.net.cut(&[at], &others);
            }
            970..985 => self.net.heal(),
            985..990 => self.restart(true),
            990..993 => self.restart(false),
            _ => self.next_phase(),
        }
        self.judge();
    }

    /// Looks at the answers that have come.
    fn judge(&mut self) {
        let told: Vec<u64> = self
            .sent
            .keys()
            .copied()
            .filter(|ticket| self.net.replies.contains_key(ticket))
            .collect();
        for ticket in told {
            let sent = self.sent.remove(&ticket).expect("there");
            let outcome = self.net.replies[&ticket].clone().map(|answer| answer.reply);
            let busy = &mut self.holders[sent.holder].busy;
            if busy.get(&key_of(sent.row)) == Some(&ticket) {
                busy.remove(&key_of(sent.row));
                if outcome.is_err() {
                    let held = &mut self.holders[sent.holder];
                    held.since = held.sequence + 1;
                    held.busy.clear();
                }
            }
            match outcome {
                Ok(reply) if sent.kind == Kind::Whole => {
                    for row in FIELDS..ROWS {
                        self.succeeded(
                            &Sent {
                                row,
                                ..sent.clone()
                            },
                            &reply,
                        );
                    }
                }
                Ok(reply) => self.succeeded(&sent, &reply),
                Err(RequestError::Fenced { token, .. }) => {
                    assert!(token >= sent.rank.token, "{sent:?} was fenced by {token}");
                }
                Err(_) => {}
            }
        }
    }

    fn succeeded(&mut self, sent: &Sent, reply: &Reply) {
        assert!(
            sent.announced <= sent.rank.token,
            "I1: {sent:?} succeeded although it began after {} had",
            sent.announced
        );
        let left = match sent.kind {
            Kind::Read | Kind::Whole => found(reply, sent.row),
            Kind::Write => Some(sent.rank),
            Kind::Remove => None,
        };
        let mine = (
            sent.rank,
            left,
            matches!(sent.kind, Kind::Read | Kind::Whole),
        );
        for other in &self.done[sent.row] {
            let (low, high) = if other.0 < mine.0 {
                (other, &mine)
            } else {
                (&mine, other)
            };
            assert!(
                !high.2 || self.may_follow(sent.row, low, high.1),
                "I2: row {}: {low:?}, and then {high:?}",
                sent.row
            );
        }
        self.done[sent.row].push(mine);
        self.announced = self.announced.max(sent.rank.token);
    }

    /// Whether something that ranks above `low` may have found this.
    fn may_follow(&self, row: usize, low: &(Rank, Left, bool), found: Left) -> bool {
        found == low.1
            || match found {
                Some(rank) => rank > low.0,
                None => self.removals[row].iter().any(|rank| *rank > low.0),
            }
    }

    /// Ends the faults, and lets the last holder read and write every row, and anybody read.
    fn settle(&mut self) {
        self.net.heal();
        self.net.run(Duration::from_secs(20));
        for _ in 0..6 {
            self.next_phase();
            self.net.run(Duration::from_secs(5));
        }
        self.judge();
        let last = self.holders.len() - 1;
        for row in 0..ROWS {
            let whole = if row >= FIELDS {
                Kind::Whole
            } else {
                Kind::Read
            };
            for kind in [whole, Kind::Read, Kind::Write, whole, Kind::Read] {
                let at = self.rng.random_range(1..=5);
                let ticket = self.request(at, last, row, kind);
                let outcome = self.net.answer(ticket);
                assert!(
                    outcome.is_ok(),
                    "I3: {kind:?} of row {row} at n{at}: {outcome:?}"
                );
                self.judge();
            }
            let at = self.rng.random_range(1..=5);
            let ticket = self
                .net
                .submit(at, op(row, Kind::Read, Rank::NONE), C::Quorum);
            let reply = self.net.answer(ticket).expect("healthy");
            let newest = self.done[row]
                .iter()
                .max_by_key(|done| done.0)
                .expect("some");
            assert_eq!(found(&reply, row), newest.1, "anybody's read of row {row}");
        }
    }
}

fn play(seed: u64) {
    let mut run = Run::new(seed);
    let steps = run.rng.random_range(100..600);
    for _ in 0..steps {
        run.step();
    }
    run.settle();
}

#[test]
fn holders_are_in_series_whatever_the_net_does() {
    for seed in 0..60 {
        let outcome = std::panic::catch_unwind(|| play(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
