//! The handlers for locks and elections.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use quorate_control::consensus::ReadLevel;
use quorate_control::coordinate::{
    AcquireRefusal, Acquired, By, CoordinationAnswer, CoordinationDeed, CoordinationOutcome,
    CoordinationQuery, ElectionCommand, ElectionOutcome, HoldRef, Holder, Leadership, LockCommand,
    LockMode, LockOutcome, LockView, Name, Patience, Resource, ResourceKind, SessionId,
    SessionSpec, Ttl, WAIT_MS_MAX, WordError,
};
use quorate_control::topology::FencingToken;
use serde::Deserialize;
use serde_json::{Value, json as document};
use tokio::time::{Instant, sleep};

use super::admin::read_document;
use super::coordinator::{ask, bad, decide, level, unforeseen};
use super::face::{Face, Shared, json};
use super::problem::Problem;
use super::uri;

/// How often a leader that somebody watches is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(100);

const LOCKS: &str = "/v1/locks/";
const ELECTIONS: &str = "/v1/elections/";

/// How to hold a lock, or to lead.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    ttl_ms: u64,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    shared: bool,
    #[serde(default)]
    holder: String,
    #[serde(default)]
    priority: i8,
    /// What a leader publishes.
    value: Option<String>,
}

impl HoldBody {
    fn by(&self) -> Result<By, WordError> {
        let holder: Arc<str> = self.holder.as_str().into();
        let ttl = Ttl::try_from(self.ttl_ms)?;
        let spec = SessionSpec::new(Holder::try_from(holder)?, ttl, 0)?;
        Ok(By::New(spec))
    }

    fn patience(&self) -> Result<Patience, WordError> {
        Patience::new(self.wait_ms, self.priority)
    }
}

fn resource(uri: &Uri, kind: ResourceKind) -> Result<Resource, Problem> {
    let prefix = match kind {
        ResourceKind::Election => ELECTIONS,
        ResourceKind::Lock | ResourceKind::Semaphore => LOCKS,
    };
    let name = Name::try_from(Bytes::from(uri::segment(uri, prefix)?)).map_err(bad)?;
    Ok(Resource { kind, name })
}

/// The hold that a path and `?token=` name; where several share a lock, with `session=`.
fn hold(uri: &Uri, kind: ResourceKind) -> Result<HoldRef, Problem> {
    let [token, session] = uri::parameters(uri, ["token", "session"])?;
    let number = |text: Option<String>| text.map(|text| text.parse::<u64>()).transpose();
    let wrong = |_not_a_number| {
        let detail = "token and session are whole numbers";
        Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail)
    };
    let token = number(token).map_err(wrong)?.ok_or_else(|| {
        let detail = "the token of the grant is missing: ?token=";
        Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail)
    })?;
    Ok(HoldRef {
        resource: resource(uri, kind)?,
        token: FencingToken(token),
        session: number(session).map_err(wrong)?.map(SessionId),
    })
}

/// The token and the session, or who stands in the way.
async fn granted(face: &Face, acquired: Acquired, name: Name) -> Result<Response, Problem> {
    let (by, position) = match acquired {
        Acquired::Granted { token, session, .. } => {
            let granted = document!({ "token": token.0, "session": session.0 });
            return Ok(json(StatusCode::OK, &granted));
        }
        Acquired::Taken { by, position } => (by, position),
        Acquired::Waiting { position, .. } => (None, position),
    };
    let holder = if let Some(by) = by {
        Some(by.holder)
    } else {
        // Whoever waited in vain learns who holds it now.
        match ask(face, CoordinationQuery::Why(name), ReadLevel::Strong).await? {
            CoordinationAnswer::Why(chain) => chain.into_iter().next().map(|link| link.holder),
            _ => None,
        }
    };
    let holder = holder.map(|holder| holder.as_str().to_owned());
    Err(Problem::taken(holder, position))
}

fn refused(refusal: &AcquireRefusal) -> Problem {
    match refusal {
        AcquireRefusal::WouldDeadlock { cycle } => {
            let parties = cycle.iter().map(|party| {
                format!(
                    "session {} ({}) waits for {}",
                    party.session.0,
                    party.holder.as_str(),
                    party.waits_for.name
                )
            });
            let circle = parties.collect::<Vec<_>>().join(", ");
            Problem::new(
                StatusCode::CONFLICT,
                "deadlock",
                format!("{refusal}: {circle}"),
            )
        }
        AcquireRefusal::TooManySessions { .. } | AcquireRefusal::TooManyWaiters { .. } => {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                refusal.to_string(),
            )
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "bad_lock", refusal.to_string()),
    }
}

pub(super) async fn acquire(
    State(face): Shared,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let Resource { name, .. } = resource(request.uri(), ResourceKind::Lock)?;
    let body: HoldBody = read_document(&face, request).await?;
    let deed = CoordinationDeed::Lock(LockCommand::Acquire {
        by: body.by().map_err(bad)?,
        names: vec![name.clone()],
        mode: if body.shared {
            LockMode::Shared
        } else {
            LockMode::Exclusive
        },
        patience: body.patience().map_err(bad)?,
    });
    match decide(&face, deed, body.wait_ms).await? {
        CoordinationOutcome::Lock(LockOutcome::Acquired(acquired)) => {
            granted(&face, acquired, name).await
        }
        CoordinationOutcome::Lock(LockOutcome::Refused(refusal)) => Err(refused(&refusal)),
        _ => Err(unforeseen()),
    }
}

