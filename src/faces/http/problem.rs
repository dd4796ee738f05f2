//! Renders errors as `application/problem+json` (RFC 9457), with what a program needs to decide
//! what to do next.

use std::borrow::Cow;
use std::num::NonZeroU64;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_dynamo::op::RequestError;
use quorate_dynamo::protocol::Refusal;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::doors::{AdminError, CoordinationError, name_of};

/// One failed request. `may_be_applied` is always present, because a client must know it before it
/// tries again.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(flatten)]
    status: Reason,
    detail: Box<str>,
    /// A stable word for programs.
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acked: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alive: Option<u32>,
    /// The nodes that are missing, as `name@datacenter`.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    missing: Box<[String]>,
    /// The nodes that refused, and why.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    refused: Box<[Refused]>,
    /// The highest fencing token that is known of the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<NonZeroU64>,
    /// The revision of the value that is there instead of the expected one; none if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<NonZeroU64>,
    /// Who has what was asked for.
    #[serde(flatten)]
    taken: Option<Box<Taken>>,
    may_be_applied: bool,
}

/// A status with its usual words.
#[derive(Clone, Copy, Debug)]
struct Reason(StatusCode);

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut pair = to.serialize_map(Some(2))?;
        pair.serialize_entry("title", self.0.canonical_reason().unwrap_or("Error"))?;
        pair.serialize_entry("status", &self.0.as_u16())?;
        pair.end()
    }
}

/// Who has what was asked for, and when the caller would have had it.
#[derive(Debug, Serialize)]
struct Taken {
    /// Its name; empty if it has none. `null`: nobody has it any more.
    holder: Option<String>,
    /// How many would have been served before the caller, and itself.
    position: u32,
}

