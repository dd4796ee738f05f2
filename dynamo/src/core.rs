//! The data plane's core: requests in, effects out. A node runs one or more cores. Each owns the
//! partitions whose number, modulo the number of cores, is its own, and they share nothing.
//!
//! Follow a write: [`request`] finds its placement and level, [`execute`] applies it to this node's
//! replica, and [`mod@write`] sends the delta to the other replicas and counts their
//! acknowledgements. Follow a read: [`read`] answers from this node's replica as soon as enough
//! others say that they have the same; if one has something else, both are joined first. [`answer`]
//! is the other side of both: it answers the coordinators of other nodes. [`heal`] does the work
//! that no client waits for.
//!
//! Each kind of state (flights, healing, places, clocks) stands in a file that does not know
//! [`Dynamo`]; the other files extend [`Dynamo`] by one subject each.

mod answer;
mod clocks;
mod compare;
mod counters;
mod doubt;
mod execute;
mod expire;
mod explain;
mod failing;
mod fencing;
mod figures;
mod fill;
mod flight;
mod flights;
mod forward;
mod forwards;
mod handoff;
mod heal;
mod healing;
mod hedge;
mod help;
mod hints;
mod kept;
mod lapse;
mod ledger;
mod limits;
mod order;
mod place;
mod places;
mod read;
mod remains;
mod request;
mod routes;
mod seat;
mod turns;
mod wait;
mod waiters;
mod wake;
mod worth;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::store::{Batch, Store, StoreError};
use quorate_control::topology::Topology;
use quorate_crdt::{Hlc, NodeId, Now, ReplicaId};

use crate::planted;
use crate::protocol::{Config, Effect, Input, Message, Place, Refusal, Timer};
use crate::replica::{Delta, Held, Replica, restore};
use crate::seen::At;

use clocks::{Clocks, Telling};
pub use counters::{Counters, HintCounters};
pub use explain::{EntryView, KeyView, RowView, SeenOf};
use flight::{Asked, Sent};
use flights::Flights;
use forwards::Forward;
use healing::Healing;
pub use kept::Kept;
use places::Places;
use routes::Routes;
pub use seat::Seat;
use waiters::{Waiter, Waiters};

/// How often deadlines are checked while requests are in flight.
const SWEEP_EVERY: Duration = Duration::from_millis(10);

/// One core of a node's data plane. Pure: see [`handle`](Self::handle).
pub struct Dynamo {
    config: Config,
    seat: Seat,
    routes: Routes,
    replicas: Held,
    flights: Flights,
    healing: Healing,
    clocks: Clocks,
    places: Places,
    waiters: Waiters,
    counters: Counters,
    /// Partitions whose replicas may have changes that [`drain`](Self::drain) must write.
    dirty: BTreeSet<At>,
    /// The disk is full. The core then takes in nothing that grows a replica and asks for nothing
    /// that would, except what a read is about to return.
    disk_full: bool,
}

impl std::fmt::Debug for Dynamo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynamo")
            .field("seat", &self.seat)
            .field("replicas", &self.replicas.len())
            .field("flights", &self.flights.len())
            .finish_non_exhaustive()
    }
}

impl Dynamo {
    /// A core without replicas. The first [`Input::Topology`] creates those that it should hold.
    pub fn new(config: Config, seat: Seat) -> Self {
        Self {
            routes: Routes::new(seat.me),
            clocks: Clocks::new(config.drift_max),
            replicas: Held::new(),
            flights: Flights::new(&seat),
            healing: Healing::default(),
            places: Places::default(),
            waiters: Waiters::default(),
            counters: Counters::default(),
            dirty: BTreeSet::new(),
            disk_full: false,
            config,
            seat,
        }
    }

    /// Reads the replicas that this core owns back from disk. Call it before the first input.
    ///
    /// # Errors
    /// [`StoreError`]: the core is unusable.
    pub fn restore(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        (self.replicas, self.places.known) =
            restore(store, |_, partition| self.seat.owns(partition))?;
        let id = ReplicaId::new(self.seat.me, self.seat.incarnation);
        let mut latest = Hlc::default();
        for ((keyspace, partition), replica) in &mut self.replicas {
            latest = latest.max(replica.latest_stamp());
            if replica.id() != id {
                replica.reincarnate(id);
                self.dirty.insert((*keyspace, *partition));
            }
            replica.remove_at_once(self.config.removal.rows_at_once);
            self.healing.waking.begin((*keyspace, *partition));
        }
        self.clocks.hybrid.restore(latest);
        self.find_remains();
        Ok(())
    }

