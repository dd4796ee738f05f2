//! Registers at `QUORUM`: what was acknowledged is seen, what was seen stays, and nothing else is
//! ever read.
//!
//! Every write creates a version of its key. A version is *known* at a level from the end of the
//! first operation that wrote or read it there. Version `a` is before `b` when `a` was known before
//! `b` was written, or before a read began that returned `b` and had to know of `a` by its level.
//! Two versions that are each before the other are a violation. With values that are written only
//! once this is sufficient, as Gibbons and Korach show for linearizability ("Testing shared
//! memories", SIAM J. Comput. 26(4), 1997, section 4). Here the levels say which operations count,
//! and writes with an unknown outcome may take effect at any time.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::Options;
use super::operation::{MEETS, Operation};
use super::report::Rule;
use super::violation::Violation;

/// What an operation does to one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Read,
    Write,
    Remove,
}

/// One operation on one register.
#[derive(Clone, Debug)]
pub(super) struct Access<'h> {
    pub(super) operation: Operation<'h>,
    pub(super) act: Act,
    /// The value written or read; `None` is nothing.
    pub(super) value: Option<Box<str>>,
}

impl<'h> Access<'h> {
    pub(super) fn new(operation: Operation<'h>, act: Act, value: &Value) -> Self {
        Self {
            operation,
            act,
            value: (!value.is_null()).then(|| value.to_string().into()),
        }
    }

    /// The value, for a sentence.
    pub(super) fn shown(&self) -> &str {
        self.value.as_deref().unwrap_or("nothing")
    }

    /// Whether it may have changed the register: it is not a read and was not refused.
    fn update(&self) -> bool {
        self.act != Act::Read && self.operation.possible()
    }
}

/// A version: which operations returned it, and since when it is known.
struct Version<'a, 'h> {
    /// `None` for what was there before any write.
    write: Option<&'a Access<'h>>,
    /// By strength: the access of at least that strength that knew it first.
    known: [Option<&'a Access<'h>>; MEETS + 1],
    /// By strength: the read of it that began last.
    read: [Option<&'a Access<'h>>; MEETS + 1],
    /// When a removal may first have taken it away. What it had hidden may then show again, if the
    /// removal had not seen that too.
    removable: usize,
}

impl<'a, 'h> Version<'a, 'h> {
    fn of(write: Option<&'a Access<'h>>, accesses: &[Access<'h>]) -> Self {
        let removable = write.map_or(usize::MAX, |write| removable(write, accesses));
        let mut version = Self {
            write,
            known: [None; MEETS + 1],
            read: [None; MEETS + 1],
            removable,
        };
        if let Some(write) = write.filter(|write| write.operation.done()) {
            version.knew(write);
        }
        version
    }

    fn knew(&mut self, access: &'a Access<'h>) {
        for known in &mut self.known[..=access.operation.strength] {
            if known.is_none_or(|known| access.operation.end < known.operation.end) {
                *known = Some(access);
            }
        }
    }

    fn returned_by(&mut self, read: &'a Access<'h>) {
        self.knew(read);
        let last = &mut self.read[read.operation.strength];
        if last.is_none_or(|last| read.operation.begin > last.operation.begin) {
            *last = Some(read);
        }
    }

    /// The access that shows that this version is older than `write`: it was known before `write`
    /// began.
    fn older_than_write(&self, write: &'a Access<'h>, options: &Options) -> Option<&'a Access<'h>> {
        // A removal removes what its level has seen; a write is ordered after what its clock has
        // seen.
        let removes = write.act == Act::Remove;
        let skew = if removes || self.write.is_some_and(|own| own.act == Act::Remove) {
            0
        } else {
            options.skew
        };
        let known = self.known[if removes {
            MEETS - write.operation.strength
        } else {
            0
        }]?;
        let (ended, begun) = (known.operation.ended(), write.operation.call.time);
        (known.operation.end < write.operation.begin && ended.saturating_add(skew) <= begun)
            .then_some(known)
    }

    /// The access that shows that `read` must know of this version or of a newer one.
    fn known_to(&self, read: &Operation<'_>) -> Option<&'a Access<'h>> {
        self.known[MEETS - read.strength]
            .filter(|known| known.operation.end < read.begin && self.removable > read.end)
    }

    /// Two accesses that show that this version is before `other`.
    fn before(&self, other: &Self, options: &Options) -> Option<[&'a Access<'h>; 2]> {
        if let Some(write) = other.write
            && let Some(known) = self.older_than_write(write, options)
        {
            return Some([known, write]);
        }
        other
            .read
            .iter()
            .flatten()
            .find_map(|read| Some([self.known_to(&read.operation)?, read]))
    }
}

/// When the first removal began that can have removed what `write` wrote.
fn removable(write: &Access<'_>, accesses: &[Access<'_>]) -> usize {
    let removes = accesses.iter().filter(|access| {
        write.act == Act::Write && access.act == Act::Remove && access.operation.possible()
    });
    removes
        .filter(|remove| remove.operation.end > write.operation.begin)
        .map(|remove| remove.operation.begin)
        .min()
        .unwrap_or(usize::MAX)
}

