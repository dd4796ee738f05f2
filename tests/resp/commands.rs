//! Each command's words and replies, byte for byte.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::config::Durability;
use quorate::faces::resp::RespConfig;
use quorate::faces::resp::client::Value;
use quorate_dynamo::op::{Mutation, Op, SetExpiry};

use crate::wire::Face;

#[tokio::test]
async fn strings_and_counters() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, reply) in [
        ("GET k", "$-1/"),
        ("SET k v", "+OK/"),
        ("get k", "$1/v/"),
        ("STRLEN k", ":1/"),
        ("APPEND k \" w\"", ":3/"),
        ("GETDEL k", "$3/v w/"),
        ("GETDEL k", "$-1/"),
        ("INCR n", ":1/"),
        ("INCRBY n 10", ":11/"),
        ("DECR n", ":10/"),
        ("DECRBY n 20", ":-10/"),
        ("MSET a 1 b 2", "+OK/"),
        ("SADD s x", ":1/"),
        ("MGET a s none b", "*4/$1/1/$-1/$-1/$1/2/"),
        (
            "GET s",
            "-WRONGTYPE Operation against a key holding the wrong kind of value/",
        ),
        ("SET t text", "+OK/"),
        ("INCR t", "-ERR value is not an integer or out of range/"),
        (
            "INCRBY n 1.5",
            "-ERR value is not an integer or out of range/",
        ),
        (
            "INCRBY a 9223372036854775807",
            "-ERR increment or decrement would overflow/",
        ),
        (
            "DECRBY n -9223372036854775808",
            "-ERR decrement would overflow/",
        ),
        (
            "MSET a",
            "-ERR wrong number of arguments for 'mset' command/",
        ),
        (
            "MSET a 1 b",
            "-ERR wrong number of arguments for 'mset' command/",
        ),
        ("GET", "-ERR wrong number of arguments for 'get' command/"),
    ] {
        raw.ask(command, reply).await;
    }
}

#[tokio::test]
async fn sets_and_hashes() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, reply) in [
        ("SADD s b a b", ":2/"),
        ("SMEMBERS s", "*2/$1/a/$1/b/"),
        ("SISMEMBER s a", ":1/"),
        ("SMISMEMBER s a z", "*2/:1/:0/"),
        ("SCARD s", ":2/"),
        ("SREM s a z", ":1/"),
        ("SMEMBERS none", "*0/"),
        ("HSET h f 1 g 2", ":2/"),
        ("HMSET h f 1", "+OK/"),
        ("HGET h f", "$1/1/"),
        ("HGET h z", "$-1/"),
        ("HMGET h g z", "*2/$1/2/$-1/"),
        ("HGETALL h", "*4/$1/f/$1/1/$1/g/$1/2/"),
        ("HKEYS h", "*2/$1/f/$1/g/"),
        ("HVALS h", "*2/$1/1/$1/2/"),
        ("HLEN h", ":2/"),
        ("HEXISTS h f", ":1/"),
        ("HEXISTS h z", ":0/"),
        ("HINCRBY h f 4", ":5/"),
        ("HDEL h f z", ":1/"),
        ("HSET h t text", ":1/"),
        ("HINCRBY h t 1", "-ERR hash value is not an integer/"),
        (
            "HSET h f",
            "-ERR wrong number of arguments for 'hset' command/",
        ),
        (
            "HSET h f 1 g",
            "-ERR wrong number of arguments for 'hset' command/",
        ),
    ] {
        raw.ask(command, reply).await;
    }
    raw.send("HELLO 3\r\n").await;
    raw.expect(
        "%7/$6/server/$7/quorate/$7/version/$5/7.2.0/$5/proto/:3/$2/id/:1/$4/mode/$10/standalone/",
    )
    .await;
    raw.expect("$4/role/$6/master/$7/modules/*0/").await;
    raw.ask("HGETALL h", "%2/$1/g/$1/2/$1/t/$4/text/").await;
    raw.ask("SMEMBERS s", "~1/$1/b/").await;
    raw.ask("GET none", "_/").await;
}

/// The face's clock may be an hour ahead. If it turned a past time into a plain removal, no check
/// of any clock could save the key.
#[tokio::test]
async fn the_face_does_not_judge_whether_a_time_is_over() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, at) in [
        ("EXPIREAT k 1", 1000),
        ("PEXPIREAT k 1700000000000", 1_700_000_000_000),
        ("EXPIREAT k 0", 0),
        ("PEXPIREAT k -1", 0),
        ("EXPIRE k 0", 0),
        ("PEXPIRE k -5", 0),
    ] {
        raw.ask("SET k v", "+OK/").await;
        raw.ask(command, ":1/").await;
        let last = face.fake.state().log.pop().unwrap();
        assert!(
            matches!(last.op, Op::Mutate(_, Mutation::ExpireAt(asked)) if asked == at),
            "{command}: {last:?}"
        );
        raw.ask(command, ":0/").await;
    }
}

