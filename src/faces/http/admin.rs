//! The handlers for status, join tokens and keyspaces.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode};
use axum::response::Response;
use quorate_control::topology::Replication;
use quorate_dynamo::Consistency;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json as document};

use super::problem::Problem;
use super::{Face, Shared, json, read_body};
use crate::doors::{AdminError, KeyspaceSpec, Pending};

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
    /// Absent: automatic.
    replication: Option<BTreeMap<String, u8>>,
    partitions: Option<u16>,
    read: Option<String>,
    write: Option<String>,
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
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let body: KeyspaceBody = read_document(&face, request).await?;
    let level = |text: Option<String>| {
        text.map(|text| text.parse::<Consistency>())
            .transpose()
            .map_err(|error| bad_document(error.to_string()))
    };
    let spec = KeyspaceSpec {
        name: body.name.as_str().into(),
        replication: match body.replication {
            None => Replication::Auto,
            Some(counts) => Replication::Fixed(
                counts
                    .into_iter()
                    .map(|(datacenter, count)| (Arc::from(datacenter), count))
                    .collect(),
            ),
        },
        partitions: body.partitions,
        read: level(body.read)?,
        write: level(body.write)?,
    };
    let id = answer(&face, face.admin.create_keyspace(spec)).await?;
    Ok(json(
        StatusCode::CREATED,
        &document!({ "id": id.0, "name": body.name }),
    ))
}

pub(super) async fn keyspaces(State(face): Shared) -> Response {
    let topology = face.data.topology();
    let list: Vec<Value> = topology
        .keyspaces
        .iter()
        .map(|(id, keyspace)| {
            let replication = match &keyspace.replication {
                Replication::Auto => document!("auto"),
                Replication::Fixed(counts) => counts.iter().map(|(dc, count)| (dc.to_string(), Value::from(*count))).collect(),
            };
            document!({
                "id": id.0, "name": &*keyspace.name, "partitions": keyspace.placement.len(), "replication": replication,
                "read": &*keyspace.read, "write": &*keyspace.write,
            })
        })
        .collect();
    json(StatusCode::OK, &list)
}

/// Waits for the control group. After the node's timeout the outcome is unknown.
async fn answer<T>(face: &Face, pending: Pending<Result<T, AdminError>>) -> Result<T, Problem> {
    match tokio::time::timeout(face.config.timeout, pending).await {
        Ok(Ok(result)) => result.map_err(Problem::from),
        Ok(Err(_node_stopped)) => Err(Problem::stopping()),
        Err(_elapsed) => Err(AdminError::TimedOut.into()),
    }
}

/// Reads a JSON document. An empty body counts as an empty document.
async fn read_document<T: DeserializeOwned>(
    face: &Face,
    request: HttpRequest<Body>,
) -> Result<T, Problem> {
    let bytes = read_body(request, DOCUMENT_BYTES_MAX, face.config.timeout).await?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| bad_document(error.to_string()))
}

fn bad_document(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_document", detail)
}
