//! Decides which requests are admitted: checks the password, and keeps foreign web pages from using
//! the reader's browser as a way in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::face::Face;
use super::problem::Problem;
use crate::config::Secret;

pub(super) async fn check(
    State(face): State<Arc<Face>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    match admitted(request.headers(), face.config.password.as_ref()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn admitted(headers: &HeaderMap, password: Option<&Secret>) -> Result<(), Problem> {
    let host = text(headers, header::HOST).unwrap_or_default();
    // As bytes: an origin that is not text is foreign too.
    let origin = headers
        .get(header::ORIGIN)
        .map(axum::http::HeaderValue::as_bytes);
    let own = |origin: &[u8]| {
        origin
            .windows(3)
            .position(|three| three == b"://")
            .is_some_and(|at| &origin[at + 3..] == host.as_bytes())
    };
    if origin.is_some_and(|origin| !own(origin)) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "pages of other origins may not use this API",
        ));
    }
    let Some(password) = password else {
        // Without a password the face listens on loopback only, but a web page can make its own
        // name point there (DNS rebinding).
        if is_local(host) {
            return Ok(());
        }
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_host",
            "without a password, call this API as localhost or by IP address",
        ));
    };
    let presented = text(headers, header::AUTHORIZATION)
        .and_then(credentials)
        .unwrap_or_default();
    if password.matches(&presented) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "send the password as a bearer token or with basic authentication",
    ))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The secret in an `Authorization` header.
fn credentials(value: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(rest.trim()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Whether a `Host` header names something that a stranger's DNS cannot control: `localhost` or an
/// IP address. An HTTP/1.0 client sends no such header.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
