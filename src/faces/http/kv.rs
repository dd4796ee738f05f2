//! `GET|PUT|DELETE /v1/kv/{keyspace}/{key}`: values are raw bodies.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Request as HttpRequest, StatusCode, Uri, header,
};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate_control::topology::KeyspaceId;
use quorate_dynamo::Consistency;
use quorate_dynamo::fence::Claim;
use quorate_dynamo::op::{
    Expiry, Kind, Mutation, Op, Query, Reply, Request, RequestError, SetExpiry, VALUE_BYTES_MAX,
};
use quorate_dynamo::protocol::RequestId;
use serde_json::json as document;

use super::face::{Face, Shared, json, read_body};
use super::problem::Problem;
use super::rights::FENCE;
use super::typed::{self, Held};
use super::uri;
use crate::config::parse_duration;
use crate::doors::TIMEOUT_MAX;

/// The causal token of the values of a key, in base64. A read with `siblings=true` returns it; a
/// write that replaces those values sends it back.
const CONTEXT: HeaderName = HeaderName::from_static("quorate-context");
/// The client's name for a change, so that it is done once however often it is sent.
const REQUEST: HeaderName = HeaderName::from_static("quorate-request");

/// What the request asks for: the key, the level, and under which lock.
struct Target {
    keyspace: KeyspaceId,
    key: Bytes,
    consistency: Option<Consistency>,
    timeout: Duration,
    claim: Option<Claim>,
    shape: Shape,
}

/// How a value is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A string or counter as the raw body.
    Raw,
    /// All concurrent values of a string, with their token.
    Siblings,
    /// A value of any kind, as a document that names it.
    Typed,
}

pub(super) async fn get(
    State(face): Shared,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let target = target(&face, &uri, &headers)?;
    let query = match target.shape {
        Shape::Raw => Query::Get,
        Shape::Siblings => Query::Siblings,
        Shape::Typed => return of_any_kind(&face, &target).await,
    };
    let reply = submit(&face, &target, Op::Query(target.key.clone(), query), None).await?;
    match reply {
        Reply::Value(value) => {
            Ok(([(header::CONTENT_TYPE, "application/octet-stream")], value).into_response())
        }
        Reply::Siblings { token, values } => {
            let values: Vec<String> = values.iter().map(|value| STANDARD.encode(value)).collect();
            let token = STANDARD.encode(token);
            let mut response = json(
                StatusCode::OK,
                &document!({ "context": token, "values": values }),
            );
            response.headers_mut().extend(
                HeaderValue::from_str(&token)
                    .ok()
                    .map(|token| (CONTEXT, token)),
            );
            Ok(response)
        }
        _ => Err(no_such_key()),
    }
}

fn no_such_key() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such key")
}

/// Asks what the key holds, and then for that.
async fn of_any_kind(face: &Face, target: &Target) -> Result<Response, Problem> {
    let ask = |query| submit(face, target, Op::Query(target.key.clone(), query), None);
    let Reply::Kind(Some(kind)) = ask(Query::Kind).await? else {
        return Err(no_such_key());
    };
    let query = match kind {
        Kind::String => Query::Get,
        Kind::Hash => Query::Entries,
        Kind::Set => Query::Members,
    };
    let held = match ask(query).await? {
        Reply::Value(value) => Held::String(value),
        Reply::Pairs(fields) => Held::Hash(fields),
        Reply::List(members) => Held::Set(members),
        _ => return Err(no_such_key()),
    };
    let expires = match ask(Query::Expiry).await? {
        Reply::Expiry(Expiry::At(at)) => Some(at),
        _ => None,
    };
    Ok(typed::document(held, expires))
}

/// `GET /v1/explain/{keyspace}/{key}`: what every replica holds of the key.
pub(super) async fn explain(State(face): Shared, uri: Uri) -> Result<Response, Problem> {
    let (keyspace, key) = uri::keyspace_and_key(&uri, "/v1/explain/")?;
    let [] = uri::parameters(&uri, [])?;
    let topology = face.data.topology();
    let (id, _) = topology
        .keyspace_named(&keyspace)
        .ok_or(RequestError::NoKeyspace)?;
    match face.data.explain(id, key.into()).await {
        Ok(Some(explanation)) => Ok(json(StatusCode::OK, &explanation)),
        Ok(None) => Err(RequestError::NoKeyspace.into()),
        Err(_node_stopped) => Err(Problem::stopping()),
    }
}

