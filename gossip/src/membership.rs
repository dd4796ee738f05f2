//! Which nodes are alive: SWIM (Das, Gupta, Motivala 2002) by foca, as a pure state machine.
//!
//! Its results are suspicions. They help a node to choose whom to ask first and when to give up
//! waiting, but nothing may be decided by them: a node that is down here stays in the topology, and
//! only the control group removes it.
//!
//! Two things are added to foca. A member can speak only for itself, because the transport proves
//! who sent a packet. And absent members are sought for ever, so the two sides of a split find each
//! other again.

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

/// A node in one of its appearances, unlike a member as an operator lists it. A node that has been
/// declared down appears again by itself, under the next incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Counts its appearances; a later one has a greater number. A node that starts with a number
    /// that is too low by `n` needs `log2(n)` round trips to be believed.
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

/// The pace of probing and gossip. Some member notices a dead member after about
/// `1.6 × probe_period`; it is reported down `probe_period + suspicion` later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often every member probes one other; the others take turns in a shuffled order. Must be
    /// longer than twice `probe_timeout`.
    pub probe_period: Duration,
    /// How long a direct answer may take before other members are asked to probe.
    pub probe_timeout: Duration,
    /// How many other members are asked to probe.
    pub indirect_probes: NonZeroUsize,
    /// How long a suspected member has to object before it counts as down.
    pub suspicion: Duration,
    /// How often a member passes news on.
    pub gossip_period: Duration,
    /// To how many members it passes news on at a time.
    pub gossip_fanout: NonZeroUsize,
    /// How often a member looks for absent members.
    pub seek_period: Duration,
    /// How many absent members it looks for at a time.
    pub seek_fanout: NonZeroUsize,
}

const THREE: NonZeroUsize = NonZeroUsize::new(3).unwrap();

impl Config {
    /// For round trips of up to a few milliseconds: a dead node is down after 3 s. Guess, checked
    /// by simulation with nine members. The defaults of memberlist (1 s, 500 ms, 4 s) take twice as
    /// long, and small packets on live connections cost little.
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

    /// For round trips of up to 400 ms: a dead node is down after about 6 s. Guess.
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

    /// For tests in real time on one machine: a dead node is down after about half a second. Guess.
    /// Not for machines under load.
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
            // Never: it costs one entry per node that ever existed, and a forgotten death would
            // let an old incarnation come back to life.
            remove_down_after: None,
            max_packet_size: NonZeroUsize::new(crate::transport::DATAGRAM_BYTES_MAX)
                .unwrap_or(NonZeroUsize::MIN),
            notify_down_members: true,
            periodic_announce: Some(PeriodicParams {
                frequency: 30 * self.seek_period,
                num_members: NonZeroUsize::MIN,
            }),
            // Seeking does this too, and it also works when no member at all is up.
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(PeriodicParams {
                frequency: self.gossip_period,
                num_members: self.gossip_fanout,
            }),
        }
    }
}

/// How often one piece of news is passed on. It grows with the logarithm of the cluster's size
/// (SWIM, section 4.1): four times the decimal logarithm, as in memberlist.
fn transmissions(members: usize) -> NonZeroU8 {
    let count = 4 + 4 * (members + 1).ilog2() / 3;
    u8::try_from(count)
        .ok()
        .and_then(NonZeroU8::new)
        .unwrap_or(NonZeroU8::MAX)
}

/// What the state machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A packet has arrived.
    Datagram {
        /// The sender, as the transport has proved it.
        from: NodeId,
        /// The payload of another member's [`Effect::Datagram`].
        payload: Bytes,
    },
    /// An armed timer is due.
    Timer(Timer),
    /// The nodes of the cluster, with or without this node. Nodes that are not listed are neither
    /// listened to nor reported on. The first list starts the machine.
    Peers(Vec<NodeId>),
    /// This node is leaving. It tells a few members and is silent from then on.
    Leave,
}

