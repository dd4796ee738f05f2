//! Turns mutations into events on a replica.

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, Hlc};
use quorate_crdt::{HybridClock, Now};

use super::fold::{
    Scalar, integer, is_left, is_stale, kind_of, lapsed, live, number, ranges_about, value_of,
};
use super::token::seen_by;
use crate::fence::{Claim, LockId, Rank, Stamp};
use crate::op::{Kind, Limits, Mutation, Reply, RequestError, SetExpiry};
use crate::planted;
use crate::replica::{
    Delta, Fact, KeyRows, Payload, Range, Replaces, Replica, Row, RowKey, RowKind, Write, guarded,
};

/// What a mutation takes from the executing node: its clock, its reading of the time, and its
/// limits.
pub(crate) struct Clocked<'a> {
    pub(crate) clock: &'a mut HybridClock,
    pub(crate) now: Now,
    pub(crate) limits: Limits,
}

impl Clocked<'_> {
    /// A stamp above those of all entries in `rows`, except entries stamped in the future. Those
    /// are replaced by causality alone.
    pub(super) fn above<'r>(&mut self, rows: impl IntoIterator<Item = &'r Row>) -> Hlc {
        let stamps = rows
            .into_iter()
            .flat_map(Row::iter)
            .filter_map(|(_, payload)| payload.stamp().map(|stamp| stamp.hlc));
        if planted::CLOCK_NEVER_FALLS_BACK.is_planted() {
            return self.clock.tick_after(self.now, stamps);
        }
        self.clock.tick_near(self.now, stamps)
    }
}

/// What a mutation did: the answer, and what the other replicas must join (`None` if nothing
/// changed).
pub(crate) type Mutated = (Reply, Option<(Delta, Dot)>);

/// Executes a mutation on this replica.
///
/// # Errors
/// [`RequestError::WrongKind`], `NotAnInteger`, `Overflow`, `BadToken`, `Unseen`: nothing has
/// changed.
pub(crate) fn mutate(
    replica: &mut Replica,
    key: &Bytes,
    mutation: &Mutation,
    clocked: Clocked<'_>,
    once: Option<u128>,
    claim: Option<Claim>,
) -> Result<Mutated, RequestError> {
    check(
        replica,
        key,
        mutation,
        clocked.now.unix_millis,
        clocked.limits,
    )?;
    let lapses = matches!(mutation, Mutation::Lapse { .. });
    let rows = replica.key(key);
    let stale = !lapses && rows.is_some_and(|rows| is_left(rows, clocked.now.unix_millis));
    let mut change = Changing {
        guarded: claim.is_some() || rows.is_some_and(KeyRows::is_guarded),
        write: replica.write(),
        key,
        clocked,
        once,
        claim,
    };
    if stale {
        // What is left of an expired key, or the expiry of a key that lost its last row, must not
        // affect what is written now. `must_see` has made sure that a quorum's view of it was
        // looked at.
        change.clear();
    }
    let reply = change.apply(mutation)?;
    if let Some(mark) = once {
        change.remember(mark, &reply);
    }
    Ok((reply, change.write.finish()))
}

/// The ranges that a mutation must see at its level before it is executed. It must look if its
/// meaning lies in what it drops, or if this replica alone would make it fail or treat the key as
/// expired.
pub(super) fn must_see(
    replica: &Replica,
    key: &Bytes,
    mutation: &Mutation,
    unix_millis: u64,
    limits: Limits,
) -> Option<Vec<Range>> {
    // Removing everything that is left also removes the expiry.
    let about = |kind: RowKind, names: &[Bytes]| {
        let all = replica
            .key(key)
            .is_some_and(|rows| rows.count(kind) <= names.len());
        Some(if all {
            vec![Range::Key(key.clone())]
        } else {
            ranges_about(replica, key, kind, names)
        })
    };
    match mutation {
        Mutation::Remove(names) => about(RowKind::Set, names),
        Mutation::RemoveFields(names) => about(RowKind::Hash, names),
        _ if mutation.observes() => Some(vec![Range::Key(key.clone())]),
        _ if planted::REFUSES_UNSEEN.is_planted() => None,
        // It drops all that it sees, whatever that is.
        Mutation::Set {
            expiry: SetExpiry::Clear | SetExpiry::At(_),
            ..
        } => None,
        _ => {
            let stale = is_stale(replica, key, unix_millis);
            // A write that keeps the expiry keeps the one that its level knows, whether this
            // replica has it or not.
            let here = replica.key(key).and_then(KeyRows::expires_at).is_some()
                || !planted::KEPT_UNSEEN.is_planted();
            let keeps = matches!(mutation, Mutation::Set { .. } | Mutation::SetWith { .. }) && here;
            // An increment continues from what this replica has counted so far, so that must not
            // have been lost.
            let counts = matches!(
                mutation,
                Mutation::Increment(_) | Mutation::IncrementField(..)
            ) && replica.is_doubted();
            let looks = stale
                || keeps
                || counts
                || check(replica, key, mutation, unix_millis, limits).is_err();
            looks.then(|| vec![Range::Key(key.clone())])
        }
    }
}

