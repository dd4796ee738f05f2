//! Specifications: what each type must show, computed from the operations seen and what each of
//! them had seen. Also the operations themselves.

#![allow(dead_code, reason = "each test uses some of them")]
#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the closures name the type: many types have such a mutator"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use quorate_crdt::laws::{Op, SeenOp, alive};
use quorate_crdt::{
    DwFlag, Edit, EwFlag, GCounter, MvRegister, OrMap, OrSet, PnCounter, ResetCounter, Tx,
};

type Known = [Rc<SeenOp>];

/// What an operation does to a value, or to the value under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Adds, sets or raises: leaves something that can be alive.
    Put,
    /// Ends what it has seen of its argument.
    Take,
    /// Ends everything it has seen.
    Clear,
}

pub(crate) fn change(op: Op) -> Change {
    match op.action % 8 {
        0..4 => Change::Put,
        4..7 => Change::Take,
        _ => Change::Clear,
    }
}

fn puts(known: &Known, ends: impl Fn(&SeenOp, &SeenOp) -> bool) -> impl Iterator<Item = &SeenOp> {
    alive(known, ends)
        .into_iter()
        .filter(|op| change(op.op) == Change::Put)
}

pub(crate) fn change_set(set: &mut Edit<'_, OrSet<u8>>, tx: &mut Tx<'_>, op: Op) {
    match change(op) {
        Change::Put => set.add(tx, op.argument),
        Change::Take => {
            set.remove(tx, &op.argument);
        }
        Change::Clear => set.clear(tx),
    }
}

/// An element is present iff an addition of it is alive. An operation ends what it has seen of its
/// element, a clear ends everything.
pub(crate) fn set(known: &Known) -> BTreeSet<u8> {
    let ends = |op: &SeenOp, other: &SeenOp| {
        change(op.op) == Change::Clear || op.op.argument == other.op.argument
    };
    puts(known, ends).map(|op| op.op.argument).collect()
}

pub(crate) fn view_set(set: &OrSet<u8>) -> BTreeSet<u8> {
    set.iter().copied().collect()
}

pub(crate) fn change_register(register: &mut Edit<'_, MvRegister<u8>>, tx: &mut Tx<'_>, op: Op) {
    match change(op) {
        Change::Put => register.set(tx, op.argument),
        _ => register.clear(tx),
    }
}

/// The siblings are the live writes; each operation ends everything it has seen.
pub(crate) fn register(known: &Known) -> Vec<u8> {
    let mut values: Vec<u8> = puts(known, |_, _| true).map(|op| op.op.argument).collect();
    values.sort_unstable();
    values
}

pub(crate) fn view_register(register: &MvRegister<u8>) -> Vec<u8> {
    let mut values: Vec<u8> = register.values().copied().collect();
    values.sort_unstable();
    values
}

pub(crate) fn change_ew_flag(flag: &mut Edit<'_, EwFlag>, tx: &mut Tx<'_>, op: Op) {
    if change(op) == Change::Put {
        flag.enable(tx);
    } else {
        flag.disable(tx);
    }
}

/// Up iff some raising is alive.
pub(crate) fn ew_flag(known: &Known) -> bool {
    puts(known, |_, _| true).next().is_some()
}

pub(crate) fn view_ew_flag(flag: &EwFlag) -> bool {
    flag.is_enabled()
}

pub(crate) fn change_dw_flag(flag: &mut Edit<'_, DwFlag>, tx: &mut Tx<'_>, op: Op) {
    if change(op) == Change::Put {
        flag.disable(tx);
    } else {
        flag.enable(tx);
    }
}

/// Up iff no lowering is alive.
pub(crate) fn dw_flag(known: &Known) -> bool {
    puts(known, |_, _| true).next().is_none()
}

pub(crate) fn view_dw_flag(flag: &DwFlag) -> bool {
    flag.is_enabled()
}

pub(crate) fn change_reset_counter(counter: &mut Edit<'_, ResetCounter>, tx: &mut Tx<'_>, op: Op) {
    match change(op) {
        Change::Put => counter.add(tx, amount(op)),
        _ => counter.reset(tx),
    }
}

/// Never 0, so that a lost addition shows; both signs.
fn amount(op: Op) -> i64 {
    i64::from(op.argument) * 2 - 3
}

/// The sum over the live additions, each with what its replica had alive. An addition ends that; a
/// reset ends everything.
pub(crate) fn reset_counter(known: &Known) -> i128 {
    counter_alive(known).map(total).sum()
}

