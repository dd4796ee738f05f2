//! Real nodes over real sockets in one process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use quorate_control::topology::{KeyspaceId, Replication};
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Mutation, Op, Query, Reply, Request, RequestError};
use quorate_gossip::quic::{BindError, JoinError, KeyPair, join};
use quorate_gossip::token::JoinToken;
use quorate_gossip::transport::{Expected, JoinGrant, JoinRefusal, JoinRequest};
use tokio::time::{Instant, sleep};

use super::*;
use crate::config::{Access, Join, Listen, SLOW_COMMAND, Secret, TokenSource};
use crate::doors::{AdminError, KeyspaceChange, KeyspaceSpec};
use crate::store::{Durability, Engine};

const PATIENCE: Duration = Duration::from_mins(1);

/// A node that founds a cluster unless it joins one.
fn config(dir: &Path, name: &str, join: Option<Join>) -> NodeConfig {
    let any = ([127, 0, 0, 1], 0).into();
    NodeConfig {
        data_dir: dir.join(name),
        node: name.to_owned(),
        datacenter: "dc1".to_owned(),
        rack: name.to_owned(),
        listen: Listen {
            resp: any,
            http: any,
            quic: any,
            advertise: None,
        },
        found: join.is_none(),
        join,
        storage: Engine::Fjall,
        durability: Durability::Sync,
        access: Access::default(),
        request_timeout: Duration::from_secs(5),
        slow_command: SLOW_COMMAND,
        partitions: Some(16),
    }
}

/// The way into the cluster of `node`, for one newcomer.
async fn entrance(node: &Node) -> Join {
    let made = node.admin().create_token(1, Duration::from_hours(1)).await;
    let token = made.expect("the node runs").expect("a token");
    entrance_with(node, &token)
}

fn entrance_with(node: &Node, token: &str) -> Join {
    Join {
        addresses: vec![node.quic().to_owned()],
        token: Some(TokenSource::Given(Secret::new(token))),
        replace: None,
        witness: false,
    }
}

async fn ask(node: &Node, op: Op, level: Consistency) -> Result<Reply, RequestError> {
    let request = Request {
        keyspace: KeyspaceId(0),
        op,
        consistency: Some(level),
        timeout: Duration::from_secs(5),
        datacenter: "dc1".into(),
        id: None,
        claim: None,
    };
    node.data()
        .submit(request)
        .await
        .unwrap_or(Err(RequestError::Stopping))
        .map(|answer| answer.reply)
}

/// Repeats a request until enough nodes can be reached: not all nodes see one that has just joined.
/// A request that is refused for that reason was not applied.
async fn ask_when_reached(node: &Node, op: Op, level: Consistency) -> Result<Reply, RequestError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask(node, op.clone(), level).await {
            Err(RequestError::Unavailable { .. }) if Instant::now() < deadline => {
                sleep(Duration::from_millis(50)).await;
            }
            answer => return answer,
        }
    }
}

/// The elements of the set at one replica.
async fn members(node: &Node) -> Vec<bytes::Bytes> {
    match ask(
        node,
        Op::Query("set".into(), Query::Members),
        Consistency::One,
    )
    .await
    {
        Ok(Reply::List(mut members)) => {
            members.sort();
            members
        }
        other => panic!("members: {other:?}"),
    }
}

