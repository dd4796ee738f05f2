//! A node inside a program: start it, write and read at a level, stop it, and find everything again
//! after a restart. `cargo run --example embed_node`.

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

    // The same keys as in the file of `quorate start`. Port 0 takes any free one.
    let flags = vec![
        ("data_dir", data_dir),
        ("node", "embedded".to_owned()),
        ("quic", "127.0.0.1:0".to_owned()),
    ];
    let config = NodeConfig::load(&Sources {
        flags,
        ..Sources::default()
    })?;

    // An empty directory founds a cluster of one. With `join` and `token` in the configuration it
    // would join another.
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

    // Every error says what is now true. One node can never give two answers, so nothing was
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

    // Finishes what is under way and makes all of it durable. Dropping the node instead is a crash.
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

/// One request to the keyspace `default`, at `level`.
async fn ask(node: &Node, level: Consistency, op: Op) -> Result<Reply, RequestError> {
    let data: Arc<dyn Data> = node.data();
    let request = Request {
        keyspace: KeyspaceId(0),
        op,
        consistency: Some(level),
        timeout: Duration::from_secs(1),
        // What `LOCAL_QUORUM` and `LOCAL_ONE` are counted in: the node's own.
        datacenter: "dc1".into(),
        id: None,
    };
    // The answer fails to come only from a node that is stopping.
    data.submit(request)
        .await
        .unwrap_or(Err(RequestError::Stopping))
        .map(|answer| answer.reply)
}
