//! Whole groups in one thread and virtual time.

use std::sync::Arc;
use std::time::Duration;

use quorate_crdt::NodeId;

use super::messages::{Ask, Reply, Request, ServeError};
use super::*;
use crate::state::{Command, CommandRefusal, Response};
use crate::store::StoreError;
use crate::topology::{Epoch, Timing};

mod coordination;
mod counter;
mod groups;
mod world;

use world::{World, admit, found, run};

const SECOND: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_secs(10);

#[test]
fn one_node_founds_a_cluster_and_is_its_leader() {
    run(1, async |mut world: World| {
        let group = world.open(1).await;
        assert_eq!(
            group.propose(&admit(2), SECOND).await,
            Err(ProposeError::NoLeader),
            "before the founding nobody leads"
        );
        let began = tokio::time::Instant::now();
        assert_eq!(
            world.node(1).found(found()).await.unwrap(),
            Response::Admitted { node: NodeId(1) }
        );
        assert!(began.elapsed() < SECOND);
        assert_eq!(
            world.node(1).found(found()).await.unwrap(),
            Response::Refused(CommandRefusal::AlreadyFounded)
        );
        assert_eq!(group.leader(), Some(NodeId(1)));
        let mut topology = group.published();
        topology
            .wait_for(|topology| topology.nodes.len() == 1)
            .await
            .unwrap();
        world.open(2).await;
        assert!(matches!(
            world.node(2).found(found()).await,
            Err(FoundError::NotFirst { node: NodeId(2) })
        ));
    });
}

#[test]
fn the_group_grows_from_one_to_five_and_voters_follow_the_topology() {
    run(2, async |mut world: World| {
        world.grow(5).await;
        for (_, group) in world.groups() {
            let status = group.status();
            assert_eq!(
                (status.voters.len(), status.learners.len()),
                (5, 0),
                "{status:?}"
            );
            assert_eq!(group.read(|state| state.topology().nodes.len()), 5);
        }
    });
}

#[test]
fn a_follower_forwards_to_the_leader() {
    run(3, async |mut world: World| {
        world.grow(3).await;
        let follower = world.group(3);
        assert_eq!(follower.status().role, Role::Follower);
        let response = follower
            .propose(&Command::RevokeToken(crate::state::TokenId(9)), SECOND)
            .await;
        assert_eq!(response, Ok(Response::Done));
        let refused = follower
            .propose(
                &Command::DropKeyspace(crate::topology::KeyspaceId(7)),
                SECOND,
            )
            .await;
        assert!(matches!(
            refused,
            Ok(Response::Refused(CommandRefusal::UnknownKeyspace { .. }))
        ));
    });
}

#[test]
fn a_new_leader_is_elected_within_a_second() {
    run(4, async |mut world: World| {
        world.grow(3).await;
        world.isolate(1);
        let began = tokio::time::Instant::now();
        assert_eq!(
            world.group(2).propose(&admit(9), WAIT).await,
            Ok(Response::Admitted { node: NodeId(4) })
        );
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
        let cut_off = world.group(1).propose(&admit(8), SECOND).await;
        assert!(
            matches!(
                cut_off,
                Err(ProposeError::NoLeader
                    | ProposeError::TimedOut {
                        may_be_applied: true
                    })
            ),
            "{cut_off:?}"
        );
        world.heal();
        world
            .until("all agree", |world| {
                world
                    .groups()
                    .all(|(_, group)| group.published().borrow().nodes.len() == 4)
            })
            .await;
        assert!(
            world
                .group(1)
                .read(|state| state.topology().node_named("n8").is_none()),
            "what the minority was told was not applied"
        );
    });
}

#[test]
fn the_term_of_an_isolated_node_stays() {
    run(5, async |mut world: World| {
        world.grow(3).await;
        let term = world.group(3).status().term;
        world.isolate(3);
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!(world.group(3).status().term, term, "pre-vote");
        world.heal();
        let began = tokio::time::Instant::now();
        world.group(1).propose(&admit(9), SECOND).await.unwrap();
        assert!(
            began.elapsed() < Duration::from_millis(100),
            "nobody was disturbed: {:?}",
            began.elapsed()
        );
        assert_eq!(
            (world.group(1).status().term, world.group(1).status().role),
            (term, Role::Leader)
        );
    });
}

