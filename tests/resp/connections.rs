//! Connections: how many there may be, how they end, and clients that speak nonsense.

use std::time::Duration;

use quorate::config::Secret;
use quorate::faces::Gate;
use quorate::faces::resp::RespConfig;
use quorate::limits::Guests;
use tokio::io::AsyncWriteExt;

use crate::wire::{Face, until};

#[tokio::test]
async fn nonsense_is_answered_and_the_connection_closed() {
    let face = Face::start().await;
    for (bytes, reply) in [
        (&b"*1\r\n$536870913\r\n"[..], "invalid bulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (
            b"*131073\r\n",
            "invalid multibulk length: 131073 arguments are more than the 131072 allowed; nothing was applied",
        ),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"%1\r\n$1\r\na\r\n", "expected '*', got '%'"),
        (b"GET \"k\r\n", "unbalanced quotes in request"),
        (&b"x".repeat(70_000), "too big inline request"),
    ] {
        let mut raw = face.raw().await;
        raw.send(b"PING\r\n").await;
        raw.expect("+PONG/").await;
        raw.0.write_all(bytes).await.ok();
        raw.expect(&format!("-ERR Protocol error: {reply}/")).await;
        raw.expect_end().await;
    }
    let mut raw = face.raw().await;
    raw.send("*1\r\n".repeat(10_000)).await;
    raw.expect("-ERR Protocol error: expected '$', got '*'/")
        .await;
    raw.expect_end().await;
    let mut raw = face.raw().await;
    raw.send(b"\x00\xff\xfe garbage\r\n").await;
    raw.expect("-ERR unknown command '").await;
}

#[tokio::test]
async fn commands_before_a_protocol_error_are_answered() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.send("SET k v\r\nGET k\r\n*x\r\nGET k\r\n").await;
    raw.expect("+OK/$1/v/-ERR Protocol error: invalid multibulk length/")
        .await;
    raw.expect_end().await;
}

#[tokio::test]
async fn a_browser_is_sent_away() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.send("POST x HTTP\r\nHost: x\r\n\r\nFLUSHALL\r\n").await;
    raw.expect("-ERR unknown command 'POST', with args beginning with: 'x' 'HTTP' /")
        .await;
    raw.expect_end().await;
    assert!(face.fake.state().log.is_empty(), "FLUSHALL must not run");
}

#[tokio::test]
async fn quit_and_half_closed_connections_get_their_replies() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.send("SET k v\r\nQUIT\r\nSET k w\r\n").await;
    raw.expect("+OK/+OK/").await;
    raw.expect_end().await;
    let mut raw = face.raw().await;
    raw.send("GET k\r\n").await;
    raw.0.shutdown().await.unwrap();
    raw.expect("$1/v/").await;
    raw.expect_end().await;
}

