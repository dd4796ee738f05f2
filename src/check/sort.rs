//! Sorts operations by key and kind for a model, and decides whether there is enough to judge.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::converge;
use super::history::{Action, Event};
use super::model::{Least, Model};
use super::operation::{Operation, is_fault};
use super::register::{Access, Act};
use super::unusable::Unusable;

/// The kind suggested by the answer of a read, for keys that nobody changes.
fn shape(operation: &Operation<'_>) -> Option<Model> {
    match operation.answer() {
        Value::Array(_) => Some(Model::Set),
        Value::Object(_) => Some(Model::Hash),
        _ => None,
    }
}

/// The kind that an operation requires of its key. Reads and removals work on any kind.
fn kind(operation: &Operation<'_>) -> Option<Model> {
    match operation.call.f {
        _ if operation.call.field.is_some() => Some(Model::Hash),
        Action::Write | Action::Cas => Some(Model::Register),
        Action::Add => Some(Model::Set),
        Action::Increment => Some(Model::Counter),
        Action::Acquire | Action::Renew | Action::Release => Some(Model::Lock),
        Action::Read | Action::FinalRead | Action::Remove | Action::Other(_) => None,
    }
}

/// The operations on the model's keys, in the order of their beginnings. A key that is never
/// changed is of the kind that its reads suggest.
pub(super) fn keys<'h>(
    operations: &[Operation<'h>],
    model: Model,
) -> Result<BTreeMap<&'h str, Vec<Operation<'h>>>, Unusable> {
    let mut kinds: BTreeMap<&str, Model> = BTreeMap::new();
    for operation in operations {
        if let Some(other) = kind(operation) {
            let one = *kinds.entry(operation.key()).or_insert(other);
            // A counter may be set, which restarts it.
            let counter =
                [one, other].contains(&Model::Counter) && operation.call.f == Action::Write;
            if one != other && !counter {
                return Err(Unusable::Mixed {
                    key: operation.key().into(),
                    one,
                    other,
                });
            }
        }
    }
    let mut shapes: BTreeMap<&str, Model> = BTreeMap::new();
    for operation in operations
        .iter()
        .filter(|operation| operation.call.f.is_read())
    {
        shapes.extend(shape(operation).map(|shape| (operation.key(), shape)));
    }
    let mut keys: BTreeMap<&str, Vec<Operation<'h>>> = BTreeMap::new();
    for operation in operations {
        let kind = kinds
            .get(operation.key())
            .or_else(|| shapes.get(operation.key()))
            .copied()
            .unwrap_or(Model::Register);
        let wanted = match model {
            Model::Session => matches!(kind, Model::Register | Model::Hash),
            Model::Converge => true,
            model => kind == model,
        };
        if wanted {
            keys.entry(operation.key()).or_default().push(*operation);
        }
    }
    Ok(keys)
}

/// The number of operations that were done, if there is enough of everything.
pub(super) fn enough(
    events: &[Event],
    keys: &BTreeMap<&str, Vec<Operation<'_>>>,
    model: Model,
    least: &Least,
) -> Result<usize, Unusable> {
    let converge = model == Model::Converge;
    let of_interest = |operations: &[Operation<'_>]| {
        if converge {
            converge::final_reads(operations).count()
        } else {
            operations
                .iter()
                .filter(|operation| operation.done())
                .count()
        }
    };
    let done = keys
        .values()
        .map(|operations| of_interest(operations))
        .sum();
    let need = |what, found, least| {
        if found < least {
            Err(Unusable::TooLittle { what, found, least })
        } else {
            Ok(())
        }
    };
    need("operations", done, least.operations)?;
    if converge {
        let nodes = keys
            .values()
            .map(|operations| converge::nodes(operations))
            .min()
            .unwrap_or(0);
        // One node always agrees with itself.
        need("nodes in the final reads of some key", nodes, 2)?;
    } else {
        need(
            "overlapping operations",
            keys.values().map(|operations| overlaps(operations)).sum(),
            least.overlaps,
        )?;
    }
    let begins = keys.values().flatten().map(|operation| operation.begin);
    let span = begins.clone().min().zip(begins.max());
    let between = |at: usize| span.is_some_and(|(low, high)| low < at && at < high);
    let faults = events
        .iter()
        .enumerate()
        .filter(|(at, event)| is_fault(event) && between(*at))
        .count();
    need(
        "faults between the first and the last operation",
        faults,
        least.faults,
    )?;
    Ok(done)
}

/// How many operations on one key began while one of another process was under way, where at least
/// one of the two changes the key.
fn overlaps(operations: &[Operation<'_>]) -> usize {
    let mut under_way: Vec<&Operation<'_>> = Vec::new();
    let mut count = 0;
    for operation in operations {
        under_way.retain(|other| other.end > operation.begin);
        let changes =
            |other: &&&Operation<'_>| !other.call.f.is_read() || !operation.call.f.is_read();
        count += usize::from(
            under_way
                .iter()
                .filter(|other| other.call.process != operation.call.process)
                .any(|other| changes(&other)),
        );
        // An operation that never ended says nothing about how much went on at once.
        if operation.end != usize::MAX {
            under_way.push(operation);
        }
    }
    count
}

/// The accesses to each register behind a key: the key itself, or its fields.
pub(super) fn registers<'h>(
    key: &str,
    operations: &[Operation<'h>],
) -> BTreeMap<Box<str>, Vec<Access<'h>>> {
    // Includes fields that somebody read although nobody wrote them.
    let whole = |operation: &Operation<'h>| {
        operation
            .answer()
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
    };
    let read: Vec<&String> = operations
        .iter()
        .filter(|operation| operation.call.f.is_read())
        .flat_map(whole)
        .collect();
    let of_calls = operations
        .iter()
        .filter_map(|operation| operation.call.field.as_deref());
    let fields: BTreeSet<&str> = of_calls
        .chain(read.into_iter().map(String::as_str))
        .collect();
    let hash = operations
        .iter()
        .any(|operation| operation.call.field.is_some() || operation.answer().is_object());
    let names: Vec<Option<&str>> = if hash {
        fields.into_iter().map(Some).collect()
    } else {
        vec![None]
    };
    let mut registers: BTreeMap<Box<str>, Vec<Access<'h>>> = BTreeMap::new();
    for operation in operations {
        for field in &names {
            // An operation without a field applies to all of them.
            let of_whole = operation.call.field.is_none();
            if !of_whole && operation.call.field.as_deref() != *field {
                continue;
            }
            let access = match operation.call.f {
                Action::Write => Access::new(*operation, Act::Write, &operation.call.value),
                Action::Cas => Access::new(
                    *operation,
                    Act::Write,
                    operation.call.value.get(1).unwrap_or(&Value::Null),
                ),
                Action::Remove => Access::new(*operation, Act::Remove, &Value::Null),
                Action::Read | Action::FinalRead => {
                    let whole = operation.answer();
                    let part = field
                        .filter(|_| of_whole)
                        .map(|field| whole.get(field).unwrap_or(&Value::Null));
                    Access::new(*operation, Act::Read, part.unwrap_or(whole))
                }
                _ => continue,
            };
            let name = field.map_or_else(|| key.into(), |field| format!("{key}/{field}").into());
            registers.entry(name).or_default().push(access);
        }
    }
    registers
}
