//! Levels, profiles, tokens, `WAIT`, and errors that say what is now true.

use std::time::Duration;

use quorate::config::Secret;
use quorate::doors::AdminError;
use quorate::faces::Gate;
use quorate::faces::resp::RespConfig;
use quorate_control::topology::KeyspaceId;
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::fence::Claim;
use quorate_dynamo::op::RequestError;
use quorate_dynamo::protocol::RequestId;

use crate::fake::partition;
use crate::wire::Face;

/// The level and the timeout (in ms) of the last request.
fn last(face: &Face) -> (Option<Consistency>, u64) {
    let state = face.fake.state();
    let request = state.log.last().unwrap();
    assert_eq!(&*request.datacenter, "east");
    (request.consistency, request.timeout.as_millis() as u64)
}

#[tokio::test]
async fn a_level_for_one_command() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("CL LOCAL_QUORUM SET k v", "+OK/").await;
    assert_eq!(last(&face), (Some(Consistency::LocalQuorum), 2000));
    raw.ask("cl R=2,W=3,TIMEOUT=50ms get k", "$1/v/").await;
    assert_eq!(
        last(&face),
        (Some(Consistency::Numeric { read: 2, write: 3 }), 50)
    );
    raw.ask("GET k", "$1/v/").await;
    assert_eq!(last(&face), (None, 2000));
    raw.ask(
        "CL NOPE GET k",
        "-ERR no such consistency level: \"NOPE\"; use ONE, TWO, ",
    )
    .await;
    let mut raw = face.raw().await;
    raw.ask(
        "CL ALL PING",
        "-ERR CL must precede a command on data, not 'ping'/",
    )
    .await;
    raw.ask(
        "CL ALL CL ONE GET k",
        "-ERR CL must precede a command on data, not 'cl'/",
    )
    .await;
    raw.ask(
        "CL ALL GET",
        "-ERR wrong number of arguments for 'get' command/",
    )
    .await;
    raw.ask("CL ALL", "-ERR wrong number of arguments for 'cl' command/")
        .await;
}

#[tokio::test]
async fn a_name_for_one_command() {
    let face = Face::start().await;
    let name = |back: usize| {
        let log = &face.fake.state().log;
        log[log.len() - 1 - back].id.clone()
    };
    let named = |text: &'static [u8]| RequestId::new(text.into());
    let mut raw = face.raw().await;
    raw.ask("REQ once-1 INCR c", ":1/").await;
    assert_eq!(name(0), named(b"once-1"));
    raw.ask("req once-2 cl QUORUM INCR c", ":2/").await;
    assert_eq!(
        (name(0), last(&face).0),
        (named(b"once-2"), Some(Consistency::Quorum))
    );
    raw.ask("CL ONE REQ once-3 MSET k 1 k 2", "+OK/").await;
    assert_eq!(
        (name(1), name(0)),
        (named(b"once-3"), named(b"once-3").map(|name| name.part(1)))
    );
    raw.ask("INCR c", ":3/").await;
    assert_eq!(name(0), None, "the name was for one command");
    raw.ask(
        "REQ \"\" INCR c",
        "-ERR a request name must have 1 to 32 bytes/",
    )
    .await;
    raw.ask(
        "REQ 123456789012345678901234567890123 INCR c",
        "-ERR a request name must have 1 to 32 bytes/",
    )
    .await;
    raw.ask(
        "REQ a PING",
        "-ERR REQ must precede a command on data, not 'ping'/",
    )
    .await;
    raw.ask(
        "REQ a CL ONE REQ b INCR c",
        "-ERR REQ must precede a command on data, not 'req'/",
    )
    .await;
}