/// The first violation among the accesses to one register, which are in the order of their
/// beginnings.
pub(super) fn check<'h>(accesses: &[Access<'h>], options: &Options) -> Option<Violation<'h>> {
    let reads = || {
        accesses
            .iter()
            .filter(|access| access.act == Act::Read && access.operation.done())
    };
    if let Some(violation) = reads().find_map(|read| invented(read, accesses)) {
        return Some(violation);
    }
    let mut versions: Vec<Version<'_, '_>> = accesses
        .iter()
        .filter(|access| access.update())
        .map(|write| Version::of(Some(write), accesses))
        .collect();
    let mut by_value: BTreeMap<Option<&str>, Vec<usize>> =
        BTreeMap::from([(None, vec![versions.len()])]);
    versions.push(Version::of(None, accesses));
    for (at, version) in versions.iter().enumerate() {
        if let Some(write) = version.write {
            by_value.entry(write.value.as_deref()).or_default().push(at);
        }
    }
    let mut unclear = Vec::new();
    for read in reads() {
        match by_value.get(&read.value.as_deref()).map(Vec::as_slice) {
            Some(&[only]) => versions[only].returned_by(read),
            Some(several) => unclear.push((read, several)),
            None => {}
        }
    }
    unclear
        .iter()
        .find_map(|(read, several)| superseded(read, several, &versions, options))
        .or_else(|| turned_back(&versions, options))
}

/// A value that no write begun so far can have put there.
fn invented<'h>(read: &Access<'h>, accesses: &[Access<'h>]) -> Option<Violation<'h>> {
    read.value.as_ref()?;
    let mut writers = accesses
        .iter()
        .filter(|access| access.act == Act::Write && access.value == read.value);
    if writers
        .clone()
        .any(|write| write.operation.possible() && write.operation.begin < read.operation.end)
    {
        return None;
    }
    let (rule, says, write) = match writers.next() {
        Some(write) if write.operation.possible() => (
            Rule::Invented,
            "which was written only afterwards",
            Some(write),
        ),
        Some(write) => (
            Rule::Refused,
            "whose write was refused as not applied",
            Some(write),
        ),
        None => (Rule::Invented, "which nobody ever wrote", None),
    };
    let says = format!("{} reads {}, {says}", read.operation.who(), read.shown());
    Some(Violation::new(
        rule,
        says,
        [Some(read), write]
            .into_iter()
            .flatten()
            .map(|access| &access.operation),
    ))
}

/// A read of a value that several writes may have put there, all of them certainly overwritten by
/// something the read had to know.
fn superseded<'h>(
    read: &Access<'h>,
    candidates: &[usize],
    versions: &[Version<'_, 'h>],
    options: &Options,
) -> Option<Violation<'h>> {
    let mut newest: [Option<(&Access<'h>, &Access<'h>)>; 2] = [None, None];
    for (version, write) in versions
        .iter()
        .filter_map(|version| Some((version, version.write?)))
    {
        if let Some(known) = version.known_to(&read.operation) {
            let newest = &mut newest[usize::from(write.act == Act::Remove)];
            if newest.is_none_or(|(newest, _)| write.operation.begin > newest.operation.begin) {
                *newest = Some((write, known));
            }
        }
    }
    let mut shown = None;
    for &candidate in candidates {
        let version = &versions[candidate];
        if version
            .write
            .is_some_and(|write| write.operation.begin > read.operation.end)
        {
            continue;
        }
        let over = newest
            .into_iter()
            .flatten()
            .find_map(|(write, known)| match version.write {
                None => Some((None, write, known)),
                Some(_) => Some((
                    Some(version.older_than_write(write, options)?),
                    write,
                    known,
                )),
            });
        // One candidate that nothing overwrote explains the read.
        shown = Some((version.write, over?));
    }
    let (own, (older, write, known)) = shown?;
    let says = format!(
        "{} reads {} although {} was known to {} before",
        read.operation.who(),
        read.shown(),
        write.shown(),
        known.operation.who()
    );
    let events = [own, older, Some(write), Some(known), Some(read)];
    Some(Violation::new(
        rule_of(own),
        says,
        events.into_iter().flatten().map(|access| &access.operation),
    ))
}

/// Two versions that are each before the other; among all such pairs, the one that takes the fewest
/// lines to show.
fn turned_back<'h>(versions: &[Version<'_, 'h>], options: &Options) -> Option<Violation<'h>> {
    let mut found: Option<Violation<'h>> = None;
    for (at, one) in versions.iter().enumerate() {
        for other in &versions[..at] {
            if let (Some(first), Some(second)) =
                (before(one, other, options), before(other, one, options))
            {
                let violation = explain([(other, first), (one, second)]);
                if found
                    .as_ref()
                    .is_none_or(|found| violation.events.len() < found.events.len())
                {
                    found = Some(violation);
                }
            }
        }
    }
    found
}