pub(super) async fn put(
    State(face): Shared,
    uri: Uri,
    headers: HeaderMap,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let target = target(&face, &uri, &headers)?;
    let value = read_body(request, VALUE_BYTES_MAX, face.config.timeout).await?;
    let mutation = match headers.get(CONTEXT) {
        None => Mutation::Set {
            value,
            expiry: SetExpiry::Clear,
        },
        Some(token) => {
            let token = STANDARD
                .decode(token.as_bytes())
                .map_err(|_not_base64| Problem::from(RequestError::BadToken))?;
            Mutation::SetWith {
                value,
                token: token.into(),
            }
        }
    };
    submit(
        &face,
        &target,
        Op::Mutate(target.key.clone(), mutation),
        named(&headers)?,
    )
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn delete(
    State(face): Shared,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let target = target(&face, &uri, &headers)?;
    let reply = submit(
        &face,
        &target,
        Op::Mutate(target.key.clone(), Mutation::Delete),
        named(&headers)?,
    )
    .await?;
    let removed = matches!(reply, Reply::Integer(removed) if removed > 0);
    Ok(json(StatusCode::OK, &document!({ "removed": removed })))
}

fn target(face: &Face, uri: &Uri, headers: &HeaderMap) -> Result<Target, Problem> {
    let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail);
    let (keyspace, key) = uri::keyspace_and_key(uri, "/v1/kv/")?;
    let [consistency, timeout, siblings, typed] =
        uri::parameters(uri, ["consistency", "timeout", "siblings", "typed"])?;
    let topology = face.data.topology();
    let found = topology
        .keyspaces
        .iter()
        .find(|(_, candidate)| *candidate.name == *keyspace);
    let consistency: Option<Consistency> = consistency
        .map(|text| text.parse())
        .transpose()
        .map_err(|error: quorate_dynamo::consistency::UnknownLevel| bad(error.to_string()))?;
    let timeout = match timeout {
        None => face.config.timeout,
        Some(text) => parse_duration(&text)
            .filter(|timeout| *timeout <= TIMEOUT_MAX)
            .ok_or_else(|| {
                bad("timeout must be a time such as 500ms or 2s, at most 60s".to_owned())
            })?,
    };
    let flag = |name: &str, text: Option<String>| match text.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(bad(format!("{name} must be true or false"))),
    };
    let shape = match (flag("siblings", siblings)?, flag("typed", typed)?) {
        (false, false) => Shape::Raw,
        (true, false) => Shape::Siblings,
        (false, true) => Shape::Typed,
        (true, true) => return Err(bad("ask for siblings or for typed, not both".to_owned())),
    };
    match found {
        Some((id, _)) => Ok(Target {
            keyspace: *id,
            key: key.into(),
            consistency,
            timeout,
            claim: claimed(headers)?,
            shape,
        }),
        None => Err(Problem::from(RequestError::NoKeyspace)),
    }
}

fn named(headers: &HeaderMap) -> Result<Option<RequestId>, Problem> {
    let Some(name) = headers.get(REQUEST) else {
        return Ok(None);
    };
    let name = RequestId::new(name.as_bytes().to_vec().into()).ok_or(RequestError::BadRequestId)?;
    Ok(Some(name))
}

/// Reads `key=token;seq=n;since=n`, of which the numbers behind the token may be left out.
fn claimed(headers: &HeaderMap) -> Result<Option<Claim>, Problem> {
    let Some(text) = headers.get(FENCE) else {
        return Ok(None);
    };
    let claim = text.to_str().ok().and_then(parse_claim);
    let bad = || {
        let detail = "Quorate-Fence is key=token;seq=n;since=n: the key %-escaped, the token above 0, and the numbers as far as they are known";
        Problem::new(StatusCode::BAD_REQUEST, "bad_fence", detail)
    };
    claim.map(Some).ok_or_else(bad)
}

fn parse_claim(text: &str) -> Option<Claim> {
    let mut parts = text.split(';').map(str::trim);
    let (key, token) = parts.next()?.rsplit_once('=')?;
    let mut claim = Claim::new(&uri::decode(key, false)?, token.parse().ok()?);
    for part in parts {
        match part.split_once('=')? {
            ("seq", number) => claim.sequence = number.parse().ok()?,
            ("since", number) => claim.since = number.parse().ok()?,
            _ => return None,
        }
    }
    claim.is_valid().then_some(claim)
}

async fn submit(
    face: &Face,
    target: &Target,
    op: Op,
    id: Option<RequestId>,
) -> Result<Reply, Problem> {
    let topology = face.data.topology();
    // A node that is not in the topology serves nothing yet.
    let node = topology
        .nodes
        .get(&face.data.node())
        .ok_or(RequestError::Moving)?;
    let request = Request {
        keyspace: target.keyspace,
        op,
        consistency: target.consistency,
        timeout: target.timeout,
        datacenter: node.datacenter.clone(),
        id,
        claim: target.claim,
    };
    match face.data.submit(request).await {
        Ok(Ok(answer)) => Ok(answer.reply),
        Ok(Err(error)) => Err(Problem::of(error, &topology)),
        Err(_node_stopped) => Err(Problem::stopping()),
    }
}
