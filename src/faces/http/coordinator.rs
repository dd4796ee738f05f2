//! What handlers on the coordination group have in common: decisions, answers, and how fresh an
//! answer must be.

use std::time::Duration;

use axum::http::StatusCode;
use quorate_control::consensus::ReadLevel;
use quorate_control::coordinate::{
    CoordinationAnswer, CoordinationDeed, CoordinationOutcome, CoordinationQuery, WordError,
};

use super::face::Face;
use super::problem::Problem;
use crate::config::parse_duration;
use crate::doors::CoordinationError;

pub(super) fn bad(error: WordError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_lock", error.to_string())
}

/// An answer of another kind than the question has.
pub(super) fn unforeseen() -> Problem {
    CoordinationError::Malformed.into()
}

pub(super) async fn decide(
    face: &Face,
    deed: CoordinationDeed,
    wait_ms: u64,
) -> Result<CoordinationOutcome, Problem> {
    let wait = Duration::from_millis(wait_ms);
    let pending = face.data.coordinator().decide(deed, wait);
    let outcome = pending.await.map_err(|_node_stopped| Problem::stopping())?;
    match outcome? {
        CoordinationOutcome::Refused(refusal) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            refusal.to_string(),
        )),
        outcome => Ok(outcome),
    }
}

pub(super) async fn ask(
    face: &Face,
    query: CoordinationQuery,
    level: ReadLevel,
) -> Result<CoordinationAnswer, Problem> {
    let pending = face.data.coordinator().ask(query, level);
    let answer = pending.await.map_err(|_node_stopped| Problem::stopping())?;
    Ok(answer?)
}

/// How fresh an answer must be, from the parameters `level` and `max_staleness`.
pub(super) fn level(
    level: Option<&str>,
    max_staleness: Option<&str>,
) -> Result<ReadLevel, Problem> {
    let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail);
    let no_time = || bad("max_staleness must be a time such as 500ms or 5s");
    let within = max_staleness.map(|text| parse_duration(text).ok_or_else(no_time));
    match (level, within.transpose()?) {
        (None | Some("strong"), None) => Ok(ReadLevel::Strong),
        (Some("lease"), None) => Ok(ReadLevel::Lease),
        (Some("stale"), within) => Ok(ReadLevel::Stale { within }),
        (None | Some("strong" | "lease"), Some(_)) => {
            Err(bad("max_staleness bounds only reads at level=stale"))
        }
        (Some(_), _) => Err(bad("level must be strong, lease or stale")),
    }
}
