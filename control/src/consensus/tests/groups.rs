//! A second group beside the topology, whose voters are those of the topology group.

use std::time::Duration;

use quorate_crdt::NodeId;
use tokio::time::{Instant, sleep};

use super::counter::Count;
use super::world::{World, admit, run};
use super::*;
use crate::state::LogIndex;

/// Grows a cluster and waits until the voters of its topology group vote in the counter's too.
async fn grown(world: &mut World, nodes: u64) {
    world.grow(nodes).await;
    settled(world, &voters(world)).await;
}

fn voters(world: &World) -> Vec<NodeId> {
    let (_, group) = world.groups().next().unwrap();
    group.published().borrow().voters().collect()
}

async fn settled(world: &World, voters: &[NodeId]) {
    world
        .until("the counter has the voters of the topology", |world| {
            world.counters().all(|(node, counter)| {
                let status = counter.status();
                if voters.contains(&NodeId(node)) {
                    status.voters == voters && status.learners.is_empty() && !status.joint
                } else {
                    status.role == Role::Absent && world.counted_records(node) == 0
                }
            })
        })
        .await;
}

#[test]
fn a_second_group_has_the_same_voters_and_other_nodes_keep_nothing_of_it() {
    run(21, async |mut world: World| {
        grown(&mut world, 4).await;
        assert_eq!(voters(&world), [1, 2, 3].map(NodeId));
        // Also from the node that has no part in it.
        for (node, counter) in world.counters() {
            let added = counter.propose(&Count::Add(7, 1), WAIT).await;
            assert_eq!(added, Ok(node), "node {node}");
        }
        for (node, counter) in world.counters() {
            for level in [ReadLevel::Strong, ReadLevel::Lease] {
                let sum = counter.query(&7, level, WAIT).await;
                assert_eq!(sum, Ok(4), "node {node}, {level:?}");
            }
        }
        assert_eq!(world.counted_records(4), 0);
        assert!(world.counted_records(3) > 0);
        assert_eq!(world.group(1).read(|state| state.topology().nodes.len()), 4);
    });
}

#[test]
fn the_voters_of_a_group_follow_and_whoever_leaves_forgets_it() {
    run(22, async |mut world: World| {
        grown(&mut world, 4).await;
        world
            .counter(4)
            .propose(&Count::Add(1, 5), WAIT)
            .await
            .unwrap();
        let drained = Command::DrainNode {
            node: NodeId(2),
            drained: true,
        };
        world.group(1).propose(&drained, WAIT).await.unwrap();
        settled(&world, &[1, 3, 4].map(NodeId)).await;
        assert_eq!(
            world.counted_records(2),
            0,
            "node 2 has forgotten the group"
        );
        assert_eq!(
            world.counter(2).query(&1, ReadLevel::Strong, WAIT).await,
            Ok(5)
        );
        // Back again, with the vote that it has kept and nothing else.
        let back = Command::DrainNode {
            node: NodeId(2),
            drained: false,
        };
        world.group(1).propose(&back, WAIT).await.unwrap();
        let drained = Command::DrainNode {
            node: NodeId(4),
            drained: true,
        };
        world.group(1).propose(&drained, WAIT).await.unwrap();
        settled(&world, &[1, 2, 3].map(NodeId)).await;
        assert_eq!(
            world.counter(2).query(&1, ReadLevel::Strong, WAIT).await,
            Ok(5)
        );
    });
}

#[test]
fn a_node_that_leads_two_groups_gives_the_signs_of_life_of_both_at_once() {
    run(30, async |mut world: World| {
        grown(&mut world, 3).await;
        let leads = (world.group(1).leader(), world.counter(1).leader());
        assert_eq!(leads, (Some(NodeId(1)), Some(NodeId(1))));
        let terms = (world.group(2).status().term, world.counter(2).status().term);
        sleep(SECOND).await;
        let before = world.trace().len();
        sleep(10 * SECOND).await;
        let requests = world.trace().len() - before;
        // Every 50 ms to each of the two others, for both groups.
        assert!((390..=410).contains(&requests), "{requests} requests");
        let now = (world.group(2).status().term, world.counter(2).status().term);
        assert_eq!(now, terms, "nobody stood for election");
    });
}

