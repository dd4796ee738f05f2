//! Pairs lines into operations, and decides what one operation must know about another.

use quorate_dynamo::Consistency;
use serde_json::Value;

use super::history::{Action, Event, Kind, Process};
use super::unusable::Unusable;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Certainly without effect.
    Failed,
    /// It can take effect at any time after its beginning, or never.
    Unknown,
}

/// An operation from its beginning to its end. Both are positions in the history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation<'h> {
    pub(super) call: &'h Event,
    /// Its last line, if there is one.
    pub(super) last: Option<&'h Event>,
    pub(super) outcome: Outcome,
    pub(super) begin: usize,
    /// `usize::MAX` when it may still be under way.
    pub(super) end: usize,
    /// See [`meets`].
    pub(super) strength: usize,
}

/// A read must see a write if their strengths add up to this: `ALL` counts 2, `QUORUM` 1, anything
/// weaker 0.
pub(super) const MEETS: usize = 2;

impl<'h> Operation<'h> {
    pub(super) fn key(&self) -> &'h str {
        self.call.key.as_deref().unwrap_or_default()
    }

    pub(super) fn done(&self) -> bool {
        self.outcome == Outcome::Done
    }

    /// Whether it can have had an effect, or can still have one.
    pub(super) fn possible(&self) -> bool {
        self.outcome != Outcome::Failed
    }

    /// The answer.
    pub(super) fn answer(&self) -> &'h Value {
        self.last.map_or(&Value::Null, |last| &last.value)
    }

    /// When it ended; `u64::MAX` if it did not.
    pub(super) fn ended(&self) -> u64 {
        if self.end == usize::MAX {
            u64::MAX
        } else {
            self.last.map_or(u64::MAX, |last| last.time)
        }
    }

    /// The session it belongs to.
    pub(super) fn session(&self) -> (bool, u64) {
        match (self.call.session, self.call.process) {
            (Some(session), _) => (true, session),
            (None, Process::Client(process)) => (false, process),
            (None, Process::Nemesis) => (false, u64::MAX),
        }
    }

    /// Its lines in the history.
    pub(super) fn lines(&self) -> impl Iterator<Item = &'h Event> {
        [Some(self.call), self.last].into_iter().flatten()
    }

    /// Who did it, for a sentence.
    pub(super) fn who(&self) -> String {
        match self.call.process {
            Process::Client(number) => format!("process {number}"),
            Process::Nemesis => "the nemesis".to_owned(),
        }
    }
}

/// How strong a level is, as far as its name alone tells; `None` if it does not tell. It is read as
/// `CL` reads it, so a deadline may come before or after it, as in `QUORUM,TIMEOUT=1s`.
fn strength(level: Option<&str>) -> Option<usize> {
    let Some(level) = level.map(str::to_ascii_uppercase) else {
        return Some(1);
    };
    let names: Vec<&str> = level
        .split(',')
        .map(str::trim)
        .filter(|part| !part.starts_with("TIMEOUT="))
        .collect();
    match names.join(",").as_str() {
        "SERIAL" => Some(1),
        "LOCAL_SERIAL" | "ANY" => Some(0),
        name => name.parse().ok().map(|level| match level {
            Consistency::All => MEETS,
            Consistency::Quorum | Consistency::EachQuorum => 1,
            _ => 0,
        }),
    }
}

/// Faults that take from a node what it alone had acknowledged.
const DESTROYERS: [&str; 3] = ["restore", "wipe", "power-loss"];

/// Whether a line reports a fault.
pub(super) fn is_fault(event: &Event) -> bool {
    event.process == Process::Nemesis
}

/// The operations of a history, in the order of their beginnings.
///
/// The final reads must show even what only one replica acknowledged, unless a disk was destroyed.
pub(super) fn operations(events: &[Event]) -> Result<Vec<Operation<'_>>, Unusable> {
    let destroyed = events
        .iter()
        .any(|event| is_fault(event) && DESTROYERS.contains(&event.f.to_string().as_str()));
    let mut found: Vec<Operation<'_>> = Vec::new();
    let mut open = std::collections::BTreeMap::new();
    let mut before = None;
    for (at, event) in events.iter().enumerate() {
        let line = at + 1;
        if before.is_some_and(|before| event.index <= before) {
            return Err(Unusable::Order { line });
        }
        before = Some(event.index);
        if is_fault(event) {
            continue;
        }
        if let Action::Other(name) = &event.f {
            return Err(Unusable::UnknownOperation {
                line,
                name: name.clone(),
            });
        }
        match event.kind {
            Kind::Invoke => {
                let strength = match event.f {
                    Action::FinalRead if destroyed => 1,
                    Action::FinalRead => MEETS,
                    _ => {
                        strength(event.level.as_deref()).ok_or_else(|| Unusable::UnknownLevel {
                            line,
                            level: event.level.clone().unwrap_or_default(),
                        })?
                    }
                };
                if open.insert(event.process, found.len()).is_some() {
                    return Err(Unusable::TwoAtOnce { line });
                }
                found.push(Operation {
                    call: event,
                    last: None,
                    outcome: Outcome::Unknown,
                    begin: at,
                    end: usize::MAX,
                    strength,
                });
            }
            kind => {
                let begun = open
                    .remove(&event.process)
                    .ok_or(Unusable::NotBegun { line })?;
                let operation = &mut found[begun];
                if (
                    &operation.call.f,
                    &operation.call.key,
                    &operation.call.field,
                ) != (&event.f, &event.key, &event.field)
                {
                    return Err(Unusable::NotBegun { line });
                }
                operation.last = Some(event);
                (operation.outcome, operation.end) = match kind {
                    Kind::Ok => (Outcome::Done, at),
                    Kind::Fail => (Outcome::Failed, at),
                    _ => (Outcome::Unknown, usize::MAX),
                };
            }
        }
    }
    Ok(found)
}

/// Whether `read`, which must begin after `seen` has ended, has to know of it by its level.
pub(super) fn meets(seen: &Operation<'_>, read: &Operation<'_>) -> bool {
    seen.end < read.begin && seen.strength + read.strength >= MEETS
}

impl Operation<'_> {
    /// The same operation before its end is seen.
    pub(super) fn left_open(self) -> Self {
        Self {
            last: None,
            outcome: Outcome::Unknown,
            end: usize::MAX,
            ..self
        }
    }
}
