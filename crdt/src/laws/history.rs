//! Random histories of three replicas, and the states and deltas that they produce.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::subject::{Op, Subject};
use crate::{Causal, Contexts, Crdt, Delta, Effects, NodeId, Now, ReplicaId, Replicated};

/// The number of replicas in a history.
pub const REPLICAS: usize = 3;

/// The most events in a history.
pub const EVENTS: usize = 20;

/// The time of the first event, in milliseconds since 1970.
const START: u64 = 1_800_000_000_000;

/// One event of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A replica changes its value while its wall clock shows `clock` milliseconds after the start.
    /// Clocks jump both ways.
    Mutate {
        /// The replica that changes, below [`REPLICAS`].
        at: usize,
        /// The operation that it performs.
        op: Op,
        /// Its wall clock, in milliseconds after the start.
        clock: u64,
    },
    /// One of the deltas so far arrives: late, early, again, or at its origin.
    Deliver {
        /// The replica that receives it.
        to: usize,
        /// The number of the delta, modulo the number of deltas so far.
        delta: usize,
    },
    /// A full state arrives.
    Exchange {
        /// The replica that sends its state.
        from: usize,
        /// The replica that receives it.
        to: usize,
    },
}

/// The id under which replica number `at` writes.
pub fn replica(at: usize) -> ReplicaId {
    ReplicaId::new(NodeId(at as u64 + 1), 0)
}

pub(super) fn histories() -> impl Strategy<Value = Vec<Event>> {
    // One flat tuple per event: strategies of many parts take longer than the laws.
    let event = (0..8_u8, 0..REPLICAS, any::<u8>(), any::<u8>()).prop_map(
        |(kind, at, action, argument)| match kind {
            0..4 => {
                let argument = if argument < 192 {
                    argument % 4
                } else {
                    argument
                };
                Event::Mutate {
                    at,
                    op: Op { action, argument },
                    clock: u64::from(kind),
                }
            }
            4..7 => Event::Deliver {
                to: at,
                delta: usize::from(action),
            },
            _ => Event::Exchange {
                from: at,
                to: usize::from(action) % REPLICAS,
            },
        },
    );
    prop::collection::vec(event, 1..=EVENTS)
}

/// The replicas and the deltas that a history has produced.
pub(super) struct World<T: Crdt> {
    pub(super) replicas: Vec<Replicated<T>>,
    pub(super) deltas: Vec<Delta<T>>,
}

impl<T: Crdt> World<T> {
    pub(super) fn new() -> Self {
        Self {
            replicas: (0..REPLICAS)
                .map(|at| Replicated::new(replica(at)))
                .collect(),
            deltas: Vec::new(),
        }
    }

    /// Plays a history without checking anything.
    pub(super) fn after<S: Subject<State = T>>(history: &[Event]) -> Self {
        let mut world = Self::new();
        for event in history {
            match *event {
                Event::Mutate { at, op, clock } => world.mutate::<S>(at, op, clock),
                Event::Deliver { to, delta } => {
                    if let Some(delta) = world.delta(delta) {
                        let delta = world.deltas[delta].clone();
                        world.merge(to, &delta);
                    }
                }
                Event::Exchange { from, to } => {
                    let sent = world.replicas[from].state().clone();
                    world.merge(to, &sent);
                }
            }
        }
        world
    }

    /// Performs an operation and appends its delta.
    pub(super) fn mutate<S: Subject<State = T>>(&mut self, at: usize, op: Op, clock: u64) {
        let now = Now {
            unix_millis: START + clock,
            ..Now::default()
        };
        let delta = self.replicas[at].update_at(now, |edit, tx| S::mutate(edit, tx, op));
        self.deltas.push(delta);
    }

    pub(super) fn merge(&mut self, to: usize, other: &Causal<T>) -> T::Effects {
        self.replicas[to]
            .merge(other)
            .expect("invariant: the deltas of a history claim only events that were issued")
    }

    /// The index of the delta that an event means, if there is one yet.
    pub(super) fn delta(&self, index: usize) -> Option<usize> {
        index.checked_rem(self.deltas.len())
    }

    /// The states, then the deltas.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Causal<T>> {
        self.replicas
            .iter()
            .map(Replicated::state)
            .chain(&self.deltas)
    }

    /// Any one of the states and deltas.
    pub(super) fn pick(&self, index: u8) -> &Causal<T> {
        let count = self.replicas.len() + self.deltas.len();
        self.all()
            .nth(usize::from(index) % count)
            .expect("invariant: the remainder is below the count")
    }

    /// The state of every replica once all have seen everything.
    pub(super) fn settled(&self) -> Causal<T> {
        self.replicas
            .iter()
            .fold(Causal::new(), |all, replica| merged(&all, replica.state()))
    }
}

pub(super) fn merged<T: Crdt>(a: &Causal<T>, b: &Causal<T>) -> Causal<T> {
    let mut both = a.clone();
    both.merge(b);
    both
}

/// Whether joining `other` reports effects.
pub(super) fn tells<T: Crdt>(state: &Causal<T>, other: &Causal<T>) -> bool {
    !state
        .value
        .clone()
        .join(
            &other.value,
            Contexts {
                mine: &state.context,
                theirs: &other.context,
            },
        )
        .is_empty()
}