#[test]
fn both_groups_come_back_after_a_restart_of_all() {
    run(23, async |mut world: World| {
        grown(&mut world, 3).await;
        for _ in 0..50 {
            world
                .counter(2)
                .propose(&Count::Add(1, 1), WAIT)
                .await
                .unwrap();
        }
        for node in 1..=3 {
            world.crash(node).await;
        }
        for node in 1..=3 {
            world.open(node).await;
        }
        let sum = world.counter(3).query(&1, ReadLevel::Strong, WAIT).await;
        assert_eq!(sum, Ok(50));
        assert_eq!(
            world.group(2).propose(&admit(9), WAIT).await,
            Ok(Response::Admitted { node: NodeId(4) })
        );
    });
}

#[test]
fn commands_that_wait_travel_together_and_each_has_its_own_outcome() {
    run(24, async |mut world: World| {
        grown(&mut world, 3).await;
        let before = world.counter(1).status().last_log;
        let proposed: Vec<_> = (0..500_u64)
            .map(|_| tokio::spawn(world.counter(3).propose(&Count::Add(1, 1), WAIT)))
            .collect();
        let mut sums = Vec::new();
        for each in proposed {
            sums.push(each.await.unwrap().unwrap());
        }
        sums.sort_unstable();
        assert_eq!(sums, (1..=500).collect::<Vec<_>>());
        let leader = world.counter(3).leader().unwrap();
        let counter = world.counter(leader.0);
        assert_eq!(counter.status().last_log.0 - before.0, 500);
        let times = counter.commit_times();
        assert!(times.batches < 100, "{times:?}");
    });
}

#[test]
fn a_strong_read_on_a_side_without_a_majority_is_not_answered() {
    run(25, async |mut world: World| {
        grown(&mut world, 3).await;
        let leader = world.counter(1).leader().unwrap();
        let other = if leader == NodeId(1) { 2 } else { 1 };
        let (cut_off, counter) = (world.counter(leader.0), world.counter(other));
        counter.propose(&Count::Add(1, 1), WAIT).await.unwrap();
        world.isolate(leader.0);
        assert_eq!(counter.propose(&Count::Add(1, 1), WAIT).await, Ok(2));
        for level in [ReadLevel::Strong, ReadLevel::Lease] {
            let read = cut_off.query(&1, level, SECOND).await;
            assert!(
                matches!(read, Err(QueryError::NoLeader | QueryError::TimedOut)),
                "{level:?}: {read:?}"
            );
            assert_eq!(counter.query(&1, level, WAIT).await, Ok(2));
        }
        let stale = |within| cut_off.query(&1, ReadLevel::Stale { within }, WAIT);
        assert_eq!(stale(None).await, Ok(1));
        // It was as fresh once; and nobody can show that it still is.
        sleep(WAIT).await;
        let refused = stale(Some(WAIT)).await;
        assert!(
            matches!(refused, Err(QueryError::TooStale { within: WAIT, .. })),
            "{refused:?}"
        );
        let proposed = cut_off.propose(&Count::Add(1, 1), SECOND).await;
        assert!(
            matches!(
                proposed,
                Err(ProposeError::NoLeader | ProposeError::TimedOut { .. })
            ),
            "{proposed:?}"
        );
    });
}