#[tokio::test]
async fn a_half_open_connection_idles_without_harm_and_its_place_is_freed() {
    let face = Face::with(RespConfig {
        guests: Guests::new(2),
        ..RespConfig::default()
    })
    .await;
    let mut half = face.raw().await;
    half.send("*2\r\n$3\r\nGET\r\n$1").await;
    let mut other = face.raw().await;
    other.ask("PING", "+PONG/").await;
    let mut third = face.raw().await;
    third.expect("-ERR max number of clients reached/").await;
    third.expect_end().await;
    half.send("\r\nk\r\n").await;
    half.expect("$-1/").await;
    drop(half);
    loop {
        let mut next = face.raw().await;
        next.0.write_all(b"PING\r\n").await.ok();
        let mut first = [0];
        if tokio::io::AsyncReadExt::read(&mut next.0, &mut first)
            .await
            .is_ok_and(|length| length == 1)
            && first == *b"+"
        {
            break;
        }
    }
    other.ask("INFO clients", "$").await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off() {
    let face = Face::with(RespConfig {
        write_stall: Duration::from_millis(50),
        ..RespConfig::default()
    })
    .await;
    let mut client = face.client().await;
    client
        .command(&[b"SET", b"k", &vec![b'x'; 4_000_000]])
        .await
        .unwrap();
    let mut raw = face.raw().await;
    raw.send("GET k\r\n".repeat(64)).await;
    let clients = async {
        loop {
            let info = client.command(&[b"INFO", b"clients"]).await.unwrap();
            if info
                .bytes()
                .unwrap()
                .starts_with(b"# Clients\r\nconnected_clients:1\r\n")
            {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), clients)
        .await
        .expect("the connection is dropped");
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_long_reply_is_made_as_it_is_read() {
    let face = Face::start().await;
    let mut other = face.client().await;
    other
        .command(&[b"SET", b"big", &vec![b'x'; 8 * 1024 * 1024]])
        .await
        .unwrap();
    other
        .command(&[b"HSET", b"hash", b"big", &vec![b'x'; 8 * 1024 * 1024]])
        .await
        .unwrap();
    let before = resident();
    let mut slow = Vec::new();
    for command in [
        "MGET".to_owned() + &" big".repeat(60),
        "HMGET hash".to_owned() + &" big".repeat(60),
    ] {
        let mut raw = face.raw().await;
        raw.send(command + "\r\n").await;
        raw.expect("*60/$8388608/x").await;
        slow.push(raw);
    }
    for _ in 0..100 {
        assert_eq!(
            other.command(&[b"PING"]).await.unwrap().bytes().unwrap(),
            b"PONG"
        );
    }
    let grown = resident().saturating_sub(before);
    assert!(
        grown < 300 * 1024 * 1024,
        "{grown} bytes for replies of 480 MiB each that nobody has read"
    );
}

#[tokio::test]
async fn a_reply_beyond_the_bound_is_refused_and_asks_for_no_more() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    face.client()
        .await
        .command(&[b"SET", b"big", &vec![b'x'; 8 * 1024 * 1024]])
        .await
        .unwrap();
    let refused = "-ERR the reply would have more than 536870912 bytes; ask for less at a time/";
    raw.ask(&("MGET".to_owned() + &" big".repeat(65)), refused)
        .await;
    let asked = face.fake.state().log.len();
    raw.ask(&("MGET".to_owned() + &" big".repeat(5000)), refused)
        .await;
    assert!(
        face.fake.state().log.len() - asked <= 128,
        "nobody needs the rest"
    );
    raw.ask("PING", "+PONG/").await;
}

#[tokio::test]
async fn what_a_connection_is_called_is_short() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    let refused = "-ERR a name of 129 bytes is more than the 128 allowed/";
    raw.ask(&format!("CLIENT SETNAME {}", "x".repeat(129)), refused)
        .await;
    raw.ask(
        &format!("CLIENT SETINFO LIB-NAME {}", "x".repeat(129)),
        refused,
    )
    .await;
    raw.ask(&format!("HELLO 2 SETNAME {}", "x".repeat(129)), refused)
        .await;
    raw.ask(&format!("CLIENT SETNAME {}", "x".repeat(128)), "+OK/")
        .await;
}

#[tokio::test]
async fn a_stranger_keeps_no_place() {
    let config = RespConfig {
        gate: Gate::new(Some(Secret::new("pw"))),
        greeting: Duration::from_millis(200),
        ..RespConfig::default()
    };
    let face = Face::with(config).await;
    let mut known = face.raw().await;
    known.ask("AUTH pw", "+OK/").await;
    let (mut silent, mut half, mut busy) = (face.raw().await, face.raw().await, face.raw().await);
    half.send("*2\r\n$4\r\nAU").await;
    busy.ask("PING", "-NOAUTH Authentication required./").await;
    for stranger in [&mut silent, &mut half, &mut busy] {
        stranger
            .expect("-NOAUTH you did not authenticate in time; the connection is closed/")
            .await;
        stranger.expect_end().await;
    }
    known.ask("PING", "+PONG/").await;
}

#[tokio::test]
async fn a_client_that_resets_has_time_to_authenticate_again() {
    let greeting = Duration::from_secs(1);
    let face = Face::with(RespConfig {
        gate: Gate::new(Some(Secret::new("pw"))),
        greeting,
        ..RespConfig::default()
    })
    .await;
    let mut known = face.raw().await;
    known.ask("AUTH pw", "+OK/").await;
    tokio::time::sleep(greeting).await;
    known.ask("RESET", "+RESET/").await;
    known.ask("PING", "-NOAUTH Authentication required./").await;
    known.ask("AUTH pw", "+OK/").await;
    known.ask("RESET", "+RESET/").await;
    known
        .expect("-NOAUTH you did not authenticate in time; the connection is closed/")
        .await;
    known.expect_end().await;
}

#[tokio::test]
async fn a_stranger_does_not_keep_its_place_by_resetting() {
    let greeting = Duration::from_millis(200);
    let face = Face::with(RespConfig {
        gate: Gate::new(Some(Secret::new("pw"))),
        greeting,
        ..RespConfig::default()
    })
    .await;
    let mut stranger = face.raw().await;
    let resetting = async {
        while stranger.0.write_all(b"RESET\r\n").await.is_ok() {
            tokio::time::sleep(greeting / 10).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), resetting)
        .await
        .expect("the connection is closed");
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let face = Face::start().await;
    let mut idle = face.raw().await;
    idle.ask("PING", "+PONG/").await;
    let mut raw = face.raw().await;
    face.fake.state().hold = true;
    raw.send("SET k v\r\n").await;
    until("the write is submitted", || {
        face.fake.state().kept.len() == 1
    })
    .await;
    face.stop.send(true).unwrap();
    idle.expect_end().await;
    assert!(!face.served.is_finished(), "a write is under way");
    face.fake.state().kept.pop_front().unwrap().release();
    raw.expect("+OK/").await;
    raw.expect_end().await;
    face.served.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(face.address).await.is_err());
}