    /// Takes one input and appends the effects that the driver must perform. Changes of replicas
    /// are collected for [`drain`](Self::drain); effects may be released only after everything
    /// drained behind them is durable. Never fails or panics, whatever a client or another node
    /// sends.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let ticks = self.healing.ticks;
        self.look_at_clock(now, effects);
        match input {
            Input::Request { ticket, request } => self.on_request(now, ticket, request, effects),
            Input::Wait {
                ticket,
                receipts,
                replicas,
                timeout,
            } => {
                let waiter = Waiter {
                    ticket,
                    receipts,
                    replicas,
                    deadline: now.monotonic.saturating_add(timeout),
                };
                self.on_wait(now, waiter, effects);
            }
            Input::Message { from, message } => self.on_message(now, from, message, effects),
            Input::Timer(Timer::Sweep) => self.on_sweep(now, effects),
            Input::Timer(Timer::AntiEntropy) => {
                self.on_anti_entropy(now, effects);
                effects.push(Effect::Arm {
                    after: self.config.anti_entropy_every,
                    timer: Timer::AntiEntropy,
                });
            }
            Input::Timer(Timer::Reap) => {
                self.compare_clocks(now, effects);
                self.on_reap(now, effects);
                effects.push(Effect::Arm {
                    after: self.config.reap_every,
                    timer: Timer::Reap,
                });
            }
            Input::Timer(Timer::Remains) => self.clear_remains(now, effects),
            Input::Topology(topology) => self.on_topology(now, &topology, effects),
            Input::Reachable { node, up } => self.on_reachable(now, node, up, effects),
            Input::RoundTrip { node, rtt } => self.routes.set_round_trip(node, rtt),
            Input::DiskFull(full) => self.disk_full = full,
            Input::Floor(floor) => self.raise_floor(floor),
            Input::Incarnation(incarnation) => self.on_incarnation(now, incarnation, effects),
        }
        self.go_on_in_turn(now, effects);
        self.ask_for_a_life(effects);
        self.go_on_clearing(effects);
        // Last, so that what a tick brings about is counted, whoever was waiting for it.
        if self.healing.ticks != ticks && !planted::TICK_BEYOND_BOUND.is_planted() {
            self.forget_beyond_bound();
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm a message, nothing else")]
    fn on_message(&mut self, now: Now, from: NodeId, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::Write {
                id,
                place,
                delta,
                stamped_at,
                adds,
                hides,
                claim,
            } => {
                let sent = Sent {
                    delta: &delta,
                    stamped_at,
                    adds,
                    hides,
                    claim,
                };
                self.on_write(now, from, id, place, sent, effects);
            }
            Message::Clock { id } => self.tell_time(now, from, id, effects),
            Message::Time {
                id,
                unix_millis,
                life,
                confirmed,
            } => {
                let telling = Telling {
                    unix_millis,
                    life,
                    confirmed,
                };
                self.on_time(now, from, id, telling, effects);
            }
            Message::Written { id, replica } => self.on_written(now, from, id, replica, effects),
            Message::Read {
                id,
                place,
                ranges,
                digest,
                context,
                look,
            } => {
                let asked = Asked {
                    ranges: &ranges,
                    digest,
                    context: context.as_ref(),
                    look: look.as_ref(),
                };
                self.on_read(from, id, place, asked, effects);
            }
            Message::Same { id } => self.on_same(now, from, id, effects),
            Message::Different { id, delta, digest } => {
                self.on_different(now, from, id, &delta, digest, effects);
            }
            Message::Refused { id, reason } => self.on_refused(now, from, id, reason, effects),
            Message::Forward {
                id,
                place,
                request,
                unix_millis,
                attempt,
            } => {
                let forward = Forward {
                    place,
                    request: *request,
                    unix_millis,
                    attempt,
                };
                self.on_forward(now, from, id, forward, effects);
            }
            Message::Forwarded { id, result } => self.on_forwarded(now, from, id, result, effects),
            Message::Seen(all) => self.on_seen(now, from, all, effects),
            Message::Former {
                place,
                replica,
                events,
            } => self.on_former(now, from, place, replica, &events, effects),
            Message::Ask { place, ask } => self.on_ask(from, place, &ask, effects),
            Message::Repair {
                place,
                delta,
                answers,
            } => {
                let answers = answers.map(|answers| *answers);
                self.on_repair(now, from, place, &delta, answers, effects);
            }
            Message::Behind { place, range, name } => {
                self.on_behind(from, place, range, name, effects);
            }
            Message::Pull {
                place,
                stream,
                range,
                after,
            } => self.on_pull(from, place, stream, &range, after, effects),
            Message::Chunk {
                place,
                stream,
                piece,
            } => self.on_chunk(now, from, place, stream, &piece, effects),
            Message::Lapsed { id, place, keys } => {
                self.on_lapsed(now, from, id, place, &keys, effects);
            }
            Message::LapsedToo { id, lapsed } => {
                self.on_lapsed_too(now, from, id, &lapsed, effects);
            }
            Message::Hint {
                owner,
                place,
                delta,
            } => self.on_hint(owner, place, &delta),
        }
    }