/// While the pace gets faster, followers change at once and the leader later.
#[test]
fn a_leader_at_a_slower_pace_than_its_followers_answers_no_old_read_by_its_lease() {
    run(37, async |mut world: World| {
        grown(&mut world, 3).await;
        let leader = world.counter(1).leader().unwrap();
        let other = if leader == NodeId(1) { 2 } else { 1 };
        let (slow, counter) = (world.counter(leader.0), world.counter(other));
        slow.part.engine.change_pace(Timing::of(SECOND)).await;
        assert_eq!(slow.hand_over(Some(leader), WAIT).await, Ok(leader));
        assert_eq!(slow.propose(&Count::Add(1, 1), WAIT).await, Ok(1));
        let read = slow.query(&1, ReadLevel::Lease, WAIT).await;
        assert_eq!(
            read,
            Ok(1),
            "also when the next sign of life is long in coming"
        );
        world.isolate(leader.0);
        assert_eq!(counter.propose(&Count::Add(1, 1), WAIT).await, Ok(2));
        let read = slow.query(&1, ReadLevel::Lease, SECOND).await;
        assert!(
            matches!(read, Err(QueryError::NoLeader | QueryError::TimedOut)),
            "{read:?}"
        );
    });
}

#[test]
fn a_lease_runs_out_by_the_time_of_the_group_and_lasts_its_whole_time() {
    run(26, async |mut world: World| {
        grown(&mut world, 3).await;
        let counter = world.counter(1);
        let mut events = counter.events();
        sleep(SECOND).await;
        let idle = counter.status().last_log;
        sleep(SECOND).await;
        assert_eq!(counter.status().last_log, idle, "nobody waits for time");
        counter
            .propose(&Count::Lease { ms: 1500 }, WAIT)
            .await
            .unwrap();
        let began = Instant::now();
        events.recv().await.unwrap();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(1490), "{took:?}");
        assert!(took < Duration::from_millis(1800), "{took:?}");
    });
}

