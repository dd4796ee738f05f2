//! `GET|POST /v1/consensus/{group}/archive`: saves the state of the coordination group, and
//! restores one.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request as HttpRequest, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use quorate_control::consensus::ReadLevel;
use quorate_control::coordinate::{
    ARCHIVE_BYTES_MAX, ArchiveError, CoordinationAnswer, CoordinationDeed, CoordinationOutcome,
    CoordinationQuery, RESTORE_PART_BYTES_MAX, RestoreCommand, RestoreOutcome, archived,
    unarchived,
};
use serde_json::json as document;
use xxhash_rust::xxh3::xxh3_128;

use super::coordinator::{ask, decide, unforeseen};
use super::face::{Face, Shared, json, read_body};
use super::problem::Problem;
use super::uri;
use crate::doors::AdminError;

/// The only group whose state is saved: what the other decides belongs to nodes that are there.
const ARCHIVED: &str = "coordination";

fn check(group: String) -> Result<(), Problem> {
    match &*group {
        ARCHIVED => Ok(()),
        "topology" => Err(Problem::new(
            StatusCode::CONFLICT,
            "not_archived",
            "the topology belongs to the nodes that are there: `quorate backup` saves keyspaces and users, and `quorate node recover` goes on from one node",
        )),
        _ => Err(AdminError::UnknownGroup(group.into()).into()),
    }
}

pub(super) async fn save(
    State(face): Shared,
    Path(group): Path<String>,
) -> Result<Response, Problem> {
    check(group)?;
    match ask(&face, CoordinationQuery::State, ReadLevel::Strong).await? {
        CoordinationAnswer::State(state) => {
            let archive = archived(face.data.topology().cluster, &state);
            Ok((
                [(header::CONTENT_TYPE, "application/octet-stream")],
                archive,
            )
                .into_response())
        }
        _ => Err(unforeseen()),
    }
}

fn refused(error: ArchiveError) -> Problem {
    let code = match error {
        ArchiveError::Foreign { .. } => "foreign_archive",
        _ => "bad_archive",
    };
    Problem::new(
        StatusCode::BAD_REQUEST,
        code,
        format!("{error}; nothing was changed"),
    )
}

async fn step(face: &Face, command: RestoreCommand) -> Result<RestoreOutcome, Problem> {
    match decide(face, CoordinationDeed::Restore(command), 0).await? {
        CoordinationOutcome::Restore(RestoreOutcome::Refused) => Err(Problem::new(
            StatusCode::CONFLICT,
            "restore_disturbed",
            "another restoration has begun meanwhile; nothing was changed: try again",
        )),
        CoordinationOutcome::Restore(outcome) => Ok(outcome),
        _ => Err(unforeseen()),
    }
}

/// Puts the state in the body in place of the present one.
pub(super) async fn restore(
    State(face): Shared,
    Path(group): Path<String>,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    check(group)?;
    let [foreign] = uri::parameters(request.uri(), ["foreign"])?;
    let foreign = foreign.is_some_and(|text| text == "true");
    let bytes = read_body(request, ARCHIVE_BYTES_MAX, face.config.timeout).await?;
    let own = face.data.topology().cluster;
    let state = unarchived(&bytes, own, foreign).map_err(refused)?;
    step(&face, RestoreCommand::Begin).await?;
    let mut at = 0;
    while at < state.len() {
        let end = state.len().min(at + RESTORE_PART_BYTES_MAX);
        let bytes = state.slice(at..end);
        let part = RestoreCommand::Part {
            at: at as u64,
            bytes,
        };
        step(&face, part).await?;
        at = end;
    }
    match step(&face, RestoreCommand::Finish(xxh3_128(&state))).await? {
        RestoreOutcome::Restored { above } => {
            Ok(json(StatusCode::OK, &document!({ "tokens_above": above })))
        }
        _ => Err(unforeseen()),
    }
}
