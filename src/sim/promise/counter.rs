//! Counters: no acknowledged increment is lost, none is counted twice.

use quorate_dynamo::op::Reply;

use super::{OfKey, Violation};
use crate::sim::history::{Fate, Told};
use crate::sim::plan::Deed;

fn amount(told: &Told) -> i64 {
    if let Deed::Count(by) = told.ask.deed { by } else { 0 }
}

pub(super) fn judge(of_key: &OfKey<'_>) -> Vec<Violation> {
    of_key.all.iter().filter(|told| told.ask.deed == Deed::Get).filter_map(|told| judge_read(of_key, told)).collect()
}

fn judge_read(of_key: &OfKey<'_>, read: &Told) -> Option<Violation> {
    let value: i64 = match read.result.as_ref().ok()? {
        Reply::Nil => 0,
        Reply::Value(text) => match std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
            Some(number) => number,
            None => return Some(of_key.broken("invented", read, format!("{} shows {text:?}", read.ask))),
        },
        other => return Some(of_key.broken("invented", read, format!("{} shows {other:?}", read.ask))),
    };
    let counts = || of_key.writes().filter(|told| matches!(told.ask.deed, Deed::Count(_)));
    let sure = |told: &&Told| of_key.must_find(told, read) && !of_key.flushed(told);
    let least: i64 = counts().filter(sure).map(amount).sum();
    let most: i64 = counts().filter(|told| told.from <= read.to).map(amount).sum();
    if value < least {
        let missing: Vec<u32> = counts().filter(sure).map(|told| told.ask.id).collect();
        let what = format!("{} shows {value}, though {least} were acknowledged before, by {missing:?}", read.ask);
        return Some(of_key.broken("count-lost", read, what));
    }
    if value > most {
        let refused = of_key.all.iter().filter(|told| told.fate() == Fate::Refused && told.ask.deed.writes()).count();
        let what = format!("{} shows {value}, though only {most} were ever asked for ({refused} more requests were refused)", read.ask);
        return Some(of_key.broken("counted-twice", read, what));
    }
    None
}