/// Whether the mutation depends on this node's clock: it stamps an entry, or removes a key because
/// it has expired. A node whose clock is off must do neither.
pub(crate) fn needs_time(
    replica: &Replica,
    key: &Bytes,
    mutation: &Mutation,
    unix_millis: u64,
) -> bool {
    let asked_for = matches!(mutation, Mutation::Delete | Mutation::GetDelete);
    mutation.stamps() || (!asked_for && is_stale(replica, key, unix_millis))
}

/// Refuses a mutation before anything is written.
fn check(
    replica: &Replica,
    key: &Bytes,
    mutation: &Mutation,
    unix_millis: u64,
    limits: Limits,
) -> Result<(), RequestError> {
    // What the token covers and has not arrived yet would later appear as a sibling.
    if let Mutation::SetWith { token, .. } = mutation
        && !replica.has_seen(&RowKey::string(key.clone()), &seen_by(token)?)
        && !planted::TOKEN_UNSEEN.is_planted()
    {
        return Err(RequestError::Unseen);
    }
    let Some(rows) = live(replica, key, unix_millis) else {
        return Ok(());
    };
    let needs = match mutation {
        Mutation::Append(_)
        | Mutation::Increment(_)
        | Mutation::GetDelete
        | Mutation::SetWith { .. } => Kind::String,
        Mutation::Add(_) | Mutation::Remove(_) => Kind::Set,
        Mutation::SetFields(_) | Mutation::RemoveFields(_) | Mutation::IncrementField(..) => {
            Kind::Hash
        }
        Mutation::Set { .. }
        | Mutation::Delete
        | Mutation::ExpireAt(_)
        | Mutation::Persist
        | Mutation::Lapse { .. } => return Ok(()),
    };
    if kind_of(rows) != Some(needs) {
        return Err(RequestError::WrongKind);
    }
    let string = || value_of(rows, RowKind::String, &Bytes::new());
    match mutation {
        Mutation::SetWith { value, token } => siblings_after(
            rows.get(RowKind::String, &Bytes::new()),
            value,
            &seen_by(token)?,
            limits,
        ),
        Mutation::Append(suffix) => length_after(string(), suffix, limits),
        Mutation::Increment(by) => sum(string(), *by).map(drop),
        Mutation::IncrementField(field, by) => {
            sum(value_of(rows, RowKind::Hash, field), *by).map(drop)
        }
        _ => Ok(()),
    }
}

/// The limit applies to the result, not only to what the request brings.
fn length_after(held: Option<Scalar>, suffix: &Bytes, limits: Limits) -> Result<(), RequestError> {
    let held = held.map_or(0, |held| held.into_bytes().len());
    let bytes = held + suffix.len();
    let within = bytes <= limits.value_bytes || planted::APPEND_UNBOUNDED.is_planted();
    if within {
        Ok(())
    } else {
        Err(RequestError::TooLarge {
            bytes: bytes as u64,
            max: limits.value_bytes as u64,
        })
    }
}