#[test]
fn a_lease_begins_anew_under_another_leader() {
    run(27, async |mut world: World| {
        grown(&mut world, 3).await;
        let leader = world.counter(1).leader().unwrap();
        let other = if leader == NodeId(1) { 2 } else { 1 };
        let counter = world.counter(other);
        let mut events = counter.events();
        counter
            .propose(&Count::Lease { ms: 2000 }, WAIT)
            .await
            .unwrap();
        sleep(Duration::from_millis(1500)).await;
        world.isolate(leader.0);
        let cut_off = Instant::now();
        events.recv().await.unwrap();
        let took = cut_off.elapsed();
        assert!(took >= Duration::from_secs(2), "{took:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
    });
}

fn heartbeats(world: &World) -> Vec<Duration> {
    let agreed = world
        .groups()
        .map(|(_, group)| group.published().borrow().timing.heartbeat());
    let run = world.groups().map(|(_, group)| group.timing().heartbeat());
    let counted = world
        .counters()
        .map(|(_, counter)| counter.timing().heartbeat());
    agreed.chain(run).chain(counted).collect()
}

#[test]
fn the_pace_follows_the_network_and_both_groups_go_on_deciding() {
    run(28, async |mut world: World| {
        grown(&mut world, 3).await;
        let millis = Duration::from_millis;
        assert_eq!(heartbeats(&world), [millis(50); 9]);
        // The nodes are moved apart: no append is answered within three quarters of a heartbeat.
        world.set_hop(millis(75));
        world
            .until("all are slower", |world| {
                heartbeats(world) == [millis(400); 9]
            })
            .await;
        for (node, counter) in world.counters() {
            assert_eq!(counter.propose(&Count::Add(1, 1), WAIT).await, Ok(node));
        }
        let term = world.group(1).status().term;
        sleep(SECOND * 30).await;
        assert_eq!(world.group(1).status().term, term, "nobody is disturbed");
        // And together again.
        world.set_hop(millis(2));
        sleep(SECOND * 70).await;
        world
            .until("all are fast again", |world| {
                heartbeats(world) == [millis(50); 9]
            })
            .await;
        assert_eq!(
            world.counter(1).propose(&Count::Add(1, 1), WAIT).await,
            Ok(4)
        );
    });
}

#[test]
fn a_node_far_away_joins() {
    run(29, async |mut world: World| {
        world.set_hop(Duration::from_millis(150));
        grown(&mut world, 3).await;
        assert_eq!(
            world.counter(3).propose(&Count::Add(1, 1), WAIT).await,
            Ok(1)
        );
    });
}

#[test]
fn the_leadership_is_handed_over_without_a_pause() {
    run(30, async |mut world: World| {
        grown(&mut world, 4).await;
        let leader = world.counter(1).leader().unwrap();
        let heir = NodeId(1 + leader.0 % 3);
        // Asked from the node without a part in the group.
        let counter = world.counter(4);
        counter.propose(&Count::Add(1, 1), WAIT).await.unwrap();
        let began = Instant::now();
        assert_eq!(counter.hand_over(Some(heir), WAIT).await, Ok(heir));
        assert_eq!(counter.propose(&Count::Add(1, 1), WAIT).await, Ok(2));
        let took = began.elapsed();
        assert!(took < Duration::from_millis(200), "{took:?}");
        let node = NodeId(4);
        let to_a_stranger = counter.hand_over(Some(node), WAIT).await;
        assert_eq!(to_a_stranger, Err(HandOverError::NotAVoter { node }));
        let anybody = counter.hand_over(None, WAIT).await.unwrap();
        assert_ne!(anybody, heir);
        assert_eq!(counter.propose(&Count::Add(1, 1), WAIT).await, Ok(3));
    });
}

#[test]
fn the_leadership_is_not_handed_to_a_voter_that_lacks_entries() {
    run(31, async |mut world: World| {
        grown(&mut world, 3).await;
        let leader = world.counter(1).leader().unwrap();
        let node = NodeId(1 + leader.0 % 3);
        let counter = world.counter(leader.0);
        world.isolate(node.0);
        counter.propose(&Count::Add(1, 1), WAIT).await.unwrap();
        let refused = counter.hand_over(Some(node), SECOND).await;
        assert_eq!(refused, Err(HandOverError::Behind { node, entries: 1 }));
        assert_eq!(counter.propose(&Count::Add(1, 1), SECOND).await, Ok(2));
        assert_eq!(counter.leader(), Some(leader));
    });
}

#[test]
fn an_operator_sees_how_far_everybody_is() {
    run(32, async |mut world: World| {
        world.snapshot_every = 20;
        grown(&mut world, 3).await;
        let leader = world.counter(1).leader().unwrap();
        let counter = world.counter(leader.0);
        for number in 0..100 {
            counter.propose(&Count::Add(1, number), WAIT).await.unwrap();
        }
        sleep(SECOND).await;
        let (details, status) = (counter.details(), counter.status());
        assert_eq!(details.committed, status.last_log);
        assert!(details.first_log > LogIndex(50), "{details:?}");
        assert!(details.snapshot > Some(LogIndex(80)), "{details:?}");
        assert_eq!(details.followers.len(), 2);
        for follower in &details.followers {
            assert_eq!(
                (follower.matched, follower.behind),
                (Some(status.last_log), 0)
            );
            assert!(follower.heard.is_some_and(|heard| heard < SECOND));
        }
        let times = counter.commit_times();
        assert!(times.batches >= 100 && times.entries >= 100, "{times:?}");
        assert!(times.took > Duration::from_millis(100), "{times:?}");
        let lines = counter.log_tail(2).unwrap();
        let words: Vec<String> = lines.iter().map(|line| line.kind.to_string()).collect();
        assert_eq!(words, ["Add(1, 98)", "Add(1, 99)"]);
        assert_eq!(lines[1].index, status.last_log);
        // Nothing is known of the others where nobody leads.
        let follower = world.counter(1 + leader.0 % 3);
        assert!(follower.details().followers.is_empty());
    });
}

#[test]
fn a_follower_answers_itself_and_reads_at_one_time_share_a_question() {
    run(26, async |mut world: World| {
        grown(&mut world, 3).await;
        let leader = world.counter(1).leader().unwrap();
        let follower = 1 + leader.0 % 3;
        let counter = world.counter(follower);
        for sum in 1..=20 {
            // The one who wrote has its answer before the follower has heard of it.
            let added = world.counter(leader.0).propose(&Count::Add(1, 1), WAIT);
            assert_eq!(added.await, Ok(sum));
            let read = counter.query(&1, ReadLevel::Strong, WAIT).await;
            assert_eq!(read, Ok(sum));
        }
        let before = world.calls(follower, leader.0);
        let reads: Vec<_> = (0..500)
            .map(|_| tokio::spawn(counter.query(&1, ReadLevel::Strong, WAIT)))
            .collect();
        for read in reads {
            assert_eq!(read.await.unwrap(), Ok(20));
        }
        let asked = world.calls(follower, leader.0) - before;
        assert!((1..5).contains(&asked), "{asked} calls for 500 reads");
    });
}

#[test]
fn a_follower_that_was_told_lately_answers_within_the_bound_without_asking() {
    run(27, async |mut world: World| {
        grown(&mut world, 3).await;
        let leader = world.counter(1).leader().unwrap();
        let follower = 1 + leader.0 % 3;
        let counter = world.counter(follower);
        world
            .counter(leader.0)
            .propose(&Count::Add(1, 1), WAIT)
            .await
            .unwrap();
        let stale = |within| {
            counter.query(
                &1,
                ReadLevel::Stale {
                    within: Some(within),
                },
                WAIT,
            )
        };
        assert_eq!(stale(SECOND).await, Ok(1), "it asks");
        world.isolate(follower);
        assert_eq!(stale(WAIT * 2).await, Ok(1), "it knows");
        sleep(WAIT).await;
        assert_eq!(stale(WAIT * 2).await, Ok(1), "it still knows");
        sleep(WAIT).await;
        let refused = stale(WAIT * 2).await;
        let Err(QueryError::TooStale {
            known: Some(known), ..
        }) = refused
        else {
            panic!("it cannot know: {refused:?}");
        };
        assert!(known > WAIT * 2, "{known:?}");
    });
}

/// Grows a cluster of two nodes and a witness, node 3.
async fn with_a_witness(world: &mut World) {
    world.witness = Some(3);
    grown(world, 3).await;
    assert_eq!(voters(world), [1, 2, 3].map(NodeId));
}

#[test]
fn a_witness_leaves_the_lead_to_others() {
    run(28, async |mut world: World| {
        with_a_witness(&mut world).await;
        for _ in 0..6 {
            let leader = world.counter(3).leader().unwrap();
            assert_ne!(leader, NodeId(3));
            world.isolate(leader.0);
            let other = 3 - leader.0;
            let added = world.counter(other).propose(&Count::Add(1, 1), WAIT).await;
            assert!(added.is_ok(), "{added:?}");
            assert_eq!(world.counter(3).leader(), Some(NodeId(other)));
            world.heal();
            sleep(WAIT).await;
        }
        let refused = world.counter(1).hand_over(Some(NodeId(3)), WAIT).await;
        assert_eq!(refused, Err(HandOverError::Witness { node: NodeId(3) }));
    });
}

#[test]
fn a_witness_gives_what_it_alone_has_and_hands_over() {
    run(29, async |mut world: World| {
        with_a_witness(&mut world).await;
        let leader = world.counter(3).leader().unwrap();
        let other = 3 - leader.0;
        world.isolate(other);
        let added = world
            .counter(leader.0)
            .propose(&Count::Add(1, 7), WAIT)
            .await;
        assert_eq!(added, Ok(7), "decided by the leader and the witness");
        // Now the only one that is left with the entry is the witness.
        world.heal();
        world.isolate(leader.0);
        let sum = world
            .counter(other)
            .query(&1, ReadLevel::Strong, WAIT)
            .await;
        assert_eq!(sum, Ok(7));
        sleep(WAIT).await;
        assert_eq!(world.counter(other).leader(), Some(NodeId(other)));
    });
}
