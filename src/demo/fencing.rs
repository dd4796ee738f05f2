//! The scene about fencing: the holder of a lock is stopped, its lease runs out, another takes
//! over, and the first goes on as if nothing had happened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep, timeout};

use super::board::Board;
use super::cluster::Cluster;
use super::error::DemoError;
use super::wan;
use crate::faces::resp::client::{Client, ClientError, Options, Value};

/// The lock.
const LOCK: &str = "report";
/// What its holders write, once without a token and once with it.
const PLAIN: &str = "report:plain";
const FENCED: &str = "report:fenced";
/// How long the lease of the first holder lasts: several times what a renewal takes.
const TTL: Duration = Duration::from_secs(2);
/// How long the lease of the second one lasts: longer than the scene.
const LATER_TTL: Duration = Duration::from_mins(1);
/// How long the second one waits for the lock.
const WAIT: Duration = Duration::from_secs(20);
/// How long the nodes may take to find each other on a busy machine.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before something that a young cluster has refused is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// How many steps the first holder takes before it is stopped.
const STEPS: u32 = 3;

/// What came of the scene. Unlike the `Report` of a split, it counts what one late holder could do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FencingReport {
    /// The tokens of the two holders.
    pub tokens: [i64; 2],
    /// Late requests under the first token, and how many were refused by name of the second.
    pub late: u32,
    /// How many of them were refused.
    pub refused: u32,
    /// Whether the late write without a token replaced what the second holder had written.
    pub plain_replaced: bool,
    /// At how many nodes the second holder then found what it had written, and how many there are.
    pub unchanged: [usize; 2],
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl FencingReport {
    /// Whether the scene has shown what it is about.
    pub fn held(&self) -> bool {
        let [first, second] = self.tokens;
        let [unchanged, nodes] = self.unchanged;
        first < second
            && self.late > 0
            && self.refused == self.late
            && self.plain_replaced
            && unchanged == nodes
    }

    /// One line that says whether everything held.
    pub fn verdict(&self) -> String {
        let [first, second] = self.tokens;
        let verdict = if self.held() { "all held" } else { "NOT HELD" };
        format!(
            "verdict: {verdict}: {} of {} late requests under token {first} were refused after token {second}; \
             the second holder found its own at {} of {} nodes",
            self.refused, self.late, self.unchanged[0], self.unchanged[1]
        )
    }

    /// The same for a program.
    pub fn json(&self) -> Json {
        json!({
            "scene": "fencing",
            "first_token": self.tokens[0],
            "second_token": self.tokens[1],
            "late_requests": self.late,
            "refused": self.refused,
            "plain_replaced": self.plain_replaced,
            "nodes": self.unchanged[1],
            "unchanged_at": self.unchanged[0],
            "held": self.held(),
            "seconds": self.seconds,
        })
    }
}

/// Somebody who works under the lock.
struct Worker {
    name: &'static str,
    client: Client,
    token: i64,
    sequence: u32,
}

impl Worker {
    async fn at(address: SocketAddr, name: &'static str) -> Result<Self, DemoError> {
        let options = Options {
            timeout: PATIENCE,
            ..Options::default()
        };
        Ok(Self {
            name,
            client: Client::connect(address, options).await?,
            token: 0,
            sequence: 0,
        })
    }

    async fn command(&mut self, words: &[String]) -> Result<Value, ClientError> {
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        self.client.command(&words).await
    }

    /// Takes the lock, and waits for it. Returns whether it was granted.
    async fn take(&mut self, ttl: Duration) -> Result<bool, DemoError> {
        let (ttl, wait) = (ttl.as_millis().to_string(), WAIT.as_millis().to_string());
        let words = [
            "LOCK.ACQUIRE",
            LOCK,
            "TTL",
            &ttl,
            "WAIT",
            &wait,
            "HOLDER",
            self.name,
        ];
        let granted = self.command(&words.map(str::to_owned)).await?;
        let Value::Array(granted) = granted else {
            return Ok(false);
        };
        self.token = granted.first().and_then(Value::integer).unwrap_or(0);
        Ok(true)
    }

    async fn renew(&mut self) -> Result<bool, DemoError> {
        let token = self.token.to_string();
        let words = ["LOCK.RENEW", LOCK, &token].map(str::to_owned);
        Ok(self.command(&words).await? == Value::Integer(1))
    }

    /// Does something under the lock.
    async fn fenced(&mut self, words: &[&str]) -> Result<Value, ClientError> {
        self.sequence += 1;
        let (token, sequence) = (self.token.to_string(), self.sequence.to_string());
        let mut fenced = ["FENCE", LOCK, &token, "SEQ", &sequence]
            .map(str::to_owned)
            .to_vec();
        fenced.extend(words.iter().map(|&word| word.to_owned()));
        self.command(&fenced).await
    }

