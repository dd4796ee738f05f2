//! Guards against a node that answers as it is told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::*;

const TTL: Duration = Duration::from_millis(600);
/// Long enough for anything that happens at once.
const SOON: Duration = Duration::from_secs(5);

/// A node that grants token 7, and notes what it is asked.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    asked: Vec<String>,
    /// Whether it holds what it is asked about.
    lost: bool,
    /// Whether it says nothing any more.
    silent: bool,
    /// How long a grant takes.
    grants_after: Duration,
}

impl Fake {
    async fn start() -> (Self, Coordinated) {
        let fake = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        (fake, Coordinated::at([address]))
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn asked(&self, verb: &str) -> usize {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.asked.iter().filter(|it| it.starts_with(verb)).count()
    }

    async fn until_asked(&self, verb: &str, times: usize) {
        let asked = async {
            while self.asked(verb) < times {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, asked).await.expect(verb);
    }

    async fn serve(self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let words = read_command(&mut stream).await?;
            let Some((answer, after)) = self.answer(&words) else {
                return std::future::pending().await;
            };
            sleep(after).await;
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    /// What it says, and after how long; nothing if it is silent.
    fn answer(&self, words: &[String]) -> Option<(&'static str, Duration)> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.asked.push(words.join(" "));
        match words[0].as_str() {
            _ if said.silent => None,
            "LOCK.ACQUIRE" | "ELECTION.CAMPAIGN" => Some(("*2\r\n:7\r\n:5\r\n", said.grants_after)),
            _ if said.lost => Some((":0\r\n", Duration::ZERO)),
            _ => Some((":1\r\n", Duration::ZERO)),
        }
    }
}

async fn read_command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(stream).await? {
        let mut word = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).ok()?);
    }
    Some(words)
}

async fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().get(1..)?.parse().ok()
}

#[tokio::test]
async fn a_guard_renews_its_lock_and_gives_it_back() {
    let (fake, cluster) = Fake::start().await;
    let guard = cluster.lock("k", Patience::new(TTL)).await.unwrap();
    assert_eq!(guard.token(), 7);
    fake.until_asked("LOCK.RENEW k 7 SESSION 5", 4).await;
    // A tenth is left for clocks and messages.
    assert!(guard.remaining().is_some_and(|left| left <= TTL * 9 / 10));
    assert_eq!(guard.release().await, Ok(()));
    assert_eq!(fake.asked("LOCK.RELEASE k 7 SESSION 5"), 1);
}

#[tokio::test]
async fn a_guard_that_is_dropped_gives_its_lock_back() {
    let (fake, cluster) = Fake::start().await;
    drop(cluster.lock("k", Patience::new(TTL)).await.unwrap());
    fake.until_asked("LOCK.RELEASE k 7", 1).await;
}

#[tokio::test]
async fn a_request_that_is_dropped_while_it_waits_gives_back_what_it_gets() {
    let (fake, cluster) = Fake::start().await;
    fake.change(|said| said.grants_after = Duration::from_millis(200));
    let patience = Patience::new(TTL).wait(SOON);
    let waits = timeout(Duration::from_millis(50), cluster.lock("k", patience));
    assert!(waits.await.is_err(), "it was granted at once");
    fake.until_asked("LOCK.RELEASE k 7", 1).await;
}

#[tokio::test]
async fn a_guard_tells_that_its_lock_was_taken_away() {
    let (fake, cluster) = Fake::start().await;
    let guard = cluster.lock("k", Patience::new(TTL)).await.unwrap();
    fake.change(|said| said.lost = true);
    let lost = timeout(SOON, guard.lost()).await.unwrap();
    assert_eq!(lost, Lost { token: 7 });
    assert_eq!(guard.remaining(), None);
    assert_eq!(guard.release().await, Err(lost));
}

#[tokio::test]
async fn a_guard_gives_up_before_its_time_is_over_when_nobody_answers() {
    let (fake, cluster) = Fake::start().await;
    let begun = tokio::time::Instant::now();
    let guard = cluster.lock("k", Patience::new(TTL)).await.unwrap();
    fake.change(|said| said.silent = true);
    timeout(SOON, guard.lost()).await.unwrap();
    let after = begun.elapsed();
    assert!(
        after >= TTL * 8 / 10,
        "given up after {after:?}, while it was held"
    );
    assert_eq!(guard.remaining(), None);
}

#[tokio::test]
async fn a_leader_proclaims_and_resigns() {
    let (fake, cluster) = Fake::start().await;
    let leader = cluster
        .campaign("e", b"here", Patience::new(TTL).wait(SOON))
        .await
        .unwrap();
    assert_eq!(fake.asked("ELECTION.CAMPAIGN e here TTL 600 WAIT 5000"), 1);
    leader.proclaim(b"there").await.unwrap();
    assert_eq!(fake.asked("ELECTION.PROCLAIM e 7 there"), 1);
    assert_eq!(leader.resign().await, Ok(()));
    assert_eq!(fake.asked("ELECTION.RESIGN e 7"), 1);
}

#[tokio::test]
async fn nobody_to_ask_is_an_error() {
    let none = Coordinated::at(Vec::<String>::new());
    let refused = none.lock("k", Patience::new(TTL)).await;
    assert!(matches!(refused, Err(LeaseError::NoNode)), "{refused:?}");
}

#[tokio::test]
async fn a_lease_outlives_the_silence_of_one_node() {
    let ((first, one), (second, two)) = (Fake::start().await, Fake::start().await);
    let nodes: Vec<String> = one.nodes.iter().chain(&*two.nodes).cloned().collect();
    let cluster = Coordinated::at(nodes);
    let ttl = Duration::from_secs(3);
    let guard = cluster.lock("k", Patience::new(ttl)).await.unwrap();
    first.change(|said| said.silent = true);
    second.until_asked("LOCK.RENEW k 7 SESSION 5", 2).await;
    assert!(guard.remaining().is_some());
    assert_eq!(guard.release().await, Ok(()));
}