#[tokio::test]
async fn keys_and_expiries() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, reply) in [
        ("MSET a 1 b 2 c 3", "+OK/"),
        ("EXISTS a b z a", ":3/"),
        ("DEL a a z", ":1/"),
        ("UNLINK b", ":1/"),
        ("DBSIZE", ":1/"),
        ("TYPE c", "+string/"),
        ("TYPE none", "+none/"),
        ("TTL c", ":-1/"),
        ("TTL none", ":-2/"),
        ("EXPIRE c 100", ":1/"),
        ("TTL c", ":100/"),
        ("EXPIRE none 100", ":0/"),
        ("PERSIST c", ":1/"),
        ("PERSIST c", ":0/"),
        ("PEXPIREAT c 99999999999999", ":1/"),
        ("PEXPIRETIME c", ":99999999999999/"),
        ("EXPIRETIME c", ":100000000000/"),
        (
            "EXPIRE c 9223372036854775807",
            "-ERR invalid expire time in 'expire' command/",
        ),
        (
            "EXPIRE c soon",
            "-ERR value is not an integer or out of range/",
        ),
        ("EXPIRE c -1", ":1/"),
        ("EXISTS c", ":0/"),
        ("SET d 1 PX 0", "-ERR invalid expire time in 'set' command/"),
        ("SET d 1 EX", "-ERR syntax error/"),
        ("SET d 1 EX 1 PX 1", "-ERR syntax error/"),
        ("SET d 1 SOON", "-ERR syntax error/"),
        ("SETEX d 100 v", "+OK/"),
        ("TTL d", ":100/"),
        ("SET d 2 KEEPTTL", "+OK/"),
        ("TTL d", ":100/"),
        ("SET d 3", "+OK/"),
        ("TTL d", ":-1/"),
        ("FLUSHDB", "+OK/"),
        ("DBSIZE", ":0/"),
    ] {
        raw.ask(command, reply).await;
    }
}

#[tokio::test]
async fn absolute_expiries_are_passed_on_as_they_are() {
    let face = Face::start().await;
    face.raw()
        .await
        .ask("SET k v EXAT 99999999999", "+OK/")
        .await;
    let state = face.fake.state();
    let expected = Mutation::Set {
        value: "v".into(),
        expiry: SetExpiry::At(99_999_999_999_000),
    };
    assert_eq!(state.log[0].op, Op::Mutate("k".into(), expected));
}

#[tokio::test]
async fn commands_that_would_pretend_are_refused() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, name) in [
        ("SETNX k v", "setnx"),
        ("watch k", "watch"),
        ("SPOP s", "spop"),
        ("SET k v NX", "set … nx"),
    ] {
        raw.ask(
            command,
            &format!("-ERR '{name}' needs CL SERIAL, which this version does not offer: "),
        )
        .await;
        raw = face.raw().await;
    }
    raw.ask(
        "CL SERIAL GET k",
        "-ERR SERIAL is not offered by this version/",
    )
    .await;
}

#[tokio::test]
async fn unknown_commands_are_told_as_redis_does() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask(
        "FOO a \"b c\"",
        "-ERR unknown command 'FOO', with args beginning with: 'a' 'b c' /",
    )
    .await;
    raw.ask(
        "FOO",
        "-ERR unknown command 'FOO', with args beginning with: /",
    )
    .await;
    let long = "x".repeat(300);
    raw.ask(
        &format!("{long} {long}"),
        &format!(
            "-ERR unknown command '{0}', with args beginning with: '{0}' /",
            &long[..128]
        ),
    )
    .await;
    raw.ask(
        "CLIENT MAINT_NOTIFICATIONS ON",
        "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP./",
    )
    .await;
    raw.ask(
        "CLIENT SETNAME",
        "-ERR wrong number of arguments for 'client|setname' command/",
    )
    .await;
    raw.ask(
        "CLIENT",
        "-ERR wrong number of arguments for 'client' command/",
    )
    .await;
    raw.ask(
        "COMMAND NOPE",
        "-ERR unknown subcommand 'NOPE'. Try COMMAND HELP./",
    )
    .await;
}

