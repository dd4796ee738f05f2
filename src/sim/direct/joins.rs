//! Drills on joining, on keys, and on who may say what to the control group.

use quorate_control::state::{
    Command, CommandRefusal, ControlState, LogIndex, NewToken, NodeSpec, Response, TokenId,
};
use quorate_crdt::{NodeId, Secret};
use quorate_gossip::quic::holds;
use quorate_gossip::token::JoinToken;
use quorate_gossip::transport::{Expected, JoinRefusal, JoinRequest};

use super::drill::{Drills, Verdict, holds as so};
use crate::sim::cluster::{TOKEN, founding, key_of};
use crate::sim::{Layout, Simulation, run};

pub(super) const DRILLS: Drills = &[
    (
        "token-use-counted-twice",
        "token-opens-too-few",
        asked_twice,
    ),
    ("removed-key-connects", "removed-node-believed", removed),
    ("old-key-kept", "changed-key-believed", changed),
    ("key-of-another", "key-of-two-nodes", borrowed),
    ("join-unsigned", "join-without-token", guessed),
    ("refused-join-proposed", "refusal-in-the-log", refused),
    ("unfit-admitted", "unfit-member", unfit),
    ("reports-for-others", "moved-by-another", slandered),
];

fn spec(number: usize) -> NodeSpec {
    NodeSpec {
        name: format!("n{number}").into(),
        datacenter: "dc1".into(),
        rack: "rack1".into(),
        quic: format!("10.0.0.{}:7381", number + 1).into(),
        key: key_of(number),
        durable: true,
        witness: false,
    }
}

/// What comes of commands on a cluster that has just been founded.
fn decided(commands: impl IntoIterator<Item = Command>) -> (ControlState, Vec<Response>) {
    let mut state = ControlState::default();
    let mut answers = Vec::new();
    let all = [founding(1, spec(0))].into_iter().chain(commands);
    for (index, command) in (1..).zip(all) {
        answers.push(state.apply(LogIndex(index), command));
    }
    (state, answers)
}

fn admit(token: u64, number: usize) -> Command {
    Command::Admit {
        token: TokenId(token),
        node: spec(number),
        replaces: None,
        at_ms: 0,
    }
}

/// A token for two nodes admits two, also if the first one has asked twice.
fn asked_twice() -> Verdict {
    let token = Command::CreateToken(NewToken {
        id: TokenId(7),
        verifier: Secret::default(),
        uses: Some(2),
        expires_ms: None,
    });
    let (_, answers) = decided([token, admit(7, 1), admit(7, 1), admit(7, 2)]);
    so(
        answers.last() == Some(&Response::Admitted { node: NodeId(3) }),
        format!("the second node is told {:?}", answers.last()),
    )
}

/// Nobody is a member by the key of a removed node.
fn removed() -> Verdict {
    let remove = Command::RemoveNode {
        node: NodeId(2),
        lost: true,
    };
    let (state, _) = decided([admit(TOKEN, 1), remove]);
    let member = state.topology().node_of(&key_of(1));
    so(member.is_none(), format!("its key is that of {member:?}"))
}

fn offer(node: u64, number: usize) -> Command {
    Command::OfferKey {
        node: NodeId(node),
        key: key_of(number),
    }
}

/// Both keys are the node's until it has said that it shows the new one, and then no other is.
fn changed() -> Verdict {
    let node = NodeId(2);
    let key = key_of(9);
    let (state, _) = decided([admit(TOKEN, 1), offer(2, 9)]);
    let owner = |state: &ControlState, number| state.topology().node_of(&key_of(number));
    so(
        owner(&state, 1) == Some(node) && owner(&state, 9) == Some(node),
        "a node that changes its key is locked out",
    )?;
    let change = || Command::ChangeKey { node, key };
    let (state, _) = decided([admit(TOKEN, 1), offer(2, 9), change()]);
    so(
        owner(&state, 1).is_none(),
        format!("its old key is that of {:?}", owner(&state, 1)),
    )?;
    let (state, answers) = decided([admit(TOKEN, 1), offer(2, 9), change(), change()]);
    so(
        answers.last() == Some(&Response::Done) && owner(&state, 9) == Some(node),
        format!("the node is told {:?}", answers.last()),
    )
}