#[derive(Debug, Serialize)]
struct Refused {
    node: String,
    reason: String,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status: Reason(status),
            detail: detail.into().into_owned().into(),
            code,
            required: None,
            acked: None,
            alive: None,
            missing: Box::default(),
            refused: Box::default(),
            token: None,
            revision: None,
            taken: None,
            may_be_applied: false,
        }
    }

    /// The document.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("invariant: a problem has string keys and serialises")
    }

    /// The same, once a part of what was asked for may have been applied.
    pub(super) fn after_part_of_it(self) -> Self {
        Self {
            may_be_applied: true,
            ..self
        }
    }

    /// What was asked for is held by somebody else, and was not granted in time.
    pub(super) fn taken(holder: Option<String>, position: u32) -> Self {
        let detail = "somebody else holds it; it was not granted in time";
        Self {
            taken: Some(Box::new(Taken { holder, position })),
            ..Self::new(StatusCode::CONFLICT, "taken", detail)
        }
    }

    /// There is another value than the expected one, or none.
    pub(super) fn differs(revision: Option<NonZeroU64>) -> Self {
        let detail = match revision {
            Some(revision) => format!("the value is at revision {revision}; nothing was changed"),
            None => "there is no such value; nothing was changed".to_owned(),
        };
        Self {
            revision,
            ..Self::new(StatusCode::PRECONDITION_FAILED, "differs", detail)
        }
    }

    /// The node stopped before it answered.
    pub(super) fn stopping() -> Self {
        Self {
            may_be_applied: true,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "the node is stopping",
            )
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Reason(status) = self.status;
        let mut response = (
            status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            self.text(),
        )
            .into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge =
                header::HeaderValue::from_static("Basic realm=\"quorate\", charset=\"UTF-8\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let (status, code) = match &error {
            RequestError::WrongKind => (StatusCode::CONFLICT, "wrong_kind"),
            RequestError::NotAnInteger => (StatusCode::CONFLICT, "not_an_integer"),
            RequestError::Overflow => (StatusCode::CONFLICT, "overflow"),
            RequestError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            RequestError::BadToken => (StatusCode::BAD_REQUEST, "bad_context"),
            RequestError::Unseen => (StatusCode::CONFLICT, "unseen_context"),
            RequestError::BadRequestId => (StatusCode::BAD_REQUEST, "bad_request_id"),
            RequestError::ReservedKey => (StatusCode::BAD_REQUEST, "reserved_key"),
            RequestError::NoKeyspace => (StatusCode::NOT_FOUND, "no_keyspace"),
            RequestError::Unsatisfiable { .. } => (StatusCode::BAD_REQUEST, "unsatisfiable"),
            RequestError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_quorate"),
            RequestError::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            RequestError::Refused { .. } => (StatusCode::SERVICE_UNAVAILABLE, "refused"),
            RequestError::KeyspaceDropped => (StatusCode::NOT_FOUND, "keyspace_dropped"),
            RequestError::Moving => (StatusCode::SERVICE_UNAVAILABLE, "moving"),
            RequestError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            RequestError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            RequestError::Siblings { .. } => (StatusCode::CONFLICT, "siblings"),
            RequestError::Clock { .. } | RequestError::ClockUnconfirmed => {
                (StatusCode::SERVICE_UNAVAILABLE, "clock")
            }
            RequestError::DiskSlow { .. } => (StatusCode::GATEWAY_TIMEOUT, "disk_slow"),
            RequestError::ReadOnly { .. } => (StatusCode::SERVICE_UNAVAILABLE, "read_only"),
            RequestError::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            RequestError::Fenced { .. } => (StatusCode::PRECONDITION_FAILED, "fenced"),
            RequestError::BadClaim => (StatusCode::BAD_REQUEST, "bad_fence"),
            RequestError::BelowQuorum { .. } => (StatusCode::BAD_REQUEST, "below_quorum"),
            RequestError::NotUnderToken => (StatusCode::BAD_REQUEST, "not_under_token"),
            RequestError::NotClosed { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_closed"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        };
        let may_be_applied = error.may_be_applied();
        Self {
            may_be_applied,
            ..Self::new(status, code, error.to_string())
        }
    }
}

impl Problem {
    /// A request that failed, with the numbers and the nodes in its error.
    pub(super) fn of(error: RequestError, topology: &Topology) -> Self {
        let names = |nodes: &[NodeId]| nodes.iter().map(|node| name_of(*node, topology)).collect();
        let reasons = |refused: &[(NodeId, Refusal)]| {
            let reason = |(node, reason): &(NodeId, Refusal)| Refused {
                node: name_of(*node, topology),
                reason: reason.to_string(),
            };
            refused.iter().map(reason).collect()
        };
        let mut problem = Self::from(error.clone());
        match error {
            RequestError::Unsatisfiable { required, .. } => problem.required = Some(required),
            RequestError::Fenced { token, .. } => problem.token = NonZeroU64::new(token),
            RequestError::Unavailable {
                required,
                alive,
                missing,
                ..
            } => {
                (problem.required, problem.alive) = (Some(required), Some(alive));
                problem.missing = names(&missing);
            }
            RequestError::TimedOut {
                acked,
                required,
                missing,
                ..
            } => {
                (problem.required, problem.acked) = (Some(required), Some(acked));
                problem.missing = names(&missing);
            }
            RequestError::Refused {
                acked,
                required,
                refused,
                missing,
                ..
            } => {
                (problem.required, problem.acked) = (Some(required), Some(acked));
                problem.missing = names(&missing);
                problem.refused = reasons(&refused);
            }
            RequestError::NotClosed { missing, refused } => {
                problem.missing = names(&missing);
                problem.refused = reasons(&refused);
            }
            _ => {}
        }
        problem
    }
}

impl From<CoordinationError> for Problem {
    fn from(error: CoordinationError) -> Self {
        let (status, code) = match error {
            CoordinationError::NoQuorum => (StatusCode::SERVICE_UNAVAILABLE, "not_quorate"),
            CoordinationError::TooStale { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too_stale"),
            CoordinationError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            CoordinationError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            CoordinationError::Malformed => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        };
        let may_be_applied = matches!(
            error,
            CoordinationError::TimedOut | CoordinationError::Stopping
        );
        Self {
            may_be_applied,
            ..Self::new(status, code, error.to_string())
        }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let (status, code) = match error {
            AdminError::NoQuorum => (StatusCode::SERVICE_UNAVAILABLE, "not_quorate"),
            AdminError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            AdminError::Exists | AdminError::UserExists(_) => (StatusCode::CONFLICT, "exists"),
            AdminError::BadName | AdminError::BadUserName => (StatusCode::BAD_REQUEST, "bad_name"),
            AdminError::BadPartitions { .. } => (StatusCode::BAD_REQUEST, "bad_partitions"),
            AdminError::TooFewNodes { .. } => (StatusCode::CONFLICT, "too_few_nodes"),
            AdminError::Unsatisfiable { .. } => (StatusCode::BAD_REQUEST, "unsatisfiable"),
            AdminError::UnknownDatacenter { .. } => (StatusCode::BAD_REQUEST, "no_datacenter"),
            AdminError::NoReplicas { .. } => (StatusCode::CONFLICT, "no_replicas"),
            AdminError::UnknownKeyspace(_) => (StatusCode::NOT_FOUND, "no_keyspace"),
            AdminError::DefaultKeyspace => (StatusCode::CONFLICT, "default_keyspace"),
            AdminError::UnknownNode(_) => (StatusCode::NOT_FOUND, "no_node"),
            AdminError::LastNode(_) => (StatusCode::CONFLICT, "last_node"),
            AdminError::UnknownGroup(_) => (StatusCode::NOT_FOUND, "no_group"),
            AdminError::NotAVoter(_) => (StatusCode::CONFLICT, "not_a_voter"),
            AdminError::Witness(_) => (StatusCode::CONFLICT, "witness"),
            AdminError::Behind { .. } => (StatusCode::CONFLICT, "behind"),
            AdminError::NoHeir => (StatusCode::CONFLICT, "no_heir"),
            AdminError::NotInSnapshot { .. } => (StatusCode::CONFLICT, "not_in_snapshot"),
            AdminError::NotLost(_) => (StatusCode::CONFLICT, "not_lost"),
            AdminError::Silent(_) => (StatusCode::CONFLICT, "silent"),
            AdminError::BadToken => (StatusCode::BAD_REQUEST, "bad_token"),
            AdminError::KeyNotKept(_) => (StatusCode::INTERNAL_SERVER_ERROR, "key_not_kept"),
            AdminError::NoKey => (StatusCode::CONFLICT, "no_key"),
            AdminError::UnknownUser(_) => (StatusCode::NOT_FOUND, "no_user"),
            AdminError::BadPassword { .. } | AdminError::BadHash { .. } => {
                (StatusCode::BAD_REQUEST, "bad_password")
            }
            AdminError::NoAdministrator => (StatusCode::CONFLICT, "no_administrator"),
            AdminError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        };
        let may_be_applied = matches!(error, AdminError::TimedOut | AdminError::Stopping);
        Self {
            may_be_applied,
            ..Self::new(status, code, error.to_string())
        }
    }
}
