//! `GET|PUT|DELETE /v1/metadata/{key}`: small values on which everybody agrees, as raw bodies.

use std::num::NonZeroU64;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Request as HttpRequest, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use quorate_control::coordinate::{
    CoordinationAnswer, CoordinationDeed, CoordinationOutcome, CoordinationQuery,
    METADATA_VALUE_BYTES_MAX, MetadataCommand, MetadataOutcome, MetadataRefusal, Name, Revision,
};
use serde_json::json as document;

use super::coordinator::{ask, bad, decide, level, unforeseen};
use super::face::{Face, Shared, json, read_body};
use super::problem::Problem;
use super::uri;

const METADATA: &str = "/v1/metadata/";
/// The revision of the value in the body.
const REVISION: HeaderName = HeaderName::from_static("quorate-revision");

fn name(uri: &Uri) -> Result<Name, Problem> {
    Name::try_from(Bytes::from(uri::segment(uri, METADATA)?)).map_err(bad)
}

/// The revision at which the value must be.
fn expected(uri: &Uri) -> Result<Option<Revision>, Problem> {
    let [revision] = uri::parameters(uri, ["revision"])?;
    let number = revision.map(|text| text.parse().map(Revision)).transpose();
    number.map_err(|_not_a_number| {
        let detail = "revision is a whole number, 0 for no value";
        Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail)
    })
}

pub(super) async fn get(State(face): Shared, uri: Uri) -> Result<Response, Problem> {
    let [at, max_staleness] = uri::parameters(&uri, ["level", "max_staleness"])?;
    let query = CoordinationQuery::Metadata(name(&uri)?);
    match ask(
        &face,
        query,
        level(at.as_deref(), max_staleness.as_deref())?,
    )
    .await?
    {
        CoordinationAnswer::Metadata(Some(entry)) => {
            let kind = HeaderValue::from_static("application/octet-stream");
            let headers = [
                (header::CONTENT_TYPE, kind),
                (REVISION, HeaderValue::from(entry.revision.0)),
            ];
            Ok((headers, entry.value).into_response())
        }
        CoordinationAnswer::Metadata(None) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such value",
        )),
        _ => Err(unforeseen()),
    }
}

async fn change(face: &Face, command: MetadataCommand) -> Result<Response, Problem> {
    match decide(face, CoordinationDeed::Metadata(command), 0).await? {
        CoordinationOutcome::Metadata(outcome) => match outcome {
            MetadataOutcome::Put(Revision(revision)) => {
                Ok(json(StatusCode::OK, &document!({ "revision": revision })))
            }
            MetadataOutcome::Deleted(removed) => {
                Ok(json(StatusCode::OK, &document!({ "removed": removed })))
            }
            MetadataOutcome::Differs(Revision(revision)) => {
                Err(Problem::differs(NonZeroU64::new(revision)))
            }
            MetadataOutcome::Refused(refusal) => {
                let (status, code) = match refusal {
                    MetadataRefusal::TooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
                    MetadataRefusal::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "full"),
                };
                Err(Problem::new(status, code, refusal.to_string()))
            }
        },
        _ => Err(unforeseen()),
    }
}

pub(super) async fn put(
    State(face): Shared,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let (name, expected) = (name(request.uri())?, expected(request.uri())?);
    let value = read_body(request, METADATA_VALUE_BYTES_MAX, face.config.timeout).await?;
    let put = MetadataCommand::Put {
        name,
        value,
        expected,
    };
    change(&face, put).await
}

pub(super) async fn delete(State(face): Shared, uri: Uri) -> Result<Response, Problem> {
    let (name, expected) = (name(&uri)?, expected(&uri)?);
    change(&face, MetadataCommand::Delete { name, expected }).await
}