fn counter_alive(known: &Known) -> impl Iterator<Item = &SeenOp> {
    puts(known, |op, other| {
        change(op.op) != Change::Put || op.by == other.by
    })
}

fn total(op: &SeenOp) -> i128 {
    i128::from(amount(op.op))
        + counter_alive(&op.past)
            .filter(|before| before.by == op.by)
            .map(total)
            .sum::<i128>()
}

pub(crate) fn view_reset_counter(counter: &ResetCounter) -> i128 {
    counter.value()
}

pub(crate) fn change_pn_counter(counter: &mut Edit<'_, PnCounter>, tx: &mut Tx<'_>, op: Op) {
    match change(op) {
        Change::Put => counter.increment(tx, op.argument.into()),
        _ => counter.decrement(tx, op.argument.into()),
    }
}

pub(crate) fn change_g_counter(counter: &mut Edit<'_, GCounter>, tx: &mut Tx<'_>, op: Op) {
    counter.increment(tx, op.argument.into());
}

/// Per replica, the last operation known and all before it there: deltas carry totals, for both
/// directions.
pub(crate) fn pn_counter(known: &Known) -> i128 {
    let up = |op: &SeenOp| change(op.op) == Change::Put;
    counted(known, up) - counted(known, |op| !up(op))
}

pub(crate) fn g_counter(known: &Known) -> i128 {
    counted(known, |_| true)
}

fn counted(known: &Known, counts: impl Fn(&SeenOp) -> bool) -> i128 {
    let mut ops: BTreeMap<usize, i128> = BTreeMap::new();
    for last in known {
        for op in last
            .past
            .iter()
            .chain([last])
            .filter(|op| op.by == last.by && counts(op))
        {
            ops.insert(op.id, op.op.argument.into());
        }
    }
    ops.values().sum()
}

pub(crate) fn view_pn_counter(counter: &PnCounter) -> i128 {
    counter.value()
}

pub(crate) fn view_g_counter(counter: &GCounter) -> i128 {
    counter.value().cast_signed()
}

/// The key of an operation on a map, and the operation that is left for the value.
pub(crate) fn key(op: Op) -> (u8, Op) {
    (
        op.argument % 2,
        Op {
            argument: op.argument / 2,
            ..op
        },
    )
}

/// The keys that the operations name.
fn by_key(known: &Known) -> BTreeSet<u8> {
    known.iter().map(|op| key(op.op).0).collect()
}

/// Operations on registers under keys: a take removes the key.
pub(crate) fn change_map_of_registers(
    map: &mut Edit<'_, OrMap<u8, MvRegister<u8>>>,
    tx: &mut Tx<'_>,
    op: Op,
) {
    let (at, inner) = key(op);
    match op.action % 8 {
        0..4 => map.update(tx, at, |register, tx| register.set(tx, inner.argument)),
        4 => map.update(tx, at, |register, tx| register.clear(tx)),
        5..7 => {
            map.remove(tx, &at);
        }
        _ => map.clear(tx),
    }
}

/// Each operation ends what it has seen of its key, a clear ends everything; the live writes are
/// the siblings.
pub(crate) fn map_of_registers(known: &Known) -> BTreeMap<u8, Vec<u8>> {
    let ends = |op: &SeenOp, other: &SeenOp| {
        change(op.op) == Change::Clear || key(op.op).0 == key(other.op).0
    };
    let mut map: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for op in puts(known, ends) {
        let (at, inner) = key(op.op);
        map.entry(at).or_default().push(inner.argument);
    }
    for values in map.values_mut() {
        values.sort_unstable();
    }
    map
}

pub(crate) fn view_map_of_registers(map: &OrMap<u8, MvRegister<u8>>) -> BTreeMap<u8, Vec<u8>> {
    map.iter()
        .map(|(key, register)| (*key, view_register(register)))
        .collect()
}

/// Operations on flags under keys.
pub(crate) fn change_map_of_flags(map: &mut Edit<'_, OrMap<u8, EwFlag>>, tx: &mut Tx<'_>, op: Op) {
    match op.action % 8 {
        0..4 => map.update(tx, op.argument, |flag, tx| flag.enable(tx)),
        4 => map.update(tx, op.argument, |flag, tx| flag.disable(tx)),
        5..7 => {
            map.remove(tx, &op.argument);
        }
        _ => map.clear(tx),
    }
}

