//! Answers the coordinators of other nodes: they ask this node's replicas what they have, and give
//! them writes to join.

use quorate_crdt::{CausalContext, NodeId, Now};

use super::Dynamo;
use super::flight::Sent;
use crate::planted;
use crate::protocol::{Effect, FlightId, Message, Place, Refusal};
use crate::replica::{Delta, Range};
use crate::value;

impl Dynamo {
    /// Another node reads.
    pub(super) fn on_read(
        &mut self,
        from: NodeId,
        id: FlightId,
        place: Place,
        ranges: &[Range],
        digest: u128,
        context: Option<&CausalContext>,
        effects: &mut Vec<Effect>,
    ) {
        let message = match self.serving(place) {
            Err(reason) => Message::Refused { id, reason },
            Ok(()) => match self.replicas.get(&(place.keyspace, place.partition)) {
                None => Message::Refused {
                    id,
                    reason: Refusal::NotServing,
                },
                Some(replica) if replica.filling() || self.is_waking(place) => Message::Refused {
                    id,
                    reason: Refusal::Filling,
                },
                Some(replica) if replica.is_outvoted() => Message::Refused {
                    id,
                    reason: Refusal::Quarantined,
                },
                Some(replica) => match replica.digest_of(ranges) {
                    mine if mine == digest => Message::Same { id },
                    _ if replica.is_doubted() => Message::Refused {
                        id,
                        reason: Refusal::Quarantined,
                    },
                    mine => match replica.difference(ranges, context) {
                        Some(delta) => Message::Different {
                            id,
                            delta,
                            digest: mine,
                        },
                        None => Message::Refused {
                            id,
                            reason: Refusal::NotServing,
                        },
                    },
                },
            },
        };
        effects.push(Effect::Send { to: from, message });
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
        let Sent {
            delta,
            stamped_at,
            adds,
        } = sent;
        if let Some((delta, digest)) = self.expired_unseen(now, place, delta).filter(|_| adds) {
            effects.push(Effect::Send {
                to: from,
                message: Message::Different { id, delta, digest },
            });
            return;
        }
        let off = stamped_at.and_then(|at| self.clocks.refuses(now, from, id.life, at));
        let message = match self.serving(place) {
            Err(reason) => {
                self.counters.epoch_refused += u64::from(matches!(reason, Refusal::Epoch(_)));
                Message::Refused { id, reason }
            }
            Ok(()) if !self.has_room_for(place, delta) => Message::Refused {
                id,
                reason: Refusal::DiskFull,
            },
            Ok(()) if off.is_some() => {
                self.counters.drift_refused += 1;
                Message::Refused {
                    id,
                    reason: Refusal::Clock {
                        offset_ms: off.unwrap_or_default(),
                    },
                }
            }
            Ok(()) if !self.join(now, place, delta) => Message::Refused {
                id,
                reason: Refusal::NotServing,
            },
            Ok(()) => {
                let Some(replica) = self.replica_mut(place) else {
                    return;
                };
                replica.overheard(from, delta);
                Message::Written {
                    id,
                    replica: replica.id(),
                }
            }
        };
        effects.push(Effect::Send { to: from, message });
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

    /// Whether this node holds the partition under exactly this epoch.
    pub(super) fn serving(&self, place: Place) -> Result<(), Refusal> {
        match self.routes.placement(place.keyspace, place.partition) {
            Some(placement) if placement.epoch != place.epoch => {
                Err(Refusal::Epoch(placement.epoch))
            }
            Some(placement) if placement.holds(self.seat.me) => Ok(()),
            _ => Err(Refusal::NotServing),
        }
    }
}
