//! Sets: what was added is there until somebody removes it, and what was removed does not come
//! back.

use std::collections::BTreeSet;

use quorate_dynamo::op::Reply;

use super::{OfKey, Violation};
use crate::sim::ask::name;
use crate::sim::history::{Fate, Told};
use crate::sim::plan::Deed;

pub(super) fn judge(of_key: &OfKey<'_>) -> Vec<Violation> {
    let named = named(of_key);
    named
        .iter()
        .flat_map(|element| judge_element(of_key, *element))
        .chain(judge_invented(of_key, &named))
        .collect()
}

/// Elements that anybody has named.
fn named(of_key: &OfKey<'_>) -> BTreeSet<u8> {
    let of = |told: &&Told| match &told.ask.deed {
        Deed::Add(elements) | Deed::Remove(elements) | Deed::Contains(elements) => elements.clone(),
        _ => Vec::new(),
    };
    of_key.all.iter().flat_map(of).collect()
}

/// Whether a reply shows the element; `None`: it does not tell.
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

fn judge_invented(of_key: &OfKey<'_>, named: &BTreeSet<u8>) -> Option<Violation> {
    of_key.all.iter().find_map(|told| match &told.result {
        Ok(Reply::List(members)) => {
            let strange = members
                .iter()
                .find(|member| !named.iter().any(|element| **member == name(*element)))?;
            Some(of_key.broken(
                "invented",
                told,
                format!("{} shows {strange:?}, which nobody added", told.ask),
            ))
        }
        _ => None,
    })
}

fn judge_element(of_key: &OfKey<'_>, element: u8) -> Vec<Violation> {
    let adds: Vec<&Told> = of_key
        .writes()
        .filter(|told| matches!(&told.ask.deed, Deed::Add(added) if added.contains(&element)))
        .collect();
    let removals: Vec<&Told> = of_key
        .writes()
        .filter(|told| removes(told, element))
        .collect();
    let mut found = Vec::new();
    for read in &of_key.all {
        match shows(read, element) {
            Some(true) => found.extend(present(of_key, (read, element), &adds, &removals)),
            Some(false) => found.extend(absent(of_key, (read, element), &adds, &removals)),
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

/// The element is not there: then no addition that the read must find was beyond every removal.
fn absent(
    of_key: &OfKey<'_>,
    (read, element): (&Told, u8),
    adds: &[&Told],
    removals: &[&Told],
) -> Option<Violation> {
    let lost = adds.iter().find(|add| {
        let removable = removals
            .iter()
            .any(|removal| removal.over().is_none_or(|over| over >= add.from));
        of_key.must_find(add, read)
            && !removable
            && !of_key.flushed(add)
            && !of_key.may_have_expired(read)
    })?;
    let what = format!(
        "{} does not show m{element}, though {} was acknowledged at {:?}",
        read.ask, lost.ask, lost.to
    );
    Some(of_key.broken("lost", read, what))
}

/// The element is there: then some addition was not surely removed.
fn present(
    of_key: &OfKey<'_>,
    (read, element): (&Told, u8),
    adds: &[&Told],
    removals: &[&Told],
) -> Option<Violation> {
    let possible: Vec<&Told> = adds
        .iter()
        .copied()
        .filter(|add| add.from <= read.to)
        .collect();
    if possible.is_empty() {
        return Some(of_key.broken(
            "invented",
            read,
            format!("{} shows m{element}, which nobody has added", read.ask),
        ));
    }
    let gone = |add: &Told| {
        !add.may_have_a_twin()
            && removals.iter().any(|removal| {
                removal.fate() == Fate::Done
                    && of_key.must_find(add, removal)
                    && of_key.must_find(removal, read)
            })
    };
    if possible.iter().all(|add| gone(add)) {
        let what = format!(
            "{} shows m{element}, though every addition of it had been removed",
            read.ask
        );
        return Some(of_key.broken("came-back", read, what));
    }
    let expiry = of_key.expired(read)?;
    Some(of_key.broken(
        "outlived-its-expiry",
        read,
        format!(
            "{} shows m{element}, though {} is over",
            read.ask, expiry.ask
        ),
    ))
}