/// What the state machine asks for, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a packet. It may be lost or reordered.
    Datagram {
        /// The receiver.
        to: NodeId,
        /// At most [`DATAGRAM_BYTES_MAX`](crate::transport::DATAGRAM_BYTES_MAX) bytes.
        payload: Bytes,
    },
    /// Give `timer` back later, as [`Input::Timer`]. A timer that is no longer needed is ignored
    /// when it comes.
    Arm {
        /// How long from now.
        after: Duration,
        /// The timer to give back.
        timer: Timer,
    },
    /// The node is believed alive. Alternates with `Down`, beginning with `Up`.
    Up(NodeId),
    /// The node is believed dead, has left, or is no longer a peer.
    Down(NodeId),
}

/// A timer that the state machine has armed; opaque to its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Foca(foca::Timer<Member>),
    Seek,
}

/// What is believed about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Whether it is up.
    pub up: bool,
    /// Since when, on the caller's monotonic clock. For a node that was never heard of: since it
    /// became a peer.
    pub since: Duration,
}

/// One node's view of which nodes are alive.
///
/// **Law:** the same seed and the same inputs give the same effects.
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

/// Renewals in quick succession. They mean that this node has started under a lower number than one
/// that the others remember and have seen down.
#[derive(Clone, Copy, Debug, Default)]
struct Climb {
    steps: u32,
    last: Duration,
}

/// Renewals further apart than this are unrelated. Guess.
const CLIMB_PAUSE: Duration = Duration::from_secs(10);
/// How many steps double. Guess: 2^44 milliseconds is more than any two clocks differ.
const CLIMB_STEPS: u32 = 44;

fn is_datagram(effect: &mut Effect) -> bool {
    matches!(effect, Effect::Datagram { .. })
}

/// What the caller has been told about each peer. The keys are all peers.
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
    /// A membership without peers. It is silent until the first [`Input::Peers`].
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

    /// Takes one input, and appends what is to be done to `effects`.
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
                // Fails only if a `Member` cannot be encoded, which its fixed shape rules out.
                let _never = self.foca.leave_cluster(&mut out);
            }
        }
    }

    /// All peers and what is believed about them, in ascending order.
    pub fn peers_seen(&self) -> impl Iterator<Item = (NodeId, Liveness)> + '_ {
        self.view.iter().map(|(node, liveness)| (*node, *liveness))
    }

    /// Whether `node` is believed alive. `false` for strangers and for this node, which is not its
    /// own peer.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.view.get(&node).is_some_and(|liveness| liveness.up)
    }

    /// How many packets were dropped because they came from a stranger, spoke for another node or
    /// were malformed.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// This node's present appearance. Keep its incarnation for the next start.
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
            self.climb(now, before, from, effects);
        }
    }

    /// `from` knows a later appearance of this node than its present one, so this node takes a
    /// greater number and tells `from` at once. Each step is twice as long as the one before.
    /// Otherwise a node whose disk was set back would be considered dead until it had counted
    /// through every number that it has forgotten.
    fn climb(&mut self, now: Duration, before: Member, from: NodeId, effects: &mut Vec<Effect>) {
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
            // Fails only for the identity that it has already.
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
                // Probes find out who answers; gossip without news tells nobody anything.
                let idle = matches!(timer, foca::Timer::PeriodicGossip(_))
                    && self.foca.updates_backlog() == 0;
                let kept = effects.len();
                let mut out = Out {
                    now,
                    view: &mut self.view,
                    effects,
                };
                // Errors are timers that no longer matter, and probes that a late timer cut short;
                // foca continues by itself.
                let _goes_on = self.foca.handle_timer(timer, &mut out);
                if idle {
                    effects.extract_if(kept.., is_datagram).for_each(drop);
                }
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
        // Only the number of transmissions differs, which foca allows to change.
        let _allowed = self
            .foca
            .set_config(self.config.for_foca(self.view.len() + 1));
        if !self.started {
            self.started = true;
            self.seek(now, effects);
        }
    }

    /// Announces this node to some of the peers that are not up. They may be new, back again, or on
    /// the other side of a split that has healed.
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

/// Turns foca's requests into effects, as far as they concern peers.
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
            // A new appearance of a node that stays as it was, or news about this node itself.
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
