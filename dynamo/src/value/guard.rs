//! Changes and reads under a fencing token.
//!
//! **What is guarded.** Each string, hash field and set element is a row of its own. Beside it, the
//! *head* of a key (the row of its string) says what is true of the whole key under the token: that
//! it is this string, that it is a collection and when that expires, or that it is gone. Whoever
//! does anything to a key under a token also settles its head, so that neither a string nor an
//! expiry of an earlier holder can take the key away from it later.
//!
//! **Restating.** What a holder reads may be disputed: an earlier holder's write that reached a
//! single replica may still arrive, and by causality it would replace what was read. So the first
//! look at a row writes what it found once more, under the token of the one that looks. A removal
//! leaves an entry that says so for the same reason.
//!
//! **Without a token.** What is written over a guarded entry takes over its rank; otherwise it
//! would be hidden behind it.

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot};

use super::fold::{concurrent, is_left, ranges_about};
use super::mutate::{Changing, Clocked};
use crate::fence::{Claim, LockId, Rank, Stamp};
use crate::op::{Mutation, Op, Query, SetExpiry};
use crate::planted;
use crate::replica::{
    Delta, Fact, KeyRows, Range, Replaces, Replica, Row, RowKey, RowKind, guarded, winner,
};

/// Which rows of its key a request under a token depends on.
enum Scope<'a> {
    /// The head alone.
    Head,
    /// These rows, as long as the key is a collection.
    Rows(RowKind, Vec<&'a Bytes>),
    /// All of them.
    Key,
}

impl<'a> Scope<'a> {
    fn of(op: &'a Op) -> Self {
        match op {
            Op::Query(_, query) => match named(query) {
                Some((kind, names)) => Self::Rows(kind, names.iter().collect()),
                None if is_whole(query) => Self::Key,
                None => Self::Head,
            },
            Op::Mutate(_, Mutation::Add(names) | Mutation::Remove(names)) => {
                Self::Rows(RowKind::Set, names.iter().collect())
            }
            Op::Mutate(_, Mutation::SetFields(fields)) => Self::Rows(
                RowKind::Hash,
                fields.iter().map(|(field, _)| field).collect(),
            ),
            Op::Mutate(_, Mutation::RemoveFields(names)) => {
                Self::Rows(RowKind::Hash, names.iter().collect())
            }
            Op::Mutate(_, Mutation::IncrementField(field, _)) => {
                Self::Rows(RowKind::Hash, vec![field])
            }
            Op::Mutate(..) | Op::Partition(..) => Self::Key,
        }
    }
}

/// The rows of a collection that a query names.
fn named(query: &Query) -> Option<(RowKind, &[Bytes])> {
    match query {
        Query::Contains(names) => Some((RowKind::Set, names)),
        Query::Fields(names) => Some((RowKind::Hash, names)),
        _ => None,
    }
}

/// The rank of something here that was done after this request although it has already arrived: the
/// request must neither build on it nor drop it.
pub(crate) fn overtaken(
    replica: &Replica,
    key: &Bytes,
    op: &Op,
    claim: &Claim,
    unix_millis: u64,
) -> Option<Rank> {
    let rows = replica.key(key).filter(|rows| rows.is_guarded())?;
    if planted::OVERTAKEN_EXECUTES.is_planted() {
        return None;
    }
    let rank = claim.rank();
    let head = rows.head().map_or(Rank::NONE, highest);
    let ends = |kind, names: usize| {
        op.writes() && (is_left(rows, unix_millis) || (op.frees() && rows.count(kind) <= names))
    };
    let above = match Scope::of(op) {
        Scope::Head => head.max(rows.floor()),
        Scope::Rows(kind, names) if !ends(kind, names.len()) => {
            let of = |name: &&Bytes| rows.get(kind, name).map_or(Rank::NONE, highest);
            let ranked = names.iter().map(of).max().unwrap_or_default();
            let later = Some(head).filter(|head| head.token > rank.token);
            ranked.max(rows.floor()).max(later.unwrap_or_default())
        }
        // It drops or hides all rows of the key.
        Scope::Rows(..) | Scope::Key => rows.highest().map_or(Rank::NONE, |(rank, _)| rank),
    };
    Some(above).filter(|above| *above > rank)
}

