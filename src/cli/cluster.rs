//! `quorate keyspace`: requests to the HTTP face of a node.

use std::collections::BTreeMap;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use quorate_control::topology::SplitPolicy;
use quorate_dynamo::Consistency;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fail::Failure;
use super::globals::Globals;
use super::http;
use super::output::{self, Output};
use crate::doors::{PlannedMoves, bytes};
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(super) enum Keyspace {
    /// List all keyspaces.
    List,
    /// Show one keyspace.
    Describe {
        /// Its name.
        name: String,
    },
    /// Create a keyspace.
    #[command(
        after_help = "Example: quorate keyspace create carts --replication berlin=3,oslo=3 --write LOCAL_QUORUM"
    )]
    Create(Create),
    /// Change a keyspace. If its replication changes, partitions move while they serve.
    #[command(after_help = "Example: quorate keyspace alter carts --replication berlin=3,oslo=3")]
    Alter(Alter),
    /// Drop a keyspace with all its data. This cannot be undone.
    Drop {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name.
    name: String,
    /// Replicas per datacenter, such as berlin=3,oslo=2, or auto: up to three in each [default:
    /// auto].
    #[arg(long, value_name = "DC=N,…|auto", value_parser = replication)]
    replication: Option<Replication>,
    /// Number of partitions, a power of two [default: the node's setting].
    #[arg(long)]
    partitions: Option<u16>,
    /// Level of reads that name none [default: that of the keyspace `default`].
    #[arg(long, value_name = "LEVEL")]
    read: Option<Consistency>,
    /// Level of writes that name none [default: that of the keyspace `default`].
    #[arg(long, value_name = "LEVEL")]
    write: Option<Consistency>,
    /// What the smaller side of a split may do: available, or read-only-in-minority [default:
    /// available].
    #[arg(long, value_name = "POLICY", value_parser = split_policy())]
    split: Option<SplitPolicy>,
    /// Change nothing, and show which nodes would hold it.
    #[arg(long)]
    plan: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Changes {
    /// Replicas per datacenter, such as berlin=3,oslo=2, or auto.
    #[arg(long, value_name = "DC=N,…|auto", value_parser = replication)]
    replication: Option<Replication>,
    /// Level of reads that name none.
    #[arg(long, value_name = "LEVEL")]
    read: Option<Consistency>,
    /// Level of writes that name none.
    #[arg(long, value_name = "LEVEL")]
    write: Option<Consistency>,
    /// What the smaller side of a split may do: available, or read-only-in-minority.
    #[arg(long, value_name = "POLICY", value_parser = split_policy())]
    split: Option<SplitPolicy>,
}

#[derive(Debug, Args)]
pub(super) struct Alter {
    /// Its name.
    name: String,
    #[command(flatten)]
    changes: Changes,
    /// Change nothing, and show what would move, and how many bytes.
    #[arg(long)]
    plan: bool,
}

fn split_policy() -> impl TypedValueParser<Value = SplitPolicy> {
    PossibleValuesParser::new(SplitPolicy::ALL.map(SplitPolicy::name))
        .try_map(|text| text.parse::<SplitPolicy>())
}

fn replication(text: &str) -> Result<Replication, String> {
    if text == "auto" {
        return Ok(Replication::Named(text.to_owned()));
    }
    let mut counts = BTreeMap::new();
    for part in text.split(',') {
        let counted = part
            .split_once('=')
            .and_then(|(name, count)| Some((name, count.parse().ok()?)));
        let (name, count) = counted
            .filter(|(name, _)| !name.is_empty())
            .ok_or("use auto, or the replicas of each datacenter, such as berlin=3,oslo=2")?;
        if counts.insert(name.to_owned(), count).is_some() {
            return Err(format!("{name} is named twice"));
        }
    }
    Ok(Replication::Counted(counts))
}

#[derive(Deserialize, Serialize)]
struct KeyspaceInfo {
    id: u32,
    name: String,
    partitions: u32,
    replication: Replication,
    read: String,
    write: String,
    #[serde(default)]
    split: SplitPolicy,
    #[serde(default)]
    copies: u32,
    #[serde(default)]
    moving: u32,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Replication {
    Named(String),
    Counted(BTreeMap<String, u8>),
}

impl Keyspace {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::List => list(globals),
            Self::Describe { name } => describe(globals, &name),
            Self::Create(create) => create.run(globals),
            Self::Alter(alter) => alter.run(globals),
            Self::Drop { name } => {
                http::delete(globals, &keyspace_path(&name))?;
                done(globals, format_args!("dropped keyspace {name}"))
            }
        }
    }
}

