//! Saves keys for a backup, and restores them.
//!
//! **What wins.** A restored value keeps the stamp of its write, and is put only where nothing as
//! new is visible. So a later write wins, whether it came before the restore or while it runs. An
//! element is added if it is not there. A counter is restored only where there is none: two counts
//! of one key cannot tell how much of them is the same. A key of another kind stays as it is, and a
//! key that exists keeps the expiry that it has. A key of which something was written under a
//! fencing token stays as it is, even if it was removed: a backup has no token.
//!
//! **Invariant:** restoring twice is restoring once, also through two replicas that do not know of
//! each other: equal registers fold to one value, and the counts carry one mark.

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, Hlc};
use xxhash_rust::xxh3::Xxh3Default;

use super::fold::{counted, kind_of, row_kind};
use super::mutate::Changing;
use crate::fence::Stamp;
use crate::op::{Kind, Reply, VALUE_BYTES_MAX};
use crate::planted;
use crate::replica::{KeyRows, Payload, Replaces, Replica, Row, RowKey, RowKind};
use crate::saved::{PageEnd, SavedExpiry, SavedKey, SavedName, SavedRegister, SavedRow};

/// The longest page in bytes, unless a single row is longer.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a row counts beside its own bytes, so that a page of short ones does not have too many.
const ROW_BYTES: usize = 32;

/// The keys after `after`, about `bytes` of them. A key is divided only if it alone is longer than
/// a page.
pub(crate) fn page(
    replica: &Replica,
    after: Option<&PageEnd>,
    bytes: u32,
    unix_millis: u64,
) -> Reply {
    let max = (bytes as usize).clamp(1, PAGE_BYTES_MAX);
    let mut page = Page {
        keys: Vec::new(),
        bytes: 0,
        max,
    };
    let mut next = None;
    if let Some(PageEnd { key, row }) = after
        && row.is_some()
        && let Some(rows) = replica.key(key)
    {
        next = page.take(key, rows, row.as_ref(), unix_millis);
    }
    let mut last = after.map(|end| PageEnd {
        key: end.key.clone(),
        row: None,
    });
    for (key, rows) in replica.keys_after(after.map(|end| &end.key)) {
        if next.is_some() {
            break;
        }
        if !page.keys.is_empty() && page.bytes + rows.bytes() > max {
            next = last;
            break;
        }
        next = page.take(key, rows, None, unix_millis);
        last = Some(PageEnd {
            key: key.clone(),
            row: None,
        });
    }
    Reply::Page {
        keys: page.keys,
        next: next.map(Box::new),
    }
}

struct Page {
    keys: Vec<SavedKey>,
    bytes: usize,
    max: usize,
}

impl Page {
    /// Takes what a key has after a row of it, if it exists. Returns where the page ends if it ends
    /// within the key.
    fn take(
        &mut self,
        key: &Bytes,
        rows: &KeyRows,
        after: Option<&SavedName>,
        unix_millis: u64,
    ) -> Option<PageEnd> {
        if rows.expires_at().is_some_and(|at| at <= unix_millis) {
            return None;
        }
        let kind = kind_of(rows)?;
        let mut saved = SavedKey {
            key: key.clone(),
            expiry: expiry_of(kind, rows),
            rows: Vec::new(),
        };
        let mut end = None;
        let after = after.map(|name| Bytes::copy_from_slice(name.field()));
        for (field, row) in rows.of_kind_after(rows_of(kind), after.as_ref()) {
            let Some(row) = saved_row(kind, field, row) else {
                continue;
            };
            let bytes = ROW_BYTES + row.weight();
            if !saved.rows.is_empty() && self.bytes + bytes > self.max {
                end = saved.rows.last().map(|last| PageEnd {
                    key: key.clone(),
                    row: Some(last.name.clone()),
                });
                break;
            }
            self.bytes += bytes;
            saved.rows.push(row);
        }
        if !saved.rows.is_empty() {
            self.bytes += key.len();
            self.keys.push(saved);
        }
        end
    }
}

fn rows_of(kind: Kind) -> RowKind {
    match kind {
        Kind::String => RowKind::String,
        Kind::Hash => RowKind::Hash,
        Kind::Set => RowKind::Set,
    }
}

/// What decides when the key expires, apart from the values of its string.
fn expiry_of(kind: Kind, rows: &KeyRows) -> Option<SavedExpiry> {
    let beside = match kind {
        Kind::String => None,
        Kind::Hash | Kind::Set => rows.head(),
    };
    let own = rows.get(RowKind::Expiry, &Bytes::new());
    let entries = beside.into_iter().chain(own).flat_map(Row::iter);
    let said = entries.filter_map(|(dot, payload)| {
        let (stamp, at) = payload.expiry()?;
        Some((stamp, dot, at))
    });
    said.max()
        .map(|(stamp, _, at)| SavedExpiry { hlc: stamp.hlc, at })
}

