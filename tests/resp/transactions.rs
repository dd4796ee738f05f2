//! Transactions: what is queued, what runs, and that nothing runs that a client believes refused.

use quorate::config::Secret;
use quorate::faces::Gate;
use quorate::faces::resp::RespConfig;
use quorate_dynamo::op::RequestError;

use crate::wire::{Face, until};

#[tokio::test]
async fn a_transaction_runs_in_order_at_exec_and_answers_as_one() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, reply) in [
        ("MULTI", "+OK/"),
        ("SET k 1", "+QUEUED/"),
        ("CL ONE INCR k", "+QUEUED/"),
        ("SADD k x", "+QUEUED/"),
        ("PING", "+QUEUED/"),
        ("MGET k none", "+QUEUED/"),
        ("UNWATCH", "+QUEUED/"),
        ("MULTI", "-ERR MULTI calls can not be nested/"),
    ] {
        raw.ask(command, reply).await;
    }
    assert!(face.fake.state().log.is_empty(), "nothing runs before EXEC");
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value/";
    raw.ask("EXEC", &format!("*6/+OK/:2/{wrong}+PONG/*2/$1/2/$-1/+OK/"))
        .await;
    raw.ask("EXEC", "-ERR EXEC without MULTI/").await;
    raw.ask("DISCARD", "-ERR DISCARD without MULTI/").await;
    raw.ask("UNWATCH", "+OK/").await;
    raw.send("MULTI\r\nEXEC\r\nGET k\r\n").await;
    raw.expect("+OK/*0/$1/2/").await;
}

#[tokio::test]
async fn the_commands_of_a_transaction_are_under_way_together() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    face.fake.state().hold = true;
    raw.send("MULTI\r\nSET a 1\r\nSET b 2\r\nGET a\r\nEXEC\r\nGET b\r\n")
        .await;
    until("all are under way, and the command after them", || {
        face.fake.state().kept.len() == 4
    })
    .await;
    let kept: Vec<_> = face.fake.state().kept.drain(..).collect();
    kept.into_iter().rev().for_each(super::fake::Kept::release);
    raw.expect("+OK/+QUEUED/+QUEUED/+QUEUED/*3/+OK/+OK/$1/1/$1/2/")
        .await;
}

#[tokio::test]
async fn a_part_that_fails_does_not_take_back_the_others() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    face.fake
        .state()
        .script
        .extend([None, Some(RequestError::DiskFull)]);
    raw.send("MULTI\r\nSET a 1\r\nSET b 2\r\nSET c 3\r\nEXEC\r\n")
        .await;
    raw.expect("+OK/+QUEUED/+QUEUED/+QUEUED/*3/+OK/").await;
    raw.expect("-OOM the disk of the node is full; nothing was applied/+OK/")
        .await;
    raw.ask("MGET a b c", "*3/$1/1/$-1/$1/3/").await;
}

#[tokio::test]
async fn after_a_refused_command_exec_runs_nothing() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    for (command, answer) in [
        ("GET", "-ERR wrong number of arguments for 'get' command/"),
        (
            "NOPE",
            "-ERR unknown command 'NOPE', with args beginning with: /",
        ),
        (
            "CL ONE PING",
            "-ERR CL must precede a command on data, not 'ping'/",
        ),
        (
            "SPOP s",
            "-ERR 'spop' needs CL SERIAL, which this version does not offer: two clients at two replicas could both get the same element/",
        ),
    ] {
        raw.ask("MULTI", "+OK/").await;
        raw.ask("SET k v", "+QUEUED/").await;
        raw.ask(command, answer).await;
        raw.ask("SET k w", "+QUEUED/").await;
        raw.ask(
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors./",
        )
        .await;
    }
    raw.ask("MULTI", "+OK/").await;
    raw.ask("SET k v", "+QUEUED/").await;
    raw.ask(
        "EXEC now",
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command/",
    )
    .await;
    for end in ["DISCARD", "RESET"] {
        raw.send(format!("MULTI\r\nSET k v\r\n{end}\r\n")).await;
        let answer = if end == "RESET" { "RESET" } else { "OK" };
        raw.expect(&format!("+OK/+QUEUED/+{answer}/")).await;
    }
    raw.ask("EXEC", "-ERR EXEC without MULTI/").await;
    raw.ask("GET k", "$-1/").await;
}