async fn converged(node: &Node, nodes: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = node.data().status().await.expect("the node runs");
        if status.converged && status.nodes.len() == nodes {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "not converged after {PATIENCE:?}: {status}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

fn add(element: &str) -> Op {
    Op::Mutate("set".into(), Mutation::Add(vec![element.to_owned().into()]))
}

#[tokio::test]
async fn three_real_nodes_join_replicate_and_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let second = Node::start(
        config(dir.path(), "b", Some(entrance(&first).await)),
        Options::default(),
    )
    .await
    .expect("joins");
    let third = Node::start(
        config(dir.path(), "c", Some(entrance(&second).await)),
        Options::default(),
    )
    .await
    .expect("joins by a node that joined");
    converged(&third, 3).await;
    assert_eq!(
        ask_when_reached(&second, add("one"), Consistency::All).await,
        Ok(Reply::Integer(1))
    );
    assert_eq!(members(&third).await, ["one"]);

    // The third is killed; the others go on.
    third.crash().await;
    assert_eq!(
        ask_when_reached(&first, add("two"), Consistency::Quorum).await,
        Ok(Reply::Integer(1))
    );
    second.shutdown().await.expect("stops cleanly");

    // Both come back from their directories without a token.
    let second = Node::start(config(dir.path(), "b", None), Options::default())
        .await
        .expect("comes back from a stop");
    let read = || Op::Query("set".into(), Query::Members);
    assert!(
        ask(&second, read(), Consistency::Quorum).await.is_ok(),
        "whoever has started serves with those who are there"
    );
    let third = Node::start(config(dir.path(), "c", None), Options::default())
        .await
        .expect("comes back from a crash");
    assert!(
        ask(&third, read(), Consistency::Quorum).await.is_ok(),
        "and so does the next"
    );
    converged(&third, 3).await;
    for node in [&second, &third] {
        assert_eq!(members(node).await, ["one", "two"]);
    }
    let metrics = third.data().metrics();
    assert!(
        metrics.contains(
            "quorate_requests_total{keyspace=\"default\",op=\"read\",level=\"ONE\",outcome=\"ok\"}"
        ),
        "{metrics}"
    );
    for node in [first, second, third] {
        node.shutdown().await.expect("stops cleanly");
    }
}

/// A copy of the directory from before is nobody's, and the node goes on, also after a start.
#[tokio::test]
async fn a_node_changes_its_key_while_it_serves_and_the_old_one_opens_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let mut join = Some(entrance(&first).await);
    let second = Node::start(config(dir.path(), "b", join.take()), Options::default())
        .await
        .expect("joins");
    converged(&second, 2).await;
    let key_of_b = || {
        let topology = first.data().topology();
        let (_, info) = topology.node_named("b").expect("a member");
        (info.key, info.next_key)
    };
    let (old, _) = key_of_b();
    let stolen = std::fs::read(dir.path().join("b/key")).expect("a key");
    let changed = second.admin().change_key().await;
    let new = changed.expect("the node runs").expect("is changed");
    assert_ne!(old, new);
    let deadline = Instant::now() + PATIENCE;
    while key_of_b() != (new, None) {
        assert!(Instant::now() < deadline, "{:?}", key_of_b());
        sleep(Duration::from_millis(20)).await;
    }
    converged(&first, 2).await;
    let added = ask_when_reached(&second, add("one"), Consistency::All).await;
    assert_eq!(added, Ok(Reply::Integer(1)));
    second.shutdown().await.expect("stops cleanly");
    let silent = || NodeConfig {
        found: false,
        ..config(dir.path(), "b", None)
    };
    let second = Node::start(silent(), Options::default())
        .await
        .expect("comes back");
    converged(&first, 2).await;
    second.shutdown().await.expect("stops cleanly");

    std::fs::write(dir.path().join("b/key"), stolen).expect("written");
    std::fs::remove_file(dir.path().join("b/next-key")).expect("removed");
    let thief = Node::start(silent(), Options::default())
        .await
        .expect("starts alone");
    sleep(Duration::from_secs(1)).await;
    let met = thief.data().status().await.expect("it runs");
    let alive = met
        .nodes
        .iter()
        .filter(|node| node.state == crate::doors::NodeState::Alive);
    assert_eq!(alive.count(), 1, "it reaches nobody but itself: {met}");
}

