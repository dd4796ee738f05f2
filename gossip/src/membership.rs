//! Who is alive: SWIM (Das, Gupta, Motivala 2002) by foca, as a pure state machine.
//!
//! What it says are suspicions, good for choosing whom to ask first and when to give up waiting.
//! Nothing may be decided by it: a node that is down here stays in the topology, and only the
//! control group takes it out.
//!
//! On top of foca: a member can speak only for itself (the transport proves who sent a packet), and
//! whoever is missing is sought for ever, so that halves of a split find each other again.

use core::num::{NonZeroU8, NonZeroUsize};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use foca::{Codec, Foca, Identity, NoCustomBroadcast, Notification, PeriodicParams, PostcardCodec};
use quorate_crdt::NodeId;
use quorate_crdt::Now;
use rand::rngs::StdRng;
use rand::seq::{IteratorRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::planted::RENEW_BY_ONE;

/// A node in one of its appearances. A node that was declared down appears again under the next
/// incarnation, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Counts its appearances; the greater one is the later one. Starting again with a number that
    /// is too low by `n` costs `log2(n)` round trips.
    pub incarnation: u64,
}

impl Identity for Member {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        Some(Self {
            node: self.node,
            incarnation: self.incarnation + 1,
        })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.incarnation > adversary.incarnation
    }
}

/// The pace. A member that dies is noticed by someone after about `1.6 × probe_period` and reported
/// down `probe_period + suspicion` later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Every member probes one other per period, in shuffled turns. Longer than twice
    /// `probe_timeout`.
    pub probe_period: Duration,
    /// How long a direct answer may take before others are asked to try.
    pub probe_timeout: Duration,
    /// How many others are asked.
    pub indirect_probes: NonZeroUsize,
    /// How long a suspected member has to object.
    pub suspicion: Duration,
    /// How often news are passed on.
    pub gossip_period: Duration,
    /// To how many members at a time.
    pub gossip_fanout: NonZeroUsize,
    /// How often absent members are looked for.
    pub seek_period: Duration,
    /// How many at a time.
    pub seek_fanout: NonZeroUsize,
}

const THREE: NonZeroUsize = NonZeroUsize::new(3).unwrap();

impl Config {
    /// Round trips below a few milliseconds: a dead node is down after 3 s. Guess, checked by
    /// simulation with nine members; memberlist's defaults (1 s, 500 ms, 4 s) take twice as long,
    /// and small packets on live connections cost little.
    pub const fn lan() -> Self {
        Self {
            probe_period: Duration::from_millis(200),
            probe_timeout: Duration::from_millis(80),
            indirect_probes: THREE,
            suspicion: Duration::from_millis(1500),
            gossip_period: Duration::from_millis(200),
            gossip_fanout: THREE,
            seek_period: Duration::from_secs(1),
            seek_fanout: THREE,
        }
    }

    /// Round trips up to 400 ms. Guess: a dead node is down after about 6 s.
    pub const fn wan() -> Self {
        Self {
            probe_period: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(400),
            indirect_probes: THREE,
            suspicion: Duration::from_secs(3),
            gossip_period: Duration::from_millis(500),
            gossip_fanout: THREE,
            seek_period: Duration::from_secs(2),
            seek_fanout: THREE,
        }
    }

    /// For tests in real time on one machine. Guess: down after about half a second; not for
    /// machines that work.
    pub const fn test() -> Self {
        Self {
            probe_period: Duration::from_millis(50),
            probe_timeout: Duration::from_millis(20),
            indirect_probes: THREE,
            suspicion: Duration::from_millis(400),
            gossip_period: Duration::from_millis(50),
            gossip_fanout: THREE,
            seek_period: Duration::from_millis(200),
            seek_fanout: THREE,
        }
    }

    fn for_foca(&self, members: usize) -> foca::Config {
        foca::Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_timeout,
            num_indirect_probes: self.indirect_probes,
            max_transmissions: transmissions(members),
            suspect_to_down_after: self.suspicion,
            // Never: one entry per node that ever was, and a forgotten death would let an old
            // incarnation rise.
            remove_down_after: None,
            max_packet_size: NonZeroUsize::new(crate::transport::DATAGRAM_BYTES_MAX)
                .unwrap_or(NonZeroUsize::MIN),
            notify_down_members: true,
            periodic_announce: Some(PeriodicParams {
                frequency: 30 * self.seek_period,
                num_members: NonZeroUsize::MIN,
            }),
            // Seeking does this too, and also when nobody at all is left.
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(PeriodicParams {
                frequency: self.gossip_period,
                num_members: self.gossip_fanout,
            }),
        }
    }
}

/// How often one piece of news is passed on: grows with the logarithm of the cluster (SWIM, section
/// 4.1), four times decimal as in memberlist.
fn transmissions(members: usize) -> NonZeroU8 {
    let count = 4 + 4 * (members + 1).ilog2() / 3;
    u8::try_from(count)
        .ok()
        .and_then(NonZeroU8::new)
        .unwrap_or(NonZeroU8::MAX)
}

