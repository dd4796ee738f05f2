//! Strings, and the fields of hashes, which are strings of their own.

use bytes::Bytes;
use quorate_dynamo::op::Reply;

use super::{OfKey, Violation};
use crate::sim::ask::{name, request_of};
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

/// A string as a whole.
pub(super) fn judge(of_key: &OfKey<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut reads = Vec::new();
    for told in &of_key.all {
        let (Ok(reply), true) = (&told.result, matches!(told.ask.deed, Deed::Get | Deed::GetDelete)) else { continue };
        match seen(reply) {
            Some(value) => reads.push((*told, value)),
            None => found.push(of_key.broken("invented", told, format!("{} shows {reply:?}, which nobody wrote", told.ask))),
        }
    }
    let register = Register {
        of_key,
        called: String::new(),
        sets: of_key.writes().filter(|told| matches!(told.ask.deed, Deed::Set)).collect(),
        removals: of_key.writes().filter(|told| matches!(told.ask.deed, Deed::Delete | Deed::GetDelete)).collect(),
        reads,
    };
    found.extend(register.judge());
    found
}

/// Every field of a hash as a register.
pub(super) fn judge_fields(of_key: &OfKey<'_>) -> Vec<Violation> {
    debug_assert_eq!(of_key.key.0, Kind::Hash);
    let mut found = Vec::new();
    for field in 0..5 {
        let mut reads = Vec::new();
        for told in &of_key.all {
            let Some(value) = field_in(told, field) else { continue };
            match value {
                None => reads.push((*told, None)),
                Some(value) => match request_of(&value) {
                    Some(number) => reads.push((*told, Some(number))),
                    None => found.push(of_key.broken("invented", told, format!("{} shows {value:?}, which nobody wrote", told.ask))),
                },
            }
        }
        let sets = |told: &Told| matches!(&told.ask.deed, Deed::SetFields(fields) if fields.contains(&field));
        let removes = |told: &Told| match &told.ask.deed {
            Deed::RemoveFields(fields) => fields.contains(&field),
            deed => *deed == Deed::Delete,
        };
        let register = Register {
            of_key,
            called: format!("field m{field}, "),
            sets: of_key.writes().filter(|told| sets(told)).collect(),
            removals: of_key.writes().filter(|told| removes(told)).collect(),
            reads,
        };
        found.extend(register.judge());
    }
    found
}

/// What a reply shows of a field; `None`: it does not tell.
fn field_in(told: &Told, field: u8) -> Option<Option<Bytes>> {
    match (&told.result, &told.ask.deed) {
        (Ok(Reply::Pairs(pairs)), Deed::Entries) => Some(pairs.iter().find(|(key, _)| *key == name(field)).map(|(_, value)| value.clone())),
        (Ok(Reply::Values(values)), Deed::Fields(fields)) => {
            let at = fields.iter().position(|asked| *asked == field)?;
            values.get(at).cloned()
        }
        _ => None,
    }
}

/// The request whose value a reply shows; `None`: it shows something else.
fn seen(reply: &Reply) -> Option<Option<u32>> {
    match reply {
        Reply::Nil => Some(None),
        Reply::Value(value) => request_of(value).map(Some),
        _ => None,
    }
}

impl<'a> Register<'a, '_> {
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
        self.of_key.broken(check, at, format!("{}{what}", self.called))
    }

    /// Whether `removal` surely removed what `write` wrote: it was told so at a level that finds it.
    fn removed_by(&self, write: &Told, removal: &Told) -> bool {
        self.of_key.must_find(write, removal) && removal.fate() == Fate::Done
    }

    fn judge_value(&self, read: &Told, number: u32) -> Option<Violation> {
        let of_key = self.of_key;
        let Some(write) = of_key.by_number(number) else {
            return Some(self.broken("invented", read, &format!("{} shows v{number}, which nobody wrote", read.ask)));
        };
        if write.fate() == Fate::Refused {
            let what = format!("{} shows v{number}, which was refused as not applied: {:?}", read.ask, write.result);
            return Some(self.broken("refused-but-applied", read, &what));
        }
        if write.from > read.to {
            return Some(self.broken("invented", read, &format!("{} shows v{number}, which was written later", read.ask)));
        }
        let known = self.sets.iter().filter(|later| of_key.must_find(later, read) && later.ask.id != number);
        if let Some(later) = known.into_iter().find(|later| of_key.older(write, later)) {
            let what = format!(
                "{} shows v{number} (acknowledged at {:?}), though v{} of {:?}..{:?} was acknowledged at {}",
                read.ask, write.to, later.ask.id, later.from, later.to, later.ask.level
            );
            return Some(self.broken("stale", read, &what));
        }
        let removal = self.removals.iter().find(|removal| {
            let effective = !matches!(&removal.result, Ok(Reply::Integer(0) | Reply::Nil));
            effective && self.removed_by(write, removal) && of_key.must_find(removal, read)
        })?;
        let what = format!("{} shows v{number}, though {} of {:?}..{:?} had removed it", read.ask, removal.ask, removal.from, removal.to);
        Some(self.broken("came-back", read, &what))
    }

    fn judge_nothing(&self, read: &Told) -> Option<Violation> {
        let of_key = self.of_key;
        let lost = self.sets.iter().find(|write| {
            let removable = |removal: &&Told| removal.ask.id != read.ask.id && removal.over().is_none_or(|over| over >= write.from);
            of_key.must_find(write, read) && !of_key.flushed(write) && !self.removals.iter().copied().any(|removal| removable(&removal))
        })?;
        let what = format!("{} shows nothing, though {} was acknowledged at {:?}", read.ask, lost.ask, lost.to);
        Some(self.broken("lost", read, &what))
    }

    /// Once it was read that one value stands above another, no later read shows the other.
    fn judge_turns(&self) -> Option<Violation> {
        let of_key = self.of_key;
        if !self.removals.is_empty() || !of_key.flushes.is_empty() {
            return None;
        }
        let sees = |earlier: &Told, later: &Told| earlier.to < later.from && of_key.kept(earlier, later) && of_key.meets(earlier, later);
        let reads: Vec<_> = self.reads.iter().filter(|(read, _)| read.need.copies() > 1 || read.need.replicas() == 1).collect();
        for (third, shown) in &reads {
            let Some(shown) = shown else { continue };
            for (first, before) in reads.iter().filter(|(first, before)| before.as_ref() == Some(shown) && sees(first, third)) {
                let between = reads.iter().find(|(second, other)| other.is_some() && other != before && sees(first, second) && sees(second, third));
                if let Some((second, Some(other))) = between {
                    let what =
                        format!("{} shows v{shown}, then {} v{other}, then {} v{shown} again", first.ask, second.ask, third.ask);
                    return Some(self.broken("turned", third, &what));
                }
            }
        }
        None
    }
}
