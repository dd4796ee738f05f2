//! The order of replies, how much is under way at a time, and what must not be overtaken.

use quorate_dynamo::op::{Op, Query};

use crate::wire::{Face, until};

#[tokio::test]
async fn replies_come_in_order_however_the_answers_do() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("MSET a 1 b 2 c 3", "+OK/").await;
    face.fake.state().hold = true;
    raw.send("GET a\r\nMGET b c\r\nGET c\r\nPING\r\nGET a\r\n")
        .await;
    until("the requests before PING are submitted together", || {
        face.fake.state().kept.len() == 4
    })
    .await;
    let mut kept: Vec<_> = face.fake.state().kept.drain(..).collect();
    kept.reverse();
    kept.into_iter().for_each(super::fake::Kept::release);
    until("the request after PING is submitted", || {
        face.fake.state().kept.len() == 1
    })
    .await;
    face.fake.state().kept.pop_front().unwrap().release();
    raw.expect("$1/1/*2/$1/2/$1/3/$1/3/+PONG/$1/1/").await;
}

/// The node keeps the order of commands for one key, so removals of many keys need not wait for
/// each other.
#[tokio::test]
async fn commands_of_two_rounds_are_under_way_together() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("MSET a 1 b 2 c 3", "+OK/").await;
    face.fake.state().hold = true;
    raw.send("DEL a\r\nREQ once DEL b\r\nGETDEL c\r\n").await;
    until("all are submitted", || face.fake.state().kept.len() == 3).await;
    let mut kept: Vec<_> = face.fake.state().kept.drain(..).collect();
    kept.reverse();
    kept.into_iter().for_each(super::fake::Kept::release);
    raw.expect(":1/:1/$1/3/").await;
}

#[tokio::test]
async fn a_holder_has_one_request_under_way_at_a_time() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    face.fake.state().hold = true;
    raw.send("FENCE job 1 SET a 1\r\nFENCE job 1 SET a 2\r\n")
        .await;
    until("the first is submitted", || {
        !face.fake.state().kept.is_empty()
    })
    .await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let kept: Vec<_> = face.fake.state().kept.drain(..).collect();
    assert_eq!(kept.len(), 1, "the second must not pass the first");
    assert!(matches!(kept[0].request.op, Op::Mutate(..)));
    kept.into_iter().for_each(super::fake::Kept::release);
    until("the second is submitted", || {
        face.fake.state().kept.len() == 1
    })
    .await;
    face.fake.state().kept.pop_front().unwrap().release();
    raw.expect("+OK/+OK/").await;
}

/// Answers all requests under way, again and again, until `total` are answered. Returns how many
/// were under way each time.
async fn windows(face: &Face, total: usize) -> Vec<usize> {
    let mut windows = Vec::new();
    while windows.iter().sum::<usize>() < total {
        until("there is something to answer", || {
            !face.fake.state().kept.is_empty()
        })
        .await;
        // Requests that go together are submitted in one turn.
        tokio::task::yield_now().await;
        let kept: Vec<_> = face.fake.state().kept.drain(..).collect();
        assert!(
            kept.iter()
                .all(|kept| matches!(kept.request.op, Op::Query(_, Query::Get)))
        );
        windows.push(kept.len());
        kept.into_iter().for_each(super::fake::Kept::release);
    }
    windows
}

#[tokio::test]
async fn short_answers_widen_the_window_of_requests_up_to_its_bound() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    face.fake.state().hold = true;
    raw.send("MGET".to_owned() + &" k".repeat(5000) + "\r\n")
        .await;
    let windows = windows(&face, 5000).await;
    assert_eq!(windows[..5], [64, 128, 256, 512, 1024], "{windows:?}");
    assert!(windows.iter().all(|window| *window <= 1024), "{windows:?}");
    raw.expect(&("*5000/".to_owned() + &"$-1/".repeat(5000)))
        .await;
}

#[tokio::test]
async fn a_long_answer_narrows_the_window_at_once() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    let mut client = face.client().await;
    client
        .command(&[b"SET", b"k", &vec![b'x'; 16 * 1024 * 1024]])
        .await
        .unwrap();
    face.fake.state().hold = true;
    raw.send("MGET absent".to_owned() + &" k".repeat(31) + &" absent".repeat(500) + "\r\n")
        .await;
    assert_eq!(windows(&face, 64).await, [64]);
    // As many as fit in 64 MiB, plus one for each short answer since.
    assert_eq!(windows(&face, 36).await, [4 + 32]);
}