/// Every node stops once, one after the other, and forgets all data that it had.
#[tokio::test]
async fn a_node_with_its_data_in_memory_comes_back_as_itself_and_is_filled() {
    let dir = tempfile::tempdir().expect("a directory");
    let in_memory = |name: &str, join: Option<Join>| NodeConfig {
        storage: Engine::Memory,
        ..config(dir.path(), name, join)
    };
    let start = async |config: NodeConfig| {
        let node = Node::start(config, Options::default()).await;
        node.expect("starts")
    };
    let mut nodes = vec![start(in_memory("a", None)).await];
    for name in ["b", "c"] {
        let join = entrance(&nodes[0]).await;
        nodes.push(start(in_memory(name, Some(join))).await);
    }
    converged(&nodes[2], 3).await;
    let written = ask_when_reached(&nodes[2], add("one"), Consistency::Quorum).await;
    assert_eq!(written, Ok(Reply::Integer(1)));
    for name in ["a", "b", "c"] {
        let before = nodes.remove(0);
        let (cluster, number) = (before.cluster(), before.data().node());
        before.crash().await;
        // Neither founds, nor has a token.
        let node = start(NodeConfig {
            found: false,
            ..in_memory(name, None)
        })
        .await;
        assert_eq!((node.cluster(), node.data().node()), (cluster, number));
        converged(&node, 3).await;
        assert_eq!(members(&node).await, ["one"], "{name} was filled");
        nodes.push(node);
    }
    let status = nodes[0].data().status().await.expect("the node runs");
    assert_eq!(
        status.volatile_voters,
        Vec::<String>::new(),
        "all keep their votes"
    );
    let other = NodeConfig {
        storage: Engine::Fjall,
        ..in_memory("a", None)
    };
    nodes.remove(0).shutdown().await.expect("stops cleanly");
    let said = refused(other).await.to_string();
    assert!(said.contains("was written by memory"), "{said}");
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let token = first.join_token().expect("it has founded the cluster");
    let wrong = token.replace(&token[40..50], "AAAAAAAAAA");
    let join = entrance_with(&first, &wrong);
    let refused = Node::start(config(dir.path(), "b", Some(join)), Options::default()).await;
    assert!(matches!(refused, Err(StartError::Join(_))), "{refused:?}");
    let joined = Node::start(
        config(dir.path(), "b", Some(entrance(&first).await)),
        Options::default(),
    )
    .await;
    assert!(
        joined.is_ok(),
        "the same directory joins with the right token: {joined:?}"
    );
}

#[tokio::test]
async fn a_newcomer_that_would_not_start_does_not_become_a_member() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let newcomer = config(dir.path(), "b", Some(entrance(&first).await));
    let taken = first.quic().parse().expect("an address");
    let (mut other, mut open, mut bound, mut afar) = (
        newcomer.clone(),
        newcomer.clone(),
        newcomer.clone(),
        newcomer.clone(),
    );
    other.partitions = Some(32);
    open.listen.resp = ([0, 0, 0, 0], 0).into();
    bound.listen.quic = taken;
    afar.join.as_mut().expect("it joins").addresses = vec!["192.0.2.1:7381".to_owned()];

    let refused = Node::start(other, Options::default()).await;
    let others = JoinRefusal::OtherPartitions {
        partitions: 16,
        told: 32,
    };
    assert!(
        matches!(&refused, Err(StartError::Join(JoinError::Refused(why))) if *why == others),
        "{refused:?}"
    );
    let refused = Node::start(open, Options::default()).await;
    assert!(
        matches!(
            refused,
            Err(StartError::Join(JoinError::Refused(JoinRefusal::NoUsers)))
        ),
        "{refused:?}"
    );
    let refused = Node::start(bound, Options::default()).await;
    let Err(StartError::Bind(BindError::Socket { address, .. })) = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(*address, taken);
    let refused = Node::start(afar, Options::default()).await;
    assert!(
        matches!(refused, Err(StartError::OnlyHere { .. })),
        "{refused:?}"
    );
    assert_eq!(
        first.data().topology().nodes.len(),
        1,
        "nobody was admitted"
    );

    let second = Node::start(newcomer, Options::default())
        .await
        .expect("the token is not used up, and the directory is not spoilt");
    converged(&first, 2).await;
    for node in [first, second] {
        node.shutdown().await.expect("stops cleanly");
    }
}

/// The last entry of the control log, as this node has it.
fn last_log(node: &Node) -> u64 {
    node.up.doors.shared.control.group().status().last_log.0
}

/// Asks to be admitted as nobody in particular.
async fn ask_to_join(
    address: SocketAddr,
    token: JoinToken,
    number: u64,
) -> Result<JoinGrant, JoinError> {
    let request = JoinRequest {
        token: 0,
        name: format!("x{number}").into(),
        datacenter: "dc1".into(),
        rack: "r1".into(),
        quic: "127.0.0.1:1".into(),
        durable: true,
        witness: false,
        replaces: None,
        expects: Expected::default(),
    };
    let keys = KeyPair::generate().expect("a key");
    join(address, &token, &keys, request).await
}

