//! What the demo's clients were told about each of their writes, and what every node must therefore
//! return at the end.
//!
//! The rules are those of an outside observer who knows nothing about the cluster's inner workings:
//! an acknowledged write is there, a refused write is not, and a write with an unknown outcome may
//! or may not be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[cfg(test)]
mod tests;

/// What a client knows about a write it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done at its level.
    Acknowledged,
    /// Certainly not applied.
    Refused,
    /// Perhaps applied.
    Unknown,
}

/// A place that holds one value: a string, an element of a set, or a field of a hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) key: String,
    /// The element or field; `None` for a string.
    pub(super) part: Option<String>,
}

/// The command that reads a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `GET`.
    Text,
    /// `SMEMBERS`.
    Set,
    /// `HGETALL`.
    Hash,
}

/// What one node returned for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    Text(String),
    Set(BTreeSet<String>),
    Hash(BTreeMap<String, String>),
}

/// What one node returned for all keys. A missing key could not be read, which is itself a finding.
pub(super) type Reading = BTreeMap<String, Held>;

/// How an answer contradicts what clients were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Harm {
    /// An acknowledged write is missing.
    Lost,
    /// A counter is higher than everything ever added to it.
    DoubleCounted,
    /// Something is there again although its removal was acknowledged.
    Resurrected,
    /// A write is there although the client was told that nothing was applied.
    Phantom,
    /// The key could not be read, so nothing is proved about it.
    Unread,
}

/// One contradiction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) harm: Harm,
    pub(super) slot: Slot,
}

#[derive(Debug, Default)]
struct Sum {
    acknowledged: i64,
    unknown: i64,
}

/// The writes of one client to a register that may still be its value.
#[derive(Debug, Default)]
struct Last {
    acknowledged: Option<String>,
    /// Sent after the acknowledged one, outcome unknown.
    unknown: Vec<String>,
}

/// Something that is created once and removed at most once.
#[derive(Debug)]
struct Thing {
    made: Outcome,
    /// The most certain outcome of its removals; `None` if nobody tried to remove it.
    removed: Option<Outcome>,
}

/// All writes of all clients.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    counters: BTreeMap<String, Sum>,
    registers: BTreeMap<Slot, BTreeMap<usize, Last>>,
    things: BTreeMap<Slot, Thing>,
    kinds: BTreeMap<String, Kind>,
}

impl Slot {
    pub(super) fn key(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            part: None,
        }
    }

    pub(super) fn part(key: impl Into<String>, part: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            part: Some(part.into()),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Some(part) => write!(f, "{}[{part}]", self.key),
            None => f.write_str(&self.key),
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::DoubleCounted => "double counted",
            Self::Resurrected => "resurrected",
            Self::Phantom => "applied although refused",
            Self::Unread => "not read",
        })
    }
}

impl Ledger {
    /// Records that 1 was added to a counter.
    pub(super) fn counted(&mut self, key: &str, outcome: Outcome) {
        self.kinds.insert(key.to_owned(), Kind::Text);
        let sum = self.counters.entry(key.to_owned()).or_default();
        match outcome {
            Outcome::Acknowledged => sum.acknowledged += 1,
            Outcome::Unknown => sum.unknown += 1,
            Outcome::Refused => {}
        }
    }

    /// Records that `writer`, which does one thing at a time, overwrote a register with a value
    /// that nobody else ever writes.
    pub(super) fn overwritten(
        &mut self,
        slot: &Slot,
        writer: usize,
        value: &str,
        outcome: Outcome,
    ) {
        self.kinds.insert(
            slot.key.clone(),
            if slot.part.is_some() {
                Kind::Hash
            } else {
                Kind::Text
            },
        );
        let last = self
            .registers
            .entry(slot.clone())
            .or_default()
            .entry(writer)
            .or_default();
        match outcome {
            Outcome::Acknowledged => {
                *last = Last {
                    acknowledged: Some(value.to_owned()),
                    unknown: Vec::new(),
                }
            }
            Outcome::Unknown => last.unknown.push(value.to_owned()),
            Outcome::Refused => {}
        }
    }

    /// Records that an element was added to a set, or a string set, that nobody else creates and
    /// nobody creates again.
    pub(super) fn made(&mut self, slot: &Slot, outcome: Outcome) {
        self.kinds.insert(
            slot.key.clone(),
            if slot.part.is_some() {
                Kind::Set
            } else {
                Kind::Text
            },
        );
        self.things.insert(
            slot.clone(),
            Thing {
                made: outcome,
                removed: None,
            },
        );
    }

