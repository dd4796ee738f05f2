//! Answers the coordinators of other nodes: they ask this node's replicas what they have, and give
//! them writes to join.

use quorate_crdt::{NodeId, Now};

use super::Dynamo;
use super::flight::{Asked, Sent};
use crate::planted;
use crate::protocol::{Effect, FlightId, Message, Place, Refusal};
use crate::replica::{Delta, Range, RowKey, RowKind};
use crate::value;

impl Dynamo {
    /// Another node reads.
    pub(super) fn on_read(
        &mut self,
        from: NodeId,
        id: FlightId,
        place: Place,
        asked: Asked<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let message = self
            .read_here(id, place, asked)
            .unwrap_or_else(|reason| Message::Refused { id, reason });
        effects.push(Effect::Send { to: from, message });
    }

    fn read_here(
        &mut self,
        id: FlightId,
        place: Place,
        asked: Asked<'_>,
    ) -> Result<Message, Refusal> {
        let Asked {
            ranges,
            digest,
            context,
            look,
        } = asked;
        self.serving(place)?;
        if let Some(look) = look {
            self.admit_asked(place, &look.claim)?;
            self.agrees_on_lives(place, &look.lives)?;
        }
        let replica = self.replica(place).ok_or(Refusal::NotServing)?;
        if replica.filling() || self.is_waking(place) {
            return Err(Refusal::Filling);
        }
        if replica.is_outvoted() {
            return Err(Refusal::Quarantined);
        }
        let mine = replica.digest_of(ranges);
        if mine == digest {
            return Ok(Message::Same { id });
        }
        if replica.is_doubted() {
            return Err(Refusal::Quarantined);
        }
        let delta = replica
            .difference(ranges, context)
            .ok_or(Refusal::NotServing)?;
        Ok(Message::Different {
            id,
            delta,
            digest: mine,
        })
    }

    /// Another node writes, or repairs a replica before it returns a read.
    ///
    /// A replica that is still being filled joins the delta and acknowledges it;
    /// [`read`](super::read) explains why the stream that fills it cannot lose it again. Such a
    /// replica does not answer reads, so every read quorum that includes it also includes a filled
    /// one.
    ///
    /// A new write that carries the stamp of a wrong clock is refused here, at the door. Data that
    /// some replica already holds is joined whatever its stamps.
    pub(super) fn on_write(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        place: Place,
        sent: Sent<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let message = self
            .write_here(now, from, id, place, sent)
            .unwrap_or_else(|reason| Message::Refused { id, reason });
        effects.push(Effect::Send { to: from, message });
    }

    fn write_here(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        place: Place,
        sent: Sent<'_>,
    ) -> Result<Message, Refusal> {
        let delta = sent.delta;
        if sent.adds
            && let Some((delta, digest)) = self.expired_unseen(now, place, delta)
        {
            return Ok(Message::Different { id, delta, digest });
        }
        if sent.hides
            && let Some((delta, digest)) = self.hidden_unseen(place, delta)
        {
            return Ok(Message::Different { id, delta, digest });
        }
        if let Err(reason) = self.serving(place) {
            self.counters.epoch_refused += u64::from(matches!(reason, Refusal::Epoch(_)));
            return Err(reason);
        }
        if let Some(claim) = sent.claim {
            let admitted = self.admit_asked(place, &claim);
            if !planted::COORDINATOR_ONLY.is_planted() {
                admitted?;
            }
        }
        if !self.has_room_for(place, delta) {
            return Err(Refusal::DiskFull);
        }
        let refuses = |at| self.clocks.refuses(now, from, id.life, at);
        if let Some(offset_ms) = sent.stamped_at.and_then(refuses) {
            self.counters.drift_refused += 1;
            return Err(Refusal::Clock { offset_ms });
        }
        self.join(now, from, place, delta)?;
        let replica = self.replica_mut(place).ok_or(Refusal::NotServing)?;
        replica.overheard(from, delta);
        Ok(Message::Written {
            id,
            replica: replica.id(),
        })
    }

    /// If `delta` adds to a key that has expired here, for a reason that its writer had not seen:
    /// what this replica has of the key, with its digest. Joined, the addition would disappear
    /// together with the key.
    fn expired_unseen(&self, now: Now, place: Place, delta: &Delta) -> Option<(Delta, u128)> {
        let replica = self
            .replica(place)
            .filter(|_| !planted::ADDED_TO_EXPIRED.is_planted())?;
        let rows = delta.parts.iter().flat_map(|part| &part.rows);
        let key = rows
            .map(|(name, _)| &name.key)
            .find(|key| value::expired_unseen(replica, key, now.unix_millis, &delta.context))?;
        let ranges = [Range::Key(key.clone())];
        Some((
            replica.difference(&ranges, None)?,
            replica.digest_of(&ranges),
        ))
    }

    /// If something here hides what `delta` puts, and its writer had not seen that: what this
    /// replica has of those rows, with their digest.
    fn hidden_unseen(&self, place: Place, delta: &Delta) -> Option<(Delta, u128)> {
        let replica = self.replica(place).filter(|replica| replica.is_guarded())?;
        let rows = delta.parts.iter().flat_map(|part| &part.rows);
        let hidden: Vec<&RowKey> = rows
            .map(|(name, _)| name)
            .filter(|name| value::hidden_unseen(replica, name, &delta.context))
            .collect();
        let first = hidden.first()?;
        let mut ranges = vec![Range::Row(RowKey::string(first.key.clone()))];
        ranges.extend(
            hidden
                .into_iter()
                .filter(|name| name.kind != RowKind::String)
                .map(|name| Range::Row(name.clone())),
        );
        Some((
            replica.difference(&ranges, None)?,
            replica.digest_of(&ranges),
        ))
    }

    /// Whether this node holds the partition under exactly this epoch.
    pub(super) fn serving(&self, place: Place) -> Result<(), Refusal> {
        match self.routes.placement(place.at()) {
            Some(placement) if placement.epoch != place.epoch => {
                Err(Refusal::Epoch(placement.epoch))
            }
            Some(placement) if placement.holds(self.seat.me) => Ok(()),
            _ => Err(Refusal::NotServing),
        }
    }
}