#[tokio::test]
async fn a_thousand_wrong_tokens_cost_no_entry_of_the_log_and_neither_does_one_that_is_used_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let made = first.admin().create_token(1, Duration::from_hours(1)).await;
    let text = made.expect("the node runs").expect("a token");
    let token: JoinToken = text.parse().expect("a token");
    let second = Node::start(
        config(dir.path(), "b", Some(entrance_with(&first, &text))),
        Options::default(),
    )
    .await
    .expect("joins");
    converged(&second, 2).await;
    let before = last_log(&first);
    let address: SocketAddr = first.quic().parse().expect("an address");
    for number in 0..5 {
        let refused = ask_to_join(address, token.clone(), number).await;
        assert!(
            matches!(refused, Err(JoinError::Refused(JoinRefusal::UsedUp))),
            "{refused:?}"
        );
    }
    let mut refused = 0;
    for batch in 0..100_u64 {
        let mut asking = tokio::task::JoinSet::new();
        for number in batch * 10..batch * 10 + 10 {
            let mut guess = token.clone();
            guess.secret.0[..8].copy_from_slice(&number.to_le_bytes());
            asking.spawn(ask_to_join(address, guess, number));
        }
        for answer in asking.join_all().await {
            assert!(answer.is_err(), "{answer:?}");
            refused += 1;
        }
    }
    assert_eq!((refused, last_log(&first)), (1000, before));
}

#[tokio::test]
async fn the_first_token_is_told_once_and_is_good_for_a_day() {
    let dir = tempfile::tempdir().expect("a directory");
    let founder = config(dir.path(), "a", None);
    let first = Node::start(founder.clone(), Options::default())
        .await
        .expect("founds");
    let token: JoinToken = first
        .join_token()
        .expect("it has founded the cluster")
        .parse()
        .expect("a token");
    let told = first.admin().tokens();
    let [only] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(
        (only.id.as_str(), only.uses_left),
        (&*format!("{:016x}", token.id), None)
    );
    let now = SystemClock::start().now().unix_millis;
    let left = only.expires.expect("it expires").saturating_sub(now);
    let hour = 60 * 60 * 1000;
    assert!(left > 23 * hour && left <= 24 * hour, "{left}");
    first.shutdown().await.expect("stops cleanly");
    let again = Node::start(founder, Options::default())
        .await
        .expect("comes back");
    assert_eq!(again.join_token(), None);
    again.shutdown().await.expect("stops cleanly");
}

#[tokio::test]
async fn a_directory_that_has_lost_its_key_does_not_start_under_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let founder = config(dir.path(), "a", None);
    let first = Node::start(founder.clone(), Options::default())
        .await
        .expect("founds");
    first.shutdown().await.expect("stops cleanly");
    std::fs::remove_file(founder.data_dir.join("key")).expect("it had a key");
    let refused = Node::start(founder, Options::default()).await;
    assert!(matches!(refused, Err(StartError::KeyLost)), "{refused:?}");
}

/// Asks to be admitted and is killed before the answer is written down: its directory holds no
/// identity.
async fn killed_while_it_joins(config: &NodeConfig) -> NodeId {
    let disk = Disk::open(config).expect("a fresh directory");
    let start = StartAs::decide(config, &disk).await.expect("is admitted");
    std::fs::remove_file(config.data_dir.join("identity")).expect("the identity had been written");
    start.identity.node()
}

#[tokio::test]
async fn a_newcomer_killed_before_it_knows_who_it_is_joins_under_its_name_with_its_one_use_token() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let join = entrance(&first).await;
    let newcomer = config(dir.path(), "b", Some(join));
    let number = killed_while_it_joins(&newcomer).await;

    let elsewhere = NodeConfig {
        rack: "r9".to_owned(),
        ..newcomer.clone()
    };
    let misplaced = Node::start(elsewhere, Options::default()).await;
    assert!(
        matches!(misplaced, Err(StartError::Misplaced { what: "rack", .. })),
        "{misplaced:?}"
    );
    let renamed = NodeConfig {
        node: "z".to_owned(),
        ..newcomer.clone()
    };
    let misplaced = Node::start(renamed, Options::default()).await;
    assert!(
        matches!(misplaced, Err(StartError::Misplaced { what: "name", .. })),
        "{misplaced:?}"
    );
    let stranger = NodeConfig {
        data_dir: dir.path().join("stranger"),
        ..newcomer.clone()
    };
    let refused = Node::start(stranger, Options::default()).await;
    assert!(
        matches!(
            refused,
            Err(StartError::Join(JoinError::Refused(JoinRefusal::NameTaken)))
        ),
        "{refused:?}"
    );

    let second = Node::start(newcomer, Options::default())
        .await
        .expect("is recognised");
    assert_eq!(second.data().node(), number);
    converged(&first, 2).await;
    for node in [first, second] {
        node.shutdown().await.expect("stops cleanly");
    }
}

