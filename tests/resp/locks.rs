//! Locks, semaphores, elections, barriers and latches as a Redis client sees them.

use std::time::Duration;

use quorate::faces::resp::client::{Client, Value};

use crate::wire::Face;

fn granted(answer: &Value) -> (i64, i64) {
    match answer {
        Value::Array(pair) => match pair[..] {
            [Value::Integer(token), Value::Integer(session)] => (token, session),
            _ => panic!("a token and a session: {answer:?}"),
        },
        other => panic!("not granted: {other:?}"),
    }
}

async fn ask(client: &mut Client, command: &str) -> Value {
    let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    client.pipeline(&[words]).await.unwrap().remove(0)
}

#[tokio::test]
async fn locks_are_granted_renewed_and_released() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, reply) in [
        ("LOCK.ACQUIRE k TTL 60000 HOLDER ann", "*2/:1/:1/"),
        ("LOCK.ACQUIRE k TTL 60000 HOLDER bob", "$-1/"),
        ("LOCK.RENEW k 1", ":1/"),
        ("LOCK.RENEW k 2", ":0/"),
        ("LOCK.RELEASE k 2", ":0/"),
        (
            "LOCK.WHY k",
            "*1/$41/k is held by ann, session 1 under token 1/",
        ),
        ("LOCK.RELEASE k 1", ":1/"),
        ("LOCK.RELEASE k 1", ":0/"),
        ("LOCK.WHY k", "*0/"),
        ("LOCK.LIST", "*0/"),
        (
            "lock.acquire k TTL 0",
            "-ERR a TTL is 10 to 86400000 milliseconds, not 0/",
        ),
        (
            "LOCK.ACQUIRE k TTL -5",
            "-ERR a TTL is 10 to 86400000 milliseconds, not 0/",
        ),
        (
            "LOCK.ACQUIRE k TTL 86400001",
            "-ERR a TTL is 10 to 86400000 milliseconds, not 86400001/",
        ),
        (
            "LOCK.ACQUIRE k TTL x",
            "-ERR value is not an integer or out of range/",
        ),
        (
            "LOCK.ACQUIRE k WAIT 5",
            "-ERR TTL is missing: there is no lock without one/",
        ),
        ("LOCK.ACQUIRE k TTL 1000 WAIT", "-ERR syntax error/"),
        ("LOCK.ACQUIRE k TTL 1000 LOUD 5", "-ERR syntax error/"),
        (
            "LOCK.ACQUIRE k SESSION 999",
            "-ERR session 999 has ended; open another/",
        ),
        (
            "LOCK.RELEASE k",
            "-ERR wrong number of arguments for 'lock.release' command/",
        ),
    ] {
        raw.ask(command, reply).await;
    }
    let long = "x".repeat(1025);
    raw.ask(
        &format!("LOCK.ACQUIRE {long} TTL 1000"),
        "-ERR a name has 1 to 1024 bytes, not 1025/",
    )
    .await;
}

#[tokio::test]
async fn a_lock_that_is_not_renewed_goes_to_the_next_under_a_higher_token() {
    let face = Face::start().await;
    let (mut ann, mut bob) = (face.client().await, face.client().await);
    let (old, _) = granted(&ask(&mut ann, "LOCK.ACQUIRE k TTL 50").await);
    let (new, _) = granted(&ask(&mut bob, "LOCK.ACQUIRE k TTL 60000 WAIT 60000").await);
    assert!(new > old);
    for command in [
        format!("LOCK.RENEW k {old}"),
        format!("LOCK.RELEASE k {old}"),
    ] {
        assert_eq!(
            ask(&mut ann, &command).await,
            Value::Integer(0),
            "{command}"
        );
    }
    let taken = ask(&mut ann, "LOCK.ACQUIRE k TTL 50 WAIT 20").await;
    assert_eq!(taken, Value::Nil);
}

