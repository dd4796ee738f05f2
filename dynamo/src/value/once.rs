//! Executes a request that its client has named only once, even if the client sends it again.
//!
//! **How it is remembered.** A replica remembers the requests it has executed in rows of the same
//! partition, written in the same delta as the change. So they are replicated, repaired, streamed
//! and stored like all rows. Before a named request is executed, it looks at what the replicas of
//! its level remember, just as a removal looks before it removes, and is executed only if none of
//! them remembers it.
//!
//! **Why counters need more.** The first try may have reached a single replica that cannot be asked
//! now, and the second try is then executed elsewhere. So a named increment is an entry of its own
//! under its name, and a read counts each name once. `APPEND` needs nothing more: two executions
//! that did not know of each other are concurrent values, and one of them wins.
//!
//! **Invariant:** of all executions of one named increment, one is counted once they have met,
//! unless one of them had been folded before.
//!
//! **Bounds**, per partition: [`SLOTS`] rows remember [`KEPT`] requests each and forget the oldest
//! first. A counter keeps up to [`APART`] named increments of each replica apart; beyond that, the
//! older half is folded into that replica's share.

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot};

use super::fold::{Scalar, value_of};
use super::mutate::{Changing, must_see};

use crate::op::{Limits, Mutation, Reply};
use crate::planted;
use crate::replica::{Payload, Range, Replaces, Replica, Row, RowKey, RowKind};

/// Rows per partition that remember requests. Guess: with [`KEPT`], 16 384 requests, about 1 MB if
/// all are taken.
const SLOTS: u128 = 2048;
/// Requests remembered per row. Each write sends the whole row. Guess: a few hundred bytes.
const KEPT: usize = 8;
/// Named increments of one replica that a counter keeps apart. Each write sends the whole row.
/// Guess: a few kilobytes at most.
const APART: usize = 64;

/// A request that was executed before.
#[derive(Debug)]
pub(crate) struct Remembered {
    /// The answer that its client gets again.
    pub(crate) reply: Reply,
    /// The event it made.
    pub(crate) dot: Dot,
    /// What it changed, and the row that remembers it.
    pub(crate) ranges: Vec<Range>,
}

/// The prefix of the keys whose rows remember requests. Clients may not use it.
const SLOT: &[u8] = b"\0request";

/// Whether clients may not use this key.
pub(crate) fn is_reserved(key: &Bytes) -> bool {
    key.starts_with(SLOT) && !planted::REQUESTS_UNDER_CLIENT_KEYS.is_planted()
}

/// The row that remembers a request.
fn slot(mark: u128) -> RowKey {
    let mut key = SLOT.to_vec();
    key.extend_from_slice(&((mark % SLOTS) as u16).to_be_bytes());
    RowKey {
        key: key.into(),
        kind: RowKind::Request,
        field: Bytes::new(),
    }
}

/// The counter row that the mutation adds to, if any.
fn counter(key: &Bytes, mutation: &Mutation) -> Option<RowKey> {
    match mutation {
        Mutation::Increment(_) => Some(RowKey::string(key.clone())),
        Mutation::IncrementField(field, _) => Some(RowKey::field(key.clone(), field.clone())),
        _ => None,
    }
}

/// The ranges that a mutation changes, as far as its arguments tell.
fn touched(key: &Bytes, mutation: &Mutation) -> Vec<Range> {
    let row = |kind: RowKind, field: &Bytes| {
        Range::Row(RowKey {
            key: key.clone(),
            kind,
            field: field.clone(),
        })
    };
    let alone = |kind| row(kind, &Bytes::new());
    match mutation {
        Mutation::Increment(_) | Mutation::Append(_) => vec![alone(RowKind::String)],
        Mutation::ExpireAt(_) | Mutation::Persist => {
            vec![alone(RowKind::String), alone(RowKind::Expiry)]
        }
        Mutation::IncrementField(field, _) => vec![row(RowKind::Hash, field)],
        Mutation::Add(names) | Mutation::Remove(names) => {
            names.iter().map(|name| row(RowKind::Set, name)).collect()
        }
        Mutation::SetFields(fields) => fields
            .iter()
            .map(|(field, _)| row(RowKind::Hash, field))
            .collect(),
        Mutation::RemoveFields(fields) => fields
            .iter()
            .map(|field| row(RowKind::Hash, field))
            .collect(),
        Mutation::Set { .. }
        | Mutation::SetWith { .. }
        | Mutation::Delete
        | Mutation::GetDelete
        | Mutation::Lapse { .. } => {
            vec![Range::Key(key.clone())]
        }
    }
}

/// Like [`must_see`]. A named request must also see the row that would remember it.
pub(crate) fn must_see_once(
    replica: &Replica,
    key: &Bytes,
    mutation: &Mutation,
    once: Option<u128>,
    unix_millis: u64,
    limits: Limits,
) -> Option<Vec<Range>> {
    let ranges = must_see(replica, key, mutation, unix_millis, limits);
    let Some(mark) = once else { return ranges };
    let mut ranges = ranges.unwrap_or_default();
    if let Some(row) =
        counter(key, mutation).filter(|row| !ranges.iter().any(|range| range.contains(row)))
    {
        ranges.push(Range::Row(row));
    }
    ranges.push(Range::Row(slot(mark)));
    Some(ranges)
}