/// Nobody can announce the key of another member.
fn borrowed() -> Verdict {
    let (_, answers) = decided([admit(TOKEN, 1), offer(2, 0)]);
    let refused = Response::Refused(CommandRefusal::KeyTaken { node: NodeId(1) });
    so(
        answers.last() == Some(&refused),
        format!("the node is told {:?}", answers.last()),
    )
}

/// Whoever knows only the number of a token does not hold it.
fn guessed() -> Verdict {
    let token = JoinToken::new(1, 7, [1; 16]);
    let guess = JoinToken::new(1, 7, [2; 16]);
    so(
        holds(&token.verifier(), &token) && !holds(&token.verifier(), &guess),
        "a member takes a guess for the token",
    )
}

/// What a newcomer says.
fn request(number: usize) -> JoinRequest {
    JoinRequest {
        token: TOKEN,
        name: format!("n{number}").into(),
        datacenter: "dc1".into(),
        rack: "rack1".into(),
        quic: spec(number).quic,
        durable: true,
        witness: false,
        replaces: None,
        expects: Expected::default(),
    }
}

/// A join that is refused leaves nothing in the log.
fn refused() -> Verdict {
    let (checked, _) = run(1, Layout::new(1, 1), async |cluster| {
        let founder = NodeId(1);
        let last_log = |cluster: &Simulation| {
            let host = cluster.hosts.get(&founder)?;
            host.started(|started| started.control().last_log)
        };
        let before = last_log(cluster);
        let name = cluster
            .data(founder)
            .and_then(|data| Some(data.topology().nodes.get(&founder)?.name.clone()))
            .ok_or("the founder is up")?;
        for number in 1..20 {
            let request = JoinRequest {
                name: name.clone(),
                ..request(number)
            };
            let answer = cluster.network.join(founder, key_of(number), request).await;
            so(
                answer == Err(JoinRefusal::NameTaken),
                format!("the newcomer is told {answer:?}"),
            )?;
        }
        let after = last_log(cluster);
        so(
            before == after,
            format!("the log has grown from {before:?} to {after:?}"),
        )
    })
    .map_err(|error| error.to_string())?;
    checked
}

/// A newcomer that would not start in the cluster does not become a member of it.
fn unfit() -> Verdict {
    let (checked, _) = run(1, Layout::new(1, 1), async |cluster| {
        let founder = NodeId(1);
        let topology = cluster.data(founder).ok_or("the founder is up")?.topology();
        let partitions = topology.usual_partitions().ok_or("it is founded")?;
        let (others, users) = (
            Expected {
                partitions: Some(2 * partitions),
                users: false,
            },
            Expected {
                partitions: Some(partitions),
                users: true,
            },
        );
        for (expects, refusal) in [
            (
                others,
                JoinRefusal::OtherPartitions {
                    partitions,
                    told: 2 * partitions,
                },
            ),
            (users, JoinRefusal::NoUsers),
        ] {
            let request = JoinRequest {
                expects,
                ..request(1)
            };
            let answer = cluster.network.join(founder, key_of(1), request).await;
            so(
                answer == Err(refusal),
                format!("a newcomer that expects {expects:?} is told {answer:?}"),
            )?;
        }
        Ok::<(), String>(())
    })
    .map_err(|error| error.to_string())?;
    checked
}

/// A node cannot say that another one has moved. The leader is told; what it is, it knows itself.
fn slandered() -> Verdict {
    let (checked, _) = run(1, Layout::new(1, 3), async |cluster| {
        let leader = cluster
            .hosts
            .values()
            .find_map(|host| host.started(|started| started.control().leader).flatten())
            .ok_or("somebody leads")?;
        for (_, host) in cluster.hosts.iter().filter(|(node, _)| **node != leader) {
            let quic = "10.9.9.9:1".into();
            let command = Command::MoveNode { node: leader, quic };
            let proposed = host.started(|started| started.propose(command));
            let answer = proposed.ok_or("it is up")?.await;
            so(
                !matches!(answer, Ok(Response::Done)),
                "a node has moved the leader to another address",
            )?;
        }
        Ok::<(), String>(())
    })
    .map_err(|error| error.to_string())?;
    checked
}