impl Create {
    fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut body = json!({ "name": self.name, "partitions": self.partitions });
        if let Some(replication) = &self.replication {
            body["replication"] = json!(replication);
        }
        put_levels(&mut body, self.read, self.write);
        put_split(&mut body, self.split);
        if self.plan {
            let plan = http::post(globals, "/v1/keyspaces?plan=true", &body)?;
            return print_plan(globals, plan);
        }
        let made: Value = http::post(globals, "/v1/keyspaces", &body)?;
        match globals.output {
            Output::Table => output::line(format_args!(
                "created keyspace {name} (SELECT {name})",
                name = self.name
            ))?,
            Output::Json => output::line(made)?,
        }
        Ok(())
    }
}

impl Alter {
    fn run(self, globals: &Globals) -> Result<(), Failure> {
        let Self {
            name,
            changes,
            plan,
        } = self;
        let mut body = json!({});
        if let Some(replication) = &changes.replication {
            body["replication"] = json!(replication);
        }
        put_levels(&mut body, changes.read, changes.write);
        put_split(&mut body, changes.split);
        if plan {
            let path = format!("{}?plan=true", keyspace_path(&name));
            return print_plan(globals, http::patch_and_read(globals, &path, &body)?);
        }
        http::patch(globals, &keyspace_path(&name), &body)?;
        done(globals, format_args!("altered keyspace {name}"))?;
        if changes.replication.is_some() {
            output::note(format_args!(
                "its partitions move while they serve; `quorate keyspace describe {name}` counts those that still do"
            ));
        }
        Ok(())
    }
}

fn print_plan(globals: &Globals, plan: PlannedMoves) -> Result<(), Failure> {
    if globals.output == Output::Json {
        return Ok(print_json(&plan)?);
    }
    output::line(format_args!(
        "{} of {} partitions would move, about {} in all; nothing has changed",
        plan.moving,
        plan.partitions,
        bytes(plan.bytes)
    ))?;
    let mut table = Table::new(["NODE", "DATACENTER", "HOLDS", "THEN", "RECEIVES", "BYTES"]);
    for node in plan.nodes {
        table.push([
            node.node,
            node.datacenter,
            node.partitions.to_string(),
            node.partitions_then.to_string(),
            node.receives.to_string(),
            bytes(node.bytes),
        ]);
    }
    Ok(output::line(table.to_string().trim_end())?)
}

fn keyspace_path(name: &str) -> String {
    format!("/v1/keyspaces/{}", http::segment(name))
}

fn put_levels(body: &mut Value, read: Option<Consistency>, write: Option<Consistency>) {
    for (name, level) in [("read", read), ("write", write)] {
        if let Some(level) = level {
            body[name] = level.to_string().into();
        }
    }
}

fn put_split(body: &mut Value, split: Option<SplitPolicy>) {
    if let Some(split) = split {
        body["split"] = json!(split);
    }
}

fn list(globals: &Globals) -> Result<(), Failure> {
    let list: Vec<KeyspaceInfo> = http::get(globals, "/v1/keyspaces")?;
    match globals.output {
        Output::Table => print_keyspaces(list),
        Output::Json => Ok(print_json(&list)?),
    }
}

fn describe(globals: &Globals, name: &str) -> Result<(), Failure> {
    let keyspace: KeyspaceInfo = http::get(globals, &keyspace_path(name))?;
    match globals.output {
        Output::Table => {
            let level = (keyspace.copies == 1).then(|| keyspace.write.clone());
            print_keyspaces(vec![keyspace])?;
            if let Some(level) = level {
                output::note(format_args!(
                    "a write at the default level, {level}, may be on one node only when it is acknowledged"
                ));
            }
            Ok(())
        }
        Output::Json => Ok(print_json(&keyspace)?),
    }
}

fn print_keyspaces(keyspaces: Vec<KeyspaceInfo>) -> Result<(), Failure> {
    let mut table = Table::new([
        "NUMBER",
        "NAME",
        "PARTITIONS",
        "REPLICATION",
        "READ",
        "WRITE",
        "SPLIT",
        "MOVING",
    ]);
    for keyspace in keyspaces {
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
            keyspace.split.to_string(),
            keyspace.moving.to_string(),
        ]);
    }
    Ok(output::line(table.to_string().trim_end())?)
}

/// Says what was done; an empty document to programs.
pub(super) fn done(globals: &Globals, what: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    match globals.output {
        Output::Table => output::line(what)?,
        Output::Json => output::line("{}")?,
    }
    Ok(())
}

pub(super) fn print_json(document: &impl Serialize) -> std::io::Result<()> {
    output::line(serde_json::to_string(document)?)
}
