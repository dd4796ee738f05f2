//! The HTTP face: health, metrics, status, administration and plain key-value access, for tools
//! that do not speak RESP.

mod admin;
mod archive;
mod backup;
mod consensus;
mod coordinator;
mod doorman;
mod face;
mod guard;
mod kv;
mod locks;
mod metadata;
mod metrics;
mod openapi;
mod problem;
mod rights;
mod typed;
mod uri;
mod users;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, patch, post, put};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::doors::{Admin, Data};
use crate::limits::Guests;
use crate::tls::TlsDoor;
use doorman::{Doorman, Visitor};
pub use face::HttpConfig;
use face::{Face, Shared};
use guard::Asker;
use problem::Problem;

/// What answers at a path.
type Route = MethodRouter<Arc<Face>>;

/// How long open requests may finish after the shutdown signal; then they are cut.
const GRACE: Duration = Duration::from_secs(2);

/// [`HttpConfig::head`] of a node. Guess.
pub const HEAD_TIME: Duration = Duration::from_secs(10);

/// The same for a probe that comes when all places are taken: it has one thing to ask, and there
/// are few places for probes. Guess.
const PROBE_HEAD_TIME: Duration = Duration::from_secs(1);

/// Serves until `shutdown` is done, then lets open requests finish for at most two seconds. A
/// failed accept is logged and tried again.
pub async fn serve(
    listener: TcpListener,
    data: Arc<dyn Data>,
    admin: Arc<dyn Admin>,
    config: HttpConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let face = Arc::new(Face {
        data,
        admin,
        config,
    });
    let doorman = Doorman::new(
        listener,
        Arc::clone(&face.config.guests),
        face.config.tls.clone(),
    );
    let head = face.config.head;
    let routers = Routers {
        guests: router(Arc::clone(&face)),
        probes: probes(face),
    };
    answer(doorman, routers, head, shutdown).await;
}

/// As [`serve`], for a node that is still loading its data: `/healthz` answers that the process
/// lives, and everything else that the node is not ready.
pub async fn serve_loading(
    listener: TcpListener,
    guests: Arc<Guests>,
    tls: Option<Arc<TlsDoor>>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let doorman = Doorman::new(listener, guests, tls);
    let loading = Router::new()
        .route("/healthz", get(healthz))
        .fallback(async || {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_ready",
                "the node is loading its data",
            )
        });
    let routers = Routers {
        guests: loading.clone(),
        probes: loading,
    };
    answer(doorman, routers, HEAD_TIME, shutdown).await;
}

/// What is answered to whom.
struct Routers {
    guests: Router,
    probes: Router,
}

async fn answer(
    mut doorman: Doorman,
    routers: Routers,
    head: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let visitor = tokio::select! {
            visitor = doorman.accept() => visitor,
            () = &mut shutdown => break,
        };
        while connections.try_join_next().is_some() {}
        let (router, head) = if visitor.is_guest() {
            (&routers.guests, head)
        } else {
            (&routers.probes, head.min(PROBE_HEAD_TIME))
        };
        let tls = doorman.tls();
        let router = router.clone();
        let stopped = stopped.clone();
        connections.spawn(async move {
            match visitor.secured(tls.as_deref(), head).await {
                Ok(visitor) => converse(visitor, router, head, stopped).await,
                Err(error) => tracing::debug!(%error, "no TLS with a client of HTTP"),
            }
        });
    }
    drop(doorman);
    stop.send_replace(true);
    // What has not ended by then is cut.
    drop(
        tokio::time::timeout(GRACE, async {
            while connections.join_next().await.is_some() {}
        })
        .await,
    );
}

/// Answers the requests of one connection. A connection in a probe's place may ask once.
async fn converse(
    visitor: Visitor,
    router: Router,
    head: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let asker = Arc::new(Asker::new(visitor.address));
    let router = TowerToHyperService::new(router.layer(map_response(as_it_says)));
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&asker));
        router.call(request)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .keep_alive(visitor.is_guest());
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(visitor), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopped.wait_for(|stop| *stop) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of HTTP was cut off");
    }
}

