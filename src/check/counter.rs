//! Counters: a read lies between what was certainly counted and what may have been counted, and
//! does not fall by itself.

use serde_json::Value;

use super::history::Action;
use super::operation::{Operation, meets};
use super::report::Rule;
use super::unusable::Unusable;
use super::violation::Violation;

/// The number that a value is or spells in decimal digits; nothing counts as 0.
pub(super) fn number(value: &Value) -> Option<i128> {
    match value {
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64().map(i128::from),
        Value::String(text) => text.parse::<i64>().ok().map(i128::from),
        _ => None,
    }
}

/// The amount of an increment. Leaving out an invalid one would make the rest look like too much.
fn by(increment: &Operation<'_>) -> Result<i128, Unusable> {
    let value = &increment.call.value;
    let by = if value.is_null() { None } else { number(value) };
    by.ok_or_else(|| Unusable::NoIncrement {
        line: increment.begin + 1,
        value: value.to_string().into(),
    })
}

/// The first violation among the operations on one counter, which are in the order of their
/// beginnings.
///
/// # Errors
/// [`Unusable::NoIncrement`].
pub(super) fn check<'h>(operations: &[Operation<'h>]) -> Result<Option<Violation<'h>>, Unusable> {
    let possible = |f: Action| of(operations, f).filter(|operation| operation.possible());
    let increments = possible(Action::Increment).map(|operation| Ok((operation, by(operation)?)));
    // A removal (or a write) removes what it has seen, and may remove part of what it may have
    // seen.
    let changes = Changes {
        all: operations,
        increments: increments.collect::<Result<_, Unusable>>()?,
        removes: possible(Action::Remove)
            .chain(possible(Action::Write))
            .collect(),
    };
    let mut reads: Vec<_> = operations
        .iter()
        .filter(|operation| operation.call.f.is_read() && operation.done())
        .collect();
    reads.sort_by_key(|read| read.begin);
    Ok(broken(&reads, &changes))
}

fn broken<'h>(reads: &[&Operation<'h>], changes: &Changes<'_, 'h>) -> Option<Violation<'h>> {
    let only_rises =
        changes.removes.is_empty() && changes.increments.iter().all(|(_, by)| *by >= 0);
    let mut shown: Vec<(&Operation<'h>, i128)> = Vec::new();
    for &read in reads {
        let Some(value) = number(read.answer()) else {
            let says = format!("{} reads something that is not a number", read.who());
            return Some(Violation::new(
                Rule::Invented,
                says,
                changes
                    .increments
                    .iter()
                    .map(|(increment, _)| *increment)
                    .take(1)
                    .chain([read]),
            ));
        };
        if let Some(violation) = out_of_bounds(read, value, changes) {
            return Some(violation);
        }
        if only_rises {
            let higher = shown
                .iter()
                .filter(|(before, _)| meets(before, read))
                .find(|(_, before)| *before > value);
            if let Some((before, seen)) = higher {
                let says = format!(
                    "{} reads {value} after {} had read {seen}",
                    read.who(),
                    before.who()
                );
                return Some(Violation::new(Rule::Turned, says, [*before, read]));
            }
            shown.push((read, value));
        }
    }
    None
}

/// An increment, and whether a read had to know of it.
struct Term<'a, 'h> {
    increment: &'a Operation<'h>,
    by: i128,
    certain: bool,
}

/// Everything that changed a counter, or may have.
struct Changes<'a, 'h> {
    all: &'a [Operation<'h>],
    increments: Vec<(&'a Operation<'h>, i128)>,
    removes: Vec<&'a Operation<'h>>,
}

fn of<'a, 'h>(
    operations: &'a [Operation<'h>],
    f: Action,
) -> impl Iterator<Item = &'a Operation<'h>> {
    operations
        .iter()
        .filter(move |operation| operation.call.f == f)
}

fn out_of_bounds<'h>(
    read: &Operation<'h>,
    value: i128,
    changes: &Changes<'_, 'h>,
) -> Option<Violation<'h>> {
    let begun = changes
        .increments
        .iter()
        .filter(|(increment, _)| increment.begin < read.end);
    let terms = begun.map(|&(increment, by)| {
        let removed = changes
            .removes
            .iter()
            .any(|remove| remove.end > increment.begin && remove.begin < read.end);
        Term {
            increment,
            by,
            certain: increment.done() && meets(increment, read) && !removed,
        }
    });
    let terms: Vec<_> = terms.collect();
    let least: i128 = terms
        .iter()
        .map(|term| {
            if term.certain {
                term.by
            } else {
                term.by.min(0)
            }
        })
        .sum();
    let most: i128 = terms
        .iter()
        .map(|term| {
            if term.certain {
                term.by
            } else {
                term.by.max(0)
            }
        })
        .sum();
    if value > most {
        let says = format!("{} reads {value}, which must be at most {most}", read.who());
        let refused = of(changes.all, Action::Increment)
            .filter(|increment| !increment.possible() && increment.begin < read.end);
        return Some(Violation::new(
            Rule::Invented,
            says,
            terms
                .iter()
                .map(|term| term.increment)
                .chain(refused)
                .chain([read]),
        ));
    }
    if value >= least {
        return None;
    }
    let says = format!(
        "{} reads {value}, which must be at least {least}",
        read.who()
    );
    // Everything that subtracts, and as much of the rest as it takes.
    let mut sum: i128 = terms.iter().map(|term| term.by.min(0)).sum();
    let needed = terms.iter().filter(|term| {
        let needed = term.by < 0 || (term.certain && sum <= value);
        sum += if needed { term.by.max(0) } else { 0 };
        needed
    });
    Some(Violation::new(
        Rule::Lost,
        says,
        needed.map(|term| term.increment).chain([read]),
    ))
}
