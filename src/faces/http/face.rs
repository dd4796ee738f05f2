//! What every handler of the face has, and how it reads a body and writes an answer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;
use crate::doors::{Admin, Data};
use crate::faces::gate::Gate;
use crate::limits::Guests;
use crate::tls::TlsDoor;

/// The settings of the face.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Checks what clients show: a password as bearer token, or a user with a password by basic
    /// authentication. `/healthz` and `/readyz` are open: probes carry no secrets.
    pub gate: Arc<Gate>,
    /// Speaks TLS with clients; `None` does not.
    pub tls: Option<Arc<TlsDoor>>,
    /// The timeout of requests that name none.
    pub timeout: Duration,
    /// Admits connections up to a bound, over all faces that share it.
    pub guests: Arc<Guests>,
    /// How long a client may take to send the head of a request, the silence before it included.
    pub head: Duration,
}

/// What every handler needs.
pub(super) struct Face {
    pub(super) data: Arc<dyn Data>,
    pub(super) admin: Arc<dyn Admin>,
    pub(super) config: HttpConfig,
}

pub(super) type Shared = State<Arc<Face>>;

/// A JSON answer.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let text =
        serde_json::to_string(document).expect("invariant: answers have string keys and serialise");
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Reads the whole body if it has at most `max` bytes and arrives within `wait`.
pub(super) async fn read_body(
    request: HttpRequest<Body>,
    max: usize,
    wait: Duration,
) -> Result<axum::body::Bytes, Problem> {
    match tokio::time::timeout(wait, axum::body::to_bytes(request.into_body(), max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // A body that is merely too long is no error of the connection.
        Ok(Err(error)) if is_of_connection(&error) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_body",
            "the body is cut off or malformed; nothing was applied",
        )),
        Ok(Err(_too_long)) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body has more than {max} bytes; nothing was applied"),
        )),
        Err(_elapsed) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow_body",
            "the body did not arrive in time; nothing was applied",
        )),
    }
}

/// Whether the error comes from the connection itself.
fn is_of_connection(error: &(dyn Error + 'static)) -> bool {
    error.is::<hyper::Error>() || error.source().is_some_and(is_of_connection)
}
