//! `quorate node`: lists, drains, removes and recovers nodes, changes their keys, and makes, lists
//! and revokes join tokens.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cluster::{done, print_json};
use super::fail::Failure;
use super::globals::{Globals, time};
use super::http;
use super::output::{self, Output};
use super::recover::{self, Recover};
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
    /// Move all partitions away from a node. It stays a member that holds nothing and does not
    /// vote, and can be stopped for as long as you like.
    #[command(
        after_help = "Examples:\n  quorate node drain c --wait     then stop c and service its machine\n  quorate node drain c --undo     c holds partitions again"
    )]
    Drain(Drain),
    /// Give the node that is asked another key. The former one opens nothing any more.
    #[command(
        after_help = "Example: quorate node rotate-key --http 10.0.0.3:7380     the node that answers there"
    )]
    RotateKey,
    /// Go on from one survivor when a majority of the voters is lost for good. Offline.
    #[command(after_help = recover::EXAMPLES)]
    Recover(Recover),
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
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, Args)]
pub(super) struct Drain {
    /// Its name.
    name: String,
    /// Let the node hold partitions again.
    #[arg(long, conflicts_with = "wait")]
    undo: bool,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, Args)]
struct Patience {
    /// Return only when the node holds nothing any more, and has no vote.
    #[arg(long)]
    wait: bool,
    /// The longest time that `--wait` waits; partitions continue to move after that.
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
struct KeyChanged {
    name: String,
    key: String,
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
            Self::Drain(drain) => drain.run(globals),
            Self::RotateKey => rotate_key(globals),
            Self::Recover(recover) => recover.run(globals),
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
        } else if member.drained {
            state.push_str(", drained");
        }
        if member.witness {
            state.push_str(", witness");
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
            patience,
        } = self;
        http::delete(
            globals,
            &format!("/v1/nodes/{}?lost={lost}", http::segment(&name)),
        )?;
        if patience.wait {
            patience.until_empty(globals, &name, |member| member.is_none())?;
            return done(globals, format_args!("{name} is out"));
        }
        done(globals, format_args!("{name} is leaving"))?;
        say_how_to_watch();
        Ok(())
    }
}

impl Drain {
    fn run(self, globals: &Globals) -> Result<(), Failure> {
        let Self {
            name,
            undo,
            patience,
        } = self;
        http::patch(
            globals,
            &format!("/v1/nodes/{}", http::segment(&name)),
            &json!({ "drained": !undo }),
        )?;
        if undo {
            return done(globals, format_args!("{name} holds partitions again"));
        }
        if patience.wait {
            // With its vote it would still count against the majority when it is stopped.
            let idle = |member: &Member| member.partitions == 0 && !member.voter;
            let empty = |member: Option<&Member>| member.is_none_or(idle);
            patience.until_empty(globals, &name, empty)?;
            return done(globals, format_args!("{name} is drained"));
        }
        done(globals, format_args!("{name} is being drained"))?;
        say_how_to_watch();
        Ok(())
    }
}

fn say_how_to_watch() {
    output::note(format_args!(
        "`quorate node list` shows how many partitions it still holds"
    ));
}

impl Patience {
    /// Waits until what is listed of the node is what is wanted; `None` if it is no longer a
    /// member.
    fn until_empty(
        &self,
        globals: &Globals,
        name: &str,
        wanted: impl Fn(Option<&Member>) -> bool,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut told = None;
        loop {
            let members = http::get::<Members>(globals, "/v1/nodes");
            if begun.elapsed() >= self.within {
                return Err(Failure::StillMoving {
                    name: name.into(),
                    left: told
                        .unwrap_or_else(|| "may still hold partitions".to_owned())
                        .into(),
                });
            }
            // The partitions move on, whether or not this node answers just now.
            if let Ok(members) = members {
                let member = members.nodes.iter().find(|member| member.name == name);
                if wanted(member) {
                    return Ok(());
                }
                if let Some(member) = member {
                    say_progress(member, &mut told);
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Tells what the node has not given up, if that has changed.
fn say_progress(member: &Member, told: &mut Option<String>) {
    let now = left(member);
    if told.as_ref() != Some(&now) {
        output::note(format_args!("{} {now}", member.name));
        *told = Some(now);
    }
}

fn left(member: &Member) -> String {
    let held = match (member.partitions, member.voter) {
        (0, true) => "holds no partitions and still votes".to_owned(),
        (count, _) => format!("holds {count} partitions"),
    };
    match member.state {
        NodeState::Down if member.leaving => format!(
            "{held} and is down: if its disk is gone, give it up with `quorate node remove {} --lost`",
            member.name
        ),
        NodeState::Down => format!("{held} and is down"),
        NodeState::Alive | NodeState::Suspect => held,
    }
}

fn rotate_key(globals: &Globals) -> Result<(), Failure> {
    let changed: KeyChanged = http::post(globals, "/v1/key", &json!({}))?;
    if globals.output == Output::Json {
        return Ok(print_json(&changed)?);
    }
    let KeyChanged { name, key } = changed;
    Ok(output::line(format_args!("{name} has the key {key}"))?)
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