#[tokio::test]
async fn a_default_level_that_could_never_be_met_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let two = Consistency::Numeric { read: 1, write: 2 };
    let needs_two = AdminError::Unsatisfiable {
        level: two,
        required: 2,
        replicas: 1,
    };
    let spec = |write| KeyspaceSpec {
        name: "later".into(),
        replication: Replication::Auto,
        partitions: Some(8),
        read: Some(Consistency::Quorum),
        write: Some(write),
        split: None,
    };
    let created = node.admin().create_keyspace(spec(two)).await;
    assert_eq!(created.expect("the node runs"), Err(needs_two.clone()));
    let created = node.admin().create_keyspace(spec(Consistency::All)).await;
    assert!(created.expect("the node runs").is_ok());
    let change = |read, write| KeyspaceChange {
        replication: None,
        read,
        write,
        split: None,
    };
    let alter = |change| node.admin().alter_keyspace("later", change);
    let altered = alter(change(None, Some(two))).await;
    assert_eq!(altered.expect("the node runs"), Err(needs_two));
    let altered = alter(change(Some(two), None)).await;
    assert_eq!(altered.expect("the node runs"), Ok(()), "it reads from one");
    node.shutdown().await.expect("stops cleanly");
}

#[tokio::test]
async fn a_node_that_is_back_alone_keeps_what_it_held_of_a_keyspace_made_after_its_join() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let second = Node::start(
        config(dir.path(), "b", Some(entrance(&first).await)),
        Options::default(),
    )
    .await
    .expect("joins");
    converged(&second, 2).await;
    let spec = KeyspaceSpec {
        name: "later".into(),
        replication: Replication::Auto,
        partitions: Some(8),
        read: None,
        write: None,
        split: None,
    };
    let keyspace = first
        .admin()
        .create_keyspace(spec)
        .await
        .expect("the node runs")
        .expect("a keyspace");
    while !second.data().topology().keyspaces.contains_key(&keyspace) {
        sleep(Duration::from_millis(10)).await;
    }
    converged(&second, 2).await;
    let request = |op: Op, level| Request {
        keyspace,
        op,
        consistency: Some(level),
        timeout: Duration::from_secs(5),
        datacenter: "dc1".into(),
        id: None,
        claim: None,
    };
    for key in 0..20 {
        let op = Op::Mutate(format!("key{key}").into(), Mutation::Add(vec!["x".into()]));
        let done = first
            .data()
            .submit(request(op, Consistency::All))
            .await
            .expect("the node runs");
        assert!(done.is_ok(), "{done:?}");
    }
    let epoch = second.data().topology().epoch;
    // The newcomer is killed, the founder is shut down. They come back in turn, each alone at
    // first.
    second.crash().await;
    first.shutdown().await.expect("stops cleanly");
    for name in ["b", "a"] {
        let node = Node::start(config(dir.path(), name, None), Options::default())
            .await
            .expect("comes back");
        assert!(
            node.data().topology().epoch >= epoch,
            "{name} acts on less than it knew"
        );
        let mut found = 0;
        for key in 0..20 {
            let op = Op::Query(format!("key{key}").into(), Query::Members);
            let reply = node
                .data()
                .submit(request(op, Consistency::One))
                .await
                .expect("the node runs")
                .map(|answer| answer.reply);
            found += usize::from(reply == Ok(Reply::List(vec!["x".into()])));
        }
        assert_eq!(found, 20, "at {name}");
        node.shutdown().await.expect("stops cleanly");
    }
}

