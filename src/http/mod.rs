//! The HTTP face: health, metrics, status, administration and plain key-value access, for tools that speak no RESP.

mod admin;
mod doorman;
mod guard;
mod kv;
mod problem;
mod uri;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::Secret;
use crate::data::{Admin, Data};
use crate::limits::Guests;
use doorman::Doorman;
use problem::Problem;

/// How long open requests may finish after the shutdown signal; then they are cut.
const GRACE: Duration = Duration::from_secs(2);

/// What the face is told.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// What clients must present, as bearer token or as the password of basic authentication (any user). `/healthz` and `/readyz` are
    /// open: probes carry no secrets.
    pub password: Option<Secret>,
    /// The timeout of requests that name none.
    pub timeout: Duration,
    /// How many connections there may be, over all faces that share it.
    pub guests: Arc<Guests>,
}

/// What every handler needs.
struct Face {
    data: Arc<dyn Data>,
    admin: Arc<dyn Admin>,
    config: HttpConfig,
}

type Shared = State<Arc<Face>>;

/// Serves until `shutdown` is done, then lets open requests finish for at most two seconds.
///
/// # Errors
/// What the system says of the listener, which is then closed; requests under way at that moment may have been applied.
pub async fn serve(
    listener: TcpListener,
    data: Arc<dyn Data>,
    admin: Arc<dyn Admin>,
    config: HttpConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let guests = Arc::clone(&config.guests);
    let router = router(Arc::new(Face { data, admin, config }));
    let listener = Doorman::new(listener, guests);
    let (draining, drained) = oneshot::channel();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        drop(draining);
    });
    let cut = async {
        // The sender is only ever dropped, never used: its end is the signal.
        drop(drained.await as Result<(), _>);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = cut => Ok(()),
    }
}

fn router(face: Arc<Face>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/status", get(admin::status))
        .route("/v1/tokens", post(admin::create_token))
        .route("/v1/keyspaces", get(admin::keyspaces).post(admin::create_keyspace))
        .route("/v1/kv/{keyspace}/{*key}", get(kv::get).put(kv::put).delete(kv::delete))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&face), guard::check))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no_such_path", "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
        })
        .with_state(face)
}

async fn readyz(State(face): Shared) -> Response {
    if face.data.ready() {
        return "ready\n".into_response();
    }
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "the node has not joined a topology or is loading its partitions")
        .into_response()
}

async fn metrics(State(face): Shared) -> Response {
    let text = face.data.metrics();
    // OpenMetrics demands its end mark; the older text form has none.
    let kind = if text.ends_with("# EOF\n") {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// A JSON answer.
fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let text = serde_json::to_string(document).expect("invariant: answers have string keys and serialise");
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The whole body if it has at most `max` bytes and comes before `wait` is over.
async fn read_body(request: HttpRequest<Body>, max: usize, wait: Duration) -> Result<axum::body::Bytes, Problem> {
    match tokio::time::timeout(wait, axum::body::to_bytes(request.into_body(), max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_cut_or_too_long)) => {
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the body has more than {max} bytes")))
        }
        Err(_elapsed) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_body", "the body did not come in time; nothing was applied")),
    }
}

#[cfg(test)]
mod tests;