#[test]
fn a_restart_keeps_the_state_and_the_vote() {
    run(6, async |mut world: World| {
        world.grow(3).await;
        let topology = Arc::clone(&world.group(1).published().borrow());
        let term = world.group(1).status().term;
        for node in 1..=3 {
            world.crash(node).await;
        }
        for node in 1..=3 {
            world.open(node).await;
        }
        world
            .until("the state is back", |world| {
                world
                    .groups()
                    .all(|(_, group)| *group.published().borrow() == topology)
            })
            .await;
        world
            .until("a later leader is elected", |world| {
                world.groups().all(|(_, group)| group.status().term > term)
            })
            .await;
        assert_eq!(
            world.group(2).propose(&admit(9), WAIT).await,
            Ok(Response::Admitted { node: NodeId(4) })
        );
    });
}

#[test]
fn a_late_joiner_gets_a_snapshot_of_a_purged_log() {
    run(7, async |mut world: World| {
        world.snapshot_every = 20;
        world.grow(2).await;
        let leader = world.group(1);
        for port in 0..100u16 {
            let quic = format!("127.0.0.1:{}", 2000 + port).into();
            leader
                .propose(
                    &Command::MoveNode {
                        node: NodeId(2),
                        quic,
                    },
                    SECOND,
                )
                .await
                .unwrap();
        }
        world
            .until("the log is purged", |world| !world.has_entry(1, 10))
            .await;
        world.grow(3).await;
        let joined = world.group(3);
        assert_eq!(
            joined.read(|state| Arc::clone(&state.topology().nodes[&NodeId(2)].quic)),
            "127.0.0.1:2099".into()
        );
        assert!(!world.has_entry(3, 10), "it never had the old entries");
        world.crash(3).await;
        let joined = world.open(3).await;
        assert_eq!(
            joined.read(|state| Arc::clone(&state.topology().nodes[&NodeId(2)].quic)),
            "127.0.0.1:2099".into(),
            "the snapshot is there after a restart"
        );
    });
}

#[test]
fn a_removed_node_leaves_the_group() {
    run(8, async |mut world: World| {
        world.grow(4).await;
        let gone = Command::RemoveNode {
            node: NodeId(1),
            lost: true,
        };
        assert_eq!(
            world.group(2).propose(&gone, WAIT).await,
            Ok(Response::Done)
        );
        world
            .until("the others decide without it", |world| {
                let status = world.group(2).status();
                status.voters == [NodeId(2), NodeId(3), NodeId(4)]
                    && status.learners.is_empty()
                    && status.leader != Some(NodeId(1))
            })
            .await;
        assert_eq!(
            world.group(3).propose(&admit(9), WAIT).await,
            Ok(Response::Admitted { node: NodeId(5) })
        );
    });
}

#[test]
fn a_silent_node_is_not_made_a_voter_and_a_gone_one_does_not_stay_one() {
    run(12, async |mut world: World| {
        world.grow(4).await;
        assert_eq!(world.group(1).status().voters, [1, 2, 3].map(NodeId));
        world.isolate(4);
        // Long enough that the leader has noticed.
        tokio::time::sleep(SECOND * 5).await;
        let gone = Command::RemoveNode {
            node: NodeId(3),
            lost: true,
        };
        assert_eq!(
            world.group(1).propose(&gone, WAIT).await,
            Ok(Response::Done)
        );
        world.crash(3).await;
        world
            .until("the two that are left decide", |world| {
                world.group(1).status().voters == [1, 2].map(NodeId)
            })
            .await;
        world.heal();
        world
            .until("node 4 votes when it answers", |world| {
                world.group(2).status().voters == [1, 2, 4].map(NodeId)
            })
            .await;
    });
}

#[test]
fn a_survivor_goes_on_alone_whatever_the_lost_ones_decided() {
    run(13, async |mut world: World| {
        world.grow(3).await;
        // The others decide something that the survivor never hears of.
        world.isolate(1);
        let unheard = world.group(2).propose(&admit(9), WAIT).await;
        assert_eq!(unheard, Ok(Response::Admitted { node: NodeId(4) }));
        let theirs = world.group(2).published().borrow().epoch;
        for node in 1..=3 {
            world.crash(node).await;
        }

        let recovery = world.recovery(1, &[]);
        let names: Vec<_> = recovery
            .given_up()
            .nodes
            .iter()
            .map(|name| &**name)
            .collect();
        assert_eq!(names, ["n2", "n3"]);
        recovery.carry_out().unwrap();
        world.open(1).await;
        world
            .until("the survivor leads alone", |world| {
                let status = world.group(1).status();
                status.role == Role::Leader && status.voters == [NodeId(1)] && !status.joint
            })
            .await;
        let topology = Arc::clone(&world.group(1).published().borrow());
        assert_eq!(topology.nodes.keys().collect::<Vec<_>>(), [&NodeId(1)]);
        assert!(topology.epoch > theirs, "{:?}", topology.epoch);
        // Numbers are not given out again, as far as the survivor knows of them.
        assert_eq!(
            world.group(1).propose(&admit(8), WAIT).await,
            Ok(Response::Admitted { node: NodeId(4) })
        );
    });
}

