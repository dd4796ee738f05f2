use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use clap::Parser;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::options::{Target, Workload, target};
use super::*;
use crate::check::Action;
use crate::faces::resp::client::{ClientError, Refusal};

#[derive(Parser)]
struct Only {
    #[command(flatten)]
    bench: Bench,
    #[command(flatten)]
    globals: Globals,
}

/// A server that answers every RESP array with `+OK`, except that `GET` is refused while `refusing`
/// is set. It keeps all it read.
struct Server {
    address: String,
    seen: Rc<RefCell<Vec<u8>>>,
    refusing: Rc<Cell<bool>>,
    /// How long the answer of the first command takes.
    stall: Duration,
}

impl Server {
    async fn start(stall: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self {
            address,
            seen: Rc::default(),
            refusing: Rc::default(),
            stall,
        };
        let (seen, refusing) = (Rc::clone(&server.seen), Rc::clone(&server.refusing));
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(answer(
                    stream,
                    Rc::clone(&seen),
                    Rc::clone(&refusing),
                    stall,
                ));
            }
        });
        server
    }

    fn seen(&self) -> String {
        String::from_utf8(self.seen.borrow().clone()).unwrap()
    }

    async fn bench(&self, flags: &str) -> Result<Report, Failure> {
        let all = format!(
            "bench --target resp://{} --timeout {}s --seconds 1 --warmup 0 --keys 10 {flags}",
            self.address,
            self.stall.as_secs() + 5
        );
        let Only { bench, globals } = Only::try_parse_from(all.split_whitespace()).unwrap();
        bench.measure(&globals).await
    }
}

/// Whole commands at the start of `input`: how long each is, and whether it is a `GET`.
fn commands(mut input: &[u8]) -> Vec<(usize, bool)> {
    let mut found = Vec::new();
    while let Some(length) = command(input) {
        found.push((
            length,
            input[..length]
                .windows(9)
                .any(|window| window == b"$3\r\nGET\r\n"),
        ));
        input = &input[length..];
    }
    found
}

fn command(input: &[u8]) -> Option<usize> {
    let line = |at: usize| {
        input[at..]
            .windows(2)
            .position(|window| window == b"\r\n")
            .map(|length| at + length)
    };
    let number = |from: usize, to: usize| {
        std::str::from_utf8(&input[from..to])
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    let mut at = line(0)?;
    let args = number(1, at);
    at += 2;
    for _ in 0..args {
        let end = line(at)?;
        at = end + 2 + number(at + 1, end) + 2;
    }
    (at <= input.len()).then_some(at)
}

async fn answer(
    mut stream: TcpStream,
    seen: Rc<RefCell<Vec<u8>>>,
    refusing: Rc<Cell<bool>>,
    stall: Duration,
) {
    let (mut input, mut stall) = (Vec::new(), Some(stall));
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        input.extend_from_slice(&chunk[..read]);
        seen.borrow_mut().extend_from_slice(&chunk[..read]);
        for (length, get) in commands(&input) {
            input.drain(..length);
            if let Some(stall) = stall.take() {
                tokio::time::sleep(stall).await;
            }
            let reply: &[u8] = if get && refusing.get() {
                b"-NOTQUORATE no\r\n"
            } else {
                b"+OK\r\n"
            };
            if stream.write_all(reply).await.is_err() {
                return;
            }
        }
    }
}

