//! What other nodes forward here. Each write is executed at most once, however often the network
//! delivers it or its sender sends it. A read may be executed again, but not while it is being
//! executed: its answer can be long, and whoever waits for it asks again and again.
//!
//! A forward is known by its [`FlightId`]. What is remembered is bounded: the latest [`WINDOW`]
//! writes of each of the latest [`LIVES`] lives of a sending core. A repeat is answered as before.
//! One of which nothing is remembered any more is not answered, since nobody can say whether it is
//! applied: its client is told so at its deadline.

use std::collections::{BTreeMap, BTreeSet};

use quorate_crdt::NodeId;

use crate::op::Reply;
use crate::planted;
use crate::protocol::{FlightId, Message};

/// How many forwarded writes of one life are remembered. Guess: a sender gives up long before it
/// has sent as many to one core.
const WINDOW: usize = 1024;
/// How many lives of one sending core are remembered. Guess: what is under way of an earlier one is
/// late by as many restarts.
const LIVES: usize = 4;
/// The longest answer that is kept to be given again, in bytes of its value. Others are given once.
const ANSWER_BYTES_MAX: usize = 64;
/// How many forwarded writes of one sending core are remembered.
pub(super) const REMEMBERED_MAX: usize = WINDOW * LIVES;

/// The forwarded writes that one core remembers, and the forwarded reads that it executes.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// By sending core; the life that was heard last is last.
    by_sender: BTreeMap<(NodeId, u8), Vec<Life>>,
    /// Reads that are in flight here: never more than flights.
    reading: BTreeSet<(NodeId, FlightId)>,
}

/// What one life of a sending core has forwarded.
#[derive(Debug)]
struct Life {
    name: u64,
    /// The lowest number of which this life of the receiving core was on when the sender counted
    /// it: that came as it was sent first, or to this life.
    first: u64,
    /// Numbers up to here are no longer remembered.
    floor: u64,
    seen: BTreeMap<u64, Fate>,
}

#[derive(Debug)]
enum Fate {
    UnderWay,
    /// Answered, and how, if that can be said again.
    Told(Option<Box<Message>>),
}

/// Which copy of a forward has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// Its sender sends it for the first time.
    First,
    /// Its sender has sent it before, and a former life of this core may have executed it.
    Again,
    /// Its sender has sent it before, and no earlier life of this core has seen it.
    AgainToThisLife,
}

/// What a forward that has just come is.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Never seen: to be executed or refused.
    First,
    /// Seen, or perhaps seen. To be answered with this, if with anything.
    Repeat(Option<Box<Message>>),
}

impl Forwards {
    /// A forwarded write has come. One that was sent before may have been executed by a former life
    /// of this core, so it is new only to a life that was there then: one that its sender knew, or
    /// that has heard an earlier forward at first hand.
    pub(super) fn arrive(&mut self, from: NodeId, id: FlightId, copy: Copy) -> Arrival {
        if planted::FORWARD_TWICE.is_planted() {
            return Arrival::First;
        }
        let lives = self.by_sender.entry((from, id.core)).or_default();
        let at = lives.iter().position(|life| life.name == id.life);
        let mut life = match at {
            Some(at) => lives.remove(at),
            None if copy == Copy::Again => return Arrival::Repeat(None),
            // What was heard of that life of the sender may be forgotten.
            None if copy == Copy::AgainToThisLife && lives.len() >= LIVES => {
                return Arrival::Repeat(None);
            }
            None => Life {
                name: id.life,
                first: id.number,
                floor: 0,
                seen: BTreeMap::new(),
            },
        };
        let arrival = life.arrive(id.number, copy);
        lives.push(life);
        if lives.len() > LIVES {
            lives.remove(0);
        }
        arrival
    }

    /// A forwarded read has come. `false`: it is being executed, and its one answer will come.
    pub(super) fn begin_read(&mut self, from: NodeId, id: FlightId) -> bool {
        self.reading.insert((from, id)) || planted::FORWARDED_READ_AGAIN.is_planted()
    }

    /// How many forwarded reads are in flight here.
    pub(super) fn reads(&self) -> usize {
        self.reading.len()
    }

    /// The sender is being told this. Of a read nothing is remembered from then on: it may be
    /// executed again, since the answer may be lost.
    pub(super) fn told(&mut self, to: NodeId, id: FlightId, message: &Message) {
        self.reading.remove(&(to, id));
        let lives = self.by_sender.get_mut(&(to, id.core));
        let life = lives.and_then(|lives| lives.iter_mut().find(|life| life.name == id.life));
        if let Some(fate) = life.and_then(|life| life.seen.get_mut(&id.number)) {
            *fate = Fate::Told(is_small(message).then(|| Box::new(message.clone())));
        }
    }

    /// The most that is remembered of one sender.
    pub(super) fn most(&self) -> usize {
        let of = |lives: &Vec<Life>| lives.iter().map(|life| life.seen.len()).sum();
        self.by_sender.values().map(of).max().unwrap_or(0)
    }