/// Short answers are followed by more long ones than there is room for.
#[tokio::test]
async fn what_finds_no_room_is_asked_for_again_unless_it_was_overtaken() {
    let face = Face::start().await;
    let mut client = face.client().await;
    let value = vec![b'x'; 16 * 1024 * 1024];
    client.command(&[b"SET", b"k", &value]).await.unwrap();
    face.fake.state().bounded = true;
    let before = face.fake.state().log.len();
    let mut raw = face.raw().await;
    raw.send("STRLEN k\r\n".to_owned() + &"GET k\r\n".repeat(10) + "PING\r\n")
        .await;
    raw.expect(":16777216/").await;
    for _ in 0..10 {
        raw.expect("$16777216/").await;
        raw.skip(value.len() + 2).await;
    }
    raw.expect("+PONG/").await;
    assert_eq!(face.fake.state().log.len() - before, 11 + 6, "four fit");
    let mut raw = face.raw().await;
    raw.send("GET k\r\n".repeat(5) + "SET k v\r\nPING\r\n")
        .await;
    for _ in 0..4 {
        raw.expect("$16777216/").await;
        raw.skip(value.len() + 2).await;
    }
    raw.expect("-OVERLOADED the node has too much to do/+OK/+PONG/")
        .await;
}

#[tokio::test]
async fn state_changes_hold_for_what_follows_and_not_for_what_came_before() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.send("GET k\r\nHELLO 3\r\nGET k\r\nRESET\r\nGET k\r\nSELECT carts\r\nSET k v\r\nSELECT 0\r\nGET k\r\n").await;
    raw.expect("$-1/%7/$6/server/$7/quorate/$7/version/$5/7.2.0/$5/proto/:3/$2/id/:1/$4/mode/$10/standalone/").await;
    raw.expect("$4/role/$6/master/$7/modules/*0/_/+RESET/$-1/+OK/+OK/+OK/$-1/")
        .await;
}

#[tokio::test]
async fn errors_keep_their_place() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.send("SET a 1\r\nNOPE\r\nGET a\r\nGET\r\nGET a\r\n")
        .await;
    raw.expect("+OK/-ERR unknown command 'NOPE', with args beginning with: /$1/1/")
        .await;
    raw.expect("-ERR wrong number of arguments for 'get' command/$1/1/")
        .await;
}

#[tokio::test]
async fn a_client_that_reads_late_gets_everything() {
    let face = Face::start().await;
    let mut client = face.client().await;
    let value = vec![b'x'; 100_000];
    client.command(&[b"SET", b"k", &value]).await.unwrap();
    let commands = vec![[&b"GET"[..], b"k"]; 300];
    let replies = client.pipeline(&commands).await.unwrap();
    assert_eq!(replies.len(), 300);
    assert!(replies.iter().all(|reply| reply.bytes() == Some(&value)));
}

/// Sends `commands` together and returns how many had run each time that other tasks got a turn.
/// The SET before each command makes it visible.
async fn turns(face: &Face, command: &str, commands: usize) -> Vec<usize> {
    let mut raw = face.raw().await;
    raw.send(format!("SET k v\r\n{command}\r\n").repeat(commands))
        .await;
    let mut seen = vec![0];
    until("all are run", || {
        let run = face.fake.state().log.len();
        if seen.last() != Some(&run) {
            seen.push(run);
        }
        run == commands
    })
    .await;
    seen
}

#[tokio::test]
async fn a_connection_gives_others_their_turn_after_what_costs_much() {
    let face = Face::start().await;
    // 12 KB, which arrive in one read: the most expensive patterns that are accepted.
    let seen = turns(&face, &format!("CONFIG GET {}", "?".repeat(1024)), 12).await;
    assert!(seen.windows(2).all(|two| two[1] - two[0] <= 4), "{seen:?}");
    let face = Face::start().await;
    // No more than may be under way together, and cheap commands do not yield at every step.
    let seen = turns(&face, "NOPE", 600).await;
    assert!(
        seen.windows(2).all(|two| two[1] - two[0] <= 128),
        "{seen:?}"
    );
}

#[tokio::test]
async fn patterns_are_bounded_together() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask(&format!("CONFIG GET{}", " [a-z]*".repeat(170)), "*")
        .await;
    let mut raw = face.raw().await;
    let refused = "-ERR patterns of 1026 bytes together are more than the 1024 allowed/";
    raw.ask(&format!("CONFIG GET{}", " [a-z]*".repeat(171)), refused)
        .await;
    raw.ask("PING", "+PONG/").await;
}

#[tokio::test]
async fn replies_of_the_node_itself_are_made_as_they_are_read() {
    let face = Face::start().await;
    let mut other = face.client().await;
    let mut raw = face.raw().await;
    // One read of the server. Each reply is about 30 KB, and nobody takes them.
    raw.send("COMMAND DOCS\r\n".repeat(1100)).await;
    for _ in 0..1000 {
        other.command(&[b"PING"]).await.unwrap();
    }
    let stats = other.command(&[b"INFO", b"stats"]).await.unwrap();
    let stats = std::str::from_utf8(stats.bytes().unwrap())
        .unwrap()
        .to_owned();
    let run = stats
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"))
        .unwrap()
        .parse::<usize>()
        .unwrap()
        - 1001;
    assert!(
        (1..800).contains(&run),
        "{run} replies were made, of which none was read"
    );
}