/// What goes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// A packet. `from` must be proved by the transport.
    Datagram {
        /// Who sent it.
        from: NodeId,
        /// What another member's [`Effect::Datagram`] held.
        payload: Bytes,
    },
    /// An armed timer is due.
    Timer(Timer),
    /// Who belongs to the cluster, this node or not. Nobody else is listened to or spoken of. The
    /// first one starts the machine.
    Peers(Vec<NodeId>),
    /// This node is going: tells a few members, and is silent from then on.
    Leave,
}

/// What comes out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this, unordered; it may be lost.
    Datagram {
        /// To whom.
        to: NodeId,
        /// What; at most [`DATAGRAM_BYTES_MAX`](crate::transport::DATAGRAM_BYTES_MAX).
        payload: Bytes,
    },
    /// Give `timer` back after this time. Timers that are no longer needed are ignored when they
    /// come.
    Arm {
        /// How long from now.
        after: Duration,
        /// What to give back.
        timer: Timer,
    },
    /// The node is alive, as far as anyone knows. Alternates with `Down`, beginning with `Up`.
    Up(NodeId),
    /// The node is suspected dead, has left, or is no longer a peer.
    Down(NodeId),
}

/// A moment this machine asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Foca(foca::Timer<Member>),
    Seek,
}

/// What is believed of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Whether it is up.
    pub up: bool,
    /// Since when, on the caller's monotonic clock; for a node never heard of, since it became a
    /// peer.
    pub since: Duration,
}

/// The membership of one node. Same seed and same inputs give the same effects.
pub struct Membership {
    foca: Foca<Member, PostcardCodec, StdRng, NoCustomBroadcast>,
    config: Config,
    me: NodeId,
    view: View,
    dice: StdRng,
    started: bool,
    left: bool,
    rejected: u64,
    climb: Climb,
}

/// Renewals that follow each other closely: this node has begun under a number below one that the
/// others remember, and have seen down.
#[derive(Clone, Copy, Debug, Default)]
struct Climb {
    steps: u32,
    last: Duration,
}

/// Renewals farther apart than this have nothing to do with each other.
const CLIMB_PAUSE: Duration = Duration::from_secs(10);
/// The last step that is twice as long as the one before. Guess: more than any two clocks differ,
/// in milliseconds.
const CLIMB_STEPS: u32 = 44;

/// What the caller has been told of each peer; its keys are the peers.
type View = BTreeMap<NodeId, Liveness>;

impl core::fmt::Debug for Membership {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Membership")
            .field("me", &self.foca.identity())
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

impl Membership {
    /// Knows nobody, and is silent before the first [`Input::Peers`].
    pub fn new(config: Config, me: Member, seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let foca = Foca::new(
            me,
            config.for_foca(1),
            StdRng::seed_from_u64(dice.next_u64()),
            PostcardCodec,
        );
        let view = View::new();
        Self {
            foca,
            config,
            me: me.node,
            view,
            dice,
            started: false,
            left: false,
            rejected: 0,
            climb: Climb::default(),
        }
    }

    /// Takes one input; appends what is to be done.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let now = now.monotonic;
        match input {
            _ if self.left => {}
            Input::Datagram { from, payload } => self.packet(now, from, &payload, effects),
            Input::Timer(timer) => self.timer(now, timer, effects),
            Input::Peers(peers) => self.peers(now, peers, effects),
            Input::Leave => {
                self.left = true;
                let mut out = Out {
                    now,
                    view: &mut self.view,
                    effects,
                };
                // Fails only if a member cannot be encoded, which the fixed shape of `Member` rules
                // out.
                let _never = self.foca.leave_cluster(&mut out);
            }
        }
    }

