//! Registers: strings, and the fields of hashes, each of which behaves like a string of its own.

use bytes::Bytes;
use quorate_dynamo::op::Reply;

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::Violation;
use crate::sim::plan::request::{Deed, Kind, NAMES, name, request_of};

/// One register: what was done to it, and what was seen of it.
pub(super) struct Register<'a, 'b> {
    history: &'b KeyHistory<'a>,
    /// Its name in a report, if it is not the whole key.
    called: String,
    /// Requests that set it.
    sets: Vec<&'a Told>,
    /// Requests that remove it.
    removals: Vec<&'a Told>,
    /// What reads saw: the request whose value it was, or nothing.
    reads: Vec<(&'a Told, Option<u32>)>,
}

/// What a reply shows of a register.
enum Shown {
    /// The reply does not say.
    Untold,
    Nothing,
    /// The value that this request wrote.
    Value(u32),
    /// A value that no request wrote.
    Strange(Bytes),
}

impl Register<'_, '_> {
    /// Records what every request has seen. Returns the values that nobody wrote.
    fn read(&mut self, shown: impl Fn(&Told) -> Shown) -> Vec<Violation> {
        let mut found = Vec::new();
        for told in &self.history.all {
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

/// A whole string as a register.
pub(super) fn judge(history: &KeyHistory<'_>) -> Vec<Violation> {
    let mut register = Register {
        history,
        called: String::new(),
        sets: history
            .writes()
            .filter(|told| matches!(told.ask.deed, Deed::Set))
            .collect(),
        removals: history
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

/// Each field of a hash as a register.
pub(super) fn judge_fields(history: &KeyHistory<'_>) -> Vec<Violation> {
    debug_assert_eq!(history.key.0, Kind::Hash);
    let mut found = Vec::new();
    for field in 0..NAMES {
        let sets = |told: &Told| match &told.ask.deed {
            Deed::SetFields(fields) => fields.contains(&field),
            _ => false,
        };
        let removes = |told: &Told| match &told.ask.deed {
            Deed::RemoveFields(fields) => fields.contains(&field),
            deed => *deed == Deed::Delete,
        };
        let mut register = Register {
            history,
            called: format!("field m{field}, "),
            sets: history.writes().filter(|told| sets(told)).collect(),
            removals: history.writes().filter(|told| removes(told)).collect(),
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

/// Whether `removal` may have happened after `write` began.
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
        self.history
            .broken(check, at, format!("{}{what}", self.called))
    }

    /// Whether `removal` certainly removed what `write` wrote: it succeeded, at a level that finds
    /// the write. A value whose stamp was too far ahead is restored as a new event under the lowest
    /// stamp, which a removal of the first event has not seen.
    fn removed_by(&self, write: &Told, removal: &Told) -> bool {
        let seen_as_written = !write.may_have_a_twin() && !self.history.clock_was_wrong();
        seen_as_written && self.history.must_find(write, removal) && removal.fate() == Fate::Done
    }

    fn judge_value(&self, read: &Told, number: u32) -> Option<Violation> {
        let history = self.history;
        let Some(write) = history.by_number(number) else {
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
        // A removal removes only what it has seen, so an older value that it has not seen may show
        // again.
        let stands = |later: &Told| {
            !history.flushed(later)
                && !self
                    .removals
                    .iter()
                    .any(|removal| may_remove(removal, later))
        };
        let known = self.sets.iter().filter(|later| {
            history.must_find(later, read) && later.ask.id != number && stands(later)
        });
        if let Some(later) = known
            .into_iter()
            .find(|later| history.older(write, later))
            .filter(|_| !history.may_have_expired(read))
        {
            let what = format!(
                "{} shows v{number} (acknowledged at {:?}), but v{} of {:?}..{:?} was acknowledged at {}",
                read.ask, write.to, later.ask.id, later.from, later.to, later.ask.level
            );
            return Some(self.broken("stale", read, &what));
        }
        let expired = history.expired(read);
        if let Some(expiry) = expired.filter(|_| !write.may_have_a_twin()) {
            return Some(self.broken(
                "outlived-its-expiry",
                read,
                &format!(
                    "{} shows v{number}, but {} has passed",
                    read.ask, expiry.ask
                ),
            ));
        }
        let removal = self.removals.iter().find(|removal| {
            let effective = !matches!(&removal.result, Ok(Reply::Integer(0) | Reply::Nil));
            effective && self.removed_by(write, removal) && history.must_find(removal, read)
        })?;
        let what = format!(
            "{} shows v{number}, but {} of {:?}..{:?} had removed it",
            read.ask, removal.ask, removal.from, removal.to
        );
        Some(self.broken("came-back", read, &what))
    }

    fn judge_nothing(&self, read: &Told) -> Option<Violation> {
        let history = self.history;
        let lost = self.sets.iter().find(|write| {
            let removed = self
                .removals
                .iter()
                .any(|removal| removal.ask.id != read.ask.id && may_remove(removal, write));
            history.must_find(write, read)
                && !history.flushed(write)
                && !removed
                && !history.may_have_expired(read)
        })?;
        let what = format!(
            "{} shows nothing, but {} was acknowledged at {:?}",
            read.ask, lost.ask, lost.to
        );
        Some(self.broken("lost", read, &what))
    }

    /// Once a read has shown that one value replaced another, no later read may show the replaced
    /// one.
    fn judge_turns(&self) -> Option<Violation> {
        let history = self.history;
        let expires = history
            .all
            .iter()
            .any(|told| told.ask.deed.life().is_some());
        if expires || !self.removals.is_empty() || !history.flushes.is_empty() {
            return None;
        }
        let sees = |earlier: &Told, later: &Told| {
            earlier.to < later.from && history.kept(earlier, later) && history.meets(earlier, later)
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