/// If it started, half of the cluster would count quorums by one name and half by the other.
#[tokio::test]
async fn a_node_that_is_configured_elsewhere_is_refused_with_both_values() {
    let dir = tempfile::tempdir().expect("a directory");
    let known = config(dir.path(), "a", None);
    Node::start(known.clone(), Options::default())
        .await
        .expect("founds")
        .shutdown()
        .await
        .expect("stops cleanly");
    let wrong = [
        (
            "datacenter is dc1; the configuration says dc9",
            NodeConfig {
                datacenter: "dc9".to_owned(),
                ..known.clone()
            },
        ),
        (
            "name is a; the configuration says aa",
            NodeConfig {
                node: "aa".to_owned(),
                ..known.clone()
            },
        ),
        (
            "rack is a; the configuration says r7",
            NodeConfig {
                rack: "r7".to_owned(),
                ..known.clone()
            },
        ),
        (
            "number of partitions is 16; the configuration says 32",
            NodeConfig {
                partitions: Some(32),
                ..known.clone()
            },
        ),
    ];
    for (words, config) in wrong {
        let refused = Node::start(config, Options::default())
            .await
            .expect_err("refused");
        assert!(refused.to_string().ends_with(words), "{refused}");
    }
    let back = Node::start(known, Options::default())
        .await
        .expect("the same node");
    back.crash().await;
}

#[tokio::test]
async fn wait_without_a_write_counts_who_can_be_reached() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let second = Node::start(
        config(dir.path(), "b", Some(entrance(&first).await)),
        Options::default(),
    )
    .await
    .expect("joins");
    let third = Node::start(
        config(dir.path(), "c", Some(entrance(&first).await)),
        Options::default(),
    )
    .await
    .expect("joins");
    converged(&first, 3).await;
    let reached = async || {
        first
            .data()
            .wait(Vec::new(), 5, Duration::from_millis(10))
            .await
            .expect("the node runs")
    };
    assert_eq!(reached().await, 2);
    second.crash().await;
    third.crash().await;
    let deadline = Instant::now() + PATIENCE;
    while reached().await > 0 {
        assert!(Instant::now() < deadline, "the dead still count");
        sleep(Duration::from_millis(50)).await;
    }
    first.crash().await;
}

/// What was written in pieces is read as a whole through every node, also through the one that
/// holds none of it.
#[tokio::test]
async fn a_hash_larger_than_a_frame_is_read_through_every_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let mut nodes = vec![first];
    for name in ["b", "c", "d"] {
        let join = entrance(&nodes[0]).await;
        nodes.push(
            Node::start(config(dir.path(), name, Some(join)), Options::default())
                .await
                .expect("joins"),
        );
        converged(&nodes[0], nodes.len()).await;
    }
    let (fields, bytes) = (930, 16 * 1024);
    for part in 0..3 {
        let field = |at: usize| (format!("f{part}-{at}").into(), vec![b'y'; bytes].into());
        let op = Op::Mutate(
            "big".into(),
            Mutation::SetFields((0..fields).map(field).collect()),
        );
        let done = ask(&nodes[0], op, Consistency::All).await;
        assert!(matches!(done, Ok(Reply::Integer(930))), "{done:?}");
    }
    for level in [Consistency::One, Consistency::All] {
        for (at, node) in nodes.iter().enumerate() {
            match ask(node, Op::Query("big".into(), Query::Entries), level).await {
                Ok(Reply::Pairs(pairs)) => {
                    assert_eq!(pairs.len(), 3 * fields, "at node {at} with {level}");
                }
                other => panic!(
                    "at node {at} with {level}: {}",
                    format!("{other:?}").chars().take(200).collect::<String>()
                ),
            }
        }
    }
    for node in nodes {
        node.shutdown().await.expect("stops cleanly");
    }
}

/// Founds a cluster and is killed before the founder's identity is written down.
fn killed_while_it_founds(config: NodeConfig) -> ClusterId {
    // A thread and a runtime of its own, because a killed process takes all its tasks with it.
    let process = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let disk = Disk::open(&config).expect("a fresh directory");
            let start = StartAs::decide(&config, &disk).await.expect("may found");
            let (mut boot, _transport) = boot(&config, Options::default(), &disk, &start)
                .await
                .expect("boots");
            let founding = start.founding.as_ref().expect("has nobody to join");
            let key = start.identity.keys().public();
            found(&config, &disk, founding, key, &mut boot)
                .await
                .expect("founds");
            ClusterId(start.identity.cluster())
        })
    });
    process.join().expect("the founder does not panic")
}

