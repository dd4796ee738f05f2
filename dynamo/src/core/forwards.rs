//! Remembers what other nodes forward here. Each write is executed at most once, however often the
//! network delivers it or its sender sends it. A read may be executed again, but not while it is
//! still being executed: its answer can be long, and its sender asks again and again.
//!
//! A forward is known by its [`FlightId`]. A repeated write gets the same answer as the first.
//! What is remembered is bounded: the latest [`WINDOW`] writes of each of the latest [`LIVES`]
//! lives of a sending core. A repeat that is no longer remembered gets no answer, because nobody
//! can say whether it was applied; its client is told so at its deadline.

use std::collections::{BTreeMap, BTreeSet};

use quorate_crdt::NodeId;

use crate::op::{Reply, Request};
use crate::planted;
use crate::protocol::{Attempt, FlightId, Message, Place};

/// How many forwarded writes of one life are remembered. Guess: a sender gives up long before it
/// has sent that many to one core.
const WINDOW: usize = 1024;
/// How many lives of a sending core are remembered. Guess: what is still on its way from an earlier
/// life is then that many restarts late.
const LIVES: usize = 4;
/// The longest value, in bytes, that is kept to be answered again. Longer answers are given once.
const ANSWER_BYTES_MAX: usize = 64;
/// How many forwarded writes of one sending core are remembered.
pub(super) const REMEMBERED_MAX: usize = WINDOW * LIVES;

/// The forwarded writes that one core remembers, and the forwarded reads that it is executing.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// By sending core. The life that was heard from last is last.
    by_sender: BTreeMap<(NodeId, u8), Vec<Life>>,
    /// Reads that are in flight here; never more than there are flights.
    reading: BTreeSet<(NodeId, FlightId)>,
}

/// What one life of a sending core has forwarded.
#[derive(Debug)]
struct Life {
    name: u64,
    /// The lowest number from which on this life of the receiving core has heard the sender: a
    /// forward with that number arrived as it was first sent, or was sent to this life.
    first: u64,
    /// Numbers up to here are no longer remembered.
    floor: u64,
    seen: BTreeMap<u64, Fate>,
}

#[derive(Debug)]
enum Fate {
    UnderWay,
    /// Answered; with the answer, if it can be given again.
    Told(Option<Box<Message>>),
}

/// A request that another node hands over: see [`Message::Forward`].
pub(super) struct Forward {
    pub(super) place: Place,
    pub(super) request: Request,
    pub(super) unix_millis: u64,
    pub(super) attempt: Attempt,
}

/// Which copy of a forward has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The first one.
    First,
    /// A repeat that a former life of this core may already have executed.
    Again,
    /// A repeat that no earlier life of this core can have seen.
    AgainToThisLife,
}

/// What to do with a forward that has arrived.
#[derive(Debug)]
pub(super) enum Arrival {
    /// It is new: execute or refuse it.
    First,
    /// It has been seen, or may have been. Send this answer, if there is one.
    Repeat(Option<Box<Message>>),
}

impl Forwards {
    /// A forwarded write has arrived. A repeat may have been executed by a former life of this
    /// core. It is new only to a life that already existed when it was first sent: one that the
    /// sender knew, or that has received an earlier forward first-hand.
    pub(super) fn arrive(&mut self, from: NodeId, id: FlightId, delivery: Delivery) -> Arrival {
        if planted::FORWARD_TWICE.is_planted() {
            return Arrival::First;
        }
        let lives = self.by_sender.entry((from, id.core)).or_default();
        let at = lives.iter().position(|life| life.name == id.life);
        let mut life = match at {
            Some(at) => lives.remove(at),
            None if delivery == Delivery::Again => return Arrival::Repeat(None),
            // What was heard of that life of the sender may have been forgotten.
            None if delivery == Delivery::AgainToThisLife && lives.len() >= LIVES => {
                return Arrival::Repeat(None);
            }
            None => Life {
                name: id.life,
                first: id.number,
                floor: 0,
                seen: BTreeMap::new(),
            },
        };
        let arrival = life.arrive(id.number, delivery);
        lives.push(life);
        if lives.len() > LIVES {
            lives.remove(0);
        }
        arrival
    }

    /// A forwarded read has arrived. Returns false if it is already being executed; then it gets
    /// that one answer.
    pub(super) fn begin_read(&mut self, from: NodeId, id: FlightId) -> bool {
        self.reading.insert((from, id)) || planted::FORWARDED_READ_AGAIN.is_planted()
    }

    /// How many forwarded reads are being executed here.
    pub(super) fn reads(&self) -> usize {
        self.reading.len()
    }

    /// Notes the answer to a forward. An answered read is forgotten, and may be executed again,
    /// because the answer may be lost.
    pub(super) fn told(&mut self, to: NodeId, id: FlightId, message: &Message) {
        self.reading.remove(&(to, id));
        let lives = self.by_sender.get_mut(&(to, id.core));
        let life = lives.and_then(|lives| lives.iter_mut().find(|life| life.name == id.life));
        if let Some(fate) = life.and_then(|life| life.seen.get_mut(&id.number)) {
            *fate = Fate::Told(is_small(message).then(|| Box::new(message.clone())));
        }
    }