    /// Forgets nodes that are no longer members.
    pub(super) fn keep(&mut self, member: impl Fn(&NodeId) -> bool) {
        self.by_sender.retain(|(node, _), _| member(node));
    }
}

impl Life {
    fn arrive(&mut self, number: u64, copy: Copy) -> Arrival {
        match self.seen.get(&number) {
            Some(Fate::Told(Some(message))) => return Arrival::Repeat(Some(message.clone())),
            Some(_) => return Arrival::Repeat(None),
            None if number <= self.floor || (copy == Copy::Again && number < self.first) => {
                return Arrival::Repeat(None);
            }
            None => {}
        }
        self.first = self.first.min(number);
        self.seen.insert(number, Fate::UnderWay);
        if self.seen.len() > WINDOW
            && let Some((lowest, _)) = self.seen.pop_first()
        {
            self.floor = lowest;
        }
        Arrival::First
    }
}

fn is_small(message: &Message) -> bool {
    match message {
        Message::Forwarded {
            result: Ok(answer), ..
        } => match &answer.reply {
            Reply::Done | Reply::Nil | Reply::Integer(_) => true,
            Reply::Value(value) => value.len() <= ANSWER_BYTES_MAX,
            _ => false,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Refusal;

    const FROM: NodeId = NodeId(1);

    fn id(life: u64, number: u64) -> FlightId {
        FlightId {
            core: 0,
            life,
            number,
        }
    }

    fn is_first(arrival: &Arrival) -> bool {
        matches!(arrival, Arrival::First)
    }

    #[test]
    fn a_forward_is_new_once() {
        let mut forwards = Forwards::default();
        assert!(is_first(&forwards.arrive(FROM, id(1, 5), Copy::First)));
        assert!(
            matches!(
                forwards.arrive(FROM, id(1, 5), Copy::First),
                Arrival::Repeat(None)
            ),
            "under way"
        );
        let refused = Message::Refused {
            id: id(1, 5),
            reason: Refusal::Filling,
        };
        forwards.told(FROM, id(1, 5), &refused);
        let Arrival::Repeat(Some(again)) = forwards.arrive(FROM, id(1, 5), Copy::Again) else {
            panic!("it was answered")
        };
        assert!(
            matches!(*again, Message::Refused { .. }),
            "refused as before"
        );
        assert!(
            is_first(&forwards.arrive(FROM, id(2, 5), Copy::First)),
            "another life"
        );
        assert!(
            is_first(&forwards.arrive(FROM, id(1, 3), Copy::First)),
            "an earlier one that comes late"
        );
        assert!(
            is_first(&forwards.arrive(FROM, id(1, 6), Copy::Again)),
            "its first copy was lost"
        );
    }

    #[test]
    fn a_repeat_that_a_former_life_may_have_executed_is_not_new() {
        let mut forwards = Forwards::default();
        assert!(!is_first(&forwards.arrive(FROM, id(1, 5), Copy::Again)));
        assert!(is_first(&forwards.arrive(FROM, id(1, 7), Copy::First)));
        assert!(!is_first(&forwards.arrive(FROM, id(1, 6), Copy::Again)));
        assert!(is_first(&forwards.arrive(FROM, id(1, 8), Copy::Again)));
    }

    #[test]
    fn a_repeat_that_was_meant_for_this_life_is_new_unless_it_may_be_forgotten() {
        let mut forwards = Forwards::default();
        assert!(is_first(&forwards.arrive(
            FROM,
            id(1, 5),
            Copy::AgainToThisLife
        )));
        assert!(!is_first(&forwards.arrive(
            FROM,
            id(1, 5),
            Copy::AgainToThisLife
        )));
        assert!(is_first(&forwards.arrive(
            FROM,
            id(1, 4),
            Copy::AgainToThisLife
        )));
        for life in 2..=1 + LIVES as u64 {
            assert!(is_first(&forwards.arrive(FROM, id(life, 1), Copy::First)));
        }
        assert!(
            !is_first(&forwards.arrive(FROM, id(1, 5), Copy::AgainToThisLife)),
            "executed, and forgotten"
        );
    }

    #[test]
    fn what_is_remembered_of_forwards_is_bounded() {
        let mut forwards = Forwards::default();
        for life in 1..=10 {
            for number in 1..=3 * WINDOW as u64 {
                assert!(is_first(&forwards.arrive(
                    FROM,
                    id(life, number),
                    Copy::First
                )));
            }
            assert!(
                !is_first(&forwards.arrive(FROM, id(life, 1), Copy::First)),
                "older than the window"
            );
        }
        let lives = &forwards.by_sender[&(FROM, 0)];
        assert!(lives.len() == LIVES && lives.iter().all(|life| life.seen.len() == WINDOW));
        forwards.keep(|_| false);
        assert!(forwards.by_sender.is_empty());
    }
}