#[tokio::test]
async fn a_founder_killed_before_it_knows_who_it_is_founds_the_same_cluster() {
    let dir = tempfile::tempdir().expect("a directory");
    let founder = config(dir.path(), "a", None);
    let cluster = killed_while_it_founds(founder.clone());

    // The directory is not free for another cluster, nor for a founder of another place.
    let other = Node::start(config(dir.path(), "other", None), Options::default())
        .await
        .expect("founds");
    let joining = NodeConfig {
        found: false,
        join: Some(entrance(&other).await),
        ..founder.clone()
    };
    let refused = Node::start(joining, Options::default()).await;
    assert!(matches!(refused, Err(StartError::Founding)), "{refused:?}");
    other.crash().await;
    let elsewhere = NodeConfig {
        rack: "r9".to_owned(),
        ..founder.clone()
    };
    let refused = Node::start(elsewhere, Options::default()).await;
    assert!(
        matches!(refused, Err(StartError::Misplaced { what: "rack", .. })),
        "{refused:?}"
    );

    let first = Node::start(founder.clone(), Options::default())
        .await
        .expect("goes on with the founding");
    assert_eq!(first.cluster(), cluster);
    let second = Node::start(
        config(dir.path(), "b", Some(entrance(&first).await)),
        Options::default(),
    )
    .await
    .expect("joins: the founder has the keys of its cluster");
    converged(&second, 2).await;
    first.crash().await;
    let first = Node::start(founder, Options::default())
        .await
        .expect("comes back as the node that it is");
    assert_eq!(first.cluster(), cluster);
    for node in [first, second] {
        node.shutdown().await.expect("stops cleanly");
    }
}

/// What a node says that starts in vain.
async fn refused(config: NodeConfig) -> StartError {
    Node::start(config, Options::default())
        .await
        .expect_err("refused")
}

#[tokio::test]
async fn a_directory_without_a_node_founds_nothing_unless_it_is_told_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let founder = config(dir.path(), "a", None);
    let silent = NodeConfig {
        found: false,
        ..founder.clone()
    };
    let said = refused(silent.clone()).await;
    assert!(matches!(said, StartError::NoNode { .. }), "{said:?}");
    for words in ["--found", "--join", "mounted"] {
        assert!(said.to_string().contains(words), "{said}");
    }
    assert!(!silent.data_dir.exists(), "nothing is created");
    // Another file system is mounted there, or none.
    std::fs::create_dir(&silent.data_dir).expect("a directory");
    std::fs::write(silent.data_dir.join("lost+found"), "").expect("a file");
    let said = refused(silent.clone()).await;
    assert!(matches!(said, StartError::NoNode { .. }), "{said:?}");
    let memory = NodeConfig {
        storage: Engine::Memory,
        ..silent.clone()
    };
    let said = refused(memory).await;
    assert!(matches!(said, StartError::NoNode { .. }), "{said:?}");

    // A newcomer that was refused leaves a store and no node.
    let first = Node::start(founder.clone(), Options::default())
        .await
        .expect("founds");
    let cluster = first.cluster();
    let namesake = NodeConfig {
        node: "a".to_owned(),
        ..config(dir.path(), "b", Some(entrance(&first).await))
    };
    let said = refused(namesake).await;
    assert!(matches!(said, StartError::Join(_)), "{said:?}");
    let seeds = Join {
        token: None,
        ..entrance(&first).await
    };
    for join in [None, Some(seeds)] {
        for name in ["b", "c"] {
            let mut lost = config(dir.path(), name, join.clone());
            lost.found = false;
            let said = refused(lost.clone()).await;
            assert!(matches!(said, StartError::NoNode { .. }), "{said:?}");
            assert_eq!(lost.data_dir.exists(), name == "b");
        }
    }

    // The same command line starts the same node again, with --found and without.
    first.shutdown().await.expect("stops cleanly");
    for again in [founder, silent] {
        let node = Node::start(again, Options::default())
            .await
            .expect("comes back");
        assert_eq!(node.cluster(), cluster);
        node.shutdown().await.expect("stops cleanly");
    }
}