/// Entries that the token does not cover stay beside the new value.
fn siblings_after(
    row: Option<&Row>,
    value: &Bytes,
    seen: &CausalContext,
    limits: Limits,
) -> Result<(), RequestError> {
    let stay = row
        .into_iter()
        .flat_map(Row::iter)
        .filter(|(dot, _)| !seen.contains(*dot));
    let (count, bytes) = stay.fold((1, value.len()), |(count, bytes), (_, payload)| {
        (count + 1, bytes + payload.value().map_or(0, Bytes::len))
    });
    if (count <= limits.siblings && bytes <= limits.value_bytes)
        || planted::SIBLINGS_UNBOUNDED.is_planted()
    {
        return Ok(());
    }
    Err(RequestError::Siblings {
        count: count as u64,
        bytes: bytes as u64,
    })
}

/// The value of a counter after adding `by`. If a split has pushed the counter out of the 64-bit
/// range, an increment may bring it back towards the range.
fn sum(now: Option<Scalar>, by: i64) -> Result<i128, RequestError> {
    let now = match now {
        None => 0,
        Some(Scalar::Number(number)) => number,
        Some(Scalar::Bytes(value)) => {
            i128::from(integer(&value).ok_or(RequestError::NotAnInteger)?)
        }
    };
    let range = i128::from(i64::MIN)..=i128::from(i64::MAX);
    let total = now.saturating_add(i128::from(by));
    let towards = (now > *range.end() && by < 0) || (now < *range.start() && by > 0);
    if range.contains(&total) || towards {
        Ok(total)
    } else {
        Err(RequestError::Overflow)
    }
}

pub(super) struct Changing<'a, 'b> {
    pub(super) write: Write<'a>,
    pub(super) key: &'b Bytes,
    pub(super) clocked: Clocked<'b>,
    /// Set if the client has named the request: the mark under which it is remembered.
    once: Option<u128>,
    /// Set if the request is under a lock.
    pub(super) claim: Option<Claim>,
    /// Whether something of the key is guarded, or will be by this change.
    pub(super) guarded: bool,
}

impl<'a, 'b> Changing<'a, 'b> {
    /// A change under a lock.
    pub(super) fn under(
        replica: &'a mut Replica,
        key: &'b Bytes,
        clocked: Clocked<'b>,
        claim: Claim,
    ) -> Self {
        Self {
            write: replica.write(),
            key,
            clocked,
            once: None,
            claim: Some(claim),
            guarded: true,
        }
    }
}

impl Changing<'_, '_> {
    fn apply(&mut self, mutation: &Mutation) -> Result<Reply, RequestError> {
        Ok(match mutation {
            Mutation::Set { value, expiry } => self.set(value, *expiry),
            Mutation::SetWith { value, token } => {
                let seen = seen_by(token)?;
                self.put_string(value.clone(), self.kept(), Replaces::Seen(&seen));
                Reply::Done
            }
            Mutation::Append(suffix) => self.append(suffix),
            Mutation::Increment(by) => self.increment(RowKey::string(self.key.clone()), *by)?,
            Mutation::Delete => Reply::Integer(i64::from(self.delete())),
            Mutation::GetDelete => self.get_delete(),
            Mutation::ExpireAt(at) => Reply::Integer(i64::from(self.expire_at(*at))),
            Mutation::Persist => Reply::Integer(i64::from(self.persist())),
            Mutation::Lapse { margin } => Reply::Integer(i64::from(self.lapse(*margin))),
            Mutation::Add(elements) => self.add(elements),
            Mutation::Remove(elements) => self.remove(RowKind::Set, elements),
            Mutation::SetFields(fields) => self.set_fields(fields),
            Mutation::RemoveFields(fields) => self.remove(RowKind::Hash, fields),
            Mutation::IncrementField(field, by) => {
                self.increment(RowKey::field(self.key.clone(), field.clone()), *by)?
            }
        })
    }

    pub(super) fn rows(&self) -> Option<&KeyRows> {
        self.write.replica().key(self.key)
    }

    fn value(&self, name: &RowKey) -> Option<Scalar> {
        value_of(self.rows()?, name.kind, &name.field)
    }

    /// Whether the row is there for a reader.
    fn has(&self, name: &RowKey) -> bool {
        let rows = self.rows();
        rows.is_some_and(|rows| rows.shown(name.kind, &name.field).is_some())
    }

    pub(super) fn row(&self, name: &RowKey) -> Option<&Row> {
        self.rows()?.get(name.kind, &name.field)
    }