/// Carries out something on a hold: 204, or 409 if there is no such hold.
async fn on_hold(face: &Face, deed: CoordinationDeed) -> Result<Response, Problem> {
    let not_held = |detail: String| Problem::new(StatusCode::CONFLICT, "not_held", detail);
    let lost = || not_held("it is not held under this token any more".to_owned());
    match decide(face, deed, 0).await? {
        CoordinationOutcome::Lock(LockOutcome::Kept { .. })
        | CoordinationOutcome::Election(ElectionOutcome::Kept(true)) => {
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        CoordinationOutcome::Lock(LockOutcome::NotHeld(why)) => Err(not_held(why.to_string())),
        CoordinationOutcome::Election(ElectionOutcome::Kept(false)) => Err(lost()),
        _ => Err(unforeseen()),
    }
}

pub(super) async fn renew(State(face): Shared, uri: Uri) -> Result<Response, Problem> {
    let hold = hold(&uri, ResourceKind::Lock)?;
    on_hold(&face, CoordinationDeed::Lock(LockCommand::Renew(hold))).await
}

pub(super) async fn release(State(face): Shared, uri: Uri) -> Result<Response, Problem> {
    let hold = hold(&uri, ResourceKind::Lock)?;
    on_hold(&face, CoordinationDeed::Lock(LockCommand::Release(hold))).await
}

fn shown(lock: &LockView) -> Value {
    let holders = lock.holders.iter().map(|it| {
        document!({
            "holder": it.holder.as_str(),
            "session": it.session.0,
            "expires_in_ms": it.ends_in_ms,
        })
    });
    let waiting = lock.waiters.iter();
    let waiting =
        waiting.map(|it| document!({ "holder": it.holder.as_str(), "session": it.session.0 }));
    document!({
        "key": lock.name.to_string(),
        "token": lock.token.0,
        "shared": lock.mode == LockMode::Shared,
        "holders": holders.collect::<Vec<_>>(),
        "waiting": waiting.collect::<Vec<_>>(),
    })
}

pub(super) async fn list(State(face): Shared, uri: Uri) -> Result<Response, Problem> {
    let [held_by, at, max_staleness] =
        uri::parameters(&uri, ["held_by", "level", "max_staleness"])?;
    let level = level(at.as_deref(), max_staleness.as_deref())?;
    let held_by = held_by.map(|holder| Holder::try_from(Arc::from(holder)));
    let held_by = held_by.transpose().map_err(bad)?;
    match ask(&face, CoordinationQuery::Locks { held_by }, level).await? {
        CoordinationAnswer::Locks(locks) => {
            let locks: Vec<_> = locks.iter().map(shown).collect();
            Ok(json(StatusCode::OK, &document!({ "locks": locks })))
        }
        _ => Err(unforeseen()),
    }
}

pub(super) async fn campaign(
    State(face): Shared,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let Resource { name, .. } = resource(request.uri(), ResourceKind::Election)?;
    let body: HoldBody = read_document(&face, request).await?;
    let deed = CoordinationDeed::Election(ElectionCommand::Campaign {
        by: body.by().map_err(bad)?,
        name: name.clone(),
        value: body.value.clone().unwrap_or_default().into(),
        patience: body.patience().map_err(bad)?,
    });
    match decide(&face, deed, body.wait_ms).await? {
        CoordinationOutcome::Election(ElectionOutcome::Acquired(acquired)) => {
            granted(&face, acquired, name).await
        }
        CoordinationOutcome::Election(ElectionOutcome::Refused(refusal)) => Err(refused(&refusal)),
        _ => Err(unforeseen()),
    }
}

async fn leader(face: &Face, name: &Name, level: ReadLevel) -> Result<Option<Leadership>, Problem> {
    match ask(face, CoordinationQuery::Leader(name.clone()), level).await? {
        CoordinationAnswer::Leader(leader) => Ok(leader),
        _ => Err(unforeseen()),
    }
}

/// Who leads. With `after=TOKEN&wait_ms=N` it waits until somebody else does.
pub(super) async fn observe(State(face): Shared, uri: Uri) -> Result<Response, Problem> {
    let [after, wait_ms, at, max_staleness] =
        uri::parameters(&uri, ["after", "wait_ms", "level", "max_staleness"])?;
    let level = level(at.as_deref(), max_staleness.as_deref())?;
    let number = |text: Option<String>| text.map(|text| text.parse::<u64>()).transpose();
    let wrong = |_not_a_number| {
        let detail = "after and wait_ms are whole numbers";
        Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail)
    };
    let after = number(after).map_err(wrong)?;
    let wait_ms = number(wait_ms)
        .map_err(wrong)?
        .unwrap_or(0)
        .min(WAIT_MS_MAX);
    let until = Instant::now() + Duration::from_millis(wait_ms);
    let Resource { name, .. } = resource(&uri, ResourceKind::Election)?;
    loop {
        let leader = leader(&face, &name, level).await?;
        let is_news = leader
            .as_ref()
            .is_some_and(|led| Some(led.token.0) != after);
        if !is_news && Instant::now() < until {
            sleep(WATCH_EVERY).await;
            continue;
        }
        return match leader {
            Some(led) => {
                let value = String::from_utf8_lossy(&led.value);
                let leader = document!({ "value": value, "token": led.token.0 });
                Ok(json(StatusCode::OK, &leader))
            }
            None => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no_leader",
                "nobody leads",
            )),
        };
    }
}

pub(super) async fn renew_leadership(State(face): Shared, uri: Uri) -> Result<Response, Problem> {
    let hold = hold(&uri, ResourceKind::Election)?;
    on_hold(
        &face,
        CoordinationDeed::Election(ElectionCommand::Renew(hold)),
    )
    .await
}

pub(super) async fn resign(State(face): Shared, uri: Uri) -> Result<Response, Problem> {
    let hold = hold(&uri, ResourceKind::Election)?;
    on_hold(
        &face,
        CoordinationDeed::Election(ElectionCommand::Resign(hold)),
    )
    .await
}
