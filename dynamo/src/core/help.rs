//! Asks for missed events, one by one.
//!
//! From the reports of the others a replica learns which events it lacks. Most of them are on their
//! way. Those still missing a while later are asked for by name: from one helper at a time, in a
//! single conversation that continues until nothing is missing or nothing more comes. So each
//! missed event travels once, however long a round trip takes. A helper that does not answer in
//! time is dropped, and the next one is asked for what is missing by then. A late answer does no
//! harm: it is still true.

use std::time::Duration;

use quorate_crdt::{CausalContext, NodeId, Now};

use super::Dynamo;
use super::healing::{TALKS_AT_ONCE, Talk};
use crate::planted;
use crate::protocol::{Answers, Ask, Effect, Message, Place, StreamId, Then};
use crate::replica::{Delta, Missing, Range};
use crate::seen::At;

/// How long a helper may stay silent before the rest of its answer is taken for lost. Counted in
/// ticks, which come no faster than this node handles its inputs. Guess: many times what one answer
/// takes on a slow link.
const PATIENCE: Duration = Duration::from_secs(1);
/// Or this many round trips, if one is known to take long. Guess.
const PATIENCE_ROUND_TRIPS: u32 = 4;
/// Patience doubles each time it was in vain, up to this many times: what was taken for lost may
/// only be slow. Guess.
const PATIENCE_DOUBLED: u32 = 4;
/// Deltas sent in answer to one question. Guess.
const DELTAS_AT_ONCE: usize = 8;

impl Dynamo {
    /// Each tick: asks for what has been missing for a while. (The node that reported an event may
    /// be near, and the node that sends it far away.) Returns whether an answer is on its way.
    pub(super) fn go_on_asking(&mut self, now: Now, at: At, effects: &mut Vec<Effect>) -> bool {
        let helpers = self.helpers(at);
        // A stream brings everything that its source has. On a full disk there is no room for
        // answers.
        let no_room = self.disk_full && !planted::FULL_DISK_TAKES_REPAIRS.is_planted();
        if helpers.is_empty() || self.healing.pulls.contains_key(&at) || no_room {
            self.healing.wants.remove(&at);
            return false;
        }
        let on_its_way = self
            .config
            .anti_entropy_every
            .max(self.routes.round_trip(&self.others(at)));
        let Some(replica) = self.replicas.get(&at) else {
            return false;
        };
        let mut lacking = CausalContext::new();
        for helper in &helpers {
            lacking.union(&replica.lacking_of(*helper));
        }
        let want = self.healing.wants.entry(at).or_default();
        if now.monotonic.saturating_sub(want.noted_at) >= on_its_way || want.noted.is_empty() {
            want.overdue = if planted::ASKED_BEFORE_OVERDUE.is_planted() {
                lacking.clone()
            } else {
                lacking.intersection(&want.noted)
            };
            (want.noted, want.noted_at) = (lacking, now.monotonic);
        }
        let talk = want.talk.as_ref().map(|talk| {
            let in_vain = want.in_vain.get(&talk.helper).copied().unwrap_or(0);
            (talk.helper, talk.moved_at, in_vain)
        });
        if let Some((helper, moved_at, in_vain)) = talk {
            let patience = PATIENCE.max(self.routes.round_trip(&[helper]) * PATIENCE_ROUND_TRIPS);
            let patience = self.config.ticks_in(patience) << in_vain.min(PATIENCE_DOUBLED);
            let silent = self.healing.is_silent(helper, moved_at, patience);
            if helpers.contains(&helper) && !silent && !planted::ASKED_AGAIN_EACH_TICK.is_planted()
            {
                return true;
            }
            let want = self.healing.wants.entry(at).or_default();
            *want.in_vain.entry(helper).or_default() += u32::from(silent);
            want.talk = None;
        }
        self.ask_for_help(at, effects);
        self.healing
            .wants
            .get(&at)
            .is_some_and(|want| want.talk.is_some())
    }

    /// A replica reports for the first time since this one began to listen. What it has and this
    /// one lacks is hardly on its way.
    pub(super) fn want_at_once(
        &mut self,
        now: Now,
        at: At,
        from: NodeId,
        effects: &mut Vec<Effect>,
    ) {
        if self.healing.pulls.contains_key(&at) || self.disk_full {
            return;
        }
        let Some(replica) = self
            .replicas
            .get(&at)
            .filter(|replica| replica.lacks_some_of(from) && !replica.filling())
        else {
            return;
        };
        let want = self.healing.wants.entry(at).or_default();
        want.overdue.union(&replica.lacking_of(from));
        want.noted.union(&replica.lacking_of(from));
        want.noted_at = now.monotonic;
        if want.talk.is_none() {
            self.ask_for_help(at, effects);
        }
    }