#[tokio::test]
async fn a_scan_shows_every_key_that_stays_whoever_gives_each_page() {
    let face = Face::start().await;
    let mut client = face.client().await;
    let key = |number: usize| format!("key:{number:03}").into_bytes();
    for number in 0..300 {
        client.queue(&[b"SET", &key(number), b"v"]);
    }
    client.queue(&[b"SADD", b"key:set", b"x"]);
    client.flush().await.unwrap();
    for _ in 0..301 {
        client.receive().await.unwrap();
    }
    let another = face.another().await;
    let mut pages_from = [face.client().await, another.client().await];
    for (options, expected) in [
        (&[][..], 301),
        (&[&b"COUNT"[..], b"7"], 301),
        (&[b"MATCH", b"key:1??", b"COUNT", b"50"], 100),
        (&[b"TYPE", b"set"], 1),
    ] {
        let (mut cursor, mut seen, mut pages) = (b"0".to_vec(), BTreeSet::new(), 0);
        loop {
            // A cursor says by itself where the scan continues.
            let page = pages_from[pages % 2]
                .command(&[&[&b"SCAN"[..], &cursor], options].concat())
                .await
                .unwrap();
            let Value::Array(page) = page else {
                panic!("{page:?}")
            };
            let [next, Value::Array(keys)] = &page[..] else {
                panic!("{page:?}")
            };
            seen.extend(keys.iter().map(|key| key.bytes().unwrap().to_vec()));
            cursor = next.bytes().unwrap().to_vec();
            pages += 1;
            // Keys that come and go during the scan do not hide the others.
            client
                .command(&[b"SET", format!("new:{pages}").as_bytes(), b"v"])
                .await
                .unwrap();
            client
                .command(&[b"DEL", format!("new:{}", pages - 1).as_bytes()])
                .await
                .unwrap();
            if cursor == b"0" {
                break;
            }
        }
        client
            .command(&[b"DEL", format!("new:{pages}").as_bytes()])
            .await
            .unwrap();
        seen.retain(|key| key.starts_with(b"key:"));
        assert_eq!(seen.len(), expected, "{options:?}");
    }
    let keys = client.command(&[b"KEYS", b"key:00*"]).await.unwrap();
    assert!(
        matches!(&keys, Value::Array(keys) if keys.len() == 10),
        "{keys:?}"
    );
    let mut raw = face.raw().await;
    raw.ask("SCAN x", "-ERR invalid cursor/").await;
    raw.ask("SCAN 18446744073709551615", "*2/$1/0/*0/").await;
    raw.ask("SCAN 18446744073709551616", "-ERR invalid cursor/")
        .await;
    raw.ask("SCAN 0 COUNT 0", "-ERR syntax error/").await;
    raw.ask("SCAN 0 MATCH", "-ERR syntax error/").await;
    let (long, refused) = (
        "*".repeat(1025),
        "-ERR a pattern of 1025 bytes is more than the 1024 allowed/",
    );
    for command in [
        format!("SCAN 0 MATCH {long}"),
        format!("KEYS {long}"),
        format!("CONFIG GET {long}"),
    ] {
        raw.ask(&command, refused).await;
    }
    raw.ask(&format!("SCAN {}", 4_u64 << 41), "*2/$1/0/*0/")
        .await;
}

#[tokio::test]
async fn a_scan_of_one_key_comes_in_one_page() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("HSET h f 1 g 2", ":2/").await;
    raw.ask("SADD s a b", ":2/").await;
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value/";
    for (command, reply) in [
        ("HSCAN h 0", "*2/$1/0/*4/$1/f/$1/1/$1/g/$1/2/"),
        ("HSCAN h 0 MATCH g COUNT 1", "*2/$1/0/*2/$1/g/$1/2/"),
        ("HSCAN h 0 NOVALUES", "*2/$1/0/*2/$1/f/$1/g/"),
        ("HSCAN h 0 MATCH f NOVALUES", "*2/$1/0/*1/$1/f/"),
        ("CL ALL HSCAN h 7", "*2/$1/0/*0/"),
        ("HSCAN none 0", "*2/$1/0/*0/"),
        ("HSCAN s 0", wrong),
        ("HSCAN h x", "-ERR invalid cursor/"),
        ("HSCAN h 0 TYPE set", "-ERR syntax error/"),
        ("SSCAN s 0", "*2/$1/0/*2/$1/a/$1/b/"),
        ("SSCAN s 0 MATCH b*", "*2/$1/0/*1/$1/b/"),
        ("SSCAN s 0 NOVALUES", "-ERR syntax error/"),
        ("SSCAN s 0 COUNT 0", "-ERR syntax error/"),
        ("SSCAN h 0", wrong),
    ] {
        raw.ask(command, reply).await;
    }
}

