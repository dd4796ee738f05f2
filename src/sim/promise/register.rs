//! Strings, and the fields of hashes, which are strings of their own.

use bytes::Bytes;
use quorate_dynamo::op::Reply;

use super::{OfKey, Violation};
use crate::sim::ask::{NAMES, name, request_of};
use crate::sim::history::{Fate, Told};
use crate::sim::plan::{Deed, Kind};

/// One register: what was done to it, and what was seen of it.
pub(super) struct Register<'a, 'b> {
    of_key: &'b OfKey<'a>,
    /// What it is called in a report, if it is not the whole key.
    called: String,
    /// What sets it.
    sets: Vec<&'a Told>,
    /// What removes it.
    removals: Vec<&'a Told>,
    /// What was seen: the request that wrote it, or nothing.
    reads: Vec<(&'a Told, Option<u32>)>,
}

/// What a reply shows of a register.
enum Shown {
    /// It does not tell.
    Untold,
    Nothing,
    /// What this request wrote.
    Value(u32),
    /// What no request wrote.
    Strange(Bytes),
}

impl Register<'_, '_> {
    /// Takes in what every request has seen.
    fn read(&mut self, shown: impl Fn(&Told) -> Shown) -> Vec<Violation> {
        let mut found = Vec::new();
        for told in &self.of_key.all {
            match shown(told) {
                Shown::Untold => {}
                Shown::Nothing => self.reads.push((told, None)),
                Shown::Value(number) => self.reads.push((told, Some(number))),
                Shown::Strange(value) => {
                    found.push(self.broken(
                        "invented",
                        told,
                        &format!("{} shows {value:?}, which nobody wrote", told.ask),
                    ));
                }
            }
        }
        found
    }
}

/// A string as a whole.
pub(super) fn judge(of_key: &OfKey<'_>) -> Vec<Violation> {
    let mut register = Register {
        of_key,
        called: String::new(),
        sets: of_key
            .writes()
            .filter(|told| matches!(told.ask.deed, Deed::Set))
            .collect(),
        removals: of_key
            .writes()
            .filter(|told| matches!(told.ask.deed, Deed::Delete | Deed::GetDelete))
            .collect(),
        reads: Vec::new(),
    };
    let mut found = register.read(|told| match (&told.result, &told.ask.deed) {
        (Ok(reply), Deed::Get | Deed::GetDelete) => seen(reply),
        _ => Shown::Untold,
    });
    found.extend(register.judge());
    found
}

/// Every field of a hash as a register.
pub(super) fn judge_fields(of_key: &OfKey<'_>) -> Vec<Violation> {
    debug_assert_eq!(of_key.key.0, Kind::Hash);
    let mut found = Vec::new();
    for field in 0..NAMES {
        let sets = |told: &Told| matches!(&told.ask.deed, Deed::SetFields(fields) if fields.contains(&field));
        let removes = |told: &Told| match &told.ask.deed {
            Deed::RemoveFields(fields) => fields.contains(&field),
            deed => *deed == Deed::Delete,
        };
        let mut register = Register {
            of_key,
            called: format!("field m{field}, "),
            sets: of_key.writes().filter(|told| sets(told)).collect(),
            removals: of_key.writes().filter(|told| removes(told)).collect(),
            reads: Vec::new(),
        };
        found.extend(register.read(|told| field_in(told, field)));
        found.extend(register.judge());
    }
    found
}

/// What a reply shows of a field.
fn field_in(told: &Told, field: u8) -> Shown {
    let of = |value: Option<&Bytes>| value.map_or(Shown::Nothing, shown);
    match (&told.result, &told.ask.deed) {
        (Ok(Reply::Pairs(pairs)), Deed::Entries) => of(pairs
            .iter()
            .find(|(key, _)| *key == name(field))
            .map(|(_, value)| value)),
        (Ok(Reply::Values(values)), Deed::Fields(fields)) => {
            match fields.iter().position(|asked| *asked == field) {
                Some(at) => of(values.get(at).and_then(Option::as_ref)),
                None => Shown::Untold,
            }
        }
        _ => Shown::Untold,
    }
}

/// What a reply shows of a string.
fn seen(reply: &Reply) -> Shown {
    match reply {
        Reply::Nil => Shown::Nothing,
        Reply::Value(value) => shown(value),
        other => Shown::Strange(format!("{other:?}").into()),
    }
}

fn shown(value: &Bytes) -> Shown {
    request_of(value).map_or_else(|| Shown::Strange(value.clone()), Shown::Value)
}

/// Whether `removal` was perhaps done when `write` was.
fn may_remove(removal: &Told, write: &Told) -> bool {
    removal.over().is_none_or(|over| over >= write.from)
}

impl Register<'_, '_> {
    fn judge(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for (read, shown) in &self.reads {
            found.extend(match shown {
                Some(number) => self.judge_value(read, *number),
                None => self.judge_nothing(read),
            });
        }
        found.extend(self.judge_turns());
        found
    }