#[tokio::test]
async fn a_lock_for_one_command() {
    let face = Face::start().await;
    let claim = || face.fake.state().log.last().expect("asked").claim;
    let job = Claim::new(b"job", 7);
    let mut raw = face.raw().await;
    raw.ask("FENCE job 7 SET k v", "+OK/").await;
    assert_eq!(claim(), Some(job));
    raw.ask("fence job 7 seq 3 since 2 GET k", "$1/v/").await;
    assert_eq!(claim(), Some(job.numbered(3, 2)));
    raw.ask("CL ALL FENCE job 7 SEQ 4 INCR c", ":1/").await;
    assert_eq!(
        (claim(), last(&face).0),
        (Some(job.numbered(4, 0)), Some(Consistency::All))
    );
    raw.ask("GET k", "$1/v/").await;
    assert_eq!(claim(), None, "the lock was for one command");
    let asked = face.fake.state().log.len();
    let wrong = "-ERR FENCE takes the key of a lock, its token and, if they are known, SEQ and SINCE: numbers, the token above 0 and SINCE not above SEQ/";
    for command in [
        "FENCE job 0 GET k",
        "FENCE job x GET k",
        "FENCE job 7 SEQ GET k",
        "FENCE job 7 SEQ 1 SINCE 2 GET k",
        "FENCE job 7 SEQ 1 SINCE 1",
        "FENCE job 7 SEQ 1",
    ] {
        raw.ask(command, wrong).await;
    }
    raw.ask(
        "FENCE job 7",
        "-ERR wrong number of arguments for 'fence' command/",
    )
    .await;
    raw.ask(
        "FENCE job 7 PING",
        "-ERR FENCE must precede a command on data, not 'ping'/",
    )
    .await;
    assert_eq!(face.fake.state().log.len(), asked, "nothing was asked");
}

#[tokio::test]
async fn a_name_goes_only_before_what_is_done_once() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, name) in [
        ("FLUSHDB", "flushdb"),
        ("FLUSHALL", "flushall"),
        ("SCAN 0", "scan"),
        ("GET k", "get"),
        ("MGET k", "mget"),
    ] {
        let refused = format!(
            "-ERR REQ cannot precede '{name}': only commands that change keys can be named; nothing was applied/"
        );
        raw.ask(&format!("REQ a {command}"), &refused).await;
        raw.ask(&format!("REQ a CL ONE {command}"), &refused).await;
    }
    raw.ask(
        "REQ a WAIT 0 1",
        "-ERR REQ must precede a command on data, not 'wait'/",
    )
    .await;
    assert!(face.fake.state().log.is_empty());
    raw.ask("REQ a SADD s x", ":1/").await;
}

#[tokio::test]
async fn a_walk_is_refused_a_level_that_it_does_not_keep() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("SET k v", "+OK/").await;
    let asked = face.fake.state().log.len();
    for level in ["ALL", "QUORUM", "LOCAL_QUORUM", "TWO", "R=2,TIMEOUT=1s"] {
        for (command, name) in [("SCAN 0", "scan"), ("KEYS *", "keys"), ("DBSIZE", "dbsize")] {
            raw.ask(
                &format!("CL {level} {command}"),
                &format!("-ERR '{name}' asks one replica of each partition and cannot run at "),
            )
            .await;
            raw = face.raw().await;
        }
    }
    assert_eq!(face.fake.state().log.len(), asked);
    raw.ask("CLIENT CONSISTENCY READ ALL", "+OK/").await;
    for spec in [
        "",
        "CL ONE ",
        "CL LOCAL_ONE ",
        "CL R=1 ",
        "CL TIMEOUT=1s ",
        "CL DEFAULT ",
    ] {
        raw.ask(&format!("{spec}SCAN 0 COUNT 100"), "*2/$1/0/*1/$1/k/")
            .await;
        raw.ask(&format!("{spec}KEYS *"), "*1/$1/k/").await;
        raw.ask(&format!("{spec}DBSIZE"), ":1/").await;
    }
}