    /// Writes the same with and without the token.
    async fn write(&mut self, value: &str) -> Result<(), DemoError> {
        let plain = ["CL", "QUORUM", "SET", PLAIN, value].map(str::to_owned);
        self.command(&plain).await?;
        self.fenced(&["SET", FENCED, value]).await?;
        Ok(())
    }
}

/// Plays the scene.
pub(super) async fn play(
    cluster: &mut Cluster,
    board: &Arc<Board>,
) -> Result<FencingReport, DemoError> {
    let begun = Instant::now();
    let mut scene = Scene {
        board,
        doors: Vec::new(),
        report: FencingReport::default(),
    };
    scene.start(cluster).await?;
    let mut ann = scene.first_holder().await?;
    let mut bob = scene.second_holder(&ann).await?;
    scene.wake(&mut ann).await?;
    scene.look(&mut bob).await?;
    let mut report = scene.report;
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

struct Scene<'a> {
    board: &'a Arc<Board>,
    /// Where the nodes take commands, with their names.
    doors: Vec<(SocketAddr, String)>,
    report: FencingReport,
}

impl Scene<'_> {
    async fn start(&mut self, cluster: &mut Cluster) -> Result<(), DemoError> {
        self.board
            .chapter(1, "One lock, and a cluster that grants it");
        let stuck = |_elapsed| DemoError::Stuck {
            what: "all nodes to join and to grant a lock",
            seconds: START_PATIENCE.as_secs(),
        };
        self.board.wait_for("all nodes to join", START_PATIENCE);
        timeout(START_PATIENCE, cluster.start())
            .await
            .map_err(stuck)??;
        let seats = self.board.picture().seats;
        self.doors = seats
            .into_iter()
            .map(|seat| (seat.resp, seat.name))
            .collect();
        timeout(START_PATIENCE, self.decides())
            .await
            .map_err(stuck)??;
        self.board.tell(&format!(
            "{} nodes run in this process, in {} places that packets need as long to reach as if\n\
             they were apart. A lock is granted by a majority of the nodes that vote. Every grant\n\
             comes with a number that is higher than all before it: its fencing token.",
            self.doors.len(),
            self.board.picture().sites,
        ));
        Ok(())
    }

    /// Waits until the cluster grants locks and serves `QUORUM`.
    async fn decides(&self) -> Result<(), DemoError> {
        loop {
            let mut probe = Worker::at(self.door(0), "probe").await?;
            let set = ["CL", "ALL", "SET", "probe", "1"].map(str::to_owned);
            let lock = ["LOCK.ACQUIRE", "probe", "TTL", "100"].map(str::to_owned);
            if probe.command(&set).await.is_ok() && probe.command(&lock).await.is_ok() {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    fn door(&self, number: usize) -> SocketAddr {
        self.doors[number % self.doors.len()].0
    }

    fn place(&self, number: usize) -> &str {
        &self.doors[number % self.doors.len()].1
    }

    async fn first_holder(&mut self) -> Result<Worker, DemoError> {
        let mut ann = Worker::at(self.door(0), "ann").await?;
        if !ann.take(TTL).await? {
            return Err(DemoError::NotHeld);
        }
        self.report.tokens[0] = ann.token;
        self.board
            .chapter(2, "Ann works under the lock, and is stopped");
        for step in 1..=STEPS {
            ann.renew().await?;
            ann.write(&format!("ann, step {step}")).await?;
            sleep(TTL / 10).await;
        }
        self.board.tell(&format!(
            "Ann talks to {} and holds the lock \"{LOCK}\" under token {}. Her lease lasts {} s, and she\n\
             renews it while she works. She writes the same to two keys, one without her token and\n\
             one with it:\n\n\
             \x20 CL QUORUM SET {PLAIN} \"ann, step {STEPS}\"\n\
             \x20 FENCE {LOCK} {} SEQ {} SET {FENCED} \"ann, step {STEPS}\"\n\n\
             Now she is stopped: her machine is suspended, or her program collects garbage. She\n\
             sends nothing and renews nothing. She does not notice: for her, no time passes.",
            self.place(0),
            ann.token,
            TTL.as_secs(),
            ann.token,
            ann.sequence,
        ));
        Ok(ann)
    }

    async fn second_holder(&mut self, ann: &Worker) -> Result<Worker, DemoError> {
        self.board
            .chapter(3, "Her lease runs out, and Bob takes over");
        let begun = Instant::now();
        let mut bob = Worker::at(self.door(1), "bob").await?;
        self.board.wait_for("Ann's lease to run out", WAIT);
        if !bob.take(LATER_TTL).await? {
            return Err(DemoError::NotHeld);
        }
        self.report.tokens[1] = bob.token;
        let waited = begun.elapsed();
        let found = bob.fenced(&["GET", FENCED]).await?;
        let found = String::from_utf8_lossy(found.bytes().unwrap_or_default()).into_owned();
        bob.write("bob").await?;
        self.board.tell(&format!(
            "Bob has waited for {:.1} s and holds the lock under token {}. He first looks how far Ann\n\
             has come, under his token, and finds \"{found}\". With that look he has closed the door\n\
             behind him: a majority of the copies now refuses whatever comes under token {}.\n\
             Then he writes \"bob\" to both keys.",
            waited.as_secs_f64(),
            bob.token,
            ann.token,
        ));
        Ok(bob)
    }

    /// The first holder goes on where she was, and tries every node.
    async fn wake(&mut self, ann: &mut Worker) -> Result<(), DemoError> {
        self.board.chapter(4, "Ann wakes up");
        let late = format!("ann, step {}", STEPS + 1);
        ann.command(&["CL", "QUORUM", "SET", PLAIN, &late].map(str::to_owned))
            .await?;
        let mut said = None;
        for number in 0..self.doors.len() {
            let mut elsewhere = Worker::at(self.door(number), "ann").await?;
            (elsewhere.token, elsewhere.sequence) = (ann.token, ann.sequence);
            for words in [["SET", FENCED, &late].as_slice(), &["GET", FENCED]] {
                self.report.late += 1;
                match elsewhere.fenced(words).await {
                    Err(ClientError::Refused(refusal)) if refusal.code() == "FENCED" => {
                        self.report.refused += 1;
                        said.get_or_insert(refusal.text);
                    }
                    Err(ClientError::Refused(refusal)) => self.board.tell(&refusal.text),
                    Ok(answer) => self.board.tell(&format!("ADMITTED: {words:?}: {answer:?}")),
                    Err(error) => return Err(error.into()),
                }
            }
            ann.sequence = elsewhere.sequence;
        }
        let renewed = ann.renew().await?;
        self.board.tell(&format!(
            "She believes that she still holds the lock, and writes her next step.\n\n\
             Without her token nobody can tell that she is late, and the write is taken:\n\n\
             \x20 CL QUORUM SET {PLAIN} \"{late}\"\n\
             \x20 OK\n\n\
             With her token it is refused, by every node she asks, and so are her reads:\n\n\
             \x20 FENCE {LOCK} {} SEQ … SET {FENCED} \"{late}\"\n\
             \x20 {}\n\n\
             {} of {} late requests were refused. {}",
            ann.token,
            said.as_deref().unwrap_or("NOT REFUSED"),
            self.report.refused,
            self.report.late,
            if renewed {
                "HER LOCK WAS RENEWED."
            } else {
                "She asks for her lease, and learns that it is lost."
            },
        ));
        if renewed {
            self.report.late += 1;
        }
        Ok(())
    }

    /// What the second holder finds afterwards.
    async fn look(&mut self, bob: &mut Worker) -> Result<(), DemoError> {
        self.board.chapter(5, "What Bob finds");
        let read = ["CL", "QUORUM", "GET", PLAIN].map(str::to_owned);
        let plain = bob.command(&read).await?;
        self.report.plain_replaced = plain.bytes() != Some(b"bob");
        let mut unchanged = 0;
        for number in 0..self.doors.len() {
            let mut reader = Worker::at(self.door(number), "bob").await?;
            (reader.token, reader.sequence) = (bob.token, bob.sequence);
            let found = reader.fenced(&["GET", FENCED]).await?;
            unchanged += usize::from(found.bytes() == Some(b"bob"));
            bob.sequence = reader.sequence;
        }
        self.report.unchanged = [unchanged, self.doors.len()];
        self.board.tell(&format!(
            "\x20 {PLAIN:<15} \"{}\"   what Bob had written is gone\n\
             \x20 {FENCED:<15} \"bob\" at {unchanged} of {} nodes\n\n\
             No lock service can keep a holder from being stopped between looking at its lease and\n\
             writing. So the lock alone protects nothing; the store has to look at the token, and\n\
             here it does ({}).",
            String::from_utf8_lossy(plain.bytes().unwrap_or_default()),
            self.doors.len(),
            wan_note(self.board.picture().sites),
        ));
        Ok(())
    }
}

/// Where the copies are that had to agree.
fn wan_note(sites: usize) -> String {
    let names: Vec<&str> = (0..sites).map(wan::name).collect();
    format!("with copies in {}", names.join(", "))
}
