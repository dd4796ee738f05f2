//! Counters: no acknowledged increment is lost or counted twice, and no increment that keeps the
//! sum within 64 bits is refused.

use bytes::Bytes;
use quorate_dynamo::op::{Reply, RequestError};

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::Violation;
use crate::sim::plan::request::{Deed, NAMES, name};

struct Sum<'a, 'b> {
    history: &'b KeyHistory<'a>,
    /// Its name in a report, if it is not the whole key.
    called: String,
    /// The requests that add to it, including refused ones, and what each adds.
    counts: Vec<(&'a Told, i128)>,
}

/// What a missing counter reads as.
const NOTHING: Bytes = Bytes::from_static(b"0");

/// The range in which the sum must lie: everything that is certain, plus any part of what is
/// possible.
struct Bounds {
    least: i128,
    most: i128,
}

/// A string used as a counter.
pub(super) fn judge(history: &KeyHistory<'_>) -> Vec<Violation> {
    let counts = history.all.iter().filter_map(|told| {
        if let Deed::Count(by) = told.ask.deed {
            Some((*told, i128::from(by)))
        } else {
            None
        }
    });
    let sum = Sum {
        history,
        called: String::new(),
        counts: counts.collect(),
    };
    let shown = |told: &Told| match &told.result {
        Ok(Reply::Nil) if told.ask.deed == Deed::Get => Some(NOTHING),
        Ok(Reply::Value(value)) if told.ask.deed == Deed::Get => Some(value.clone()),
        _ => None,
    };
    sum.judge(shown)
}

/// Each field of a hash as a counter.
pub(super) fn judge_fields(history: &KeyHistory<'_>) -> Vec<Violation> {
    let judge_field = |field: u8| {
        let adds = |told: &Told| {
            if let Deed::CountField(at, by) = told.ask.deed {
                (at == field).then_some(i128::from(by))
            } else {
                None
            }
        };
        let counts = history
            .all
            .iter()
            .filter_map(|told| Some((*told, adds(told)?)))
            .collect();
        let of = |value: Option<&Bytes>| value.cloned().unwrap_or(NOTHING);
        let shown = |told: &Told| match (&told.result, &told.ask.deed) {
            (Ok(Reply::Pairs(pairs)), Deed::Entries) => Some(of(pairs
                .iter()
                .find(|(key, _)| *key == name(field))
                .map(|(_, value)| value))),
            (Ok(Reply::Values(values)), Deed::Fields(asked)) => {
                let at = asked.iter().position(|asked| *asked == field)?;
                Some(of(values.get(at).and_then(Option::as_ref)))
            }
            _ => None,
        };
        Sum {
            history,
            called: format!("field m{field}, "),
            counts,
        }
        .judge(shown)
    };
    (0..NAMES).flat_map(judge_field).collect()
}

impl Sum<'_, '_> {
    /// `shown` tells what a request shows of the counter, if anything.
    fn judge(&self, shown: impl Fn(&Told) -> Option<Bytes>) -> Vec<Violation> {
        let reads = self
            .history
            .all
            .iter()
            .filter_map(|read| self.judge_read(read, &shown(read)?));
        reads
            .chain(
                self.counts
                    .iter()
                    .filter_map(|(told, by)| self.judge_refusal(told, *by)),
            )
            .collect()
    }

    fn broken(&self, check: &'static str, at: &Told, what: &str) -> Violation {
        self.history
            .broken(check, at, format!("{}{what}", self.called))
    }

    fn sure(&self, count: &Told, read: &Told) -> bool {
        self.history.must_find(count, read) && !self.history.flushed(count)
    }

    fn bounds(&self, read: &Told) -> Bounds {
        let mut bounds = Bounds { least: 0, most: 0 };
        for (count, by) in self
            .counts
            .iter()
            .filter(|(count, _)| count.fate() != Fate::Refused && count.ask.id != read.ask.id)
        {
            let (sure, possible) = (self.sure(count, read), count.from <= read.to);
            bounds.least += if sure || (possible && *by < 0) {
                *by
            } else {
                0
            };
            bounds.most += if sure || (possible && *by > 0) {
                *by
            } else {
                0
            };
        }
        bounds
    }

    fn judge_read(&self, read: &Told, shown: &Bytes) -> Option<Violation> {
        let number = std::str::from_utf8(shown)
            .ok()
            .and_then(|text| text.parse::<i128>().ok());
        let Some(value) = number else {
            return Some(self.broken("invented", read, &format!("{} shows {shown:?}", read.ask)));
        };
        let Bounds { least, most } = self.bounds(read);
        if value < least {
            let sure: Vec<u32> = self
                .counts
                .iter()
                .filter(|(count, _)| self.sure(count, read))
                .map(|(count, _)| count.ask.id)
                .collect();
            let what = format!(
                "{} shows {value}, but the count is at least {least}: {sure:?} were acknowledged before",
                read.ask
            );
            return Some(self.broken("count-lost", read, &what));
        }
        if value > most {
            let refused = self
                .counts
                .iter()
                .filter(|(count, _)| count.fate() == Fate::Refused)
                .count();
            let what = format!(
                "{} shows {value}, but the count is at most {most}, even with every open increment ({refused} were refused)",
                read.ask
            );
            return Some(self.broken("counted-twice", read, &what));
        }
        None
    }

    fn judge_refusal(&self, told: &Told, by: i128) -> Option<Violation> {
        let Bounds { least, most } = self.bounds(told);
        let range = i128::from(i64::MIN)..=i128::from(i64::MAX);
        let fits = range.contains(&(least + by)) && range.contains(&(most + by));
        let refused =
            fits && told.result == Err(RequestError::Overflow) && told.need.replicas() > 0;
        let what = || {
            format!(
                "{} was refused, but the sum including it is between {} and {}",
                told.ask,
                least + by,
                most + by
            )
        };
        refused.then(|| self.broken("refused-without-cause", told, &what()))
    }
}
