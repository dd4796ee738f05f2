//! What operators and their tools ask: exporters, consoles, the slow log, and ending connections.

use std::time::Duration;

use quorate::config::Secret;
use quorate::faces::Gate;
use quorate::faces::resp::RespConfig;
use quorate::faces::resp::client::{Client, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::wire::{Face, until};

async fn info(client: &mut Client, section: &str) -> String {
    let info = client
        .command(&[b"INFO", section.as_bytes()])
        .await
        .unwrap();
    String::from_utf8(info.bytes().unwrap().to_vec()).unwrap()
}

fn field<'a>(info: &'a str, name: &str) -> &'a str {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .unwrap_or_else(|| panic!("{name} in {info}"))
}

#[tokio::test]
async fn info_has_what_exporters_read() {
    let face = Face::start().await;
    let mut client = face.client().await;
    for command in ["SET k v", "SET e v", "EXPIRE e 100", "SELECT 3", "SET k v"] {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        client.command(&words).await.unwrap();
    }
    let all = info(&mut client, "default").await;
    for (name, value) in [
        ("arch_bits", "64"),
        ("redis_version", "7.2.0"),
        ("maxmemory", "0"),
        ("loading", "0"),
        ("db0", "keys=2,expires=1,avg_ttl=0"),
        ("db3", "keys=1,expires=0,avg_ttl=0"),
        ("evicted_keys", "0"),
    ] {
        assert_eq!(field(&all, name), value, "{name}");
    }
    if cfg!(target_os = "linux") {
        assert!(field(&all, "used_memory").parse::<u64>().unwrap() > 1024 * 1024);
        assert!(field(&all, "used_cpu_user").parse::<f64>().unwrap() >= 0.0);
    }
    assert_eq!(field(&all, "total_commands_processed"), "6");
    assert!(field(&all, "total_net_input_bytes").parse::<u64>().unwrap() > 100);
    assert!(!all.contains("db2:"), "an empty keyspace: {all}");
    assert!(!all.contains("Commandstats"), "only if it is named");
    face.fake.state().loading = true;
    let loading = info(&mut client, "everything").await;
    assert_eq!(field(&loading, "loading"), "1");
    assert!(loading.contains("# Keyspace\r\n") && !loading.contains("\r\ndb0"));
}

#[tokio::test]
async fn commands_and_errors_are_counted_by_name() {
    let face = Face::start().await;
    let mut client = face.client().await;
    client.queue(&[b"SADD", b"s", b"x"]);
    client.queue(&[b"GET", b"s"]);
    client.queue(&[b"GET", b"k"]);
    client.queue(&[b"GET"]);
    client.queue(&[b"NOPE"]);
    client.queue(&[b"CLIENT", b"ID"]);
    client.queue(&[b"CL", b"ONE", b"GET", b"k"]);
    client.queue(&[b"MULTI"]);
    client.queue(&[b"GET", b"k"]);
    client.queue(&[b"EXEC"]);
    client.flush().await.unwrap();
    for _ in 0..10 {
        client.receive().await.unwrap();
    }
    let stats = info(&mut client, "commandstats").await;
    for (name, calls, rejected, failed) in [
        ("cmdstat_get", 4, 1, 1),
        ("cmdstat_sadd", 1, 0, 0),
        ("cmdstat_client|id", 1, 0, 0),
        ("cmdstat_exec", 1, 0, 0),
    ] {
        let line = field(&stats, name);
        let begin = format!("calls={calls},usec=");
        let end = format!(",rejected_calls={rejected},failed_calls={failed}");
        assert!(
            line.starts_with(&begin) && line.ends_with(&end),
            "{name}: {line}"
        );
    }
    assert!(!stats.contains("cmdstat_del"), "{stats}");
    let errors = info(&mut client, "errorstats").await;
    assert_eq!(field(&errors, "errorstat_ERR"), "count=2");
    assert_eq!(field(&errors, "errorstat_WRONGTYPE"), "count=1");
    client.command(&[b"CONFIG", b"RESETSTAT"]).await.unwrap();
    assert_eq!(info(&mut client, "errorstats").await, "# Errorstats\r\n");
    let stats = info(&mut client, "commandstats").await;
    assert!(!stats.contains("cmdstat_get"), "{stats}");
}

#[tokio::test]
async fn resp3_tells_a_text_from_other_strings() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("INFO errorstats", "$14/# Errorstats//").await;
    raw.ask("HELLO 3", "%7/$6/server/").await;
    let mut raw = face.raw().await;
    raw.send("HELLO 3\r\nINFO replication\r\n").await;
    let mut seen = String::new();
    while !seen.ends_with("connected_slaves:0\r\n\r\n") {
        let mut chunk = [0; 1024];
        let length = raw.0.read(&mut chunk).await.unwrap();
        assert!(length > 0, "{seen}");
        seen.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
    }
    let text = "=52\r\ntxt:# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n";
    assert!(seen.ends_with(text), "{seen}");
}