async fn locally(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_closed_loop_measures_and_speaks_plain_redis() {
    locally(async {
        let server = Server::start(Duration::ZERO).await;
        let report = server
            .bench("--workload set --clients 3 --pipeline 4 --value-bytes 5")
            .await
            .unwrap();
        assert!(report.ops_per_second > 0.0 && report.errors == 0);
        assert!(
            report.p50_us > 0.0
                && report.p50_us <= report.p99_us
                && report.p99_us <= report.p999_us,
            "{report:?}"
        );
        assert!(
            server
                .seen()
                .starts_with("*3\r\n$3\r\nSET\r\n$11\r\nbench:key:")
        );
        assert!(server.seen().contains("$5\r\nxxxxx\r\n") && !server.seen().contains("CL\r\n"));
    })
    .await;
}

#[tokio::test]
async fn the_level_is_a_prefix_and_wait_follows_each_write() {
    locally(async {
        let server = Server::start(Duration::ZERO).await;
        // This server answers WAIT with OK, which is no number: each write counts as an error.
        let report = server
            .bench("--workload incr --clients 1 --level LOCAL_QUORUM --wait 2")
            .await
            .unwrap();
        assert!(
            report.errors > 0 && report.ops_per_second == 0.0,
            "{report:?}"
        );
        let seen = server.seen();
        assert!(
            seen.starts_with("*4\r\n$2\r\nCL\r\n$12\r\nLOCAL_QUORUM\r\n$4\r\nINCR\r\n"),
            "{seen:.80}"
        );
        assert!(seen.contains("*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$4\r\n1000\r\n"));
    })
    .await;
}

#[tokio::test]
async fn refusals_are_errors_and_no_throughput() {
    locally(async {
        let server = Server::start(Duration::ZERO).await;
        server.refusing.set(true);
        let report = server.bench("--workload mixed --clients 2").await.unwrap();
        assert!(report.errors > 0 && report.ops_per_second > 0.0);
        let report = server.bench("--workload get --clients 2").await.unwrap();
        assert!(
            report.errors > 0 && report.ops_per_second == 0.0,
            "{report:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn sadd_fills_its_set_first() {
    locally(async {
        let server = Server::start(Duration::ZERO).await;
        server
            .bench("--workload sadd --set-size 250 --clients 1")
            .await
            .unwrap();
        let seen = server.seen();
        let preload = [
            "$5\r\nSCARD\r\n",
            "$3\r\nDEL\r\n",
            "*102\r\n$4\r\nSADD\r\n",
            "*52\r\n$4\r\nSADD\r\n",
            "*3\r\n$4\r\nSADD\r\n",
        ];
        let places: Vec<usize> = preload
            .iter()
            .map(|part| {
                seen.find(part)
                    .unwrap_or_else(|| panic!("{part:?} was not sent"))
            })
            .collect();
        assert!(places.is_sorted(), "{places:?}");
    })
    .await;
}

#[tokio::test]
async fn with_a_rate_a_stall_shows_in_the_percentiles() {
    locally(async {
        // The only connection stalls for 0.8 of 1 second: most requests were due while it did, so
        // the median waits for long.
        let server = Server::start(Duration::from_millis(800)).await;
        let report = server
            .bench("--workload incr --clients 1 --rate 500")
            .await
            .unwrap();
        assert!(report.p50_us > 200_000.0, "{report:?}");
        assert!(report.p99_us > 700_000.0, "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_rate_is_kept() {
    locally(async {
        let server = Server::start(Duration::ZERO).await;
        let report = server
            .bench("--workload incr --clients 4 --rate 200")
            .await
            .unwrap();
        assert!(
            (100.0..=200.0).contains(&report.ops_per_second),
            "{report:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn nobody_there_is_a_failure_that_names_the_address() {
    let Only { bench, globals } =
        Only::try_parse_from(["bench", "--target", "127.0.0.1:1"]).unwrap();
    let failure = bench.measure(&globals).await.unwrap_err();
    assert!(
        failure
            .to_string()
            .starts_with("cannot reach 127.0.0.1:1: "),
        "{failure}"
    );
}

#[test]
fn the_closed_loop_is_corrected_by_its_mean_interval() {
    let start = Instant::now();
    let mut recorder = Recorder::new(Window::starting_at(start, 0, 1));
    // 99 requests of 1 ms and one of 901 ms fill one second of one connection: the stall kept back
    // about 90 others.
    let mut now = start;
    for latency in std::iter::repeat_n(1, 99).chain([900]) {
        recorder.done(now, now + Duration::from_millis(latency));
        now += Duration::from_millis(latency);
    }
    assert!(recorder.report().p50_us < 1_100.0);
    recorder.correct(1, 1);
    let p99 = recorder.report().p99_us;
    assert!(p99 > 800_000.0, "{p99}");
    assert!((recorder.report().ops_per_second - 100.0).abs() < 0.1);
}

#[test]
fn the_warm_up_counts_for_nothing() {
    let start = Instant::now();
    let mut recorder = Recorder::new(Window::starting_at(start, 1, 1));
    recorder.done(start, start + Duration::from_millis(999));
    recorder.failed(1, start + Duration::from_millis(999));
    assert_eq!(
        (recorder.report().ops_per_second, recorder.report().errors),
        (0.0, 0)
    );
    recorder.done(
        start + Duration::from_millis(1500),
        start + Duration::from_millis(1600),
    );
    let report = recorder.report();
    assert_eq!((report.ops_per_second, report.errors), (1.0, 0));
}

#[test]
fn only_what_says_so_was_not_applied() {
    let refused = |text: &str| {
        chronicle::not_applied(&ClientError::Refused(Refusal {
            text: text.to_owned(),
        }))
    };
    for text in [
        "NOTQUORATE no",
        "OVERLOADED no",
        "TIMEOUT QUORUM: 0 of 2 answered; nothing was applied",
        "WRONGTYPE no",
        "ERR no",
    ] {
        assert!(refused(text), "{text}");
    }
    for text in [
        "TIMEOUT QUORUM: 1 of 2 answered; the write may have been applied",
        "TIMEOUT",
        "STOPPING the node is stopping",
    ] {
        assert!(!refused(text), "{text}");
    }
    assert!(!chronicle::not_applied(&ClientError::Closed));
}

#[test]
fn a_script_writes_every_value_once_and_knows_its_keys() {
    let mut script = script::Script::new(
        Workload::Mixed,
        vec!["ONE".to_owned(), "QUORUM".to_owned()],
        7,
    );
    let calls: Vec<_> = (0..2000)
        .map(|number| script.next(number % 5, (number / 500) as u32))
        .collect();
    let keys: BTreeSet<_> = script.keys().map(|(_, key)| key).collect();
    let mut written = BTreeSet::new();
    for (call, words) in &calls {
        assert!(
            keys.contains(&call.key)
                && words[0] == "CL"
                && call.level.as_deref() == Some(&*words[1]),
            "{words:?}"
        );
        if matches!(call.f, Action::Write | Action::Add) {
            assert!(written.insert(call.value.to_string()), "{words:?}");
        }
    }
    for f in [
        Action::Read,
        Action::Write,
        Action::Remove,
        Action::Add,
        Action::Increment,
    ] {
        assert!(calls.iter().any(|(call, _)| call.f == f), "{f}");
    }
}

#[test]
fn targets() {
    let plain = Target {
        user: None,
        address: "a:1".to_owned(),
        tls: None,
    };
    let said = |tls| {
        Ok(Target {
            tls: Some(tls),
            ..plain.clone()
        })
    };
    assert_eq!(target("a:1"), Ok(plain.clone()));
    assert_eq!(target("resp://a:1"), said(false));
    assert_eq!(target("redis://a:1/"), said(false));
    assert_eq!(target("rediss://a:1"), said(true));
    assert_eq!(
        target("resp://quorum@[::1]:7379"),
        Ok(Target {
            user: Some("quorum".into()),
            address: "[::1]:7379".into(),
            tls: Some(false),
        })
    );
    for wrong in [
        "",
        "resp://",
        "a",
        "a:b",
        ":1",
        "resp://u:p@a:1",
        "http://a",
    ] {
        assert!(target(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_report_has_exactly_the_published_fields() {
    let report = Report {
        ops_per_second: 1.5,
        p50_us: 2.0,
        p99_us: 3.0,
        p999_us: 4.0,
        errors: 5,
    };
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(
        text,
        r#"{"ops_per_second":1.5,"p50_us":2.0,"p99_us":3.0,"p999_us":4.0,"errors":5}"#
    );
}