    /// The reachable nodes that have reported something missing here, in order. They may be holders
    /// or replicas that leave.
    fn helpers(&self, at: At) -> Vec<NodeId> {
        let Some(replica) = self.replicas.get(&at) else {
            return Vec::new();
        };
        let member = |node: &NodeId| {
            self.routes
                .topology()
                .is_some_and(|topology| topology.nodes.contains_key(node))
        };
        replica
            .ahead()
            .filter(|node| self.routes.reachable(*node) && member(node))
            .collect()
    }

    /// Begins a conversation with the next helper about what is overdue and still missing. If no
    /// helper is left that may remember it event by event, the partition is streamed from one that
    /// has said it does not. Helpers that were asked in vain are asked again only if there is no
    /// such source.
    fn ask_for_help(&mut self, at: At, effects: &mut Vec<Effect>) {
        if self.healing.talks() >= TALKS_AT_ONCE {
            return;
        }
        let helpers = self.helpers(at);
        let (Some(want), Some(replica)) = (self.healing.wants.get_mut(&at), self.replicas.get(&at))
        else {
            return;
        };
        let events_of = |helper: &NodeId| replica.lacking_of(*helper).intersection(&want.overdue);
        let able = helpers
            .iter()
            .filter(|helper| !want.forgetful.contains(helper));
        let able: Vec<(NodeId, CausalContext)> = able
            .map(|helper| (*helper, events_of(helper)))
            .filter(|(_, events)| !events.is_empty())
            .collect();
        let forgiving =
            planted::SILENCE_IS_MEMORY.is_planted() || planted::ONE_HELPER_FOR_EVER.is_planted();
        let in_vain = |helper: &NodeId| {
            want.in_vain.get(helper).is_some_and(|times| *times > 0) && !forgiving
        };
        let (in_vain, hopeful): (Vec<_>, Vec<_>) =
            able.into_iter().partition(|(helper, _)| in_vain(helper));
        if hopeful.is_empty()
            && let Some(source) = self.forgetful_source(at, &helpers)
        {
            self.begin_stream(at, source, Range::ALL, None, effects);
            return;
        }
        let Some(want) = self.healing.wants.get_mut(&at) else {
            return;
        };
        let able = if hopeful.is_empty() { in_vain } else { hopeful };
        let after = |last: NodeId| able.iter().find(|(helper, _)| *helper > last);
        let next = want
            .last
            .filter(|_| !planted::ONE_HELPER_FOR_EVER.is_planted())
            .and_then(after)
            .or(able.first());
        let Some((helper, events)) = next.cloned() else {
            want.forgetful.clear();
            return;
        };
        self.healing.streams += 1;
        let name = StreamId {
            life: self.seat.life,
            number: self.healing.streams,
        };
        want.last = Some(helper);
        want.talk = Some(Talk {
            name,
            helper,
            events,
            moved_at: self.healing.ticks,
        });
        self.ask_on(at, None, effects);
        if planted::EVERYBODY_HELPS.is_planted() {
            let Some(Effect::Send { message, .. }) = effects.last().cloned() else {
                return;
            };
            let others = helpers.into_iter().filter(|other| *other != helper);
            effects.extend(others.map(|to| Effect::Send {
                to,
                message: message.clone(),
            }));
        }
    }

    /// The nearest helper that has said it does not remember the overdue events one by one.
    fn forgetful_source(&self, at: At, helpers: &[NodeId]) -> Option<NodeId> {
        let want = self.healing.wants.get(&at)?;
        let replica = self.replicas.get(&at)?;
        let placement = self.routes.placement(at)?;
        let has_some = |node: &NodeId| {
            helpers.contains(node)
                && !replica
                    .lacking_of(*node)
                    .intersection(&want.overdue)
                    .is_empty()
        };
        let near = self
            .routes
            .holders(placement)
            .chain(helpers.iter().copied());
        near.filter(|node| want.forgetful.contains(node))
            .find(has_some)
    }

    /// Asks the helper for the first part of its answer, or for the part after `after`.
    fn ask_on(&self, at: At, after: Option<Range>, effects: &mut Vec<Effect>) {
        let Some(talk) = self
            .healing
            .wants
            .get(&at)
            .and_then(|want| want.talk.as_ref())
        else {
            return;
        };
        let Some(epoch) = self.routes.placement(at).map(|placement| placement.epoch) else {
            return;
        };
        let place = Place::new(at, epoch);
        let ask = Ask {
            name: talk.name,
            events: talk.events.clone(),
            after,
        };
        effects.push(Effect::Send {
            to: talk.helper,
            message: Message::Ask {
                place,
                ask: Box::new(ask),
            },
        });
    }