    /// All peers and what is believed of them, in order.
    pub fn peers_seen(&self) -> impl Iterator<Item = (NodeId, Liveness)> + '_ {
        self.view.iter().map(|(node, liveness)| (*node, *liveness))
    }

    /// Whether `node` is believed alive; false for strangers. This node is not its own peer.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.view.get(&node).is_some_and(|liveness| liveness.up)
    }

    /// How many packets were dropped because they came from a stranger, spoke for another, or were
    /// malformed.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// This node's present appearance: keep its incarnation for the next start.
    pub fn me(&self) -> Member {
        *self.foca.identity()
    }

    fn packet(&mut self, now: Duration, from: NodeId, payload: &[u8], effects: &mut Vec<Effect>) {
        let speaks_for_itself = PostcardCodec
            .decode_header(payload)
            .is_ok_and(|header: foca::Header<Member>| header.src.node == from);
        if !speaks_for_itself || !self.view.contains_key(&from) {
            self.rejected += 1;
            return;
        }
        let before = self.me();
        let mut out = Out {
            now,
            view: &mut self.view,
            effects,
        };
        if self.foca.handle_data(payload, &mut out).is_err() {
            self.rejected += 1;
        }
        if self.me() != before && !RENEW_BY_ONE.is_planted() {
            self.climb(now, (before, from), effects);
        }
    }

    /// `from` takes this node's last appearance for a former one: the next is twice as far ahead as
    /// the one before, and `from` is told it at once. So a node whose disk was set back is not held
    /// for dead until it has counted through all that it has forgotten.
    fn climb(
        &mut self,
        now: Duration,
        (before, from): (Member, NodeId),
        effects: &mut Vec<Effect>,
    ) {
        let steps = if now.saturating_sub(self.climb.last) > CLIMB_PAUSE {
            0
        } else {
            self.climb.steps
        };
        self.climb = Climb {
            steps: (steps + 1).min(CLIMB_STEPS),
            last: now,
        };
        let next = Member {
            incarnation: before.incarnation.saturating_add(1 << steps),
            ..before
        };
        let farther = next.win_addr_conflict(self.foca.identity());
        let mut out = Out {
            now,
            view: &mut self.view,
            effects,
        };
        if farther {
            // Fails only for the identity that it has.
            let _never = self.foca.change_identity(next, &mut out);
        }
        // An announcement reaches every incarnation of the node. Encoding cannot fail.
        let _never = self.foca.announce(
            Member {
                node: from,
                incarnation: 0,
            },
            &mut out,
        );
    }

    fn timer(&mut self, now: Duration, timer: Timer, effects: &mut Vec<Effect>) {
        match timer.0 {
            Kind::Seek => self.seek(now, effects),
            Kind::Foca(timer) => {
                let mut out = Out {
                    now,
                    view: &mut self.view,
                    effects,
                };
                // The errors are timers that no longer matter, and probes cut short by a late
                // timer, after which foca goes on by itself.
                let _goes_on = self.foca.handle_timer(timer, &mut out);
            }
        }
    }

    fn peers(&mut self, now: Duration, peers: Vec<NodeId>, effects: &mut Vec<Effect>) {
        let peers: BTreeSet<_> = peers.into_iter().filter(|node| *node != self.me).collect();
        self.view.retain(|node, liveness| {
            let stays = peers.contains(node);
            if !stays && liveness.up {
                effects.push(Effect::Down(*node));
            }
            stays
        });
        let alive: BTreeSet<_> = self
            .foca
            .iter_members()
            .map(|member| member.id().node)
            .collect();
        for node in peers {
            self.view.entry(node).or_insert_with(|| {
                let up = alive.contains(&node);
                if up {
                    effects.push(Effect::Up(node));
                }
                Liveness { up, since: now }
            });
        }
        // Only the number of transmissions differs, which foca lets change.
        let _allowed = self
            .foca
            .set_config(self.config.for_foca(self.view.len() + 1));
        if !self.started {
            self.started = true;
            self.seek(now, effects);
        }
    }

    /// Calls out to some of the peers that are not up: they may be new, back, or on the other side
    /// of a split that has healed.
    fn seek(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let absent = self
            .view
            .iter()
            .filter(|(_, liveness)| !liveness.up)
            .map(|(node, _)| *node);
        let mut chosen = absent.sample(&mut self.dice, self.config.seek_fanout.get());
        chosen.shuffle(&mut self.dice);
        for node in chosen {
            let mut out = Out {
                now,
                view: &mut self.view,
                effects,
            };
            // An announcement reaches every incarnation of the node. Encoding cannot fail.
            let _never = self.foca.announce(
                Member {
                    node,
                    incarnation: 0,
                },
                &mut out,
            );
        }
        effects.push(Effect::Arm {
            after: self.config.seek_period,
            timer: Timer(Kind::Seek),
        });
    }
}

/// Turns what foca wants into effects, as far as it concerns peers.
struct Out<'a> {
    now: Duration,
    view: &'a mut View,
    effects: &'a mut Vec<Effect>,
}

impl Out<'_> {
    fn set(&mut self, node: NodeId, up: bool) {
        if let Some(liveness) = self.view.get_mut(&node)
            && liveness.up != up
        {
            *liveness = Liveness {
                up,
                since: self.now,
            };
            self.effects.push(if up {
                Effect::Up(node)
            } else {
                Effect::Down(node)
            });
        }
    }
}

impl foca::Runtime<Member> for Out<'_> {
    fn notify(&mut self, notification: Notification<'_, Member>) {
        match notification {
            Notification::MemberUp(member) => self.set(member.node, true),
            Notification::MemberDown(member) => self.set(member.node, false),
            // Another appearance of a node whose liveness stays, or news of this node itself.
            Notification::Rename(..)
            | Notification::Active
            | Notification::Idle
            | Notification::Defunct
            | Notification::Rejoin(_) => {}
        }
    }

    fn send_to(&mut self, to: Member, data: &[u8]) {
        if self.view.contains_key(&to.node) {
            self.effects.push(Effect::Datagram {
                to: to.node,
                payload: Bytes::copy_from_slice(data),
            });
        }
    }

    fn submit_after(&mut self, timer: foca::Timer<Member>, after: Duration) {
        self.effects.push(Effect::Arm {
            after,
            timer: Timer(Kind::Foca(timer)),
        });
    }
}

#[cfg(test)]
mod tests;