    /// A stamp above the key's string and its expiry. Together they form the one register that
    /// decides when the key expires.
    pub(super) fn stamp(&mut self) -> Hlc {
        let rows = self.write.replica().key(self.key);
        let rows = [RowKind::String, RowKind::Expiry]
            .into_iter()
            .filter_map(|kind| rows?.get(kind, &Bytes::new()));
        self.clocked.above(rows)
    }

    fn put_string(&mut self, value: Bytes, expires: Option<u64>, replaces: Replaces<'_>) {
        let name = RowKey::string(self.key.clone());
        let (standing, hlc) = (self.standing(&name), self.stamp());
        let register = register(standing, hlc, value, expires);
        self.write.put(name, register, replaces);
    }

    fn put_field(&mut self, name: RowKey, value: Bytes, replaces: Replaces<'_>) {
        let (standing, hlc) = (self.standing(&name), self.stamp_of(&name));
        let register = register(standing, hlc, value, None);
        self.write.put(name, register, replaces);
    }

    /// A stamp above those of a row.
    pub(super) fn stamp_of(&mut self, name: &RowKey) -> Hlc {
        let rows = self.write.replica().key(self.key);
        self.clocked
            .above(rows.and_then(|rows| rows.get(name.kind, &name.field)))
    }

    fn put_expiry(&mut self, at: Option<u64>) {
        if self.standing(&RowKey::string(self.key.clone())).is_some() {
            self.put_head(at);
            return;
        }
        let hlc = self.stamp();
        self.write.put(
            RowKey::expiry(self.key.clone()),
            Payload::Expiry { hlc, at },
            Replaces::All,
        );
    }

    /// The present expiry, for writes that keep it.
    pub(super) fn kept(&self) -> Option<u64> {
        self.rows().and_then(KeyRows::expires_at)
    }

    fn set(&mut self, value: &Bytes, expiry: SetExpiry) -> Reply {
        let expires = match expiry {
            SetExpiry::At(at) => Some(at),
            SetExpiry::Keep => self.kept(),
            SetExpiry::Clear => None,
        };
        let (standing, hlc) = (self.standing_of_key(), self.stamp());
        let register = register(standing, hlc, value.clone(), expires);
        let only_string = self
            .rows()
            .is_none_or(|rows| rows.count(RowKind::String) == rows.len());
        if !only_string {
            self.write.wipe(Range::Key(self.key.clone()));
        }
        self.write
            .put(RowKey::string(self.key.clone()), register, Replaces::All);
        Reply::Done
    }

    fn append(&mut self, suffix: &Bytes) -> Reply {
        let mut value = self
            .value(&RowKey::string(self.key.clone()))
            .map_or_else(Vec::new, |held| held.into_bytes().to_vec());
        value.extend_from_slice(suffix);
        let length = number(value.len());
        self.put_string(value.into(), self.kept(), Replaces::All);
        Reply::Integer(length)
    }

