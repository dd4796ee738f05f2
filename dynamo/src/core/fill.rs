//! Streams a partition, piece by piece, to a replica that lacks more than others remember event by
//! event.
//!
//! **When may a replica that is being filled be read?** It has lost, or never had, what it
//! acknowledged. Let R be the set of replicas that was read until now. The replica is ready when it
//! has all that every reachable member of R had at its first report under this placement (or, if
//! that member was itself being filled then, at its first report after it was filled), and if one
//! of these holds:
//!
//! - (a) Such reports have come from a majority of R in each datacenter, not counting members that
//!   are being filled. The replica counts itself only if it is not being filled, and otherwise
//!   leaves itself out of the count.
//! - (b) Such reports have come from every member of R and every node that the partition moves to,
//!   filled or not.
//!
//! **Why no acknowledged majority write is missed** that is left anywhere in R. With (a): let Q be
//! the majority that acknowledged the write. Even if the replica itself is in R and has lost its
//! copy, the others of Q meet every majority of the others. So one member of Q that has not lost
//! its memory has reported, had the write before it reported, and now the replica has it. With (b):
//! whoever has the write has reported. This covers the case that this replica is all that is left
//! of R, because what was written during the move is also on the nodes that the partition moves to.
//!
//! A member that is being filled tells the truth about what it has. So it can be copied from and
//! can help at any time; only its memory cannot stand for a majority. Replicas that lost their
//! disks together therefore wait for each other only until all have reported.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_control::quorum::majority;
use quorate_control::topology::Placement;
use quorate_crdt::{CausalContext, NodeId, Now};

use super::Dynamo;
use super::healing::{Pull, STREAMS_AT_ONCE};
use crate::planted;
use crate::protocol::{Effect, Message, Piece, Place, StreamId};
use crate::replica::{Cut, Delta, Mend, Range, Replica, Residual};
use crate::seen::At;

/// How long to wait for a piece before asking for it again. Counted in ticks, which come no faster
/// than this node handles its inputs, so that a busy node does not ask again for what lies in its
/// inbox. Guess: several round trips around the world.
const PULL_AGAIN: Duration = Duration::from_millis(700);
/// How long a stream may stand still before another source is tried; counted in ticks, too.
const PULL_PATIENCE: Duration = Duration::from_secs(2);

impl Dynamo {
    /// Puts a stream in line, unless the disk is full.
    pub(super) fn begin_stream(
        &mut self,
        at: At,
        source: NodeId,
        range: Range,
        mends: Option<Mend>,
        effects: &mut Vec<Effect>,
    ) {
        if self.disk_full {
            return;
        }
        self.healing.streams += 1;
        let stream = StreamId {
            life: self.seat.life,
            number: self.healing.streams,
        };
        let pull = Pull {
            stream,
            source,
            range,
            mends,
            from: None,
            after: None,
            asked_at: None,
            moved_at: self.healing.ticks,
        };
        self.healing.pulls.insert(at, pull);
        self.ask_in_line(effects);
    }

    /// Begins the streams whose turn has come. Each waits for one piece at a time, so together they
    /// bound what may be on its way to this core.
    pub(super) fn ask_in_line(&mut self, effects: &mut Vec<Effect>) {
        let at_once = if planted::STREAMS_ALL_AT_ONCE.is_planted() {
            usize::MAX
        } else {
            STREAMS_AT_ONCE
        };
        let mut streaming = self.healing.streaming();
        while streaming < at_once
            && let Some(at) = self.healing.first_in_line()
        {
            let ticks = self.healing.ticks;
            if let Some(pull) = self.healing.pulls.get_mut(&at) {
                pull.moved_at = ticks;
            }
            self.ask_for_piece(at, effects);
            streaming += 1;
        }
    }

    /// Asks for the next piece, or for the same piece again.
    fn ask_for_piece(&mut self, at: At, effects: &mut Vec<Effect>) {
        let epoch = self
            .routes
            .placement(at)
            .map_or_else(Default::default, |placement| placement.epoch);
        let Some(pull) = self.healing.pulls.get_mut(&at) else {
            return;
        };
        pull.asked_at = Some(self.healing.ticks);
        let place = Place::new(at, epoch);
        let message = Message::Pull {
            place,
            stream: pull.stream,
            range: pull.range.clone(),
            after: pull.after.clone(),
        };
        effects.push(Effect::Send {
            to: pull.source,
            message,
        });
    }

