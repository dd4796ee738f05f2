//! Sets: every acknowledged element is in every later read that must know of it, unless a removal
//! may have seen it. Nothing else is ever read, and what was removed stays away.

use std::collections::{BTreeMap, BTreeSet};

use super::history::Action;
use super::operation::{MEETS, Operation, meets};
use super::report::Rule;
use super::violation::Violation;

/// Everything done to one element.
#[derive(Default)]
struct Element<'a, 'h> {
    adds: Vec<&'a Operation<'h>>,
    removes: Vec<&'a Operation<'h>>,
    /// By strength: the first read to end, of at least that strength, that showed it.
    shown: [Option<&'a Operation<'h>>; MEETS + 1],
}

/// The elements that a read returned.
fn members(read: &Operation<'_>) -> BTreeSet<String> {
    read.answer()
        .as_array()
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .collect()
}

/// The first violation among the operations on one set, which are in the order of their beginnings.
pub(super) fn check<'h>(operations: &[Operation<'h>]) -> Option<Violation<'h>> {
    let mut elements: BTreeMap<String, Element<'_, 'h>> = BTreeMap::new();
    for operation in operations
        .iter()
        .filter(|operation| operation.call.f == Action::Add)
    {
        elements
            .entry(operation.call.value.to_string())
            .or_default()
            .adds
            .push(operation);
    }
    for operation in operations
        .iter()
        .filter(|operation| operation.call.f == Action::Remove && operation.possible())
    {
        match &operation.call.value {
            // A removal of the whole set.
            value if value.is_null() => elements
                .values_mut()
                .for_each(|element| element.removes.push(operation)),
            value => elements
                .entry(value.to_string())
                .or_default()
                .removes
                .push(operation),
        }
    }
    let mut reads: Vec<_> = operations
        .iter()
        .filter(|operation| operation.call.f.is_read() && operation.done())
        .collect();
    // In the order of their ends, so that what a read shows is known to those later in the list.
    reads.sort_by_key(|read| read.end);
    let reads: Vec<_> = reads
        .into_iter()
        .map(|read| (read, members(read)))
        .collect();
    for (read, members) in &reads {
        for member in members {
            match elements.get_mut(member) {
                Some(element) => element.show(read),
                None => {
                    return Some(unexpected(
                        Rule::Invented,
                        "which nobody ever added",
                        member,
                        read,
                        &[],
                    ));
                }
            }
        }
    }
    reads.iter().find_map(|(read, members)| {
        elements.iter().find_map(|(name, element)| {
            if members.contains(name) {
                element.may_be_in(name, read)
            } else {
                element.must_be_in(name, read)
            }
        })
    })
}

impl<'a, 'h> Element<'a, 'h> {
    fn show(&mut self, read: &'a Operation<'h>) {
        for shown in &mut self.shown[..=read.strength] {
            shown.get_or_insert(read);
        }
    }

    /// What is wrong with a read that shows it.
    fn may_be_in(&self, name: &str, read: &Operation<'h>) -> Option<Violation<'h>> {
        let begun = |add: &&&Operation<'h>| add.begin < read.end;
        let possible: Vec<_> = self
            .adds
            .iter()
            .filter(|add| add.possible())
            .filter(begun)
            .collect();
        if possible.is_empty() {
            return Some(match self.adds.iter().find(begun) {
                Some(refused) => unexpected(
                    Rule::Refused,
                    "whose addition was refused as not applied",
                    name,
                    read,
                    &[refused],
                ),
                None => unexpected(
                    Rule::Invented,
                    "which was added only afterwards",
                    name,
                    read,
                    &self.adds,
                ),
            });
        }
        let mut why = Vec::new();
        for add in possible {
            // Certainly gone: acknowledged, then seen by an acknowledged removal that the read had
            // to know of.
            let gone = self
                .removes
                .iter()
                .find(|remove| remove.done() && meets(add, remove) && meets(remove, read))?;
            why.extend([*add, *gone]);
        }
        Some(unexpected(
            Rule::CameBack,
            "which had been removed",
            name,
            read,
            &why,
        ))
    }

    /// What is wrong with a read that does not show it.
    fn must_be_in(&self, name: &str, read: &Operation<'h>) -> Option<Violation<'h>> {
        let seen_by_a_removal = |since: usize| {
            self.removes
                .iter()
                .any(|remove| remove.end > since && remove.begin < read.end)
        };
        let added = self
            .adds
            .iter()
            .find(|add| add.done() && meets(add, read) && !seen_by_a_removal(add.begin));
        if let Some(add) = added {
            let says = format!(
                "{} does not show {name}, whose addition by {} was acknowledged before",
                read.who(),
                add.who()
            );
            return Some(Violation::new(Rule::Lost, says, [*add, read]));
        }
        let shown = self.shown[MEETS - read.strength].filter(|shown| shown.end < read.begin)?;
        let first = self
            .adds
            .iter()
            .filter(|add| add.possible())
            .map(|add| add.begin)
            .min()
            .unwrap_or(0);
        if seen_by_a_removal(first) {
            return None;
        }
        let says = format!(
            "{} does not show {name}, which {} had shown before",
            read.who(),
            shown.who()
        );
        Some(Violation::new(
            Rule::Turned,
            says,
            self.adds.iter().copied().take(1).chain([shown, read]),
        ))
    }
}

fn unexpected<'h>(
    rule: Rule,
    what: &str,
    name: &str,
    read: &Operation<'h>,
    others: &[&Operation<'h>],
) -> Violation<'h> {
    let says = format!("{} shows {name}, {what}", read.who());
    Violation::new(rule, says, others.iter().copied().chain([read]))
}