/// Whether an entry that is not in `seen` hides what is put into this row without a token.
pub(crate) fn hidden_unseen(replica: &Replica, name: &RowKey, seen: &CausalContext) -> bool {
    let Some(rows) = replica.key(&name.key).filter(|rows| rows.is_guarded()) else {
        return false;
    };
    let row = rows.get(name.kind, &name.field);
    let entries = rows.head().into_iter().chain(row).flat_map(Row::iter);
    let mut guarded = entries.filter(|(_, payload)| payload.guarded().is_some());
    guarded.any(|(dot, _)| !seen.contains(dot))
}

fn highest(row: &Row) -> Rank {
    let ranks = row.iter().map(|(_, payload)| payload.rank());
    ranks.max().unwrap_or_default()
}

/// What a mutation under a token looks at before it is executed: all that it builds on. A `SET`
/// that replaces everything builds on nothing.
pub(crate) fn must_look(replica: &Replica, key: &Bytes, mutation: &Mutation) -> Option<Vec<Range>> {
    let (kind, names) = match mutation {
        Mutation::Set {
            expiry: SetExpiry::Clear | SetExpiry::At(_),
            ..
        } => return None,
        Mutation::Add(names) | Mutation::Remove(names) => (RowKind::Set, names.clone()),
        Mutation::RemoveFields(names) => (RowKind::Hash, names.clone()),
        Mutation::SetFields(fields) => {
            let names = fields.iter().map(|(field, _)| field.clone());
            (RowKind::Hash, names.collect())
        }
        Mutation::IncrementField(field, _) => (RowKind::Hash, vec![field.clone()]),
        _ => return Some(vec![Range::Key(key.clone())]),
    };
    // Removing everything that is left also removes the expiry.
    let removes = matches!(mutation, Mutation::Remove(_) | Mutation::RemoveFields(_));
    let all = |rows: &KeyRows| rows.count(kind) <= names.len();
    if removes && replica.key(key).is_some_and(all) {
        return Some(vec![Range::Key(key.clone())]);
    }
    Some(ranges_about(replica, key, kind, &names))
}

/// Whether what the query reads is made of rows that may yet appear: a whole collection.
pub(crate) fn reads_whole_collection(replica: &Replica, key: &Bytes, query: &Query) -> bool {
    let about = matches!(query, Query::Exists | Query::Kind | Query::Expiry);
    let is_collection = |rows: &KeyRows| {
        !rows.shows(RowKind::String) && (rows.shows(RowKind::Hash) || rows.shows(RowKind::Set))
    };
    is_whole(query) || (about && replica.key(key).is_some_and(is_collection))
}

/// Whether the query is about all rows of a collection, whatever the key holds.
fn is_whole(query: &Query) -> bool {
    use Query::{Cardinality, Entries, FieldCount, Members};
    matches!(query, Members | Cardinality | Entries | FieldCount)
}

/// Writes what a query under a token has found once more under that token, as far as no request of
/// the same holder that is still waited for has done so. `None` if that is nothing.
pub(crate) fn restate(
    replica: &mut Replica,
    key: &Bytes,
    query: &Query,
    clocked: Clocked<'_>,
    claim: Claim,
) -> Option<(Delta, Dot)> {
    if planted::NO_RESTATE.is_planted() {
        return None;
    }
    let mut change = Changing::under(replica, key, clocked, claim);
    change.settle_head();
    if let Some((kind, names)) = named(query) {
        for name in names {
            change.settle_row(kind, name);
        }
    }
    change.write.finish()
}

impl Changing<'_, '_> {
    /// Where a new entry of the row stands: at the rank of the request or, without a token, at that
    /// of what it overwrites. `None` if nothing is guarded.
    pub(super) fn standing(&self, name: &RowKey) -> Option<(Rank, LockId)> {
        if !self.guarded {
            return None;
        }
        let own = self.claim.map(|claim| (claim.rank(), claim.lock));
        own.or_else(|| self.rows()?.standing(name.kind, &name.field))
    }

    /// Where an entry stands that says what becomes of the whole key.
    pub(super) fn standing_of_key(&self) -> Option<(Rank, LockId)> {
        if !self.guarded {
            return None;
        }
        let own = self.claim.map(|claim| (claim.rank(), claim.lock));
        own.or_else(|| self.rows()?.highest())
    }

