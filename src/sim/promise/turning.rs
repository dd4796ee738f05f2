//! Keys that change between string and set: no request is refused as the wrong kind once everything
//! of the other kind was certainly removed.

use quorate_dynamo::op::RequestError;

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::Violation;
use crate::sim::plan::request::Deed;

pub(super) fn judge(of_key: &KeyHistory<'_>) -> Vec<Violation> {
    of_key
        .all
        .iter()
        .filter(|told| told.result == Err(RequestError::WrongKind))
        .filter_map(|told| judge_refusal(of_key, told))
        .collect()
}

fn judge_refusal(of_key: &KeyHistory<'_>, refused: &Told) -> Option<Violation> {
    let of_a_set = |told: &Told| matches!(told.ask.deed, Deed::Add(_));
    let asks_for_a_set = matches!(refused.ask.deed, Deed::Add(_) | Deed::Members);
    let others = || {
        of_key.writes().filter(|told| {
            matches!(told.ask.deed, Deed::Set | Deed::Add(_)) && of_a_set(told) != asks_for_a_set
        })
    };
    let gone = |write: &Told| {
        let surely =
            |removal: &Told| of_key.must_find(write, removal) && of_key.must_find(removal, refused);
        of_key.writes().any(|removal| {
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
    Some(of_key.broken("refused-without-cause", refused, what))
}
