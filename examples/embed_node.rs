//! Runs a node inside a program: starts it, writes and reads at a level, stops it, and finds
//! everything again after a restart. `cargo run --example embed_node`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use quorate::config::{NodeConfig, Sources};
use quorate::doors::Data;
use quorate::node::{Node, Options};
use quorate_control::topology::KeyspaceId;
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Mutation, Op, Query, Reply, Request, RequestError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let data_dir = directory.path().join("node").display().to_string();

    // The same keys as in the configuration file of `quorate start`. Port 0 stands for any free
    // port.
    let flags = vec![
        ("data_dir", data_dir),
        ("node", "embedded".to_owned()),
        ("found", "true".to_owned()),
        ("quic", "127.0.0.1:0".to_owned()),
    ];
    let config = NodeConfig::load(&Sources {
        flags,
        ..Sources::default()
    })?;

    // With an empty directory, the node founds a cluster of its own, because the configuration says
    // `found`. With `join` and `token` it would join another.
    let node = Node::start(config.clone(), Options::default()).await?;
    println!(
        "others could join at {}, with node.join_token()",
        node.quic()
    );

    let colours = ask(
        &node,
        Consistency::Quorum,
        Op::Mutate(
            "colours".into(),
            Mutation::Add(vec!["red".into(), "blue".into()]),
        ),
    )
    .await?;
    assert_eq!(colours, Reply::Integer(2), "both were new");

    // Every error says what is now true. A single node can never give two answers, so nothing was
    // written.
    let refused = ask(
        &node,
        Consistency::Two,
        Op::Mutate("colours".into(), Mutation::Add(vec!["green".into()])),
    )
    .await;
    let error = refused.expect_err("there is one replica");
    assert!(
        matches!(
            error,
            RequestError::Unsatisfiable {
                required: 2,
                replicas: 1,
                ..
            }
        ) && !error.may_be_applied()
    );
    println!("refused: {error}");

    // Finishes what is under way and makes it durable. Dropping the node instead would be like a
    // crash.
    node.shutdown().await.map_err(|error| error.to_string())?;

    let node = Node::start(config, Options::default()).await?;
    let colours = ask(
        &node,
        Consistency::Quorum,
        Op::Query("colours".into(), Query::Cardinality),
    )
    .await?;
    assert_eq!(
        colours,
        Reply::Integer(2),
        "red and blue are still there, green never was"
    );
    println!("after the restart: {colours:?}");
    node.shutdown().await.map_err(|error| error.to_string())?;
    Ok(())
}

/// Sends one request to the keyspace `default`, at `level`.
async fn ask(node: &Node, level: Consistency, op: Op) -> Result<Reply, RequestError> {
    let data: Arc<dyn Data> = node.data();
    let request = Request {
        keyspace: KeyspaceId(0),
        op,
        consistency: Some(level),
        timeout: Duration::from_secs(1),
        // The datacenter in which `LOCAL_QUORUM` and `LOCAL_ONE` count: the node's own.
        datacenter: "dc1".into(),
        id: None,
        claim: None,
    };
    // Only a node that is stopping does not answer.
    data.submit(request)
        .await
        .unwrap_or(Err(RequestError::Stopping))
        .map(|answer| answer.reply)
}