#[tokio::test]
async fn what_took_long_is_in_the_slow_log() {
    let face = Face::start().await;
    let mut client = face.client().await;
    client
        .command(&[b"CLIENT", b"SETNAME", b"me"])
        .await
        .unwrap();
    client
        .command(&[b"CONFIG", b"SET", b"slowlog-log-slower-than", b"50000"])
        .await
        .unwrap();
    client.command(&[b"GET", b"fast"]).await.unwrap();
    let mut raw = face.raw().await;
    face.fake.state().hold = true;
    raw.send("SET slow v\r\n").await;
    until("the write is under way", || {
        face.fake.state().kept.len() == 1
    })
    .await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    face.fake.state().hold = false;
    let kept = face.fake.state().kept.pop_front().unwrap();
    kept.release();
    raw.expect("+OK/").await;
    let logged = client.command(&[b"SLOWLOG", b"GET"]).await.unwrap();
    let Value::Array(entries) = logged else {
        panic!("{logged:?}")
    };
    let [Value::Array(entry)] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert!(entry[2].integer().unwrap() >= 50_000, "{entry:?}");
    let Value::Array(words) = &entry[3] else {
        panic!("{entry:?}")
    };
    let words: Vec<_> = words.iter().map(|word| word.bytes().unwrap()).collect();
    assert_eq!(words, [&b"SET"[..], b"slow", b"v"]);
    let mut raw = face.raw().await;
    for (command, reply) in [
        ("SLOWLOG LEN", ":1/"),
        ("SLOWLOG RESET", "+OK/"),
        ("SLOWLOG LEN", ":0/"),
        ("SLOWLOG GET -1", "*0/"),
        (
            "SLOWLOG GET -2",
            "-ERR count should be greater than or equal to -1/",
        ),
        ("CONFIG SET slowlog-log-slower-than 0", "+OK/"),
        (
            "AUTH pw",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?/",
        ),
        ("WAIT 0 10", ":1/"),
        // Only the command that set the bound: a password is never logged, and waiting is no fault.
        ("SLOWLOG LEN", ":1/"),
    ] {
        raw.ask(command, reply).await;
    }
}

#[tokio::test]
async fn settings_that_hold_already_may_be_set_and_the_slow_log_changed() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, reply) in [
        ("CONFIG SET save \"\" maxmemory 0", "+OK/"),
        (
            "CONFIG SET maxmemory 100",
            "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - can't set immutable config/",
        ),
        (
            "CONFIG SET notify-keyspace-events Ex",
            "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - can't set immutable config/",
        ),
        (
            "CONFIG SET slowlog-max-len 5 maxmemory 1",
            "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - can't set immutable config/",
        ),
        (
            "CONFIG GET slowlog-max-len",
            "*2/$15/slowlog-max-len/$3/128/",
        ),
        ("CONFIG SET slowlog-max-len 5", "+OK/"),
        ("CONFIG GET slowlog-max-len", "*2/$15/slowlog-max-len/$1/5/"),
        (
            "CONFIG SET slowlog-max-len x",
            "-ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - argument couldn't be parsed into an integer/",
        ),
        ("CONFIG GET databases", "*2/$9/databases/$2/16/"),
        (
            "CONFIG REWRITE",
            "-ERR The server is running without a config file/",
        ),
    ] {
        raw.ask(command, reply).await;
    }
}

#[tokio::test]
async fn what_no_node_has_is_empty_or_refused() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    let disabled = "-ERR This instance has cluster support disabled/";
    let nobody = "-ERR 'subscribe' is not offered: no node passes messages from client to client/";
    for (command, reply) in [
        ("CLUSTER INFO", disabled),
        ("CLUSTER SLOTS", disabled),
        ("READONLY", disabled),
        (
            "CLUSTER",
            "-ERR wrong number of arguments for 'cluster' command/",
        ),
        ("SUBSCRIBE news", nobody),
        (
            "EVAL x 0",
            "-ERR 'eval' needs CL SERIAL, which this version does not offer: a script expects that nobody else changes its keys while it runs/",
        ),
        ("FUNCTION FLUSH", "+OK/"),
        ("FUNCTION FLUSH NOW", "-ERR syntax error/"),
        ("FUNCTION LIST", "*0/"),
        ("SCRIPT EXISTS a b", "*2/:0/:0/"),
        ("SCRIPT FLUSH ASYNC", "+OK/"),
        ("MODULE LIST", "*0/"),
        ("LATENCY LATEST", "*0/"),
        ("LATENCY RESET", ":0/"),
        ("ROLE", "*3/$6/master/:0/*0/"),
        ("OBJECT ENCODING none", "$-1/"),
        ("SET k v", "+OK/"),
        ("OBJECT ENCODING k", "$3/raw/"),
        ("CL ONE OBJECT ENCODING k", "$3/raw/"),
        ("SADD s x", ":1/"),
        ("OBJECT ENCODING s", "$9/hashtable/"),
        (
            "EXPIRE k 10 NX",
            "-ERR 'expire … nx' needs CL SERIAL, which this version does not offer: the old expiry would have to be agreed upon first/",
        ),
        ("PEXPIREAT k 10 SOON", "-ERR Unsupported option SOON/"),
        ("COMMAND LIST FILTERBY PATTERN get*", "*2/$3/get/$6/getdel/"),
        (
            "COMMAND LIST FILTERBY ACLCAT transactions",
            "*4/$5/multi/$4/exec/$7/discard/$7/unwatch/",
        ),
        ("COMMAND LIST FILTERBY MODULE m", "*0/"),
        ("COMMAND LIST FILTERBY x", "-ERR syntax error/"),
    ] {
        raw.ask(command, reply).await;
    }
    raw.ask("TIME", "*2/$10/").await;
}