#[tokio::test]
async fn a_level_for_the_connection() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask(
        "CLIENT CONSISTENCY READ QUORUM WRITE EACH_QUORUM,TIMEOUT=1s",
        "+OK/",
    )
    .await;
    raw.ask("SET k v", "+OK/").await;
    assert_eq!(last(&face), (Some(Consistency::EachQuorum), 1000));
    raw.ask("GET k", "$1/v/").await;
    assert_eq!(last(&face), (Some(Consistency::Quorum), 2000));
    raw.ask(
        "CLIENT CONSISTENCY",
        "*4/$4/read/$21/QUORUM,TIMEOUT=2000ms/$5/write/$26/EACH_QUORUM,TIMEOUT=1000ms/",
    )
    .await;
    raw.ask(
        "CLIENT CONSISTENCY READ ONE WRITE NOPE",
        "-ERR no such consistency level",
    )
    .await;
    let mut raw = face.raw().await;
    raw.ask("AUTH local_quorum anything", "+OK/").await;
    raw.ask("SET k v", "+OK/").await;
    assert_eq!(last(&face), (Some(Consistency::LocalQuorum), 2000));
    raw.ask("RESET", "+RESET/").await;
    raw.ask("GET k", "$1/v/").await;
    assert_eq!(last(&face), (None, 2000));
    raw.ask(
        "AUTH alice x",
        "-WRONGPASS invalid username-password pair or user is disabled./",
    )
    .await;
}

#[tokio::test]
async fn a_password_opens_the_door() {
    let face = Face::with(RespConfig {
        gate: Gate::new(Some(Secret::new("pw"))),
        ..RespConfig::default()
    })
    .await;
    let mut raw = face.raw().await;
    raw.ask("GET k", "-NOAUTH Authentication required./").await;
    raw.ask("PING", "-NOAUTH Authentication required./").await;
    raw.ask(
        "HELLO 3",
        "-NOAUTH HELLO must be called with the client already authenticated, ",
    )
    .await;
    let mut raw = face.raw().await;
    raw.ask(
        "AUTH wrong",
        "-WRONGPASS invalid username-password pair or user is disabled./",
    )
    .await;
    raw.ask(
        "AUTH quorum wrong",
        "-WRONGPASS invalid username-password pair or user is disabled./",
    )
    .await;
    raw.ask("HELLO 3 AUTH quorum pw", "%7/$6/server/").await;
    let mut raw = face.raw().await;
    raw.send("*11\r\n").await;
    raw.expect("-ERR Protocol error: unauthenticated multibulk length/")
        .await;
    raw.expect_end().await;
    let mut raw = face.raw().await;
    raw.send("AUTH quorum pw\r\n*11\r\n").await;
    raw.expect("+OK/").await;
    raw.send("$3\r\nDEL\r\n".to_owned() + &"$1\r\nk\r\n".repeat(10))
        .await;
    raw.expect(":0/").await;
    assert_eq!(last(&face), (Some(Consistency::Quorum), 2000));
    let face = Face::start().await;
    let mut open = face.raw().await;
    open.ask(
        "AUTH pw",
        "-ERR AUTH <password> called without any password configured for the default user. ",
    )
    .await;
}

#[tokio::test]
async fn keyspaces_by_number_and_by_name() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("SELECT carts", "+OK/").await;
    raw.ask("SET k v", "+OK/").await;
    raw.ask("SELECT default", "+OK/").await;
    raw.ask("GET k", "$-1/").await;
    raw.ask("SELECT carts", "+OK/").await;
    raw.ask("GET k", "$1/v/").await;
    for outside in ["-1", "16", "9223372036854775807"] {
        raw.ask(
            &format!("SELECT {outside}"),
            "-ERR DB index is out of range/",
        )
        .await;
    }
    raw.ask(
        "CL ONE SELECT 0",
        "-ERR CL must precede a command on data, not 'select'/",
    )
    .await;
    raw.ask("SELECT nope", "-ERR invalid DB index/").await;
    raw.ask("SELECT carts", "+OK/").await;
    raw.ask("DBSIZE", ":1/").await;
    raw.ask("FLUSHALL ASYNC", "+OK/").await;
    raw.ask("DBSIZE", ":0/").await;
    assert_eq!(
        face.fake.state().log.last().unwrap().keyspace,
        KeyspaceId(2)
    );
}