    /// Another holder lacks events. It always gets an answer, even if there is nothing to send,
    /// because this replica may be leaving or in doubt.
    pub(super) fn on_ask(
        &mut self,
        from: NodeId,
        place: Place,
        ask: &Ask,
        effects: &mut Vec<Effect>,
    ) {
        let at = place.at();
        let chunk_bytes = self.config.chunk_bytes;
        let replica = self
            .replicas
            .get(&at)
            .filter(|replica| !replica.is_outvoted() && self.others(at).contains(&from));
        let missing = replica.map_or_else(Missing::default, |replica| {
            replica.missing_of(&ask.events, ask.after.as_ref(), chunk_bytes, DELTAS_AT_ONCE)
        });
        self.counters.repairs_sent += missing.deltas.len() as u64;
        if let Some(range) = missing.behind {
            effects.push(Effect::Send {
                to: from,
                message: Message::Behind {
                    place,
                    range,
                    name: ask.name,
                },
            });
        }
        let mut deltas = missing.deltas;
        let last = deltas.pop().unwrap_or_default();
        let told = deltas
            .into_iter()
            .map(|delta| (delta, Then::More))
            .chain([(last, missing.next.map_or(Then::End, Then::GoOn))]);
        effects.extend(told.map(|(delta, then)| {
            let answers = Some(Box::new(Answers {
                name: ask.name,
                then,
            }));
            Effect::Send {
                to: from,
                message: Message::Repair {
                    place,
                    delta,
                    answers,
                },
            }
        }));
    }

    /// Missed events arrive: as asked for, or as a hint that somebody kept.
    pub(super) fn on_repair(
        &mut self,
        now: Now,
        from: NodeId,
        place: Place,
        delta: &Delta,
        answers: Option<Answers>,
        effects: &mut Vec<Effect>,
    ) {
        let at = place.at();
        let room = self.has_room_for(place, delta) || planted::FULL_DISK_TAKES_REPAIRS.is_planted();
        if !delta.is_empty() && room && self.join(now, from, place, delta).is_ok() {
            self.counters.repairs_joined += 1;
            if let Some(replica) = self.replica_mut(place) {
                replica.overheard(from, delta);
            }
        }
        let Some(want) = self.healing.wants.get_mut(&at) else {
            return;
        };
        let Some(answers) = answers else {
            // More may come from the same source. What is missing is noted anew, and nothing else
            // is asked for until that is overdue.
            want.noted_at = now.monotonic;
            want.overdue = CausalContext::new();
            return;
        };
        let Some(talk) = want
            .talk
            .as_mut()
            .filter(|talk| talk.name == answers.name && talk.helper == from)
        else {
            return;
        };
        talk.moved_at = self.healing.ticks;
        self.healing.helped_at.insert(from, self.healing.ticks);
        want.in_vain.remove(&from);
        match answers.then {
            Then::More => {}
            Then::GoOn(after) => self.ask_on(at, Some(after), effects),
            Then::End => {
                let asked = std::mem::take(&mut talk.events);
                want.talk = None;
                let helped = self
                    .replicas
                    .get(&at)
                    .is_some_and(|replica| !asked.intersection(replica.context()).is_empty());
                if helped {
                    self.ask_for_help(at, effects);
                } else {
                    *want.in_vain.entry(from).or_default() += 1;
                }
            }
        }
    }

    /// `from` can only stream what this node lacks. The whole partition is streamed only when
    /// nobody remembers the missing events one by one.
    pub(super) fn on_behind(
        &mut self,
        from: NodeId,
        place: Place,
        range: Range,
        name: StreamId,
        effects: &mut Vec<Effect>,
    ) {
        let at = place.at();
        let Some(want) = self.healing.wants.get_mut(&at) else {
            return;
        };
        if want
            .talk
            .as_ref()
            .is_none_or(|talk| talk.name != name || talk.helper != from)
            || self.healing.pulls.contains_key(&at)
        {
            return;
        }
        if range == Range::ALL && !planted::STREAMED_AT_ONCE.is_planted() {
            want.forgetful.insert(from);
            want.talk = None;
            self.ask_for_help(at, effects);
            return;
        }
        self.begin_stream(at, from, range, None, effects);
    }
}
