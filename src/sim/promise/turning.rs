//! Keys that change between string and set: no request is refused as the wrong kind once everything
//! of the other kind was certainly removed.

use quorate_dynamo::op::RequestError;

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::Violation;
use crate::sim::plan::request::Deed;

pub(super) fn judge(history: &KeyHistory<'_>) -> Vec<Violation> {
    history
        .all
        .iter()
        .filter(|told| told.result == Err(RequestError::WrongKind))
        .filter_map(|told| judge_refusal(history, told))
        .collect()
}

fn judge_refusal(history: &KeyHistory<'_>, refused: &Told) -> Option<Violation> {
    let of_a_set = |told: &Told| matches!(told.ask.deed, Deed::Add(_));
    let asks_for_a_set = matches!(refused.ask.deed, Deed::Add(_) | Deed::Members);
    let others = || {
        history.writes().filter(|told| {
            matches!(told.ask.deed, Deed::Set | Deed::Add(_)) && of_a_set(told) != asks_for_a_set
        })
    };
    let gone = |write: &Told| {
        let surely = |removal: &Told| {
            history.must_find(write, removal) && history.must_find(removal, refused)
        };
        history.writes().any(|removal| {
            removal.ask.deed == Deed::Delete && removal.fate() == Fate::Done && surely(removal)
        })
    };
    if others()
        .filter(|write| write.from <= refused.to)
        .any(|write| !gone(write))
    {
        return None;
    }
    let what = format!(
        "{} was refused although nothing of another kind is left",
        refused.ask
    );
    Some(history.broken("refused-without-cause", refused, what))
}