#[tokio::test]
async fn a_wait_that_closes_a_circle_is_refused_and_the_circle_is_named() {
    let face = Face::start().await;
    let (mut ann, mut bob) = (face.client().await, face.client().await);
    ask(&mut ann, "LOCK.ACQUIRE a TTL 60000 HOLDER ann").await;
    ask(&mut bob, "LOCK.ACQUIRE b TTL 60000 HOLDER bob").await;
    let waits = tokio::spawn(async move {
        ask(&mut ann, "LOCK.ACQUIRE b TTL 60000 WAIT 60000 HOLDER ann").await
    });
    let mut onlooker = face.client().await;
    loop {
        let Value::Array(locks) = ask(&mut onlooker, "LOCK.LIST").await else {
            panic!("a list");
        };
        let waited_for = |lock: &Value| match lock {
            Value::Array(facts) => facts.last() != Some(&Value::Array(Vec::new())),
            _ => false,
        };
        if locks.iter().any(waited_for) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let circle = ask(&mut bob, "LOCK.ACQUIRE a TTL 60000 WAIT 60000 HOLDER bob").await;
    let Value::Error(circle) = circle else {
        panic!("both wait for each other: {circle:?}");
    };
    let circle = circle.to_string();
    assert!(circle.starts_with("DEADLOCK "), "{circle}");
    assert!(
        circle.contains("bob waits for a, ann waits for b"),
        "{circle}"
    );
    waits.abort();
}

#[tokio::test]
async fn readers_share_and_a_session_holds_several_things() {
    let face = Face::start().await;
    let mut client = face.client().await;
    let (first, ann) = granted(&ask(&mut client, "LOCK.ACQUIRE k TTL 60000 SHARED").await);
    let (second, bob) = granted(&ask(&mut client, "LOCK.ACQUIRE k TTL 60000 SHARED").await);
    assert_eq!(first, second);
    assert_ne!(ann, bob);
    let Value::Error(unclear) = ask(&mut client, &format!("LOCK.RELEASE k {first}")).await else {
        panic!("nobody knows whose hold is meant");
    };
    assert!(
        unclear.to_string().contains("name the session"),
        "{unclear:?}"
    );
    for session in [ann, bob] {
        let release = format!("LOCK.RELEASE k {first} SESSION {session}");
        assert_eq!(ask(&mut client, &release).await, Value::Integer(1));
    }
    let Value::Integer(session) = ask(&mut client, "LOCK.OPEN TTL 60000 HOLDER cleo").await else {
        panic!("a session is a number");
    };
    for key in ["a", "b"] {
        granted(
            &ask(
                &mut client,
                &format!("LOCK.ACQUIRE {key} SESSION {session}"),
            )
            .await,
        );
    }
    let keep_alive = format!("LOCK.KEEPALIVE {session} 999999");
    assert_eq!(ask(&mut client, &keep_alive).await, Value::Integer(1));
    let Value::Array(held) = ask(&mut client, "LOCK.LIST HELD-BY cleo").await else {
        panic!("a list");
    };
    assert_eq!(held.len(), 2);
    let close = format!("LOCK.CLOSE {session}");
    assert_eq!(ask(&mut client, &close).await, Value::Integer(1));
    assert_eq!(
        ask(&mut client, "LOCK.LIST").await,
        Value::Array(Vec::new())
    );
    let all = ask(&mut client, "LOCK.ACQUIREALL 2 a b TTL 60000").await;
    let (token, _) = granted(&all);
    for key in ["a", "b"] {
        let release = format!("LOCK.RELEASE {key} {token}");
        assert_eq!(ask(&mut client, &release).await, Value::Integer(1));
    }
}

#[tokio::test]
async fn semaphores_elections_and_latches() {
    let face = Face::start().await;
    let mut client = face.client().await;
    let take = "SEMAPHORE.ACQUIRE s 2 TTL 60000";
    let (token, _) = granted(&ask(&mut client, take).await);
    granted(&ask(&mut client, take).await);
    assert_eq!(ask(&mut client, take).await, Value::Nil);
    let give = format!("SEMAPHORE.RELEASE s {token}");
    assert_eq!(ask(&mut client, &give).await, Value::Integer(1));
    granted(&ask(&mut client, take).await);
    assert_eq!(
        ask(&mut client, "SEMAPHORE.RESIZE s 3").await,
        Value::Integer(2)
    );
    granted(&ask(&mut client, "SEMAPHORE.ACQUIRE s 3 TTL 60000").await);

    assert_eq!(ask(&mut client, "ELECTION.OBSERVE e").await, Value::Nil);
    let lead = ask(&mut client, "ELECTION.CAMPAIGN e one TTL 60000").await;
    let (token, _) = granted(&lead);
    let follow = ask(&mut client, "ELECTION.CAMPAIGN e two TTL 60000").await;
    assert_eq!(follow, Value::Nil);
    let proclaim = format!("ELECTION.PROCLAIM e {token} three");
    assert_eq!(ask(&mut client, &proclaim).await, Value::Integer(1));
    let leader = vec![Value::Bulk("three".into()), Value::Integer(token)];
    assert_eq!(
        ask(&mut client, "ELECTION.OBSERVE e").await,
        Value::Array(leader)
    );
    let resign = format!("ELECTION.RESIGN e {token}");
    assert_eq!(ask(&mut client, &resign).await, Value::Integer(1));
    assert_eq!(ask(&mut client, &resign).await, Value::Integer(0));

    for (command, reply) in [
        ("LATCH.AWAIT l", 1),
        ("LATCH.SET l 2", 1),
        ("LATCH.SET l 5", 0),
        ("LATCH.AWAIT l TIMEOUT 5", 0),
        ("LATCH.COUNTDOWN l", 1),
        ("LATCH.COUNTDOWN l", 0),
        ("LATCH.AWAIT l", 1),
    ] {
        assert_eq!(
            ask(&mut client, command).await,
            Value::Integer(reply),
            "{command}"
        );
    }
}

#[tokio::test]
async fn a_barrier_lets_all_go_or_breaks_for_all() {
    let face = Face::start().await;
    let wait = async |ms: u32| {
        let mut client = face.client().await;
        ask(&mut client, &format!("BARRIER.WAIT b 2 TIMEOUT {ms}")).await
    };
    let (one, two) = tokio::join!(wait(60_000), wait(60_000));
    assert_eq!((one, two), (Value::Integer(1), Value::Integer(1)));
    let Value::Error(broken) = wait(5).await else {
        panic!("nobody else came");
    };
    assert!(broken.to_string().starts_with("BROKEN "), "{broken:?}");
}

#[tokio::test]
async fn metadata_is_set_compared_and_removed() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, reply) in [
        ("META.GET k", "$-1/"),
        ("META.SET k one", ":2/"),
        ("META.GET k", "*2/$3/one/:2/"),
        ("META.CAS k 0 two", "$-1/"),
        ("META.CAS k 2 two", ":5/"),
        ("meta.get k lease", "*2/$3/two/:5/"),
        ("META.GET k STALE", "*2/$3/two/:5/"),
        ("META.GET k STALE 500", "*2/$3/two/:5/"),
        ("META.GET k FRESH", "-ERR syntax error/"),
        ("META.GET k STALE 500 1", "-ERR syntax error/"),
        (
            "META.GET k STALE -1",
            "-ERR value is not an integer or out of range/",
        ),
        ("META.DEL k 2", "$-1/"),
        ("META.DEL k 5 6", "-ERR syntax error/"),
        ("META.DEL k 5", ":1/"),
        ("META.DEL k", ":0/"),
        ("ELECTION.OBSERVE e STALE 500", "$-1/"),
    ] {
        raw.ask(command, reply).await;
    }
    let long = "x".repeat(65_537);
    let Value::Error(refused) = ask(&mut face.client().await, &format!("META.SET k {long}")).await
    else {
        panic!("it is too long");
    };
    let refused = refused.to_string();
    assert!(
        refused.contains("at most 65536 bytes, not 65537"),
        "{refused}"
    );
}