    /// Drops everything visible of the key. If the key was guarded, what was hidden stays hidden.
    pub(super) fn clear(&mut self) {
        let standing = self.standing_of_key();
        let hlc = standing.map(|_| self.stamp());
        self.write.wipe(Range::Key(self.key.clone()));
        if let (Some((rank, lock)), Some(hlc)) = (standing, hlc)
            && !planted::DELETE_LEAVES_NOTHING.is_planted()
        {
            let gone = guarded(lock, Stamp { rank, hlc }, Fact::Gone);
            let name = RowKey::string(self.key.clone());
            self.write.put(name, gone, Replaces::All);
        }
    }

    /// Drops the entries of a row. If it was guarded, what was hidden stays hidden.
    pub(super) fn end_row(&mut self, name: RowKey) {
        match self.standing(&name) {
            Some((rank, lock)) if !planted::DELETE_LEAVES_NOTHING.is_planted() => {
                let hlc = self.stamp_of(&name);
                let gone = guarded(lock, Stamp { rank, hlc }, Fact::Gone);
                self.write.put(name, gone, Replaces::All);
            }
            _ => self.write.wipe(Range::Row(name)),
        }
    }

    /// The value of a row without the counts beside it.
    pub(super) fn base(&self, name: &RowKey) -> Option<Bytes> {
        let rows = self.rows()?;
        let (_, payload) = winner(rows.get(name.kind, &name.field)?, rows.floor())?;
        payload.value().cloned()
    }

    /// Writes what is true of the key once more, with this expiry. Concurrent values stay
    /// concurrent.
    pub(super) fn put_head(&mut self, expires: Option<u64>) {
        let name = RowKey::string(self.key.clone());
        let Some((rank, lock)) = self.standing(&name) else {
            return;
        };
        let mut facts = Vec::new();
        if let Some(rows) = self.rows().filter(|rows| rows.shows(RowKind::String)) {
            let values = rows.head().map_or_else(Vec::new, concurrent);
            facts.extend(values.into_iter().map(|value| Fact::Value {
                value: value.clone(),
                expires,
            }));
            if facts.is_empty() {
                // There are only counts, and they stay.
                let value = Bytes::from_static(b"0");
                facts.push(Fact::Value { value, expires });
            }
        } else if let Some(rows) = self.rows().filter(|rows| rows.has_value()) {
            let floor = rows.floor();
            facts.push(Fact::Collection { expires, floor });
        } else {
            facts.push(Fact::Gone);
        }
        let nothing = CausalContext::new();
        for (at, fact) in facts.into_iter().enumerate() {
            let hlc = self.stamp();
            let replaces = if at == 0 {
                Replaces::AllButCounts
            } else {
                Replaces::Seen(&nothing)
            };
            let entry = guarded(lock, Stamp { rank, hlc }, fact);
            self.write.put(name.clone(), entry, replaces);
        }
    }

    /// Under a token: puts the head of the key under it, if it is not yet.
    pub(super) fn settle_head(&mut self) {
        let Some(claim) = self.claim else { return };
        let head = self.rows().and_then(KeyRows::head).map(highest);
        if head.is_none_or(|head| head < claim.lowest()) {
            self.put_head(self.kept());
        }
    }

    /// Under a token: puts a row of a collection under it, if it is not yet.
    fn settle_row(&mut self, kind: RowKind, field: &Bytes) {
        let Some(claim) = self.claim else { return };
        let name = RowKey {
            key: self.key.clone(),
            kind,
            field: field.clone(),
        };
        let (held, shown) = self.rows().map_or((Rank::NONE, None), |rows| {
            let held = rows.get(kind, field).map_or(Rank::NONE, highest);
            (held.max(rows.floor()), rows.shown(kind, field))
        });
        if held >= claim.lowest() {
            return;
        }
        let fact = match shown {
            None => Fact::Gone,
            Some(_) if kind == RowKind::Set => Fact::Member,
            Some(_) => Fact::Value {
                value: self.base(&name).unwrap_or_else(|| Bytes::from_static(b"0")),
                expires: None,
            },
        };
        let hlc = self.stamp_of(&name);
        let stamp = Stamp {
            rank: claim.rank(),
            hlc,
        };
        let entry = guarded(claim.lock, stamp, fact);
        self.write.put(name, entry, Replaces::AllButCounts);
    }
}
