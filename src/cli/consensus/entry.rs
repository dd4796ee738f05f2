//! The verbs by which clusters begin and nodes come in. A node comes in by starting, on its own
//! machine, so they say how to start it.

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use crate::cli::fail::Failure;
use crate::cli::globals::Globals;
use crate::cli::http;
use crate::cli::output::{self, Output};
use crate::doors::{Member, NodeState};

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The name of the first node.
    #[arg(long, value_name = "NAME", default_value = "a")]
    node: String,
}

#[derive(Debug, Args)]
pub(super) struct Enter {
    /// The name of the new node.
    #[arg(long, value_name = "NAME", default_value = "NAME")]
    node: String,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("kind"))]
pub(super) struct AddNode {
    #[command(flatten)]
    enter: Enter,
    /// Does nothing: the cluster chooses its voters, as many as an odd number of nodes allows.
    #[arg(long, group = "kind")]
    voter: bool,
    /// Does nothing: a node that does not vote follows, and is ready to vote.
    #[arg(long, group = "kind")]
    learner: bool,
}

/// What a newcomer is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Anything,
    Voting,
}

#[derive(Deserialize)]
struct Made {
    token: String,
}

#[derive(Deserialize)]
struct Members {
    nodes: Vec<Member>,
}

impl Init {
    pub(super) fn run(&self, globals: &Globals) -> Result<(), Failure> {
        let node = &self.node;
        say(
            globals,
            &format!("quorate start --found --node {node} --data-dir ./{node}"),
        )?;
        output::note(format_args!(
            "a cluster begins with its first node: run this on its machine"
        ));
        Ok(())
    }
}

impl Enter {
    pub(super) fn run(&self, globals: &Globals) -> Result<(), Failure> {
        self.admit(globals, Purpose::Anything)
    }

    pub(super) fn run_as_witness(&self, globals: &Globals) -> Result<(), Failure> {
        self.admit(globals, Purpose::Voting)
    }

    /// Makes a token for one node and says how to start it.
    fn admit(&self, globals: &Globals, purpose: Purpose) -> Result<(), Failure> {
        let members: Members = http::get(globals, "/v1/nodes")?;
        let answers = |member: &&Member| member.state == NodeState::Alive && !member.leaving;
        let addresses = members.nodes.iter().filter(answers);
        let addresses: Vec<&str> = addresses.map(|member| &*member.address).collect();
        let made = json!({ "uses": 1, "expires_s": 24 * 60 * 60 });
        let Made { token } = http::post(globals, "/v1/tokens", &made)?;
        let (node, members) = (&self.node, addresses.join(","));
        let witness = match purpose {
            Purpose::Anything => "",
            Purpose::Voting => " --witness",
        };
        say(
            globals,
            &format!(
                "quorate start --node {node} --data-dir ./{node}{witness} --join {members} --token {token}"
            ),
        )?;
        output::note(format_args!(
            "run this on the machine of the new node, with its --datacenter and its --quic address; the token admits one node within a day"
        ));
        Ok(())
    }
}

impl AddNode {
    pub(super) fn run(&self, globals: &Globals) -> Result<(), Failure> {
        self.enter.run(globals)?;
        if self.voter || self.learner {
            output::note(format_args!(
                "the cluster chooses which nodes vote: one, three, five or seven, spread over datacenters and racks"
            ));
        }
        Ok(())
    }
}

/// The command to run.
fn say(globals: &Globals, command: &str) -> Result<(), Failure> {
    match globals.output {
        Output::Table => output::line(command)?,
        Output::Json => output::line(json!({ "command": command }))?,
    }
    Ok(())
}