/// An answer that names no keys would look like that of an empty keyspace.
#[tokio::test]
async fn a_walk_through_a_dropped_keyspace_is_an_error() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("SELECT carts", "+OK/").await;
    face.fake.change(|topology| {
        topology.keyspaces.remove(&KeyspaceId(2));
    });
    for command in ["DBSIZE", "KEYS *", "SCAN 0", "FLUSHDB"] {
        raw.ask(
            command,
            "-ERR the keyspace no longer exists; SELECT another/",
        )
        .await;
    }
    raw.ask("FLUSHALL", "+OK/").await;
}

#[tokio::test]
async fn a_database_number_is_a_keyspace_that_is_made_when_it_is_selected() {
    let face = Face::start().await;
    let (mut first, mut second) = (face.raw().await, face.raw().await);
    first.ask("SELECT 1", "+OK/").await;
    first.ask("SET k v", "+OK/").await;
    second.ask("GET k", "$-1/").await;
    second.ask("SELECT 1", "+OK/").await;
    second.ask("GET k", "$1/v/").await;
    second.ask("SELECT default", "+OK/").await;
    second.ask("SELECT db1", "+OK/").await;
    second.ask("GET k", "$1/v/").await;
    second.ask("SELECT 0", "+OK/").await;
    second.ask("GET k", "$-1/").await;
    let mut client = face.client().await;
    client.command(&[b"SELECT", b"15"]).await.unwrap();
    let info = client.command(&[b"CLIENT", b"INFO"]).await.unwrap();
    let info = String::from_utf8_lossy(info.bytes().unwrap()).into_owned();
    assert!(info.contains(" db=15 "), "{info}");
    client.command(&[b"SELECT", b"carts"]).await.unwrap();
    let info = client.command(&[b"CLIENT", b"INFO"]).await.unwrap();
    let info = String::from_utf8_lossy(info.bytes().unwrap()).into_owned();
    assert!(info.contains(" db=carts "), "{info}");
    face.fake.state().makes_none = Some(AdminError::NoQuorum);
    first.ask("SELECT 15", "+OK/").await;
    first
        .ask(
            "SELECT 7",
            "-ERR the keyspace db7 does not exist and could not be made: the control group has no quorum; try again when a majority of its voters can be reached/",
        )
        .await;
    first
        .ask(
            "SET k v",
            "-ERR not run: the last SELECT was refused; nothing was applied/",
        )
        .await;
}

#[tokio::test]
async fn errors_say_what_is_now_true() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    let mut next = async |error: RequestError, command: &str, reply: &str| {
        face.fake.state().script.push_back(Some(error));
        raw.ask(command, reply).await;
    };
    let unavailable = RequestError::Unavailable {
        level: Consistency::Quorum,
        required: 2,
        alive: 1,
        missing: vec![NodeId(2)],
    };
    next(unavailable, "SET k v", "-NOTQUORATE QUORUM needs 2 replicas, 1 can be reached; missing b@west; nothing was applied/").await;
    let late = |may_be_applied| RequestError::TimedOut {
        level: Consistency::Two,
        acked: 1,
        required: 2,
        missing: vec![NodeId(2)],
        may_be_applied,
    };
    next(late(true), "INCR k", "-TIMEOUT TWO: 1 of 2 replicas answered in time; missing b@west; the write may have been applied/").await;
    next(
        late(false),
        "GET k",
        "-TIMEOUT TWO: 1 of 2 replicas answered in time; missing b@west/",
    )
    .await;
    next(
        RequestError::Overloaded,
        "SET k v",
        "-OVERLOADED the node has too much to do; nothing was applied/",
    )
    .await;
    next(
        RequestError::DiskFull,
        "SET k v",
        "-OOM the disk of the node is full; nothing was applied/",
    )
    .await;
    next(
        RequestError::BadToken,
        "CTX.SET k v T9",
        "-ERR the causal token does not come from CTX.GET of this key/",
    )
    .await;
    let unseen = "-TRYAGAIN the replicas of this level have not seen all that the token covers; try again, or read again; nothing was applied/";
    next(RequestError::Unseen, "CTX.SET k v T1", unseen).await;
    next(
        RequestError::Overloaded,
        "MSET a 1 b 2 c 3",
        "-OVERLOADED the node has too much to do; 2 of 3 keys were applied, 1 was not/",
    )
    .await;
    face.fake.state().loading = true;
    raw.ask("GET k", "-LOADING ").await;
    let mut raw = face.raw().await;
    raw.ask("PING", "+PONG/").await;
}