#[test]
fn what_is_kept_beside_a_survivor_follows_it() {
    run(14, async |mut world: World| {
        world.grow(5).await;
        for node in 1..=5 {
            world.crash(node).await;
        }
        world.recovery(2, &[1]).carry_out().unwrap();
        for node in 1..=2 {
            world.open(node).await;
        }
        world
            .until("both know", |world| {
                world.groups().all(|(_, group)| {
                    let status = group.status();
                    group.published().borrow().nodes.len() == 2
                        && status.leader == Some(NodeId(2))
                        && status.voters == [NodeId(2)]
                })
            })
            .await;
        assert_eq!(
            world.group(1).propose(&admit(9), WAIT).await,
            Ok(Response::Admitted { node: NodeId(6) })
        );
    });
}

#[test]
fn a_recovery_that_is_only_planned_changes_nothing() {
    run(15, async |mut world: World| {
        world.grow(3).await;
        let topology = Arc::clone(&world.group(1).published().borrow());
        for node in 1..=3 {
            world.crash(node).await;
        }
        drop(world.recovery(1, &[]));
        for node in 1..=3 {
            world.open(node).await;
        }
        world
            .until("all is as before", |world| {
                world
                    .groups()
                    .all(|(_, group)| *group.published().borrow() == topology)
            })
            .await;
    });
}

#[test]
fn a_restored_directory_does_not_vote() {
    run(16, async |mut world: World| {
        world.grow(3).await;
        world.crash(1).await;
        let backup = world.backup(1);
        world.open(1).await;
        world
            .until("node 1 is trusted", |world| {
                world.group(1).status().standing == VoteTrust::Trusted
            })
            .await;
        world.crash(1).await;
        world.restore(1, backup);
        world.open(1).await;
        world
            .until("somebody objects", |world| {
                world.group(1).status().standing == VoteTrust::Forgetful
            })
            .await;
        // With one more node gone there is no majority that can vote.
        let other = world.group(1).leader().map_or(2, |leader| leader.0);
        world.crash(other).await;
        let alone = world.group(1).propose(&admit(9), SECOND * 3).await;
        assert!(alone.is_err(), "{alone:?}");
        // Another start does not help: the node knows what it is.
        world.crash(1).await;
        world.open(1).await;
        assert_eq!(world.group(1).status().standing, VoteTrust::Forgetful);
        world.open(other).await;
        assert_eq!(
            world.group(1).propose(&admit(9), WAIT).await,
            Ok(Response::Admitted { node: NodeId(4) })
        );
    });
}

#[test]
fn a_copy_that_runs_beside_the_original_is_objected_to_and_the_original_is_not() {
    run(17, async |mut world: World| {
        world.grow(3).await;
        world.crash(1).await;
        let copy = world.backup(1);
        world.open(1).await;
        let trusted = |world: &World| world.group(1).status().standing == VoteTrust::Trusted;
        world.until("node 1 is trusted", trusted).await;
        world.crash(1).await;
        let original = world.backup(1);
        world.restore(1, copy);
        world.open(1).await;
        world
            .until("the copy is found out", |world| {
                world.group(1).status().standing == VoteTrust::Forgetful
            })
            .await;
        world.crash(1).await;
        world.restore(1, original);
        world.open(1).await;
        world.until("the original is trusted", trusted).await;
    });
}