#[tokio::test]
async fn a_node_that_goes_away_says_that_the_write_may_be_applied() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    face.fake.state().hold = true;
    raw.send("SET k v\r\n").await;
    until("the write is submitted", || {
        face.fake.state().kept.len() == 1
    })
    .await;
    face.fake.state().kept.clear();
    raw.expect("-STOPPING the node is stopping; the write may have been applied/")
        .await;
}

#[tokio::test]
async fn clients_see_each_other() {
    let face = Face::start().await;
    let mut first = face.client().await;
    let mut second = face.client().await;
    second
        .command(&[b"CLIENT", b"SETNAME", b"two"])
        .await
        .unwrap();
    second
        .command(&[b"CLIENT", b"SETINFO", b"LIB-NAME", b"lib"])
        .await
        .unwrap();
    second.command(&[b"AUTH", b"quorum", b""]).await.unwrap();
    let list = first.command(&[b"CLIENT", b"LIST"]).await.unwrap();
    let list = String::from_utf8(list.bytes().unwrap().to_vec()).unwrap();
    let line = list.lines().nth(1).unwrap();
    for part in [
        "id=2 ",
        " name=two ",
        " db=0 ",
        " user=quorum ",
        " lib-name=lib ",
        " resp=2",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(list.lines().count(), 2);
}

/// As ioredis connects with `db: 99`: it sends `SELECT` and goes on whatever the answer is.
#[tokio::test]
async fn after_a_refused_select_nothing_is_written_elsewhere() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    let held = "-ERR not run: the last SELECT was refused; nothing was applied/";
    raw.ask("SELECT 99", "-ERR DB index is out of range/").await;
    for command in [
        "SET k v",
        "CL ONE SET k v",
        "GET k",
        "MGET k j",
        "FLUSHDB",
        "SCAN 0",
    ] {
        raw.ask(command, held).await;
    }
    raw.ask("PING", "+PONG/").await;
    raw.ask("SELECT 0", "+OK/").await;
    raw.ask("GET k", "$-1/").await;
    raw.ask("SELECT nowhere", "-ERR invalid DB index/").await;
    raw.ask("SET k v", held).await;
    raw.ask("RESET", "+RESET/").await;
    raw.ask("SET k v", "+OK/").await;
    let arity = "-ERR wrong number of arguments for 'select' command/";
    raw.ask("SELECT 1 2", arity).await;
    raw.ask("SET k v", held).await;
}

/// A client that sends its `SELECT` before its `AUTH` has chosen nothing.
#[tokio::test]
async fn a_select_before_the_password_counts_as_refused() {
    let face = Face::with(RespConfig {
        gate: Gate::new(Some(Secret::new("pw"))),
        ..RespConfig::default()
    })
    .await;
    let mut raw = face.raw().await;
    raw.ask("SELECT 1", "-NOAUTH Authentication required./")
        .await;
    raw.ask("AUTH pw", "+OK/").await;
    let held = "-ERR not run: the last SELECT was refused; nothing was applied/";
    raw.ask("SET k v", held).await;
    raw.ask("SELECT 0", "+OK/").await;
    raw.ask("GET k", "$-1/").await;
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused_in_words_that_arrive() {
    let face = Face::start().await;
    let (mut reader, mut writer) = face.raw().await.0.into_split();
    let bytes = 17 * 1024 * 1024;
    let sending = async move {
        writer
            .write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${bytes}\r\n").as_bytes())
            .await
            .unwrap();
        writer.write_all(&vec![b'x'; bytes]).await.unwrap();
        writer.write_all(b"\r\n").await.unwrap();
        writer
    };
    // Reads nothing until everything has been sent, as simple clients do.
    let writer = sending.await;
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut reader, &mut answer)
        .await
        .unwrap();
    drop(writer);
    let expected = format!(
        "-ERR Protocol error: invalid bulk length: {bytes} bytes is more than the 16777216 allowed; nothing was applied\r\n"
    );
    assert_eq!(answer, expected);
}
