//! Decides which requests are admitted: finds out who asks, looks whether that user may, keeps
//! foreign web pages from using the reader's browser as a way in, and notes who has administered
//! what.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_control::topology::{Caller, DEFAULT_USER, Denied, Right, Topology};

use super::face::Face;
use super::problem::Problem;
use super::rights;
use crate::config::Secret;
use crate::faces::gate::{Gate, NotAdmitted, name_of};

/// The other end of one connection. It remembers what it has shown, so that the password of a user
/// is checked once for a connection and not for every request.
pub(super) struct Asker {
    address: SocketAddr,
    known: Mutex<Option<(Secret, Caller)>>,
}

impl Asker {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            known: Mutex::new(None),
        }
    }

    /// Who asks. Without credentials it is a newcomer.
    async fn caller(
        &self,
        gate: &Gate,
        topology: &Topology,
        headers: &HeaderMap,
    ) -> Result<Caller, Problem> {
        let Some(shown) = headers.get(header::AUTHORIZATION) else {
            return Ok(gate.newcomer());
        };
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((before, caller)) = known
            && before.matches(shown.as_bytes())
            && topology.allows(&caller, Right::Look).is_ok()
        {
            return Ok(caller);
        }
        let credentials = shown.to_str().ok().and_then(Credentials::read);
        let credentials = credentials.ok_or_else(unauthorized)?;
        let caller = credentials.check(gate, topology).await?;
        let kept = (Secret::new(shown.as_bytes()), caller.clone());
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(caller)
    }
}

pub(super) async fn check(
    State(face): State<Arc<Face>>,
    Extension(asker): Extension<Arc<Asker>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let topology = face.data.topology();
    let right = rights::needed(
        request.method(),
        request.uri(),
        request.headers(),
        &topology,
    );
    let caller = match admitted(&face, &asker, &topology, right, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let administers = matches!(right, Right::Administer(_) | Right::Cluster)
        && !matches!(*request.method(), Method::GET | Method::HEAD);
    if !administers {
        return next.run(request).await;
    }
    let act = format!("{} {}", request.method(), request.uri());
    let response = next.run(request).await;
    tracing::info!(
        target: "audit",
        user = name_of(&caller),
        from = %asker.address,
        act,
        outcome = response.status().as_u16(),
        "administers"
    );
    response
}

async fn admitted(
    face: &Face,
    asker: &Asker,
    topology: &Topology,
    right: Right,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let host = text(headers, header::HOST).unwrap_or_default();
    refuse_foreign_origin(headers, host)?;
    let caller = asker.caller(&face.config.gate, topology, headers).await?;
    // Whoever need not authenticate is on the same machine, but a web page can make its own name
    // point there (DNS rebinding). It has no certificate for that name, so TLS keeps it out as
    // well.
    let rebound = caller == Caller::Anyone && face.config.tls.is_none() && !is_local(host);
    if rebound && topology.users.is_empty() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_host",
            "without a password, call this API as localhost or by IP address",
        ));
    }
    match topology.allows(&caller, right) {
        Ok(()) => Ok(caller),
        Err(Denied::Unknown) => Err(unauthorized()),
        Err(Denied::Here | Denied::Anywhere) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!(
                "user {} may not do this: {}; nothing was applied",
                name_of(&caller),
                role_for(right)
            ),
        )),
    }
}

/// The role that a right comes with.
fn role_for(right: Right) -> &'static str {
    match right {
        Right::Look => "any user may",
        Right::Read(_) => "it takes the role read in this keyspace",
        Right::Write(_) => "it takes the role write in this keyspace",
        Right::Administer(_) => "it takes the role admin in this keyspace",
        Right::Cluster => "it takes the role admin in every keyspace",
    }
}

fn unauthorized() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "send user and password with basic authentication, or the node's password as a bearer token",
    )
}

fn refuse_foreign_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
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
    Ok(())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// What an `Authorization` header shows.
enum Credentials {
    /// The password of the user `default`, or `user:password`.
    Bearer(Vec<u8>),
    Basic {
        user: String,
        password: Vec<u8>,
    },
}

impl Credentials {
    fn read(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(rest.trim().as_bytes().to_vec()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let (user, password) = halves(&STANDARD.decode(rest.trim()).ok()?)?;
        Some(Self::Basic { user, password })
    }

    async fn check(self, gate: &Gate, topology: &Topology) -> Result<Caller, Problem> {
        let (user, password) = match self {
            Self::Basic { user, password } if user.is_empty() => (DEFAULT_USER.into(), password),
            Self::Basic { user, password } => (user, password),
            Self::Bearer(token) => match halves(&token) {
                Some((user, password)) if topology.users.contains_key(&*user) => (user, password),
                _ => (DEFAULT_USER.to_owned(), token),
            },
        };
        let admitted = gate.admit(topology, &user, &password).await;
        admitted.map_err(|why| match why {
            NotAdmitted::Wrong => unauthorized(),
            NotAdmitted::Busy => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many passwords are being checked; nothing was applied",
            ),
        })
    }
}

/// `user:password`.
fn halves(pair: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(pair[..colon].to_vec()).ok()?;
    Some((user, pair[colon + 1..].to_vec()))
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
