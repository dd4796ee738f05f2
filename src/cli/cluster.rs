//! `quorate status`, `node` and `keyspace`: requests to the HTTP face of a node.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use quorate_dynamo::Consistency;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fail::Failure;
use super::output::{self, Output};
use super::{Globals, http, time};
use crate::doors::Status;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// Make a token with which nodes can join the cluster, and print it.
    #[command(after_help = "Example: quorate node token --uses 3 --expires 1h")]
    Token(Token),
}

#[derive(Debug, Args)]
pub(super) struct Token {
    /// How many nodes may join with it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// How long it is valid.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = time)]
    expires: Duration,
}

#[derive(Debug, Subcommand)]
pub(super) enum Keyspace {
    /// List all keyspaces.
    List,
    /// Create a keyspace.
    #[command(
        after_help = "Example: quorate keyspace create carts --replication berlin=3,oslo=3 --write LOCAL_QUORUM"
    )]
    Create(Create),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name.
    name: String,
    /// Replicas per datacenter, such as berlin=3,oslo=2 [default: automatic].
    #[arg(long, value_name = "DC=N", value_delimiter = ',', value_parser = replicas)]
    replication: Vec<(String, u8)>,
    /// Number of partitions, a power of two [default: the node's setting].
    #[arg(long)]
    partitions: Option<u16>,
    /// Level of reads that name none [default: that of the keyspace `default`].
    #[arg(long, value_name = "LEVEL")]
    read: Option<Consistency>,
    /// Level of writes that name none [default: that of the keyspace `default`].
    #[arg(long, value_name = "LEVEL")]
    write: Option<Consistency>,
}

fn replicas(text: &str) -> Result<(String, u8), &'static str> {
    let counted = text
        .split_once('=')
        .and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
    counted
        .filter(|(name, _)| !name.is_empty())
        .ok_or("use DATACENTER=REPLICAS, such as berlin=3")
}

#[derive(Deserialize, Serialize)]
struct TokenMade {
    token: String,
    uses: u32,
    expires_s: u64,
}

#[derive(Deserialize, Serialize)]
struct KeyspaceInfo {
    id: u32,
    name: String,
    partitions: u32,
    replication: Replication,
    read: String,
    write: String,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Replication {
    Named(String),
    Counted(BTreeMap<String, u8>),
}

pub(super) fn status(globals: &Globals) -> Result<(), Failure> {
    let status: Status = http::get(globals, "/v1/status")?;
    match globals.output {
        Output::Table => output::line(status.to_string().trim_end())?,
        Output::Json => print_json(&status)?,
    }
    Ok(())
}

impl Node {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let Self::Token(Token { uses, expires }) = self;
        let expires_s = expires.as_secs();
        if expires_s == 0 {
            return Err(Failure::Usage("--expires must be at least one second"));
        }
        let made: TokenMade = http::post(
            globals,
            "/v1/tokens",
            &json!({ "uses": uses, "expires_s": expires_s }),
        )?;
        match globals.output {
            Output::Table => output::line(&made.token)?,
            Output::Json => print_json(&made)?,
        }
        output::note(format_args!(
            "to join a node, run: quorate start --join HOST:PORT --token TOKEN   (HOST:PORT is the QUIC address of a member)"
        ));
        Ok(())
    }
}

impl Keyspace {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::List => list(globals),
            Self::Create(create) => create.run(globals),
        }
    }
}

impl Create {
    fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut body = json!({ "name": self.name, "partitions": self.partitions });
        if !self.replication.is_empty() {
            body["replication"] = self
                .replication
                .into_iter()
                .map(|(dc, count)| (dc, Value::from(count)))
                .collect();
        }
        for (name, level) in [("read", self.read), ("write", self.write)] {
            body[name] = level.map(|level| level.to_string()).into();
        }
        let made: Value = http::post(globals, "/v1/keyspaces", &body)?;
        match globals.output {
            Output::Table => output::line(format_args!(
                "created keyspace {} (SELECT {})",
                self.name, made["id"]
            ))?,
            Output::Json => output::line(made)?,
        }
        Ok(())
    }
}

fn list(globals: &Globals) -> Result<(), Failure> {
    let list: Vec<KeyspaceInfo> = http::get(globals, "/v1/keyspaces")?;
    if globals.output == Output::Json {
        return Ok(print_json(&list)?);
    }
    let mut table = Table::new([
        "NUMBER",
        "NAME",
        "PARTITIONS",
        "REPLICATION",
        "READ",
        "WRITE",
    ]);
    for keyspace in list {
        let replication = match keyspace.replication {
            Replication::Named(name) => name,
            Replication::Counted(counts) => counts
                .iter()
                .map(|(dc, count)| format!("{dc}={count}"))
                .collect::<Vec<_>>()
                .join(","),
        };
        table.push([
            keyspace.id.to_string(),
            keyspace.name,
            keyspace.partitions.to_string(),
            replication,
            keyspace.read,
            keyspace.write,
        ]);
    }
    Ok(output::line(table.to_string().trim_end())?)
}

fn print_json(document: &impl Serialize) -> std::io::Result<()> {
    output::line(serde_json::to_string(document)?)
}