/// Tells a browser to take every answer for what its type says, and nothing else: the bytes may be
/// anybody's.
async fn as_it_says(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The paths that answer even when all places are taken, so that operators and orchestrators can
/// find out why.
fn probes(face: Arc<Face>) -> Router {
    let full = async || {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_clients",
            "max number of clients reached",
        )
    };
    Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/v1/status", get(admin::status))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&face),
            guard::check,
        ))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(full)
        .method_not_allowed_fallback(full)
        .with_state(face)
}

/// The paths that clients must be admitted to.
fn guarded() -> Vec<(&'static str, Route)> {
    vec![
        ("/metrics", get(metrics::metrics)),
        ("/v1/openapi.json", get(openapi::document)),
        ("/v1/status", get(admin::status)),
        ("/v1/nodes", get(admin::nodes)),
        (
            "/v1/nodes/{name}",
            delete(admin::remove_node).patch(admin::drain_node),
        ),
        ("/v1/key", post(admin::change_key)),
        ("/v1/tokens", get(admin::tokens).post(admin::create_token)),
        ("/v1/tokens/{id}", delete(admin::revoke_token)),
        ("/v1/users", get(users::list).post(users::create)),
        (
            "/v1/users/{name}",
            patch(users::change).delete(users::remove),
        ),
        (
            "/v1/keyspaces",
            get(admin::keyspaces).post(admin::create_keyspace),
        ),
        (
            "/v1/keyspaces/{name}",
            get(admin::keyspace)
                .patch(admin::alter_keyspace)
                .delete(admin::drop_keyspace),
        ),
        (
            "/v1/kv/{keyspace}/{*key}",
            get(kv::get).put(kv::put).delete(kv::delete),
        ),
        ("/v1/explain/{keyspace}/{*key}", get(kv::explain)),
        ("/v1/consensus/{group}", get(consensus::view)),
        ("/v1/consensus/{group}/quorum", get(consensus::quorum)),
        ("/v1/consensus/{group}/state", get(consensus::state)),
        ("/v1/consensus/{group}/log", get(consensus::log)),
        (
            "/v1/consensus/{group}/archive",
            get(archive::save).post(archive::restore),
        ),
        ("/v1/consensus/{group}/leader", post(consensus::hand_over)),
        ("/v1/consensus/{group}/election", post(consensus::elect)),
        ("/v1/consensus/{group}/snapshot", post(consensus::snapshot)),
        ("/v1/consensus/{group}/compact", post(consensus::compact)),
        ("/v1/backup", get(backup::inventory)),
        ("/v1/backup/{keyspace}/{partition}", post(backup::page)),
        ("/v1/restore", post(backup::restore_inventory)),
        ("/v1/restore/{keyspace}", post(backup::restore_page)),
        ("/v1/locks", get(locks::list)),
        (
            "/v1/locks/{key}",
            post(locks::acquire).delete(locks::release),
        ),
        ("/v1/locks/{key}/renew", put(locks::renew)),
        (
            "/v1/elections/{key}",
            get(locks::observe)
                .post(locks::campaign)
                .delete(locks::resign),
        ),
        ("/v1/elections/{key}/renew", put(locks::renew_leadership)),
        (
            "/v1/metadata/{key}",
            get(metadata::get)
                .put(metadata::put)
                .delete(metadata::delete),
        ),
    ]
}

/// The paths that are open to everybody: probes carry no secrets.
fn open() -> Vec<(&'static str, Route)> {
    vec![("/healthz", get(healthz)), ("/readyz", get(readyz))]
}

fn router(face: Arc<Face>) -> Router {
    let add = |router: Router<Arc<Face>>, (path, route)| router.route(path, route);
    let guarded = guarded()
        .into_iter()
        .fold(Router::new(), add)
        .route("/v1/kv/{keyspace}/", any(async || uri::bad_path()))
        .route("/v1/explain/{keyspace}/", any(async || uri::bad_path()))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&face),
            guard::check,
        ));
    open()
        .into_iter()
        .fold(guarded, add)
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no_such_path",
                "there is no such path; GET /v1/openapi.json describes all",
            )
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not accept this method",
            )
        })
        .with_state(face)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(face): Shared) -> Response {
    let unready = |why: Cow<'static, str>| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why).into_response()
    };
    if !face.data.ready() {
        return unready("the node has no topology yet, or its partitions are still loading".into());
    }
    match face.data.shortfall() {
        Some(shortfall) => unready(shortfall.to_string().into()),
        None => "ready\n".into_response(),
    }
}

#[cfg(test)]
mod tests;