/// Looks for the request among those that this replica remembers.
pub(crate) fn remembered(
    replica: &Replica,
    key: &Bytes,
    mutation: &Mutation,
    mark: u128,
) -> Option<Remembered> {
    let row = |name: &RowKey| replica.key(&name.key)?.get(name.kind, &name.field);
    let name = slot(mark);
    let executed = row(&name)
        .into_iter()
        .flat_map(Row::iter)
        .find_map(|(dot, payload)| match payload {
            Payload::Executed {
                mark: held, answer, ..
            } if *held == mark => Some((dot, answer.map_or(Reply::Done, Reply::Integer))),
            _ => None,
        });
    // The increment itself may have arrived here without the row that remembers it.
    let (dot, reply) = executed.or_else(|| {
        let name = counter(key, mutation)?;
        let row = row(&name)?;
        let (dot, _) = row.iter().find(
            |(_, payload)| matches!(payload, Payload::Counted { mark: held, .. } if *held == mark),
        )?;
        let Some(Scalar::Number(now)) = value_of(replica.key(key)?, name.kind, &name.field) else {
            return None;
        };
        Some((dot, Reply::Integer(i64::try_from(now).unwrap_or(i64::MAX))))
    })?;
    let mut ranges = touched(key, mutation);
    ranges.push(Range::Row(name));
    Some(Remembered { reply, dot, ranges })
}

impl Changing<'_, '_> {
    /// Adds an increment under its own name. If this replica has too many of them, the older half
    /// is folded into its share. Increments that another replica executed too stay apart: folded,
    /// one of the two would count a second time.
    pub(super) fn count_once(&mut self, name: RowKey, mark: u128, by: i64) {
        if let Some((share, seen)) = self.row(&name).and_then(|row| self.folded(row)) {
            self.write
                .put(name.clone(), Payload::Count(share), Replaces::Seen(&seen));
        }
        self.write.put(
            name,
            Payload::Counted { mark, by },
            Replaces::Seen(&CausalContext::new()),
        );
    }

    /// This replica's new share with the older half of its named increments folded in, and the
    /// entries that the share replaces. Entries of its former lives are included once all holders
    /// know them and none knows more of that life; otherwise that life might have folded them
    /// itself.
    fn folded(&self, row: &Row) -> Option<(i128, CausalContext)> {
        let id = self.write.replica().id();
        let of_this_node = |(dot, held): &(Dot, &Payload)| {
            dot.replica.node == id.node && matches!(held, Payload::Counted { .. })
        };
        if row.iter().filter(of_this_node).count() < APART {
            return None;
        }
        let own = |dot: Dot| {
            let replica = self.write.replica();
            dot.replica == id
                || (replica.may_take_over(dot) && !planted::FORMER_LIVES_STAY_APART.is_planted())
        };
        let marks = |wanted: u128| {
            row.iter()
                .filter(
                    |(_, held)| matches!(held, Payload::Counted { mark, .. } if *mark == wanted),
                )
                .count()
        };
        let mut mine: Vec<(Dot, i128)> = row
            .iter()
            .filter_map(|(dot, payload)| match payload {
                Payload::Counted { mark, by } if own(dot) && marks(*mark) == 1 => {
                    Some((dot, i128::from(*by)))
                }
                _ => None,
            })
            .collect();
        if mine.len() < APART {
            return None;
        }
        mine.sort_unstable_by_key(|(dot, _)| (dot.replica == id, *dot));
        mine.truncate(mine.len() - APART / 2);
        let share = |(dot, payload): (Dot, &Payload)| {
            if let (true, Payload::Count(n)) = (own(dot), payload) {
                Some((dot, *n))
            } else {
                None
            }
        };
        mine.extend(row.iter().filter_map(share));
        let sum = mine
            .iter()
            .try_fold(0_i128, |sum, (_, by)| sum.checked_add(*by))?;
        Some((sum, mine.iter().map(|(dot, _)| *dot).collect()))
    }

    /// Remembers that the request was executed. The oldest requests in the row are forgotten.
    pub(super) fn remember(&mut self, mark: u128, reply: &Reply) {
        let name = slot(mark);
        let row = self
            .write
            .replica()
            .key(&name.key)
            .and_then(|rows| rows.get(name.kind, &name.field));
        let mut held: Vec<(u64, Dot)> = row
            .into_iter()
            .flat_map(Row::iter)
            .filter_map(|(dot, payload)| {
                if let Payload::Executed { at, .. } = payload {
                    Some((*at, dot))
                } else {
                    None
                }
            })
            .collect();
        held.sort_unstable();
        // This request is the youngest, whatever the clocks of the earlier executing nodes said.
        let youngest = held.last().map_or(0, |(at, _)| at.saturating_add(1));
        let at = if planted::REMEMBERED_BY_WALL_CLOCK.is_planted() {
            0
        } else {
            youngest
        }
        .max(self.clocked.now.unix_millis);
        held.truncate((held.len() + 1).saturating_sub(KEPT));
        let oldest: CausalContext = held.into_iter().map(|(_, dot)| dot).collect();
        let answer = if let Reply::Integer(number) = reply {
            Some(*number)
        } else {
            None
        };
        let executed = Payload::Executed { mark, at, answer };
        self.write.put(name, executed, Replaces::Seen(&oldest));
    }
}