#[tokio::test]
async fn a_command_of_several_keys_says_first_what_is_not_known() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    let late = |may_be_applied| {
        let (level, missing) = (Consistency::Two, vec![NodeId(2)]);
        Some(RequestError::TimedOut {
            level,
            acked: 1,
            required: 2,
            missing,
            may_be_applied,
        })
    };
    let text = "-TIMEOUT TWO: 1 of 2 replicas answered in time; missing b@west";
    face.fake
        .state()
        .script
        .extend([Some(RequestError::Overloaded), late(true), None, late(true)]);
    raw.ask(
        "MSET a 1 b 2 c 3 d 4 e 5",
        &format!("{text}; 2 of 5 keys were applied, 2 may have been applied, 1 was not/"),
    )
    .await;
    face.fake.state().script.extend([late(false), late(false)]);
    raw.ask("DEL a b", &format!("{text}; nothing was applied/"))
        .await;
    face.fake
        .state()
        .script
        .extend([None, Some(RequestError::NoKeyspace)]);
    raw.ask(
        "DEL a b",
        "-ERR the keyspace no longer exists; SELECT another; 1 of 2 keys were applied, 1 was not/",
    )
    .await;
    // A read changes nothing, whatever its outcome.
    face.fake
        .state()
        .script
        .extend([Some(RequestError::Overloaded), Some(RequestError::Stopping)]);
    raw.ask("MGET a b", "-OVERLOADED the node has too much to do/")
        .await;
}

#[tokio::test]
async fn causal_tokens() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("CTX.GET k", "*2/$2/T1/*0/").await;
    raw.ask("CTX.SET k v T1", "+OK/").await;
    raw.ask("CTX.GET k", "*2/$2/T1/*1/$1/v/").await;
    raw.ask(
        "CTX.SET k v T2",
        "-ERR the causal token does not come from CTX.GET of this key/",
    )
    .await;
}

#[tokio::test]
async fn wait_asks_for_the_last_write_in_each_partition() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("WAIT 3 100", ":1/").await;
    let asked = face.fake.state().waits.remove(0);
    assert!(asked.0.is_empty(), "nothing was written: {asked:?}");
    raw.send("SET a 1\r\nSET e 2\r\nSET b 3\r\nGET a\r\nWAIT 2 100\r\n")
        .await;
    raw.expect("+OK/+OK/+OK/$1/1/:1/").await;
    assert_eq!(partition(b"a"), partition(b"e"));
    let (receipts, replicas, timeout) = face.fake.state().waits[0].clone();
    assert_eq!((replicas, timeout), (2, Duration::from_millis(100)));
    let events: Vec<_> = receipts
        .iter()
        .map(|receipt| (receipt.partition, receipt.dot.counter))
        .collect();
    assert_eq!(events, [(partition(b"a"), 2), (partition(b"b"), 3)]);
    raw.ask("WAIT 1 -1", "-ERR timeout is negative/").await;
    raw.ask("WAIT x 1", "-ERR value is not an integer or out of range/")
        .await;
}