    fn on_topology(&mut self, now: Now, topology: &Arc<Topology>, effects: &mut Vec<Effect>) {
        let first = self.routes.topology().is_none();
        if !self.routes.adopt(topology) {
            return;
        }
        self.place_replicas();
        self.healing.hints.drop_those_of_strangers(topology);
        self.flights
            .forwards
            .keep(|node| topology.nodes.contains_key(node));
        self.reroute_flights(now, effects);
        if first {
            effects.push(Effect::Arm {
                after: self.config.anti_entropy_every,
                timer: Timer::AntiEntropy,
            });
            effects.push(Effect::Arm {
                after: self.config.reap_every,
                timer: Timer::Reap,
            });
            self.doubt_clock(now, effects);
        }
        self.on_anti_entropy(now, effects);
    }

    fn on_reachable(&mut self, now: Now, node: NodeId, up: bool, effects: &mut Vec<Effect>) {
        if !self.routes.set_reachable(node, up) {
            return;
        }
        if up {
            self.healing.forget_told(node);
            self.hand_off(node, effects);
            self.meet_clock(now, effects);
            // So neither node has to wait for the next tick to hear what the other has.
            self.on_anti_entropy(now, effects);
        } else {
            self.fail_flights(now, node, effects);
        }
    }

    fn on_sweep(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.flights.sweeping = false;
        self.go_on_doubting(now, effects);
        self.expire_flights(now, effects);
        self.end_waits(now, effects);
        self.keep_sweeping(effects);
    }

    fn keep_sweeping(&mut self, effects: &mut Vec<Effect>) {
        let wanted = self.flights.len() > 0 || self.waiters.len() > 0 || self.is_in_doubt();
        if wanted && !std::mem::replace(&mut self.flights.sweeping, true) {
            effects.push(Effect::Arm {
                after: SWEEP_EVERY,
                timer: Timer::Sweep,
            });
        }
    }

    /// The replica of a place.
    fn replica(&self, place: Place) -> Option<&Replica> {
        self.replicas.get(&place.at())
    }

    /// The replica of a place, marked as changed.
    fn replica_mut(&mut self, place: Place) -> Option<&mut Replica> {
        let at = place.at();
        let replica = self.replicas.get_mut(&at)?;
        self.dirty.insert(at);
        Some(replica)
    }

    /// Joins a delta from another node. No delta is refused for its stamps: what one replica holds
    /// must reach all of them. A stamp from the future does not move the clock, and any write that
    /// sees it replaces it.
    ///
    /// # Errors
    /// `NotServing` if this node has no such replica. `OtherLives` if something is fenced here and
    /// the node that sends it has since become another replica.
    fn join(&mut self, now: Now, from: NodeId, place: Place, delta: &Delta) -> Result<(), Refusal> {
        let far_ahead = latest_stamp(delta)
            .is_some_and(|latest| self.clocks.hybrid.observe(now, latest).is_err());
        if far_ahead && planted::DRIFT_BLOCKS_REPAIR.is_planted() {
            return Err(Refusal::NotServing);
        }
        let replica = self.replica_mut(place).ok_or(Refusal::NotServing)?;
        if replica.is_former(from, delta.replica) {
            return Err(Refusal::OtherLives);
        }
        replica.join(delta);
        if replica.is_spent() {
            self.places.renewal.want();
        }
        self.note_remains(place.at());
        Ok(())
    }

    /// Whether the disk has room for this delta. A full disk still takes deltas that only remove.
    fn has_room_for(&self, place: Place, delta: &Delta) -> bool {
        let grows = || {
            self.replicas
                .get(&place.at())
                .is_some_and(|replica| replica.grows_by(delta))
        };
        !self.disk_full || !grows()
    }

    /// All changes of replicas since the last call. The driver applies them to the store as one
    /// batch before it releases the effects made so far.
    pub fn drain(&mut self) -> Batch {
        let mut batch = std::mem::take(&mut self.places.disk);
        for place in std::mem::take(&mut self.dirty) {
            if let Some(replica) = self.replicas.get_mut(&place) {
                replica.drain_into(&mut batch);
            }
        }
        batch
    }
}

fn latest_stamp(delta: &Delta) -> Option<Hlc> {
    let rows = delta.parts.iter().flat_map(|part| &part.rows);
    rows.flat_map(|(_, row)| row.iter())
        .filter_map(|(_, payload)| payload.stamp().map(|stamp| stamp.hlc))
        .max()
}