#[tokio::test]
async fn a_directory_is_refused_to_another_engine_and_without_its_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let known = config(dir.path(), "a", None);
    Node::start(known.clone(), Options::default())
        .await
        .expect("founds")
        .shutdown()
        .await
        .expect("stops cleanly");
    for storage in [Engine::Memory, Engine::Sled] {
        let said = refused(NodeConfig {
            storage,
            ..known.clone()
        })
        .await;
        let words = said.to_string();
        assert!(
            words.contains("was written by fjall") && words.contains("--storage fjall"),
            "{words}"
        );
    }
    let store = known.data_dir.join("fjall");
    let aside = known.data_dir.join("aside");
    std::fs::rename(&store, &aside).expect("renamed");
    for _again in 0..2 {
        let said = refused(known.clone()).await;
        assert!(
            matches!(&said, StartError::StoreLost { node, .. } if &**node == "a"),
            "{said:?}"
        );
    }
    std::fs::remove_dir_all(&store).expect("removed");
    std::fs::rename(&aside, &store).expect("renamed");
    Node::start(known, Options::default())
        .await
        .expect("comes back")
        .crash()
        .await;
}

/// Addresses at which nobody listens, each free a moment ago.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let sockets: [_; N] =
        std::array::from_fn(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("bound"))
}

/// Nobody knows where anybody is, except for what `--join` says.
#[tokio::test]
async fn nodes_that_all_come_back_at_other_addresses_form_their_cluster_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Node::start(config(dir.path(), "a", None), Options::default())
        .await
        .expect("founds");
    let mut nodes = Vec::new();
    for name in ["b", "c"] {
        let joining = config(dir.path(), name, Some(entrance(&first).await));
        nodes.push(
            Node::start(joining, Options::default())
                .await
                .expect("joins"),
        );
    }
    nodes.insert(0, first);
    converged(&nodes[2], 3).await;
    assert_eq!(
        ask_when_reached(&nodes[1], add("one"), Consistency::All).await,
        Ok(Reply::Integer(1))
    );
    for node in nodes {
        node.shutdown().await.expect("stops cleanly");
    }

    let addresses: [_; 3] = free_addresses();
    let moved = |at: usize, name: &str| {
        let mut moved = config(dir.path(), name, None);
        moved.found = false;
        moved.listen.quic = addresses[at];
        // A ring: each knows one other.
        moved.join = Some(Join {
            addresses: vec![addresses[(at + 1) % 3].to_string()],
            token: None,
            replace: None,
            witness: false,
        });
        moved
    };
    let (first, second, third) = tokio::join!(
        Node::start(moved(0, "a"), Options::default()),
        Node::start(moved(1, "b"), Options::default()),
        Node::start(moved(2, "c"), Options::default()),
    );
    let nodes = [first, second, third].map(|started| started.expect("comes back"));
    converged(&nodes[0], 3).await;
    for node in &nodes {
        assert_eq!(members(node).await, ["one"]);
    }
    // The topology has the new addresses, so the next start needs no help.
    let deadline = Instant::now() + PATIENCE;
    let told = |node: &Node| -> Vec<String> {
        let topology = node.data().topology();
        topology
            .nodes
            .values()
            .map(|info| info.quic.to_string())
            .collect()
    };
    while nodes
        .iter()
        .any(|node| told(node) != addresses.map(|address| address.to_string()))
    {
        assert!(Instant::now() < deadline, "{:?}", told(&nodes[0]));
        sleep(Duration::from_millis(50)).await;
    }
    for node in nodes {
        node.shutdown().await.expect("stops cleanly");
    }
}

#[tokio::test]
async fn what_is_advertised_is_what_others_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let [listens] = free_addresses();
    let mut founder = config(dir.path(), "a", None);
    founder.listen.quic = ([0, 0, 0, 0], listens.port()).into();
    founder.listen.advertise = Some(format!("localhost:{}", listens.port()));
    let first = Node::start(founder, Options::default())
        .await
        .expect("founds");
    assert_eq!(first.quic(), format!("localhost:{}", listens.port()));
    let mut join = entrance(&first).await;
    // One member is enough, whoever else is named.
    join.addresses = vec!["no-such-host.invalid:1".to_owned(), first.quic().to_owned()];
    let second = Node::start(config(dir.path(), "b", Some(join)), Options::default())
        .await
        .expect("joins");
    converged(&second, 2).await;
    let topology = second.data().topology();
    let (_, info) = topology.node_named("a").expect("a member");
    assert_eq!(&*info.quic, first.quic());
    for node in [first, second] {
        node.shutdown().await.expect("stops cleanly");
    }
}
