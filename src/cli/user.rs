//! `quorate user`: makes, lists, changes and drops users. Over HTTP.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use quorate_gossip::quic::random_bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::{done, print_json};
use super::fail::Failure;
use super::globals::Globals;
use super::http;
use super::output::{self, Output};
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make a user. Without --password-file a password is drawn at random and printed once. The
    /// first user of a cluster must be an admin; from then on everybody must authenticate.
    #[command(
        after_help = "Examples:\n  quorate user create root --role admin\n  quorate user create shop --role write --keyspace carts"
    )]
    Create(Create),
    /// List the users and their roles.
    List,
    /// Give a user another role; --role none takes it away.
    #[command(after_help = "Example: quorate user grant shop --role read --keyspace stock")]
    Grant(Grant),
    /// Give a user another password. Whoever uses the old one must authenticate again.
    Password(Password),
    /// Drop a user. Its connections can do nothing from then on.
    Drop {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name.
    name: String,
    #[command(flatten)]
    role: RoleIn,
    #[command(flatten)]
    secret: Secret,
}

#[derive(Debug, Args)]
pub(super) struct Grant {
    /// Its name.
    name: String,
    #[command(flatten)]
    role: RoleIn,
}

#[derive(Debug, Args)]
pub(super) struct Password {
    /// Its name.
    name: String,
    #[command(flatten)]
    secret: Secret,
}

#[derive(Debug, Args)]
struct RoleIn {
    /// What it may do: read keys, write them as well, or administer as well.
    #[arg(long, value_enum)]
    role: Role,
    /// Only in this keyspace [default: in every keyspace, and an admin of every keyspace
    /// administers the cluster].
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    None,
    Read,
    Write,
    Admin,
}

#[derive(Debug, Args)]
struct Secret {
    /// File whose first line is the password; - reads it from standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Secret {
    /// The password, and whether it was drawn at random.
    fn take(&self) -> Result<(String, bool), Failure> {
        let Some(path) = &self.password_file else {
            let random = random_bytes::<16>().map_err(std::io::Error::other)?;
            let mut text = String::new();
            for byte in random {
                write!(text, "{byte:02x}").expect("invariant: a string takes all that is written");
            }
            return Ok((text, true));
        };
        let mut text = String::new();
        if path == Path::new("-") {
            std::io::stdin().read_to_string(&mut text)?;
        } else {
            text = fs::read_to_string(path).map_err(|cause| Failure::Unreadable {
                file: path.clone(),
                cause,
            })?;
        }
        Ok((text.lines().next().unwrap_or_default().to_owned(), false))
    }
}

#[derive(Deserialize, Serialize)]
struct Users {
    users: Vec<UserInfo>,
}

#[derive(Deserialize, Serialize)]
struct UserInfo {
    name: String,
    role: Option<String>,
    keyspaces: BTreeMap<String, String>,
}

impl User {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(globals),
            Self::List => list(globals),
            Self::Grant(Grant { name, role }) => {
                let RoleIn { role, keyspace } = role;
                let body = json!({ "role": role, "keyspace": keyspace });
                http::patch(globals, &path_of(&name), &body)?;
                done(globals, format_args!("user {name} has its new role"))
            }
            Self::Password(Password { name, secret }) => {
                let (password, drawn) = secret.take()?;
                let body = json!({ "password": password });
                http::patch(globals, &path_of(&name), &body)?;
                tell(globals, &name, drawn.then_some(&password), "changed user")
            }
            Self::Drop { name } => {
                http::delete(globals, &path_of(&name))?;
                done(globals, format_args!("dropped user {name}"))
            }
        }
    }
}

impl Create {
    fn run(self, globals: &Globals) -> Result<(), Failure> {
        let Self { name, role, secret } = self;
        let (password, drawn) = secret.take()?;
        let body = json!({
            "name": name,
            "password": password,
            "role": role.role,
            "keyspace": role.keyspace,
        });
        let _made: Value = http::post(globals, "/v1/users", &body)?;
        tell(globals, &name, drawn.then_some(&password), "created user")
    }
}

/// Prints a password that was drawn, alone on its line, so that a script can take it.
fn tell(
    globals: &Globals,
    name: &str,
    password: Option<&String>,
    what: &str,
) -> Result<(), Failure> {
    match (password, globals.output) {
        (None, _) => return done(globals, format_args!("{what} {name}")),
        (Some(password), Output::Json) => {
            print_json(&json!({ "name": name, "password": password }))?;
        }
        (Some(password), Output::Table) => output::line(password)?,
    }
    output::note(format_args!(
        "{what} {name}; this password is not shown again"
    ));
    Ok(())
}

fn path_of(name: &str) -> String {
    format!("/v1/users/{}", http::segment(name))
}

fn list(globals: &Globals) -> Result<(), Failure> {
    let users: Users = http::get(globals, "/v1/users")?;
    if globals.output == Output::Json {
        return Ok(print_json(&users)?);
    }
    let mut table = Table::new(["USER", "EVERY KEYSPACE", "SINGLE KEYSPACES"]);
    for user in users.users {
        let keyspaces: Vec<String> = user
            .keyspaces
            .iter()
            .map(|(keyspace, role)| format!("{keyspace}={role}"))
            .collect();
        table.push([
            user.name,
            user.role.unwrap_or_else(|| "-".to_owned()),
            keyspaces.join(","),
        ]);
    }
    Ok(output::line(table.to_string().trim_end())?)
}