    /// Any replica answers, even one that is being filled: what it says is true, only incomplete.
    /// For replicas in quarantine see
    /// [`may_be_copied_by`](crate::replica::Replica::may_be_copied_by).
    pub(super) fn on_pull(
        &mut self,
        from: NodeId,
        place: Place,
        stream: StreamId,
        range: &Range,
        after: Option<Cut>,
        effects: &mut Vec<Effect>,
    ) {
        let replica = self
            .replica(place)
            .filter(|_| !matches!(range, Range::Row(_)));
        let Some(replica) = replica.filter(|replica| replica.may_be_copied_by(from)) else {
            return;
        };
        let chunk = replica.chunk(range, after.as_ref(), self.config.chunk_bytes);
        let piece = Piece {
            replica: replica.id(),
            after,
            delta: chunk.delta,
            next: chunk.next,
            settled: chunk.settled,
        };
        effects.push(Effect::Send {
            to: from,
            message: Message::Chunk {
                place,
                stream,
                piece: Box::new(piece),
            },
        });
    }

    pub(super) fn on_chunk(
        &mut self,
        now: Now,
        from: NodeId,
        place: Place,
        stream: StreamId,
        piece: &Piece,
        effects: &mut Vec<Effect>,
    ) {
        let at = place.at();
        let full = self.disk_full;
        let Some(pull) = self
            .healing
            .pulls
            .get_mut(&at)
            .filter(|pull| pull.source == from && !full)
        else {
            return;
        };
        if (pull.stream != stream || pull.after != piece.after)
            && !planted::CHUNK_OF_ANY_STREAM.is_planted()
        {
            return;
        }
        let (range, mend) = (pull.range.clone(), pull.mends);
        let (streamed, first) = pull
            .from
            .get_or_insert_with(|| (piece.replica, piece.delta.context.clone()));
        if mend.is_some()
            && !self
                .replicas
                .get(&at)
                .is_some_and(|replica| replica.has_heard(from, piece.replica))
        {
            // That replica has not been compared in its present life.
            self.healing.pulls.remove(&at);
            return;
        }
        if *streamed != piece.replica {
            self.begin_stream(at, from, range, mend, effects);
            return;
        }
        let first = first.clone();
        pull.after.clone_from(&piece.next);
        pull.moved_at = self.healing.ticks;
        self.healing.helped_at.insert(from, self.healing.ticks);
        if let (Some(mend), Some(held)) = (mend, self.replica_mut(place)) {
            held.take_mending(&piece.delta, mend);
            self.note_remains(at);
        } else if self.join(now, from, place, &piece.delta).is_err() {
            self.healing.pulls.remove(&at);
            return;
        }
        if piece.next.is_some() {
            self.ask_for_piece(at, effects);
            return;
        }
        self.finish_stream(place, from, first, piece, effects);
    }

    /// The last piece has come. `first` is the context of the first piece.
    fn finish_stream(
        &mut self,
        place: Place,
        from: NodeId,
        first: CausalContext,
        piece: &Piece,
        effects: &mut Vec<Effect>,
    ) {
        let at = place.at();
        let Some(Pull {
            range, mends: mend, ..
        }) = self.healing.pulls.remove(&at)
        else {
            return;
        };
        self.counters.streams += 1;
        self.counters.mended += u64::from(mend.is_some());
        if let Some(held) = self.replica_mut(place) {
            if let Some(mend) = mend {
                held.finish_mending(from, mend);
            }
            held.settle_in(&range, &piece.settled);
            // The rule: what all pieces say together has been seen. The joins have already worked
            // that out.
            let believed = planted::CHUNK_OF_ANY_STREAM.is_planted().then_some(first);
            let believed = believed.or_else(|| {
                planted::ADOPT_LAST_CONTEXT
                    .is_planted()
                    .then(|| piece.delta.context.clone())
            });
            if let Some(context) = believed {
                held.join(&Delta {
                    residuals: vec![Residual { range, context }],
                    ..Delta::default()
                });
            }
        }
        if let Some(placement) = self.routes.placement(place.at()).cloned() {
            self.go_on_filling(at, &placement, effects);
        }
        self.ask_in_line(effects);
    }

    /// Each tick: asks again for a piece that does not come, or begins again at another source. A
    /// stream that nobody can continue ends.
    pub(super) fn go_on_streaming(&mut self, at: At, effects: &mut Vec<Effect>) {
        let Some(pull) = self.healing.pulls.get(&at) else {
            self.settle_slices(at);
            return;
        };
        if planted::PULL_ONCE.is_planted() || self.disk_full {
            return;
        }
        let silent = |since: u64, time: Duration| {
            let patience = self.config.ticks_in(time);
            self.healing.is_silent(pull.source, since, patience)
        };
        let stands_still = pull.asked_at.is_some() && silent(pull.moved_at, PULL_PATIENCE);
        if stands_still || !self.routes.reachable(pull.source) {
            let (tried, range, mends) = (pull.source, pull.range.clone(), pull.mends);
            self.healing.pulls.remove(&at);
            if let Some(source) = self.source(at, mends, Some(tried)) {
                self.begin_stream(at, source, range, mends, effects);
            }
        } else if pull
            .asked_at
            .is_some_and(|asked_at| silent(asked_at, PULL_AGAIN))
        {
            self.ask_for_piece(at, effects);
        }
    }