/// As a client sends a pipeline: the commands are under way before `MULTI` is answered.
#[tokio::test]
async fn after_a_refused_multi_nothing_is_applied_up_to_exec() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    let held = "-ERR not run: MULTI was refused, and so is everything up to EXEC or DISCARD; nothing was applied/";
    for (end, answer) in [
        (
            "EXEC",
            "-EXECABORT Transaction discarded because MULTI was refused; nothing was applied/",
        ),
        ("DISCARD", "+OK/"),
        ("RESET", "+RESET/"),
    ] {
        for (multi, why) in [
            (
                "MULTI x",
                "-ERR wrong number of arguments for 'multi' command/",
            ),
            (
                "CL ALL MULTI",
                "-ERR CL must precede a command on data, not 'multi'/",
            ),
        ] {
            raw.send(format!(
                "{multi}\r\nSET k v\r\nCL ALL SET k v\r\nGET k\r\nMULTI\r\n{end}\r\n"
            ))
            .await;
            raw.expect(why).await;
            raw.expect(&held.repeat(3)).await;
            raw.expect("-ERR MULTI calls can not be nested/").await;
            raw.expect(answer).await;
            raw.ask("GET k", "$-1/").await;
        }
    }
    raw.ask("SET k v", "+OK/").await;
}

#[tokio::test]
async fn a_client_refused_for_want_of_a_password_may_still_give_it() {
    let face = Face::with(RespConfig {
        gate: Gate::new(Some(Secret::new("pw"))),
        ..RespConfig::default()
    })
    .await;
    let mut raw = face.raw().await;
    raw.ask("MULTI", "-NOAUTH Authentication required./").await;
    raw.ask("AUTH pw", "+OK/").await;
    raw.ask(
        "SET k v",
        "-ERR not run: MULTI was refused, and so is everything up to EXEC or DISCARD; nothing was applied/",
    )
    .await;
    raw.ask(
        "EXEC",
        "-EXECABORT Transaction discarded because MULTI was refused; nothing was applied/",
    )
    .await;
    raw.ask("SET k v", "+OK/").await;
}

/// As a C program that does not look at the answer to `WATCH`: without the watch, `EXEC` could
/// overwrite what another has written.
#[tokio::test]
async fn after_a_refused_watch_exec_runs_nothing() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    let refused = "-ERR 'watch' needs CL SERIAL, which this version does not offer: other replicas could change the key between WATCH and EXEC/";
    raw.ask("WATCH k", refused).await;
    raw.ask("GET k", "$-1/").await;
    raw.send("MULTI\r\nSET k v\r\nEXEC\r\nGET k\r\n").await;
    raw.expect("+OK/+QUEUED/-EXECABORT Transaction discarded because WATCH was refused; nothing was applied/$-1/")
        .await;
    raw.ask("WATCH k", refused).await;
    raw.send("UNWATCH\r\nMULTI\r\nSET k v\r\nEXEC\r\n").await;
    raw.expect("+OK/+OK/+QUEUED/*1/+OK/").await;
}

#[tokio::test]
async fn what_is_queued_is_bounded() {
    let face = Face::start().await;
    let mut client = face.client().await;
    client.command(&[b"MULTI"]).await.unwrap();
    let value = vec![b'x'; 16 * 1024 * 1024];
    for _ in 0..3 {
        client.command(&[b"SET", b"k", &value]).await.unwrap();
    }
    let too_much = client.command(&[b"SET", b"k", &value]).await;
    assert_eq!(
        too_much.unwrap_err().to_string(),
        "ERR the commands since MULTI would have more than 67108864 bytes; nothing will be applied"
    );
    let aborted = client.command(&[b"EXEC"]).await;
    assert_eq!(
        aborted.unwrap_err().to_string(),
        "EXECABORT Transaction discarded because of previous errors."
    );
    assert!(face.fake.state().log.is_empty());
}

#[tokio::test]
async fn who_leaves_before_exec_has_changed_nothing() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.send("MULTI\r\nSET k v\r\n").await;
    raw.expect("+OK/+QUEUED/").await;
    drop(raw);
    let mut next = face.raw().await;
    next.ask("GET k", "$-1/").await;
}