#[test]
fn garbage_is_answered_with_an_error() {
    run(9, async |mut world: World| {
        world.grow(3).await;
        let group = world.node(2);
        let genuine = world.last_request();
        for cut in 0..genuine.len() {
            let answer = group.serve(NodeId(1), genuine.slice(..cut)).await;
            assert!(
                matches!(
                    codec::decode(&answer),
                    Ok(Reply::Failed(ServeError::Malformed))
                ),
                "cut at {cut}"
            );
        }
        for noise in 0..=u8::MAX {
            let bytes: Vec<u8> = (0..64u8).map(|n| n.wrapping_mul(31) ^ noise).collect();
            assert!(!group.serve(NodeId(1), bytes.into()).await.is_empty());
        }
        let answer = group.serve(NodeId(77), genuine).await;
        assert!(matches!(
            codec::decode(&answer),
            Ok(Reply::Failed(ServeError::Impostor))
        ));
        assert_eq!(
            world.group(1).propose(&admit(9), SECOND).await,
            Ok(Response::Admitted { node: NodeId(4) }),
            "all are well"
        );
    });
}

#[test]
fn a_member_reports_only_for_itself() {
    run(9, async |mut world: World| {
        world.grow(3).await;
        let leader = world.group(1).leader().unwrap();
        let from = NodeId(if leader == NodeId(3) { 2 } else { 3 });
        let group = world.node(leader.0);
        for (node, expected) in [(leader, false), (from, true)] {
            let quic: Arc<str> = "10.0.0.9:1".into();
            let command = Command::MoveNode {
                node,
                quic: Arc::clone(&quic),
            };
            let ask = Ask::Propose {
                commands: vec![codec::encode(&command).unwrap()],
                timeout: SECOND,
            };
            let request = Request::Group(GroupId::TOPOLOGY, ask);
            let answer = group.serve(from, codec::encode(&request).unwrap()).await;
            let reply = codec::decode::<Reply>(&answer).unwrap();
            let moved = group
                .topology()
                .read(|state| state.topology().nodes[&node].quic == quic);
            assert_eq!(
                (matches!(reply, Reply::Proposed(_)), moved),
                (expected, expected)
            );
        }
    });
}

#[test]
fn damage_in_the_log_is_found_at_the_start() {
    run(10, async |mut world: World| {
        world.grow(1).await;
        world.crash(1).await;
        world.damage(1);
        let damaged = world.try_open(1).await;
        assert!(
            matches!(damaged, Err(OpenError::Store(StoreError::Damaged { .. }))),
            "{damaged:?}"
        );
    });
}

#[test]
fn a_topology_is_published_only_when_it_is_durable() {
    run(11, async |mut world: World| {
        world.grow(1).await;
        let group = world.group(1);
        let published = group.published().borrow().epoch;
        world.hold_commits(true);
        assert!(matches!(
            group.propose(&admit(9), SECOND).await,
            Err(ProposeError::TimedOut {
                may_be_applied: true
            })
        ));
        assert_eq!(group.published().borrow().epoch, published);
        world.hold_commits(false);
        world
            .until("it is decided after all", |world| {
                world.group(1).published().borrow().epoch > published
            })
            .await;
    });
}

#[test]
fn bad_settings_are_refused() {
    let good = ConsensusConfig::new(NodeId(1), 7);
    assert_eq!(good.validate(), Ok(()));
    assert_eq!(
        ConsensusConfig {
            snapshot_every: 0,
            ..good.clone()
        }
        .validate(),
        Err(ConsensusConfigError::Snapshot)
    );
    let engine = good.engine(Timing::NEAR);
    assert_eq!(
        (
            engine.enable_pre_vote,
            engine.enable_leader_restore,
            engine.allow_log_reversion
        ),
        (Some(true), Some(false), Some(false))
    );
}

/// What a run with this seed looks like from outside: every message, in order, with its virtual
/// time.
fn trace(seed: u64) -> Vec<String> {
    run(seed, async |mut world: World| {
        world.grow(3).await;
        for round in 0..3 {
            let leader = world
                .groups()
                .find_map(|(_, group)| group.leader())
                .unwrap();
            world.isolate(leader.0);
            let other = if leader.0 == 1 { 2 } else { 1 };
            world
                .group(other)
                .propose(&admit(10 + round), WAIT)
                .await
                .unwrap();
            world.heal();
            let nodes = 4 + round as usize;
            world
                .until("all agree", |world| {
                    world
                        .groups()
                        .all(|(_, group)| group.published().borrow().nodes.len() == nodes)
                })
                .await;
        }
        assert!(world.group(1).published().borrow().epoch > Epoch(0));
        world.trace()
    })
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let first = trace(41);
    assert!(first.len() > 100);
    assert_eq!(first, trace(41));
    assert_ne!(first, trace(42));
}