#[tokio::test]
async fn connections_are_listed_and_ended_by_what_they_are() {
    let face = Face::start().await;
    let (mut one, mut two, mut three) = (face.raw().await, face.raw().await, face.raw().await);
    one.ask("CLIENT ID", ":1/").await;
    two.ask("CLIENT ID", ":2/").await;
    three.ask("AUTH quorum x", "+OK/").await;
    let mut client = face.client().await;
    let list = client
        .command(&[b"CLIENT", b"LIST", b"ID", b"2", b"3", b"99"])
        .await
        .unwrap();
    let list = String::from_utf8(list.bytes().unwrap().to_vec()).unwrap();
    assert_eq!(list.lines().count(), 2, "{list}");
    let list = client
        .command(&[b"CLIENT", b"LIST", b"TYPE", b"pubsub"])
        .await
        .unwrap();
    assert_eq!(list.bytes(), Some(&b""[..]));
    for (command, reply) in [
        ("CLIENT LIST TYPE x", "-ERR Unknown client type 'x'/"),
        ("CLIENT LIST ID x", "-ERR Invalid client ID/"),
        ("CLIENT KILL 127.0.0.1:1", "-ERR No such client/"),
        ("CLIENT KILL ID 99", ":0/"),
        ("CLIENT KILL FOO bar", "-ERR syntax error/"),
        ("CLIENT KILL ID 2", ":1/"),
        ("CLIENT KILL USER quorum TYPE normal", ":1/"),
    ] {
        one.ask(command, reply).await;
    }
    two.expect_end().await;
    three.expect_end().await;
    let address = one.0.local_addr().unwrap();
    one.ask(&format!("CLIENT KILL {address}"), "+OK/").await;
    one.expect_end().await;
    let mut other = face.raw().await;
    other.ask("PING", "+PONG/").await;
    let killed = client
        .command(&[b"CLIENT", b"KILL", b"TYPE", b"normal"])
        .await
        .unwrap();
    assert_eq!(killed.integer(), Some(1), "all but the asker");
    other.expect_end().await;
}

/// As many libraries send a pipeline: all of it before they read the first reply. If the node did
/// not read while it cannot write, neither side would ever go on.
#[tokio::test]
async fn a_pipeline_that_is_sent_whole_before_a_reply_is_read_is_answered() {
    let face = Face::start().await;
    let mut client = face.client().await;
    let value = vec![b'x'; 64 * 1024];
    client.command(&[b"SET", b"k", &value]).await.unwrap();
    let mut raw = face.raw().await;
    // 12 MB of commands, far more than sockets hold, and 13 MB of replies.
    let padding = "y".repeat(60_000);
    let pipeline =
        format!("*2\r\n$4\r\nECHO\r\n$60000\r\n{padding}\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    let sending = async {
        for _ in 0..200 {
            raw.0.write_all(pipeline.as_bytes()).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sending)
        .await
        .expect("the node goes on reading");
    for _ in 0..200 {
        raw.expect("$60000/").await;
        raw.skip(padding.len() + 2).await;
        raw.expect("$65536/").await;
        raw.skip(value.len() + 2).await;
    }
    raw.ask("PING", "+PONG/").await;
}

#[tokio::test]
async fn a_stranger_that_does_not_read_is_not_read_ahead() {
    let face = Face::with(RespConfig {
        gate: Gate::new(Some(Secret::new("pw"))),
        write_stall: Duration::from_millis(200),
        ..RespConfig::default()
    })
    .await;
    let mut raw = face.raw().await;
    let pipeline = "PING\r\n".repeat(100_000);
    let sending = async { while raw.0.write_all(pipeline.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), sending)
        .await
        .expect("it is cut off");
}