/// [`Version::before`]; the state before any write needs no proof.
fn before<'a, 'h>(
    one: &Version<'a, 'h>,
    other: &Version<'a, 'h>,
    options: &Options,
) -> Option<[&'a Access<'h>; 2]> {
    match (one.write, other.write) {
        (None, Some(write)) => Some([write, write]),
        _ => one.before(other, options),
    }
}

/// Takes each version with the accesses that show that it is the newer one.
fn explain<'h>(shown: [(&Version<'_, 'h>, [&Access<'h>; 2]); 2]) -> Violation<'h> {
    // The last read is the one that should not have returned what it did.
    let reads = shown
        .iter()
        .filter(|(_, [_, second])| second.act == Act::Read);
    let (returned, [known, read]) = reads
        .max_by_key(|(_, [_, read])| read.operation.begin)
        .unwrap_or(&shown[0]);
    let says = format!(
        "{} reads {} although {} was known to {} before",
        read.operation.who(),
        read.shown(),
        known.shown(),
        known.operation.who()
    );
    // The writes themselves had no order: the reads gave them one, and then took it back.
    let turned = shown.iter().all(|(_, [_, second])| second.act == Act::Read)
        || (known.act == Act::Read && returned.write.is_some());
    let rule = if turned {
        Rule::Turned
    } else {
        rule_of(returned.write)
    };
    let events = shown
        .iter()
        .flat_map(|(version, pair)| pair.iter().copied().chain(version.write));
    Violation::new(rule, says, events.map(|access| &access.operation))
}

fn rule_of(returned: Option<&Access<'_>>) -> Rule {
    if returned.is_some_and(|write| write.act == Act::Write) {
        Rule::Stale
    } else {
        Rule::Lost
    }
}

/// Checks the accesses of each session, in its own order, against what it has written and read
/// before.
pub(super) fn check_session<'h>(
    accesses: &[Access<'h>],
    options: &Options,
) -> Option<Violation<'h>> {
    let mut sessions: BTreeMap<_, Vec<&Access<'h>>> = BTreeMap::new();
    for access in accesses.iter().filter(|access| access.operation.done()) {
        sessions
            .entry(access.operation.session())
            .or_default()
            .push(access);
    }
    sessions.values().find_map(|own| {
        // By strength: the newest version that the session knows, and how it learnt of it.
        let mut newest: [Option<(&Access<'h>, &Access<'h>)>; MEETS + 1] = [None; MEETS + 1];
        own.iter().find_map(|access| {
            let read = access.act == Act::Read;
            let candidates = if read {
                writers(access, accesses)
            } else {
                vec![*access]
            };
            let met = newest[MEETS - session_strength(access)..]
                .iter()
                .flatten()
                .max_by_key(|(write, _)| write.operation.begin);
            if let Some((write, known)) = met.filter(|_| read) {
                let kept = removable(write, accesses) > access.operation.end;
                let older = |version: &Access<'h>| {
                    kept && Version::of(Some(version), &[])
                        .older_than_write(write, options)
                        .is_some()
                };
                // Nothing was there before any write. An older value may be there if it was not
                // overwritten.
                let explained = candidates.iter().any(|version| !older(version))
                    || (candidates.is_empty() && access.value.is_some());
                if !explained {
                    return Some(went_back(access, candidates.first().copied(), write, known));
                }
            }
            let newest = &mut newest[session_strength(access)];
            if let [version] = candidates[..]
                && (!read || access.value.is_some())
                && newest.is_none_or(|(known, _)| version.operation.begin > known.operation.begin)
            {
                *newest = Some((version, access));
            }
            None
        })
    })
}

/// A client that carries its session is promised it at every level; any other client, what its
/// levels promise.
fn session_strength(access: &Access<'_>) -> usize {
    if access.operation.call.session.is_some() {
        MEETS
    } else {
        access.operation.strength
    }
}

/// The writes that may have put the read value there.
fn writers<'a, 'h>(read: &Access<'h>, accesses: &'a [Access<'h>]) -> Vec<&'a Access<'h>> {
    let written = |access: &&Access<'h>| {
        access.update() && access.value == read.value && access.operation.begin < read.operation.end
    };
    accesses.iter().filter(written).collect()
}

fn went_back<'h>(
    read: &Access<'h>,
    version: Option<&Access<'h>>,
    write: &Access<'h>,
    known: &Access<'h>,
) -> Violation<'h> {
    let (rule, had) = if known.act == Act::Read {
        (Rule::SessionWentBack, "read")
    } else {
        (Rule::OwnWriteUnseen, "written")
    };
    let says = format!(
        "{} reads {} after its session had {had} {}",
        read.operation.who(),
        read.shown(),
        known.shown()
    );
    let events = [version, Some(write), Some(known), Some(read)];
    Violation::new(
        rule,
        says,
        events.into_iter().flatten().map(|access| &access.operation),
    )
}