/// A map of enable-wins flags is an add-wins set.
pub(crate) fn map_of_flags(known: &Known) -> BTreeSet<u8> {
    set(known)
}

pub(crate) fn view_map_of_flags(map: &OrMap<u8, EwFlag>) -> BTreeSet<u8> {
    map.iter()
        .filter(|(_, flag)| flag.is_enabled())
        .map(|(key, _)| *key)
        .collect()
}

/// Operations on counters under keys.
pub(crate) fn change_map_of_counters(
    map: &mut Edit<'_, OrMap<u8, ResetCounter>>,
    tx: &mut Tx<'_>,
    op: Op,
) {
    let (at, inner) = key(op);
    match op.action % 8 {
        0..4 => map.update(tx, at, |counter, tx| counter.add(tx, amount(inner))),
        4 => map.update(tx, at, |counter, tx| counter.reset(tx)),
        5..7 => {
            map.remove(tx, &at);
        }
        _ => map.clear(tx),
    }
}

/// A separate counter per key; removing the key resets it.
pub(crate) fn map_of_counters(known: &Known) -> BTreeMap<u8, i128> {
    let keys = by_key(known);
    keys.into_iter()
        .filter_map(|at| counter_under(known, at).map(|value| (at, value)))
        .collect()
}

fn counter_under(known: &Known, at: u8) -> Option<i128> {
    let mut totals = alive_under(known, at)
        .map(|op| total_under(op, at))
        .peekable();
    totals.peek()?;
    Some(totals.sum())
}

fn alive_under(known: &Known, at: u8) -> impl Iterator<Item = &SeenOp> {
    let ends = move |op: &SeenOp, other: &SeenOp| match change(op.op) {
        Change::Clear => true,
        Change::Take => key(op.op).0 == key(other.op).0,
        Change::Put => op.by == other.by && key(op.op).0 == key(other.op).0,
    };
    puts(known, ends).filter(move |op| key(op.op).0 == at)
}

fn total_under(op: &SeenOp, at: u8) -> i128 {
    let before = alive_under(&op.past, at).filter(|before| before.by == op.by);
    i128::from(amount(key(op.op).1)) + before.map(|before| total_under(before, at)).sum::<i128>()
}

pub(crate) fn view_map_of_counters(map: &OrMap<u8, ResetCounter>) -> BTreeMap<u8, i128> {
    map.iter()
        .map(|(key, counter)| (*key, counter.value()))
        .collect()
}

pub(crate) type Nested = OrMap<u8, OrMap<u8, OrSet<u8>>>;

/// The path of an operation on sets in maps in a map: outer key, inner key, element.
fn path(op: Op) -> [u8; 3] {
    [op.argument % 2, op.argument / 2 % 2, op.argument / 4 % 3]
}

/// How many steps of the path an operation shares with everything that it ends.
fn depth(op: Op) -> usize {
    match op.action % 8 {
        0..5 => 3,
        5 => 2,
        6 => 1,
        _ => 0,
    }
}

pub(crate) fn change_nested(map: &mut Edit<'_, Nested>, tx: &mut Tx<'_>, op: Op) {
    let [outer, inner, element] = path(op);
    match op.action % 8 {
        0..4 => map.update(tx, outer, |map, tx| {
            map.update(tx, inner, |set, tx| set.add(tx, element));
        }),
        4 => {
            map.update(tx, outer, |map, tx| {
                map.update(tx, inner, |set, tx| set.remove(tx, &element))
            });
        }
        5 => {
            map.update(tx, outer, |map, tx| map.remove(tx, &inner));
        }
        6 => {
            map.remove(tx, &outer);
        }
        _ => map.clear(tx),
    }
}

/// What is alive is a set of elements with their paths; each operation ends what it has seen under
/// its path.
pub(crate) fn nested(known: &Known) -> BTreeSet<[u8; 3]> {
    let ends =
        |op: &SeenOp, other: &SeenOp| path(op.op)[..depth(op.op)] == path(other.op)[..depth(op.op)];
    puts(known, ends).map(|op| path(op.op)).collect()
}

pub(crate) fn view_nested(map: &Nested) -> BTreeSet<[u8; 3]> {
    let inner = map
        .iter()
        .flat_map(|(outer, map)| map.iter().map(move |(inner, set)| (*outer, *inner, set)));
    inner
        .flat_map(|(outer, inner, set)| set.iter().map(move |element| [outer, inner, *element]))
        .collect()
}