#[tokio::test]
async fn what_clients_ask_at_connect() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("CONFIG GET save", "*2/$4/save/$0//").await;
    raw.ask(
        "CONFIG GET append*",
        "*4/$11/appendfsync/$6/always/$10/appendonly/$3/yes/",
    )
    .await;
    raw.ask("CONFIG SET save x", "-ERR CONFIG SET failed (possibly related to argument 'save') - can't set immutable config/").await;
    raw.ask(
        "CONFIG SET nope x",
        "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'/",
    )
    .await;
    raw.ask("CLIENT SETINFO LIB-NAME redis-py", "+OK/").await;
    raw.ask(
        "CLIENT SETINFO LIB-COLOUR red",
        "-ERR Unrecognized option 'LIB-COLOUR'/",
    )
    .await;
    raw.ask(
        "CLIENT SETNAME \"a b\"",
        "-ERR Client names cannot contain spaces, newlines or special characters./",
    )
    .await;
    raw.ask("CLIENT SETNAME me", "+OK/").await;
    raw.ask("CLIENT GETNAME", "$2/me/").await;
    raw.ask("CLIENT ID", ":1/").await;
    raw.ask(
        "COMMAND INFO get nope",
        "*2/*10/$3/get/:2/*2/+readonly/+fast/:1/:1/:1/*1/+@string/*0/*0/*0/$-1/",
    )
    .await;
    raw.ask("COMMAND GETKEYS MSET a 1 b 2", "*2/$1/a/$1/b/")
        .await;
    raw.ask(
        "COMMAND GETKEYS PING",
        "-ERR The command has no key arguments/",
    )
    .await;
    for command in ["COMMAND INFO", "COMMAND DOCS", "CONFIG GET"] {
        raw.ask(
            &(command.to_owned() + &" get".repeat(257)),
            "-ERR at most 256 names or patterns at a time/",
        )
        .await;
    }
    raw.ask("COMMAND DOCS ttl", "*2/$3/ttl/*6/$7/summary/")
        .await;
}

#[tokio::test]
async fn what_an_unknown_subcommand_advises_is_there() {
    let face = Face::start().await;
    let mut client = face.client().await;
    for name in [&b"CLIENT"[..], b"CONFIG", b"COMMAND", b"QUORATE"] {
        let Value::Array(lines) = client.command(&[name, b"HELP"]).await.unwrap() else {
            panic!("no array")
        };
        assert!(lines.len() > 1);
    }
}

#[tokio::test]
async fn the_settings_tell_when_a_write_is_on_disk() {
    for (durability, appendfsync, appendonly) in [
        (None, "$2/no", "$2/no"),
        (Some(Durability::None), "$2/no", "$3/yes"),
        (
            Some(Durability::Interval(Duration::from_secs(1))),
            "$8/everysec",
            "$3/yes",
        ),
        (Some(Durability::Sync), "$6/always", "$3/yes"),
    ] {
        let face = Face::with(RespConfig {
            durability,
            ..RespConfig::default()
        })
        .await;
        let expected = format!("*4/$11/appendfsync/{appendfsync}/$10/appendonly/{appendonly}/");
        face.raw().await.ask("CONFIG GET append*", &expected).await;
    }
}

#[tokio::test]
async fn the_descriptions_are_whole() {
    let face = Face::start().await;
    let mut client = face.client().await;
    let count = client
        .command(&[b"COMMAND", b"COUNT"])
        .await
        .unwrap()
        .integer()
        .unwrap();
    for (command, length) in [
        (&[&b"COMMAND"[..]][..], count),
        (&[b"COMMAND", b"DOCS"], count * 2),
        (&[b"COMMAND", b"LIST"], count),
    ] {
        let Value::Array(all) = client.command(command).await.unwrap() else {
            panic!("no array")
        };
        assert_eq!(all.len() as i64, length);
    }
    let info = client.command(&[b"INFO"]).await.unwrap();
    let info = std::str::from_utf8(info.bytes().unwrap()).unwrap();
    for line in [
        "loading:0",
        "redis_version:7.2.0",
        "role:master",
        "node:a",
        "node_number:1",
        "node2:name=b,datacenter=west",
        "datacenter:east",
        "connected_clients:1",
        "places_taken:1",
        "keyspace2:name=carts",
    ] {
        assert!(info.contains(&format!("\r\n{line}")), "{line} in {info}");
    }
    let section = client.command(&[b"INFO", b"replication"]).await.unwrap();
    assert_eq!(
        section.bytes().unwrap(),
        b"# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"
    );
    let status = client.command(&[b"QUORATE", b"STATUS"]).await.unwrap();
    let text = String::from_utf8_lossy(status.bytes().unwrap());
    assert!(
        text.starts_with("{\"cluster\":\"7\",\"epoch\":3,"),
        "{text}"
    );
}
