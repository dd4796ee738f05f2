//! `/v1/users`: lists the users, makes and drops them, and grants them roles in keyspaces.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request as HttpRequest, StatusCode};
use axum::response::{IntoResponse as _, Response};
use quorate_control::topology::{Role, Topology, User};
use serde::Deserialize;
use serde_json::{Map, Value, json as document};

use super::admin::{answer, read_document};
use super::face::{Shared, json};
use super::problem::Problem;
use crate::config::Secret;
use crate::doors::{RoleIn, UserChange};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    name: String,
    password: String,
    role: RoleBody,
    keyspace: Option<String>,
}

/// Either another password or another role.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    password: Option<String>,
    role: Option<RoleBody>,
    keyspace: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleBody {
    None,
    Read,
    Write,
    Admin,
}

impl RoleBody {
    fn role(self) -> Option<Role> {
        match self {
            Self::None => None,
            Self::Read => Some(Role::Read),
            Self::Write => Some(Role::Write),
            Self::Admin => Some(Role::Admin),
        }
    }
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Write => "write",
        Role::Admin => "admin",
    }
}

pub(super) async fn list(State(face): Shared) -> Response {
    let topology = face.data.topology();
    let users: Vec<Value> = topology
        .users
        .iter()
        .map(|(name, user)| described(name, user, &topology))
        .collect();
    json(StatusCode::OK, &document!({ "users": users }))
}

/// A user without anything of the password.
fn described(name: &str, user: &User, topology: &Topology) -> Value {
    let keyspaces: Map<String, Value> = user
        .keyspaces
        .iter()
        .filter_map(|(id, role)| {
            let keyspace = topology.keyspaces.get(id)?;
            Some((keyspace.name.to_string(), Value::from(name_of(*role))))
        })
        .collect();
    document!({
        "name": name,
        "role": user.everywhere.map(name_of),
        "keyspaces": keyspaces,
    })
}

pub(super) async fn create(
    State(face): Shared,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let body: UserBody = read_document(&face, request).await?;
    let change = UserChange::Create {
        password: Secret::new(body.password),
        role: RoleIn {
            role: body.role.role(),
            keyspace: body.keyspace.map(Box::from),
        },
    };
    answer(&face, face.admin.change_user(&body.name, change)).await?;
    Ok(json(StatusCode::CREATED, &document!({ "name": body.name })))
}

pub(super) async fn change(
    State(face): Shared,
    Path(name): Path<String>,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let body: ChangeBody = read_document(&face, request).await?;
    let change = match body {
        ChangeBody {
            password: Some(password),
            role: None,
            keyspace: None,
        } => UserChange::Password(Secret::new(password)),
        ChangeBody {
            password: None,
            role: Some(role),
            keyspace,
        } => UserChange::Grant(RoleIn {
            role: role.role(),
            keyspace: keyspace.map(Box::from),
        }),
        _ => {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_document",
                "give either a password, or a role (none, read, write, admin) and perhaps a keyspace",
            ));
        }
    };
    answer(&face, face.admin.change_user(&name, change)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn remove(
    State(face): Shared,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    answer(&face, face.admin.change_user(&name, UserChange::Drop)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