    /// Finishes the filling of a replica that has all it needs, or begins its next stream.
    pub(super) fn go_on_filling(
        &mut self,
        at: At,
        placement: &Placement,
        effects: &mut Vec<Effect>,
    ) {
        if !self.replicas.get(&at).is_some_and(Replica::filling)
            || self.healing.pulls.contains_key(&at)
        {
            return;
        }
        if self.has_caught_up(at, placement) {
            self.dirty.insert(at);
            if let Some(replica) = self.replicas.get_mut(&at) {
                replica.finish_filling();
            }
        } else if let Some(source) = self.source(at, None, None) {
            self.begin_stream(at, source, Range::ALL, None, effects);
        }
    }

    /// Streams the partition to a replica that must be mended, for as long as it must be, in place
    /// of any other stream.
    pub(super) fn go_on_mending(&mut self, at: At, effects: &mut Vec<Effect>) {
        let mend = self.replicas.get(&at).and_then(Replica::mend);
        let mends = self.healing.pulls.get(&at).and_then(|pull| pull.mends);
        if mend == mends {
            return;
        }
        if mends.is_some() {
            self.healing.pulls.remove(&at);
        }
        if let Some(source) = mend.and_then(|_| self.source(at, mend, None)) {
            self.begin_stream(at, source, Range::ALL, mend, effects);
        }
    }

    /// No stream is in progress: what the pieces of the last one brought is settled, so that the
    /// others learn of it.
    fn settle_slices(&mut self, at: At) {
        if let Some(replica) = self
            .replicas
            .get_mut(&at)
            .filter(|replica| replica.is_partial())
        {
            replica.settle_slices();
            self.dirty.insert(at);
        }
    }

    /// The best holder that has something this replica lacks, or that can mend it. Replicas that
    /// are not being filled come first, then the nearest; `tried` is chosen only if there is no
    /// other.
    fn source(&self, at: At, mends: Option<Mend>, tried: Option<NodeId>) -> Option<NodeId> {
        let placement = self.routes.placement(at)?;
        let replica = self.replicas.get(&at)?;
        let near = self.routes.holders(placement);
        let helps = |node: &NodeId| {
            if mends.is_some() {
                replica.is_mended_by(*node)
            } else {
                replica.lacks_some_of(*node)
            }
        };
        if mends.is_some() && planted::MEND_SOURCE_FIXED.is_planted() {
            return near
                .filter(helps)
                .min()
                .filter(|node| self.routes.reachable(*node));
        }
        let fit = near
            .filter(|node| *node != self.seat.me && self.routes.reachable(*node) && helps(node));
        fit.min_by_key(|node| (Some(*node) == tried, replica.heard_filling(*node)))
    }

    /// Whether this replica has what the replicas that were read until now had. The rule is at the
    /// head of this module.
    pub(super) fn has_caught_up(&self, at: At, placement: &Placement) -> bool {
        let (Some(replica), Some(topology)) = (self.replicas.get(&at), self.routes.topology())
        else {
            return false;
        };
        let mut by_datacenter: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        let mut everybody = !planted::FILL_FROM_FILLED_ONLY.is_planted();
        for node in placement.holders() {
            let me = node == self.seat.me;
            if me && (replica.filling() || planted::MOVER_FORGETS_ITSELF.is_planted()) {
                continue;
            }
            let has = me || replica.has_all_of(node, placement.epoch);
            if !placement.replicas.contains(&node) {
                everybody &= has || planted::ALONE_IS_EVERYBODY.is_planted();
                continue;
            }
            let from_one = planted::REFILL_FROM_ONE.is_planted();
            if !has && self.routes.reachable(node) && !from_one {
                return false;
            }
            everybody &= has;
            let (known, all) = by_datacenter
                .entry(topology.datacenter_of(node))
                .or_default();
            *known += usize::from(has && (me || !replica.heard_filling(node)));
            *all += 1;
        }
        everybody
            || !by_datacenter.is_empty()
                && by_datacenter.values().all(|(known, all)| {
                    let one = *known > 0 && planted::REFILL_FROM_ONE.is_planted();
                    one || *known >= majority(*all)
                })
    }
}