/// `None` for a row that holds no value of this kind.
fn saved_row(kind: Kind, field: &Bytes, row: &Row) -> Option<SavedRow> {
    let name = match kind {
        Kind::String => SavedName::String,
        Kind::Hash => SavedName::Field(field.clone()),
        Kind::Set => SavedName::Member(field.clone()),
    };
    if kind == Kind::Set {
        return Some(SavedRow {
            name,
            registers: Vec::new(),
            count: None,
        });
    }
    let highest = row.iter().map(|(_, payload)| payload.rank()).max();
    let mut count = counted(row);
    let mut registers: Vec<(Dot, SavedRegister)> = Vec::new();
    for (dot, payload) in row.iter() {
        if let Payload::Count(n) = payload {
            count = Some(count.unwrap_or(0).saturating_add(*n));
        }
        if let (Some(value), Some(stamp)) = (payload.value(), payload.stamp())
            && Some(payload.rank()) == highest
        {
            let register = SavedRegister {
                hlc: stamp.hlc,
                value: value.clone(),
                expires: payload.expiry().and_then(|(_, at)| at),
            };
            registers.push((dot, register));
        }
    }
    registers.sort_unstable_by_key(|(dot, register)| (register.hlc, *dot));
    // A split may have left more concurrent values than one write may bring: the newest stay.
    let mut bytes = field.len();
    let kept = registers
        .iter()
        .rev()
        .take_while(|(_, register)| {
            bytes += register.value.len();
            bytes <= VALUE_BYTES_MAX
        })
        .count()
        .max(1);
    let registers: Vec<SavedRegister> = registers
        .drain(registers.len().saturating_sub(kept)..)
        .map(|(_, register)| register)
        .collect();
    let count = count.map(|sum| i64::try_from(sum).unwrap_or(end_of_range(sum)));
    (!registers.is_empty() || count.is_some()).then_some(SavedRow {
        name,
        registers,
        count,
    })
}

fn end_of_range(sum: i128) -> i64 {
    if sum < 0 { i64::MIN } else { i64::MAX }
}

impl Changing<'_, '_> {
    /// Restores rows of the key. Returns how many of them were missing or older here.
    pub(super) fn restore(
        &mut self,
        archive: u128,
        expiry: Option<SavedExpiry>,
        rows: &[SavedRow],
    ) -> Reply {
        let now = self.clocked.now.unix_millis;
        let registers = rows.iter().flat_map(|row| &row.registers);
        let said = registers
            .map(|register| SavedExpiry {
                hlc: register.hlc,
                at: register.expires,
            })
            .chain(expiry)
            .max();
        let of_key = matches!(
            rows.first().map(|row| &row.name),
            Some(SavedName::String) | None
        );
        let over = if of_key { said } else { expiry };
        if over.and_then(|said| said.at).is_some_and(|at| at <= now) {
            return Reply::Integer(0);
        }
        let rows_here = self.write.replica().key(self.key);
        if rows_here.is_some_and(KeyRows::is_guarded) {
            return Reply::Integer(0);
        }
        let here = rows_here.and_then(kind_of);
        let mut restored = 0;
        for row in rows {
            if here.is_none_or(|kind| rows_of(kind) == row_kind(&row.name)) {
                restored += i64::from(self.restore_row(archive, row));
            }
        }
        if let Some(SavedExpiry { hlc, at }) = expiry.filter(|_| here.is_none() && restored > 0) {
            let hlc = self.not_ahead(hlc);
            self.write.put(
                RowKey::expiry(self.key.clone()),
                Payload::Expiry { hlc, at },
                Replaces::All,
            );
        }
        Reply::Integer(restored)
    }

    fn restore_row(&mut self, archive: u128, row: &SavedRow) -> bool {
        let name = RowKey {
            key: self.key.clone(),
            kind: row_kind(&row.name),
            field: Bytes::copy_from_slice(row.name.field()),
        };
        if let SavedName::Member(_) = row.name {
            let missing = self.row(&name).is_none();
            if missing {
                self.write.put(name, Payload::Member, Replaces::All);
            }
            return missing;
        }
        if self
            .row(&name)
            .is_some_and(|held| !self.is_newer(row, held))
        {
            return false;
        }
        let nothing = CausalContext::new();
        let mut replaces = Replaces::All;
        for register in &row.registers {
            let register = Payload::Register {
                hlc: self.not_ahead(register.hlc),
                value: register.value.clone(),
                expires: register.expires,
            };
            self.write.put(name.clone(), register, replaces);
            replaces = Replaces::Seen(&nothing);
        }
        if let Some(by) = row.count {
            let mark = self.mark_of(archive, &name);
            self.write.put(
                name,
                Payload::Counted { mark, by },
                Replaces::Seen(&nothing),
            );
        }
        !row.registers.is_empty() || row.count.is_some()
    }

    /// Whether what was saved of a row is newer than what is here.
    fn is_newer(&self, saved: &SavedRow, held: &Row) -> bool {
        if saved.count.is_some() || held.iter().any(|(_, payload)| payload.counts()) {
            return planted::RESTORE_ADDS_TO_COUNTERS.is_planted();
        }
        let saved = saved
            .registers
            .iter()
            .map(|register| Stamp::at(self.not_ahead(register.hlc)))
            .max();
        let held = held.iter().filter_map(|(_, payload)| payload.stamp()).max();
        saved > held || planted::RESTORE_OVER_NEWER.is_planted()
    }

    /// The stamp, or the present time if it lies in the future: a backup must not make a value
    /// immortal.
    fn not_ahead(&self, hlc: Hlc) -> Hlc {
        let now = self.clocked.now.unix_millis;
        if hlc.unix_millis() <= now {
            hlc
        } else {
            Hlc::from_parts(now, 0).unwrap_or_default()
        }
    }

    /// The mark under which a count is restored: the same whenever this archive restores this row,
    /// wherever it does.
    fn mark_of(&self, archive: u128, name: &RowKey) -> u128 {
        let mut hasher = Xxh3Default::new();
        hasher.update(&archive.to_le_bytes());
        hasher.update(&[name.kind as u8]);
        hasher.update(&(name.key.len() as u64).to_le_bytes());
        hasher.update(&name.key);
        hasher.update(&name.field);
        if planted::RESTORED_UNDER_OWN_MARK.is_planted() {
            hasher.update(&self.write.replica().id().node.0.to_le_bytes());
        }
        hasher.digest128()
    }
}
