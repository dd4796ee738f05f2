//! Sets: an added element is present until somebody removes it, and a removed element does not come
//! back.

use std::collections::BTreeSet;

use quorate_dynamo::op::Reply;

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::Violation;
use crate::sim::plan::request::{Deed, name};

pub(super) fn judge(history: &KeyHistory<'_>) -> Vec<Violation> {
    let named = named(history);
    named
        .iter()
        .flat_map(|element| judge_element(history, *element))
        .chain(judge_invented(history, &named))
        .collect()
}

/// Elements that any request has named.
fn named(history: &KeyHistory<'_>) -> BTreeSet<u8> {
    let of = |told: &&Told| match &told.ask.deed {
        Deed::Add(elements) | Deed::Remove(elements) | Deed::Contains(elements) => elements.clone(),
        _ => Vec::new(),
    };
    history.all.iter().flat_map(of).collect()
}

/// Whether a reply shows the element; `None` if it does not say.
fn shows(told: &Told, element: u8) -> Option<bool> {
    match (&told.result, &told.ask.deed) {
        (Ok(Reply::List(members)), Deed::Members) => Some(members.contains(&name(element))),
        (Ok(Reply::Integers(present)), Deed::Contains(asked)) => {
            let at = asked.iter().position(|asked| *asked == element)?;
            present.get(at).map(|present| *present == 1)
        }
        _ => None,
    }
}

fn judge_invented(history: &KeyHistory<'_>, named: &BTreeSet<u8>) -> Option<Violation> {
    history.all.iter().find_map(|told| match &told.result {
        Ok(Reply::List(members)) => {
            let strange = members
                .iter()
                .find(|member| !named.iter().any(|element| **member == name(*element)))?;
            Some(history.broken(
                "invented",
                told,
                format!("{} shows {strange:?}, which nobody added", told.ask),
            ))
        }
        _ => None,
    })
}

fn judge_element(history: &KeyHistory<'_>, element: u8) -> Vec<Violation> {
    let adds: Vec<&Told> = history
        .writes()
        .filter(|told| matches!(&told.ask.deed, Deed::Add(added) if added.contains(&element)))
        .collect();
    let removals: Vec<&Told> = history
        .writes()
        .filter(|told| removes(told, element))
        .collect();
    let mut found = Vec::new();
    for read in &history.all {
        match shows(read, element) {
            Some(true) => found.extend(present(history, read, element, &adds, &removals)),
            Some(false) => found.extend(absent(history, read, element, &adds, &removals)),
            None => {}
        }
    }
    found
}

fn removes(told: &Told, element: u8) -> bool {
    match &told.ask.deed {
        Deed::Remove(removed) => removed.contains(&element),
        deed => *deed == Deed::Delete,
    }
}

/// The element is missing: then every addition that the read must find may have been removed.
fn absent(
    history: &KeyHistory<'_>,
    read: &Told,
    element: u8,
    adds: &[&Told],
    removals: &[&Told],
) -> Option<Violation> {
    let lost = adds.iter().find(|add| {
        let removable = removals
            .iter()
            .any(|removal| removal.over().is_none_or(|over| over >= add.from));
        history.must_find(add, read)
            && !removable
            && !history.flushed(add)
            && !history.may_have_expired(read)
    })?;
    let what = format!(
        "{} does not show m{element}, but {} was acknowledged at {:?}",
        read.ask, lost.ask, lost.to
    );
    Some(history.broken("lost", read, what))
}

/// The element is present: then at least one addition was not certainly removed.
fn present(
    history: &KeyHistory<'_>,
    read: &Told,
    element: u8,
    adds: &[&Told],
    removals: &[&Told],
) -> Option<Violation> {
    let possible: Vec<&Told> = adds
        .iter()
        .copied()
        .filter(|add| add.from <= read.to)
        .collect();
    if possible.is_empty() {
        return Some(history.broken(
            "invented",
            read,
            format!("{} shows m{element}, which nobody added", read.ask),
        ));
    }
    let gone = |add: &Told| {
        !add.may_have_a_twin()
            && removals.iter().any(|removal| {
                removal.fate() == Fate::Done
                    && history.must_find(add, removal)
                    && history.must_find(removal, read)
            })
    };
    if possible.iter().all(|add| gone(add)) {
        let what = format!(
            "{} shows m{element}, but every addition of it had been removed",
            read.ask
        );
        return Some(history.broken("came-back", read, what));
    }
    // What goes with an expired key is what the node that removes it has seen.
    let has_twin = possible.iter().any(|add| add.may_have_a_twin());
    let expiry = history.expired(read).filter(|_| !has_twin)?;
    Some(history.broken(
        "outlived-its-expiry",
        read,
        format!(
            "{} shows m{element}, but {} has passed",
            read.ask, expiry.ask
        ),
    ))
}
