//! Whole clusters in virtual time: through a split, a crash and concurrent clients, the data plane
//! keeps every promise.
//!
//! `QUORATE_SIM_SEEDS` chooses the seeds, as a list (`7,8,9`) or a range (`0..100`).

use std::env;
use std::time::Duration;

use quorate::sim::{self, Broken, Layout, Ledger, Simulation, Trace};
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Mutation, Query, Reply, RequestError, SetExpiry};

/// Number of keys that are written and deleted before the split. Nobody touches them again.
const DOOMED: usize = 20;

fn seeds(few: &[u64]) -> Vec<u64> {
    let Ok(text) = env::var("QUORATE_SIM_SEEDS") else {
        return few.to_vec();
    };
    match text.split_once("..") {
        Some((from, to)) => {
            (from.parse().expect("a number")..to.parse().expect("a number")).collect()
        }
        None => text
            .split(',')
            .map(|seed| seed.trim().parse().expect("a number"))
            .collect(),
    }
}

/// Runs each seed twice. A failure prints how to replay it.
fn each_seed<T: PartialEq + std::fmt::Debug>(
    test: &str,
    few: &[u64],
    run: impl Fn(u64) -> (Result<T, String>, Trace),
) {
    for seed in seeds(few) {
        let replay = format!(
            "replay with: QUORATE_SIM_SEEDS={seed} cargo test -p quorate --test sim_cluster {test} -- --exact --nocapture"
        );
        let (first, first_trace) = run(seed);
        let (second, second_trace) = run(seed);
        if let Err(broken) = &first {
            panic!("seed {seed}: {broken}\n{replay}");
        }
        assert_eq!(
            first, second,
            "seed {seed}: two runs ended differently\n{replay}"
        );
        assert_eq!(
            (first_trace.events, first_trace.hash),
            (second_trace.events, second_trace.hash),
            "seed {seed}: two runs differ\n{replay}"
        );
    }
}

fn simulate(seed: u64, layout: Layout) -> (Result<Ledger, String>, Trace) {
    match sim::run(seed, layout, scenario) {
        Ok((result, trace)) => (result, trace),
        Err(error) => panic!("seed {seed}: the cluster did not form: {error}"),
    }
}

/// Runs clients at every node and every level, all on the same sets and counters.
async fn work(cluster: &Simulation, phase: &str, levels: &[Consistency], rounds: usize) -> Ledger {
    let mut running = Vec::new();
    for (turn, node) in cluster.nodes().into_iter().enumerate() {
        for (lane, level) in levels.iter().enumerate() {
            let client = cluster.client(node, Some(*level));
            let name = format!("{phase}-{turn}-{lane}");
            running.push(tokio::spawn(async move {
                let mut ledger = Ledger::default();
                for round in 0..rounds {
                    ledger
                        .add(
                            &client,
                            &format!("set{}", round % 3),
                            format!("{name}-{round}"),
                        )
                        .await;
                    ledger
                        .count(&client, &format!("counter{}", round % 2))
                        .await;
                    ledger
                        .set(&client, &format!("register{}", round % 4), name.clone())
                        .await;
                }
                ledger
            }));
        }
    }
    let mut sum = Ledger::default();
    for client in running {
        sum.merge(client.await.expect("a client does not panic"));
    }
    sum
}

async fn doom(cluster: &Simulation) -> Result<(), String> {
    let client = cluster.client(cluster.nodes()[0], Some(Consistency::Quorum));
    for number in 0..DOOMED {
        let (key, set) = (
            format!("doomed{number}"),
            Mutation::Set {
                value: "x".into(),
                expiry: SetExpiry::Clear,
            },
        );
        client
            .mutate(&key, set)
            .await
            .map_err(|error| format!("SET {key}: {error}"))?;
        let reply = client
            .mutate(&key, Mutation::Delete)
            .await
            .map_err(|error| format!("DEL {key}: {error}"))?;
        if reply != Reply::Integer(1) {
            return Err(format!("DEL {key} after its SET at QUORUM: {reply:?}"));
        }
    }
    Ok(())
}