    fn broken(&self, check: &'static str, at: &Told, what: &str) -> Violation {
        self.of_key
            .broken(check, at, format!("{}{what}", self.called))
    }

    /// Whether `removal` surely removed what `write` wrote: it was told so at a level that finds
    /// it. A value whose stamp was too far ahead is put back as a new event, under the lowest stamp,
    /// which a removal of the first has not seen.
    fn removed_by(&self, write: &Told, removal: &Told) -> bool {
        let seen_as_written = !write.may_have_a_twin() && !self.of_key.clock_was_wrong();
        seen_as_written && self.of_key.must_find(write, removal) && removal.fate() == Fate::Done
    }

    fn judge_value(&self, read: &Told, number: u32) -> Option<Violation> {
        let of_key = self.of_key;
        let Some(write) = of_key.by_number(number) else {
            return Some(self.broken(
                "invented",
                read,
                &format!("{} shows v{number}, which nobody wrote", read.ask),
            ));
        };
        if write.fate() == Fate::Refused {
            let what = format!(
                "{} shows v{number}, which was refused as not applied: {:?}",
                read.ask, write.result
            );
            return Some(self.broken("refused-but-applied", read, &what));
        }
        if write.from > read.to {
            return Some(self.broken(
                "invented",
                read,
                &format!("{} shows v{number}, which was written later", read.ask),
            ));
        }
        // A removal takes what it has seen: an older value that it has not seen shows again.
        let stands = |later: &Told| {
            !of_key.flushed(later)
                && !self
                    .removals
                    .iter()
                    .any(|removal| may_remove(removal, later))
        };
        let known = self.sets.iter().filter(|later| {
            of_key.must_find(later, read) && later.ask.id != number && stands(later)
        });
        if let Some(later) = known
            .into_iter()
            .find(|later| of_key.older(write, later))
            .filter(|_| !of_key.may_have_expired(read))
        {
            let what = format!(
                "{} shows v{number} (acknowledged at {:?}), though v{} of {:?}..{:?} was acknowledged at {}",
                read.ask, write.to, later.ask.id, later.from, later.to, later.ask.level
            );
            return Some(self.broken("stale", read, &what));
        }
        if let Some(expiry) = of_key.expired(read) {
            return Some(self.broken(
                "outlived-its-expiry",
                read,
                &format!(
                    "{} shows v{number}, though {} is over",
                    read.ask, expiry.ask
                ),
            ));
        }
        let removal = self.removals.iter().find(|removal| {
            let effective = !matches!(&removal.result, Ok(Reply::Integer(0) | Reply::Nil));
            effective && self.removed_by(write, removal) && of_key.must_find(removal, read)
        })?;
        let what = format!(
            "{} shows v{number}, though {} of {:?}..{:?} had removed it",
            read.ask, removal.ask, removal.from, removal.to
        );
        Some(self.broken("came-back", read, &what))
    }

    fn judge_nothing(&self, read: &Told) -> Option<Violation> {
        let of_key = self.of_key;
        let lost = self.sets.iter().find(|write| {
            let removed = self
                .removals
                .iter()
                .any(|removal| removal.ask.id != read.ask.id && may_remove(removal, write));
            of_key.must_find(write, read)
                && !of_key.flushed(write)
                && !removed
                && !of_key.may_have_expired(read)
        })?;
        let what = format!(
            "{} shows nothing, though {} was acknowledged at {:?}",
            read.ask, lost.ask, lost.to
        );
        Some(self.broken("lost", read, &what))
    }

    /// Once it was read that one value stands above another, no later read shows the other.
    fn judge_turns(&self) -> Option<Violation> {
        let of_key = self.of_key;
        let expires = of_key.all.iter().any(|told| told.ask.deed.life().is_some());
        if expires || !self.removals.is_empty() || !of_key.flushes.is_empty() {
            return None;
        }
        let sees = |earlier: &Told, later: &Told| {
            earlier.to < later.from && of_key.kept(earlier, later) && of_key.meets(earlier, later)
        };
        let reads: Vec<_> = self
            .reads
            .iter()
            .filter(|(read, _)| read.need.copies() > 1 || read.need.replicas() == 1)
            .collect();
        for (third, shown) in &reads {
            let Some(shown) = shown else { continue };
            for (first, before) in reads
                .iter()
                .filter(|(first, before)| before.as_ref() == Some(shown) && sees(first, third))
            {
                let between = reads.iter().find(|(second, other)| {
                    other.is_some() && other != before && sees(first, second) && sees(second, third)
                });
                if let Some((second, Some(other))) = between {
                    let what = format!(
                        "{} shows v{shown}, then {} v{other}, then {} v{shown} again",
                        first.ask, second.ask, third.ask
                    );
                    return Some(self.broken("turned", third, &what));
                }
            }
        }
        None
    }
}
