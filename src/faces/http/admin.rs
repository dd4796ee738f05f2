//! The handlers for status, nodes, join tokens and keyspaces.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request as HttpRequest, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use quorate_control::topology::{Keyspace, KeyspaceId, Replication, SplitPolicy, Topology};
use quorate_dynamo::Consistency;
use quorate_dynamo::preference::copies_when_acknowledged;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json as document};

use super::face::{Face, Shared, json, read_body};
use super::problem::Problem;
use super::uri;
use crate::doors::{AdminError, KeyspaceChange, KeyspacePlan, KeyspaceSpec, Lost, Pending};

/// The longest administrative document; the largest real one names a few dozen datacenters.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    #[serde(default = "one")]
    uses: u32,
    #[serde(default = "a_day")]
    expires_s: u64,
}

fn one() -> u32 {
    1
}

fn a_day() -> u64 {
    24 * 60 * 60
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyspaceBody {
    name: String,
    #[serde(default)]
    replication: ReplicationBody,
    partitions: Option<u16>,
    read: Option<String>,
    write: Option<String>,
    split: Option<SplitPolicy>,
}

/// What is to be different; absent: as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    replication: Option<ReplicationBody>,
    read: Option<String>,
    write: Option<String>,
    split: Option<SplitPolicy>,
}

/// What is to be different about a node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeBody {
    drained: bool,
}

/// `"auto"`, or how many replicas each datacenter holds.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Automatic {
    #[default]
    Auto,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ReplicationBody {
    Named(Automatic),
    Counted(BTreeMap<String, u8>),
}

impl Default for ReplicationBody {
    fn default() -> Self {
        Self::Named(Automatic::Auto)
    }
}

impl From<ReplicationBody> for Replication {
    fn from(body: ReplicationBody) -> Self {
        match body {
            ReplicationBody::Named(Automatic::Auto) => Self::Auto,
            ReplicationBody::Counted(counts) => Self::Fixed(
                counts
                    .into_iter()
                    .map(|(datacenter, count)| (Arc::from(datacenter), count))
                    .collect(),
            ),
        }
    }
}

pub(super) async fn status(State(face): Shared) -> Result<Response, Problem> {
    let status = face
        .data
        .status()
        .await
        .map_err(|_node_stopped| Problem::stopping())?;
    Ok(json(StatusCode::OK, &status))
}

pub(super) async fn create_token(
    State(face): Shared,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let body: TokenBody = read_document(&face, request).await?;
    let token = answer(
        &face,
        face.admin
            .create_token(body.uses, Duration::from_secs(body.expires_s)),
    )
    .await?;
    Ok(json(
        StatusCode::CREATED,
        &document!({ "token": token, "uses": body.uses, "expires_s": body.expires_s }),
    ))
}

pub(super) async fn create_keyspace(
    State(face): Shared,
    uri: Uri,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let [plan] = uri::parameters(&uri, ["plan"])?;
    let only_plan = flag("plan", plan.as_deref())?;
    let body: KeyspaceBody = read_document(&face, request).await?;
    let spec = KeyspaceSpec {
        name: body.name.as_str().into(),
        replication: body.replication.into(),
        partitions: body.partitions,
        read: level(body.read)?,
        write: level(body.write)?,
        split: body.split,
    };
    if only_plan {
        return planned(&face, KeyspacePlan::Create(spec)).await;
    }
    let id = answer(&face, face.admin.create_keyspace(spec)).await?;
    Ok(json(
        StatusCode::CREATED,
        &document!({ "id": id.0, "name": body.name }),
    ))
}

pub(super) async fn alter_keyspace(
    State(face): Shared,
    Path(name): Path<String>,
    uri: Uri,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let [plan] = uri::parameters(&uri, ["plan"])?;
    let only_plan = flag("plan", plan.as_deref())?;
    let body: ChangeBody = read_document(&face, request).await?;
    let change = KeyspaceChange {
        replication: body.replication.map(Replication::from),
        read: level(body.read)?,
        write: level(body.write)?,
        split: body.split,
    };
    if only_plan {
        return planned(&face, KeyspacePlan::Alter(name.into(), change)).await;
    }
    answer(&face, face.admin.alter_keyspace(&name, change)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What would move.
async fn planned(face: &Face, plan: KeyspacePlan) -> Result<Response, Problem> {
    let plan = answer(face, face.admin.plan_keyspace(plan)).await?;
    Ok(json(StatusCode::OK, &plan))
}

/// A parameter that is true or false; absent, it is false.
fn flag(name: &'static str, value: Option<&str>) -> Result<bool, Problem> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_parameter",
            format!("{name} is true or false"),
        )),
    }
}