    /// Each replica has one entry, which carries everything it has added since the last reset that
    /// it has seen. So the size of a counter depends on the number of its writers, not on its age.
    ///
    /// Under a token the holder is alone: it writes a total, which a later one overwrites. The
    /// counts of others stay beside it and add up as ever.
    fn increment(&mut self, name: RowKey, by: i64) -> Result<Reply, RequestError> {
        let total = sum(self.value(&name), by)?;
        let shown = i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX });
        if self.claim.is_some() {
            let base = self
                .base(&name)
                .and_then(|base| integer(&base))
                .unwrap_or(0);
            let base = base.checked_add(by).ok_or(RequestError::Overflow)?;
            let base = Bytes::from(base.to_string());
            if name.kind == RowKind::String {
                self.put_string(base, self.kept(), Replaces::AllButCounts);
            } else {
                self.settle_head();
                self.put_field(name, base, Replaces::AllButCounts);
            }
            return Ok(Reply::Integer(shown));
        }
        if let Some(mark) = self.once {
            self.count_once(name, mark, by);
            return Ok(Reply::Integer(shown));
        }
        let own = self.write.replica().id();
        let mine: i128 = self
            .row(&name)
            .into_iter()
            .flat_map(Row::iter)
            .filter_map(|(dot, payload)| {
                if let (true, Payload::Count(n)) = (dot.replica == own, payload) {
                    Some(*n)
                } else {
                    None
                }
            })
            .sum();
        let count = mine.saturating_add(i128::from(by));
        if planted::SHARE_OVERFLOW.is_planted() && i64::try_from(count).is_err() {
            return Err(RequestError::Overflow);
        }
        self.write
            .put(name, Payload::Count(count), Replaces::OwnCount);
        Ok(Reply::Integer(shown))
    }

    /// Removes the key. Under a token it leaves a mark even of nothing: what an earlier holder had
    /// written may still arrive.
    fn delete(&mut self) -> bool {
        let there = self.rows().is_some_and(KeyRows::has_left);
        if there || self.claim.is_some() {
            self.clear();
        }
        there
    }

    fn get_delete(&mut self) -> Reply {
        let value = self.value(&RowKey::string(self.key.clone()));
        self.delete();
        value.map_or(Reply::Nil, |value| Reply::Value(value.into_bytes()))
    }

    fn expire_at(&mut self, at: u64) -> bool {
        if !self.rows().is_some_and(KeyRows::has_left) {
            self.settle_head();
            return false;
        }
        if at <= self.clocked.now.unix_millis {
            return self.delete();
        }
        self.put_expiry(Some(at));
        true
    }

    fn persist(&mut self) -> bool {
        let held = self.kept().is_some();
        if held {
            self.put_expiry(None);
        } else {
            self.settle_head();
        }
        held
    }

    /// Drops what is visible of the key, and nothing else, if the key expired more than the margin
    /// ago.
    fn lapse(&mut self, margin: u64) -> bool {
        let over = lapsed(
            self.write.replica(),
            self.key,
            self.clocked.now.unix_millis,
            margin,
        );
        (over || planted::REAP_WITHOUT_A_LOOK.is_planted()) && self.delete()
    }

    /// An element that is already there is added again, so that the new event survives a concurrent
    /// removal of the old one.
    fn add(&mut self, elements: &[Bytes]) -> Reply {
        self.settle_head();
        let mut new = 0;
        for element in elements {
            let name = RowKey::member(self.key.clone(), element.clone());
            let there = match self.standing(&name) {
                None => self.write.put(name, Payload::Member, Replaces::All),
                Some((rank, lock)) => {
                    let there = self.has(&name);
                    let hlc = self.stamp_of(&name);
                    let member = guarded(lock, Stamp { rank, hlc }, Fact::Member);
                    self.write.put(name, member, Replaces::All);
                    there
                }
            };
            new += i64::from(!there);
        }
        Reply::Integer(new)
    }

    fn set_fields(&mut self, fields: &[(Bytes, Bytes)]) -> Reply {
        self.settle_head();
        let mut new = 0;
        for (field, value) in fields {
            let name = RowKey::field(self.key.clone(), field.clone());
            new += i64::from(!self.has(&name));
            self.put_field(name, value.clone(), Replaces::All);
        }
        Reply::Integer(new)
    }

    /// A key that loses its last row loses its expiry as well.
    fn remove(&mut self, kind: RowKind, names: &[Bytes]) -> Reply {
        self.settle_head();
        let mut removed = 0;
        for field in names {
            let name = RowKey {
                key: self.key.clone(),
                kind,
                field: field.clone(),
            };
            let there = self.has(&name);
            removed += i64::from(there);
            if there || self.claim.is_some() {
                self.end_row(name);
            }
        }
        let emptied = removed > 0 || self.claim.is_some() || !self.guarded;
        if emptied && self.rows().is_some_and(|rows| kind_of(rows).is_none()) {
            self.clear();
        }
        Reply::Integer(removed)
    }
}

/// A value, guarded if it stands somewhere.
fn register(
    standing: Option<(Rank, LockId)>,
    hlc: Hlc,
    value: Bytes,
    expires: Option<u64>,
) -> Payload {
    match standing {
        None => Payload::Register {
            hlc,
            value,
            expires,
        },
        Some((rank, lock)) => guarded(lock, Stamp { rank, hlc }, Fact::Value { value, expires }),
    }
}
