//! `quorate node`: lists and removes nodes, and makes, lists and revokes join tokens. Over HTTP.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cluster::{done, print_json};
use super::fail::Failure;
use super::globals::{Globals, time};
use super::http;
use super::output::{self, Output};
use crate::doors::{Member, NodeState, TokenInfo};
use crate::table::Table;

/// How often `--wait` polls.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// List the nodes of the cluster.
    List,
    /// Remove a node from the cluster. Its partitions move to the others first; then it is no
    /// longer a member and its name is free.
    #[command(
        after_help = "Examples:\n  quorate node remove c --wait            the node is intact: its data moves away first\n  quorate node remove c --lost --wait     the node is dead and its disk is gone"
    )]
    Remove(Remove),
    /// Make a token with which nodes can join the cluster, and print it; or list or revoke tokens.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Example: quorate node token --uses 3 --expires 1h"
    )]
    Token(Token),
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Its name.
    name: String,
    /// The disk of the node is gone for good: do not wait for it, and give up the data that only it
    /// held. Refused while the node answers.
    #[arg(long)]
    lost: bool,
    /// Return only when the node has left.
    #[arg(long)]
    wait: bool,
    /// The longest time that `--wait` waits; the removal continues after that.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time, requires = "wait")]
    within: Duration,
}

#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    verb: Option<TokenVerb>,
    /// How many nodes may join with it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// How long it is valid.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = time)]
    expires: Duration,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// List the tokens that can still be used, without their secrets.
    List,
    /// Revoke a token.
    Revoke {
        /// Its id, as `quorate node token list` shows it.
        id: String,
    },
}

#[derive(Deserialize, Serialize)]
struct TokenMade {
    token: String,
    uses: u32,
    expires_s: u64,
}

#[derive(Deserialize, Serialize)]
struct Members {
    nodes: Vec<Member>,
}

#[derive(Deserialize, Serialize)]
struct Tokens {
    tokens: Vec<TokenInfo>,
}

impl Node {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::List => list(globals),
            Self::Remove(remove) => remove.run(globals),
            Self::Token(token) => match token.verb {
                None => make_token(globals, token.uses, token.expires),
                Some(TokenVerb::List) => list_tokens(globals),
                Some(TokenVerb::Revoke { id }) => {
                    http::delete(globals, &format!("/v1/tokens/{}", http::segment(&id)))?;
                    done(globals, format_args!("revoked token {id}"))
                }
            },
        }
    }
}

fn list(globals: &Globals) -> Result<(), Failure> {
    let members: Members = http::get(globals, "/v1/nodes")?;
    if globals.output == Output::Json {
        return Ok(print_json(&members)?);
    }
    let mut table = Table::new([
        "NODE",
        "DATACENTER",
        "RACK",
        "ADDRESS",
        "VERSION",
        "STATE",
        "VOTES",
        "PARTITIONS",
    ]);
    for member in members.nodes {
        let mut state = member.state.to_string();
        if member.leaving {
            state.push_str(", leaving");
        }
        table.push([
            member.name,
            member.datacenter,
            member.rack,
            member.address,
            member.version.unwrap_or_else(|| "?".to_owned()),
            state,
            if member.voter { "yes" } else { "no" }.to_owned(),
            member.partitions.to_string(),
        ]);
    }
    Ok(output::line(table.to_string().trim_end())?)
}

impl Remove {
    fn run(self, globals: &Globals) -> Result<(), Failure> {
        let Self {
            name,
            lost,
            wait,
            within,
        } = self;
        http::delete(
            globals,
            &format!("/v1/nodes/{}?lost={lost}", http::segment(&name)),
        )?;
        if !wait {
            done(globals, format_args!("{name} is leaving"))?;
            output::note(format_args!(
                "`quorate node list` shows how many partitions it still holds"
            ));
            return Ok(());
        }
        let begun = Instant::now();
        let mut told = None;
        loop {
            let members = http::get::<Members>(globals, "/v1/nodes");
            if begun.elapsed() >= within {
                return Err(Failure::StillLeaving {
                    name: name.into(),
                    partitions: told,
                });
            }
            // The removal goes on, whether or not this node answers just now.
            let Ok(members) = members else {
                std::thread::sleep(LOOK_EVERY);
                continue;
            };
            let Some(member) = members.nodes.iter().find(|member| member.name == name) else {
                return done(globals, format_args!("{name} is out"));
            };
            if told.replace(member.partitions) != Some(member.partitions) {
                let down = if member.state == NodeState::Down {
                    " and is down"
                } else {
                    ""
                };
                output::note(format_args!(
                    "{name} holds {} partitions{down}",
                    member.partitions
                ));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn make_token(globals: &Globals, uses: u32, expires: Duration) -> Result<(), Failure> {
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
        "to join a node, run: QUORATE_TOKEN=TOKEN quorate start --join HOST:PORT   (HOST:PORT is the QUIC address of a member)"
    ));
    Ok(())
}

fn list_tokens(globals: &Globals) -> Result<(), Failure> {
    let tokens: Tokens = http::get(globals, "/v1/tokens")?;
    if globals.output == Output::Json {
        return Ok(print_json(&tokens)?);
    }
    let mut table = Table::new(["ID", "USES LEFT", "EXPIRES (MS SINCE 1970)"]);
    for token in tokens.tokens {
        table.push([
            token.id,
            token
                .uses_left
                .map_or_else(|| "any number".to_owned(), |uses| uses.to_string()),
            token
                .expires
                .map_or_else(|| "never".to_owned(), |at| at.to_string()),
        ]);
    }
    Ok(output::line(table.to_string().trim_end())?)
}