    /// The number of writes remembered of the sender with the most.
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
    fn arrive(&mut self, number: u64, delivery: Delivery) -> Arrival {
        match self.seen.get(&number) {
            Some(Fate::Told(Some(message))) => return Arrival::Repeat(Some(message.clone())),
            Some(_) => return Arrival::Repeat(None),
            None if number <= self.floor
                || (delivery == Delivery::Again && number < self.first) =>
            {
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
        assert!(is_first(&forwards.arrive(FROM, id(1, 5), Delivery::First)));
        assert!(
            matches!(
                forwards.arrive(FROM, id(1, 5), Delivery::First),
                Arrival::Repeat(None)
            ),
            "under way"
        );
        let refused = Message::Refused {
            id: id(1, 5),
            reason: Refusal::Filling,
        };
        forwards.told(FROM, id(1, 5), &refused);
        let Arrival::Repeat(Some(again)) = forwards.arrive(FROM, id(1, 5), Delivery::Again) else {
            panic!("it was answered")
        };
        assert!(
            matches!(*again, Message::Refused { .. }),
            "refused as before"
        );
        assert!(
            is_first(&forwards.arrive(FROM, id(2, 5), Delivery::First)),
            "another life"
        );
        assert!(
            is_first(&forwards.arrive(FROM, id(1, 3), Delivery::First)),
            "an earlier one that comes late"
        );
        assert!(
            is_first(&forwards.arrive(FROM, id(1, 6), Delivery::Again)),
            "its first copy was lost"
        );
    }

    #[test]
    fn a_repeat_that_a_former_life_may_have_executed_is_not_new() {
        let mut forwards = Forwards::default();
        assert!(!is_first(&forwards.arrive(FROM, id(1, 5), Delivery::Again)));
        assert!(is_first(&forwards.arrive(FROM, id(1, 7), Delivery::First)));
        assert!(!is_first(&forwards.arrive(FROM, id(1, 6), Delivery::Again)));
        assert!(is_first(&forwards.arrive(FROM, id(1, 8), Delivery::Again)));
    }

    #[test]
    fn a_repeat_that_was_meant_for_this_life_is_new_unless_it_may_be_forgotten() {
        let mut forwards = Forwards::default();
        assert!(is_first(&forwards.arrive(
            FROM,
            id(1, 5),
            Delivery::AgainToThisLife
        )));
        assert!(!is_first(&forwards.arrive(
            FROM,
            id(1, 5),
            Delivery::AgainToThisLife
        )));
        assert!(is_first(&forwards.arrive(
            FROM,
            id(1, 4),
            Delivery::AgainToThisLife
        )));
        for life in 2..=1 + LIVES as u64 {
            assert!(is_first(&forwards.arrive(
                FROM,
                id(life, 1),
                Delivery::First
            )));
        }
        assert!(
            !is_first(&forwards.arrive(FROM, id(1, 5), Delivery::AgainToThisLife)),
            "executed, and forgotten"
        );
    }

    /// A repeat of a write whose answer was long gets none: only short ones are kept.
    #[test]
    fn short_answers_are_given_again() {
        let value = |length: usize| Reply::Value(vec![b'x'; length].into());
        for (reply, kept) in [
            (Reply::Done, true),
            (Reply::Integer(7), true),
            (value(ANSWER_BYTES_MAX), true),
            (value(ANSWER_BYTES_MAX + 1), false),
            (Reply::List(Vec::new()), false),
        ] {
            let mut forwards = Forwards::default();
            forwards.arrive(FROM, id(1, 1), Delivery::First);
            let message = Message::Forwarded {
                id: id(1, 1),
                result: Ok(reply.clone().into()),
            };
            forwards.told(FROM, id(1, 1), &message);
            let Arrival::Repeat(again) = forwards.arrive(FROM, id(1, 1), Delivery::Again) else {
                panic!("it is no news: {reply:?}")
            };
            assert_eq!(again.is_some(), kept, "{reply:?}");
        }
    }

    #[test]
    fn what_is_remembered_of_forwards_is_bounded() {
        let mut forwards = Forwards::default();
        for life in 1..=10 {
            for number in 1..=3 * WINDOW as u64 {
                assert!(is_first(&forwards.arrive(
                    FROM,
                    id(life, number),
                    Delivery::First
                )));
            }
            assert!(
                !is_first(&forwards.arrive(FROM, id(life, 1), Delivery::First)),
                "older than the window"
            );
        }
        let lives = &forwards.by_sender[&(FROM, 0)];
        assert!(lives.len() == LIVES && lives.iter().all(|life| life.seen.len() == WINDOW));
        forwards.keep(|_| false);
        assert!(forwards.by_sender.is_empty());
    }
}