    /// Records an attempt to remove something. An acknowledgement counts only when the cluster said
    /// that something was removed (`found`). Otherwise the executing node had not seen the thing
    /// yet and need not have removed it.
    pub(super) fn removed(&mut self, slot: &Slot, outcome: Outcome, found: bool) {
        let Some(thing) = self.things.get_mut(slot) else {
            return;
        };
        let now = match outcome {
            Outcome::Acknowledged if found => Outcome::Acknowledged,
            Outcome::Acknowledged | Outcome::Unknown => Outcome::Unknown,
            Outcome::Refused => return,
        };
        if thing.removed != Some(Outcome::Acknowledged) {
            thing.removed = Some(now);
        }
    }

    /// Every key that was written, and how to read it.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.kinds.iter().map(|(key, kind)| (key.as_str(), *kind))
    }

    /// How many counters, registers and things are compared.
    pub(super) fn facts(&self) -> usize {
        self.counters.len() + self.registers.len() + self.things.len()
    }

    /// Acknowledged removals. Without any, the absence of resurrected things would prove nothing.
    pub(super) fn removals(&self) -> usize {
        self.things
            .values()
            .filter(|thing| thing.removed == Some(Outcome::Acknowledged))
            .count()
    }

    /// Everything in `reading` that contradicts what clients were told.
    pub(super) fn judge(&self, reading: &Reading) -> BTreeSet<Finding> {
        let unread = self.kinds.keys().filter(|key| !reading.contains_key(*key));
        let mut findings: BTreeSet<Finding> = unread
            .map(|key| Finding {
                harm: Harm::Unread,
                slot: Slot::key(key),
            })
            .collect();
        let mut find = |harm: Option<Harm>, slot: &Slot| {
            findings.extend(harm.map(|harm| Finding {
                harm,
                slot: slot.clone(),
            }));
        };
        for (key, sum) in &self.counters {
            find(sum.judge(reading.get(key)), &Slot::key(key));
        }
        for (slot, writers) in &self.registers {
            find(judge_register(writers, value_at(reading, slot)), slot);
        }
        for (slot, thing) in &self.things {
            find(thing.judge(value_at(reading, slot).is_some()), slot);
        }
        for (key, held) in reading {
            let Held::Set(elements) = held else { continue };
            let strangers = elements
                .iter()
                .map(|element| Slot::part(key, element))
                .filter(|slot| !self.things.contains_key(slot));
            strangers.for_each(|slot| find(Some(Harm::Phantom), &slot));
        }
        findings
    }
}

/// What the place holds. A key of another kind holds nothing there.
fn value_at<'a>(reading: &'a Reading, slot: &Slot) -> Option<&'a str> {
    match (reading.get(&slot.key)?, &slot.part) {
        (Held::Text(value), None) => Some(value),
        (Held::Set(elements), Some(element)) => elements.get(element).map(String::as_str),
        (Held::Hash(fields), Some(field)) => fields.get(field).map(String::as_str),
        _ => None,
    }
}

impl Sum {
    fn judge(&self, held: Option<&Held>) -> Option<Harm> {
        let value = match held {
            None => return None,
            Some(Held::Nothing) => 0,
            // A text that is not a number has replaced the counter.
            Some(Held::Text(text)) => text.parse().unwrap_or(i64::MIN),
            Some(_) => i64::MIN,
        };
        if value < self.acknowledged {
            return Some(Harm::Lost);
        }
        (value > self.acknowledged + self.unknown).then_some(Harm::DoubleCounted)
    }
}

fn judge_register(writers: &BTreeMap<usize, Last>, value: Option<&str>) -> Option<Harm> {
    let allowed = |value: &str| {
        writers.values().any(|last| {
            last.acknowledged.as_deref() == Some(value)
                || last.unknown.iter().any(|sent| sent == value)
        })
    };
    match value {
        Some(value) => (!allowed(value)).then_some(Harm::Lost),
        None => writers
            .values()
            .any(|last| last.acknowledged.is_some())
            .then_some(Harm::Lost),
    }
}

impl Thing {
    fn judge(&self, there: bool) -> Option<Harm> {
        match (self.made, self.removed, there) {
            (_, Some(Outcome::Acknowledged), true) => Some(Harm::Resurrected),
            (Outcome::Refused, _, true) => Some(Harm::Phantom),
            (Outcome::Acknowledged, None, false) => Some(Harm::Lost),
            _ => None,
        }
    }
}