pub(super) async fn drop_keyspace(
    State(face): Shared,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    answer(&face, face.admin.drop_keyspace(&name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn keyspaces(State(face): Shared) -> Response {
    let topology = face.data.topology();
    let list: Vec<Value> = topology
        .keyspaces
        .iter()
        .map(|(id, keyspace)| described(*id, keyspace, &topology))
        .collect();
    json(StatusCode::OK, &list)
}

pub(super) async fn keyspace(
    State(face): Shared,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let topology = face.data.topology();
    let (id, keyspace) = topology
        .keyspace_named(&name)
        .ok_or_else(|| AdminError::UnknownKeyspace(name.into()))?;
    Ok(json(StatusCode::OK, &described(id, keyspace, &topology)))
}

fn described(id: KeyspaceId, keyspace: &Keyspace, topology: &Topology) -> Value {
    let replication = match &keyspace.replication {
        Replication::Auto => document!("auto"),
        Replication::Fixed(counts) => counts
            .iter()
            .map(|(dc, count)| (dc.to_string(), Value::from(*count)))
            .collect(),
    };
    let moving = keyspace
        .partitions()
        .filter(|(_, placement)| placement.transition.is_some())
        .count();
    document!({
        "id": id.0,
        "name": &*keyspace.name,
        "partitions": keyspace.placement.len(),
        "replication": replication,
        "read": &*keyspace.read,
        "write": &*keyspace.write,
        "split": keyspace.split,
        "copies": copies_when_acknowledged(keyspace, topology),
        "moving": moving,
    })
}

pub(super) async fn nodes(State(face): Shared) -> Result<Response, Problem> {
    let members = face
        .admin
        .members()
        .await
        .map_err(|_node_stopped| Problem::stopping())?;
    Ok(json(StatusCode::OK, &document!({ "nodes": members })))
}

pub(super) async fn remove_node(
    State(face): Shared,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let [lost] = uri::parameters(&uri, ["lost"])?;
    let lost = if flag("lost", lost.as_deref())? {
        Lost::Yes
    } else {
        Lost::No
    };
    answer(&face, face.admin.remove_node(&name, lost)).await?;
    Ok(json(
        StatusCode::ACCEPTED,
        &document!({ "name": name, "state": "leaving" }),
    ))
}

pub(super) async fn drain_node(
    State(face): Shared,
    Path(name): Path<String>,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let body: NodeBody = read_document(&face, request).await?;
    answer(&face, face.admin.drain_node(&name, body.drained)).await?;
    Ok(json(
        StatusCode::ACCEPTED,
        &document!({ "name": name, "drained": body.drained }),
    ))
}

pub(super) async fn change_key(State(face): Shared) -> Result<Response, Problem> {
    let key = answer(&face, face.admin.change_key()).await?;
    let topology = face.data.topology();
    let name = topology
        .nodes
        .get(&face.data.node())
        .map(|info| info.name.to_string());
    Ok(json(
        StatusCode::OK,
        &document!({ "name": name, "key": key.to_string() }),
    ))
}

pub(super) async fn tokens(State(face): Shared) -> Response {
    json(
        StatusCode::OK,
        &document!({ "tokens": face.admin.tokens() }),
    )
}

pub(super) async fn revoke_token(
    State(face): Shared,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = u64::from_str_radix(&id, 16).map_err(|_not_an_id| {
        let detail = "a token's id is up to 16 hexadecimal digits; GET /v1/tokens lists them";
        Problem::new(StatusCode::BAD_REQUEST, "bad_token", detail)
    })?;
    answer(&face, face.admin.revoke_token(id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn level(text: Option<String>) -> Result<Option<Consistency>, Problem> {
    text.map(|text| text.parse::<Consistency>())
        .transpose()
        .map_err(|error| bad_document(error.to_string()))
}

/// Waits for the control group. After the node's timeout the outcome is unknown.
pub(super) async fn answer<T>(
    face: &Face,
    pending: Pending<Result<T, AdminError>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(face.config.timeout, pending).await {
        Ok(Ok(result)) => result.map_err(Problem::from),
        Ok(Err(_node_stopped)) => Err(Problem::stopping()),
        Err(_elapsed) => Err(AdminError::TimedOut.into()),
    }
}

/// Reads a JSON document. An empty body counts as an empty document.
pub(super) async fn read_document<T: DeserializeOwned>(
    face: &Face,
    request: HttpRequest<Body>,
) -> Result<T, Problem> {
    let bytes = read_body(request, DOCUMENT_BYTES_MAX, face.config.timeout).await?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| bad_document(error.to_string()))
}

pub(super) fn bad_document(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_document", detail)
}