async fn still_deleted(cluster: &Simulation, node: NodeId) -> Result<(), String> {
    let client = cluster.client(node, Some(Consistency::One));
    for number in 0..DOOMED {
        let key = format!("doomed{number}");
        match client.query(&key, Query::Exists).await {
            Ok(Reply::Integer(0)) => {}
            other => {
                return Err(format!(
                    "{key} at node {node} after its deletion: {other:?}"
                ));
            }
        }
    }
    Ok(())
}

/// While `dc1` is cut off: local quorums are served, a quorum of all replicas is not, and the error
/// tells the truth.
async fn minority(cluster: &Simulation) -> Result<(), String> {
    let node = cluster.nodes_in("dc1")[0];
    let add = || Mutation::Add(vec!["minority".into()]);
    let quorum = cluster
        .client(node, Some(Consistency::Quorum))
        .mutate("minority", add())
        .await;
    match quorum {
        Err(RequestError::Unavailable { .. } | RequestError::TimedOut { .. }) => {}
        other => return Err(format!("QUORUM in the minority: {other:?}")),
    }
    for datacenter in ["dc1", "dc2"] {
        let node = cluster.nodes_in(datacenter)[0];
        let local = cluster.client(node, Some(Consistency::LocalQuorum));
        local
            .mutate("local", add())
            .await
            .map_err(|error| format!("LOCAL_QUORUM write in {datacenter}: {error}"))?;
        local
            .query("local", Query::Members)
            .await
            .map_err(|error| format!("LOCAL_QUORUM read in {datacenter}: {error}"))?;
    }
    let majority = cluster.client(cluster.nodes_in("dc2")[0], Some(Consistency::Quorum));
    majority
        .mutate("majority", add())
        .await
        .map_err(|error| format!("QUORUM in the majority: {error}"))
        .map(drop)
}

async fn scenario(cluster: &mut Simulation) -> Result<Ledger, String> {
    let levels = [
        Consistency::One,
        Consistency::LocalQuorum,
        Consistency::Quorum,
    ];
    doom(cluster).await?;
    let mut ledger = work(cluster, "before", &levels, 10).await;
    if ledger.open + ledger.refused > 0 {
        return Err(format!(
            "{} requests failed in a healthy cluster",
            ledger.open + ledger.refused
        ));
    }
    cluster.split("dc1");
    ledger.merge(work(cluster, "cut", &levels, 4).await);
    // By now every node has noticed.
    cluster.pass(Duration::from_secs(5)).await;
    minority(cluster).await?;
    let victim = *cluster.nodes_in("dc3").last().expect("dc3 has nodes");
    cluster.crash(victim);
    ledger.merge(work(cluster, "crashed", &levels, 4).await);
    cluster.heal();
    ledger.merge(work(cluster, "healing", &levels, 4).await);
    cluster
        .restart(victim)
        .await
        .map_err(|error| error.to_string())?;
    cluster
        .settled()
        .await
        .map_err(|error| format!("after everything is healed: {error}"))?;
    for node in cluster.nodes() {
        // Now every single replica must tell the whole truth.
        let reader = cluster.client(node, Some(Consistency::One));
        ledger
            .check(&reader)
            .await
            .map_err(|broken: Broken| format!("at node {node}: {broken}"))?;
        still_deleted(cluster, node).await?;
    }
    Ok(ledger)
}

#[test]
fn three_datacenters_of_one_node() {
    each_seed("three_datacenters_of_one_node", &[1, 2], |seed| {
        simulate(seed, Layout::new(3, 1))
    });
}

#[test]
fn three_datacenters_of_three_nodes() {
    each_seed("three_datacenters_of_three_nodes", &[1], |seed| {
        simulate(seed, Layout::new(3, 3))
    });
}

#[test]
fn nodes_with_several_shards_behave_alike() {
    each_seed("nodes_with_several_shards_behave_alike", &[1], |seed| {
        simulate(
            seed,
            Layout {
                cores: 3,
                ..Layout::new(3, 1)
            },
        )
    });
}
