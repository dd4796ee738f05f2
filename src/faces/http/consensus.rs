//! `/v1/consensus/{group}`: what operators ask of one Raft group, through this node.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request as HttpRequest, StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json as document;

use super::admin::{answer, read_document};
use super::face::{Face, Shared, json};
use super::problem::Problem;
use super::uri;
use crate::doors::{AdminError, GroupDoor};

/// How many entries of a log are told unless a number is given.
const LOG_ENTRIES: u64 = 20;

/// Who is to lead.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaderBody {
    to: Option<String>,
}

/// Up to where entries are to go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompactBody {
    before: u64,
}

fn group(face: &Face, name: String) -> Result<Arc<dyn GroupDoor>, Problem> {
    let group = face.admin.group(&name);
    group.ok_or_else(|| AdminError::UnknownGroup(name.into()).into())
}

pub(super) async fn view(
    State(face): Shared,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &group(&face, name)?.view()))
}

/// The state as this node has applied it: figures and hashes, no contents.
pub(super) async fn state(
    State(face): Shared,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &group(&face, name)?.state()))
}

/// Who decides in the group, as its voters say.
pub(super) async fn quorum(
    State(face): Shared,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let view = group(&face, name)?.quorum().await;
    let view = view.map_err(|_node_stopped| Problem::stopping())?;
    Ok(json(StatusCode::OK, &view))
}

pub(super) async fn log(
    State(face): Shared,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let [tail] = uri::parameters(&uri, ["tail"])?;
    let tail = match tail.map(|text| text.parse()) {
        None => LOG_ENTRIES,
        Some(Ok(number)) => number,
        Some(Err(_not_a_number)) => {
            let detail = "tail is how many entries are wanted";
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_parameter",
                detail,
            ));
        }
    };
    let entries = group(&face, name)?.log(tail)?;
    Ok(json(StatusCode::OK, &document!({ "entries": entries })))
}

pub(super) async fn hand_over(
    State(face): Shared,
    Path(name): Path<String>,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let group = group(&face, name)?;
    let LeaderBody { to } = read_document(&face, request).await?;
    let led = group.hand_over(to.as_deref(), face.config.timeout);
    let leader = answer(&face, led).await?;
    Ok(json(StatusCode::OK, &document!({ "leader": leader })))
}

/// The reason is for the audit line, which has the whole address.
pub(super) async fn elect(
    State(face): Shared,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let [_reason] = uri::parameters(&uri, ["reason"])?;
    let elected = group(&face, name)?.elect(face.config.timeout);
    let leader = answer(&face, elected).await?;
    Ok(json(StatusCode::OK, &document!({ "leader": leader })))
}

pub(super) async fn snapshot(
    State(face): Shared,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let made = group(&face, name)?.snapshot(face.config.timeout);
    let snapshot = answer(&face, made).await?;
    Ok(json(StatusCode::OK, &document!({ "snapshot": snapshot })))
}

pub(super) async fn compact(
    State(face): Shared,
    Path(name): Path<String>,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let group = group(&face, name)?;
    let CompactBody { before } = read_document(&face, request).await?;
    let first = answer(&face, group.compact(before, face.config.timeout)).await?;
    Ok(json(StatusCode::OK, &document!({ "first_log": first })))
}
