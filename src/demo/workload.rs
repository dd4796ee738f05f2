//! The demo's clients: one per datacenter and level. Each does one thing after another over a Redis
//! connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::board::Board;
use super::ledger::{Ledger, Outcome, Slot};
use super::score::LEVELS;
use crate::faces::resp::client::{Client, ClientError, Options, Value};

/// The minimum time from one request of a client to its next. Guess: a few hundred requests a
/// second leave a small machine some headroom.
const PACE: Duration = Duration::from_millis(40);
/// Pause before a client tries the next node of its datacenter.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// Client timeout: longer than any request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Number of counters, sets, registers and hashes each, which all clients share.
const SHARED_KEYS: usize = 8;
/// How many of its own things a client keeps before it starts removing the oldest.
const KEPT: usize = 3;

/// The ledger, shared by all clients.
pub(super) type SharedLedger = Arc<Mutex<Ledger>>;

/// Clients at work.
pub(super) struct Workload {
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

/// What a request changes, for the ledger.
enum Effect {
    Count(String),
    Overwrite(Slot, String),
    Make(Slot),
    Remove(Slot),
    Read,
}

struct Request {
    words: Vec<String>,
    effect: Effect,
}

struct Worker {
    /// Unique among the clients and the same in every run of the workload: the writer of a
    /// register.
    id: usize,
    site: usize,
    level: usize,
    /// Which run of the workload this is, so that no value is ever written twice.
    run: usize,
    /// The nodes of its datacenter.
    doors: Vec<SocketAddr>,
    door: usize,
    connection: Option<Client>,
    step: usize,
    own: VecDeque<Slot>,
    ledger: SharedLedger,
    board: Arc<Board>,
}

impl Workload {
    /// Starts the clients in every datacenter.
    pub(super) fn start(board: &Arc<Board>, ledger: &SharedLedger, run: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let picture = board.picture();
        let mut clients = JoinSet::new();
        for site in 0..picture.sites {
            let doors: Vec<SocketAddr> = picture
                .seats
                .iter()
                .filter(|seat| seat.site == site)
                .map(|seat| seat.resp)
                .collect();
            for level in 0..LEVELS.len() {
                let worker = Worker {
                    id: site * LEVELS.len() + level,
                    site,
                    level,
                    run,
                    door: level % doors.len(),
                    doors: doors.clone(),
                    connection: None,
                    step: 0,
                    own: VecDeque::new(),
                    ledger: Arc::clone(ledger),
                    board: Arc::clone(board),
                };
                clients.spawn(worker.work(stopped.clone()));
            }
        }
        Self { stop, clients }
    }

    /// Lets every client finish its current request.
    pub(super) async fn finish(mut self) {
        self.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
    }
}

impl Worker {
    async fn work(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let next = Instant::now() + PACE;
            let Some(mut connection) = self.connection().await else {
                continue;
            };
            let request = self.next_request();
            if self.carry_out(&mut connection, request).await {
                self.connection = Some(connection);
            } else {
                self.door += 1;
            }
            tokio::select! {
                () = sleep_until(next) => {}
                // A dropped sender means the end as well.
                _ = stopped.changed() => {}
            }
        }
    }

    /// Returns the connection, or connects to another node of the same datacenter if the last
    /// connection was lost.
    async fn connection(&mut self) -> Option<Client> {
        if let Some(connection) = self.connection.take() {
            return Some(connection);
        }
        let address = self.doors[self.door % self.doors.len()];
        let connected = Client::connect(
            address,
            Options {
                timeout: PATIENCE,
                ..Options::default()
            },
        )
        .await;
        if connected.is_err() {
            self.door += 1;
            sleep(RECONNECT_PAUSE).await;
        }
        connected.ok()
    }

    /// Sends a request and records the outcome. Returns whether the connection is still good.
    async fn carry_out(&mut self, connection: &mut Client, request: Request) -> bool {
        let level = LEVELS[self.level].to_string();
        let args: Vec<&[u8]> = ["CL", &level]
            .into_iter()
            .chain(request.words.iter().map(String::as_str))
            .map(str::as_bytes)
            .collect();
        let (begun, sent) = (self.board.scores.begin(), Instant::now());
        let answer = connection.command(&args).await;
        let outcome = outcome_of(&answer);
        self.board
            .scores
            .end(begun, self.site, self.level, outcome, sent.elapsed());
        self.write_down(request.effect, outcome, answer.as_ref().ok());
        matches!(answer, Ok(_) | Err(ClientError::Refused(_)))
    }

    fn write_down(&mut self, effect: Effect, outcome: Outcome, reply: Option<&Value>) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match effect {
            Effect::Count(key) => ledger.counted(&key, outcome),
            Effect::Overwrite(slot, value) => ledger.overwritten(&slot, self.id, &value, outcome),
            Effect::Make(slot) => {
                ledger.made(&slot, outcome);
                if outcome == Outcome::Acknowledged {
                    self.own.push_back(slot);
                }
            }
            Effect::Remove(slot) => {
                ledger.removed(&slot, outcome, reply.and_then(Value::integer) == Some(1));
            }
            Effect::Read => {}
        }
    }

    /// The next request: counters, elements, registers, fields, keys, reads and removals take
    /// turns, over keys that all clients share.
    fn next_request(&mut self) -> Request {
        let step = self.step;
        self.step += 1;
        let shared = (self.id * 3 + step) % SHARED_KEYS;
        let unique = format!("{}.{}.{step}", self.run, self.id);
        let request = |words: &[&str], effect| Request {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            effect,
        };
        match step % 8 {
            0 | 4 => {
                let key = format!("counter:{shared}");
                request(&["INCR", &key], Effect::Count(key.clone()))
            }
            1 => {
                let key = format!("set:{shared}");
                request(
                    &["SADD", &key, &unique],
                    Effect::Make(Slot::part(&key, &unique)),
                )
            }
            2 => {
                let key = format!("register:{shared}");
                request(
                    &["SET", &key, &unique],
                    Effect::Overwrite(Slot::key(&key), unique.clone()),
                )
            }
            3 => {
                let (key, field) = (format!("hash:{shared}"), format!("client:{}", self.id));
                request(
                    &["HSET", &key, &field, &unique],
                    Effect::Overwrite(Slot::part(&key, &field), unique.clone()),
                )
            }
            5 => {
                let key = format!("once:{unique}");
                request(&["SET", &key, "here"], Effect::Make(Slot::key(&key)))
            }
            6 => request(&["GET", &format!("register:{shared}")], Effect::Read),
            _ => self
                .remove_one()
                .unwrap_or_else(|| request(&["SCARD", &format!("set:{shared}")], Effect::Read)),
        }
    }

    /// Removes the oldest of this client's own things, once it has more than a few.
    fn remove_one(&mut self) -> Option<Request> {
        let slot = if self.own.len() > KEPT {
            self.own.pop_front()?
        } else {
            return None;
        };
        let words = match &slot.part {
            Some(element) => vec!["SREM".to_owned(), slot.key.clone(), element.clone()],
            None => vec!["DEL".to_owned(), slot.key.clone()],
        };
        Some(Request {
            words,
            effect: Effect::Remove(slot),
        })
    }
}

/// What an answer says about a write. In doubt the outcome is unknown, which claims the least.
fn outcome_of(answer: &Result<Value, ClientError>) -> Outcome {
    let refusal = match answer {
        Ok(_) => return Outcome::Acknowledged,
        Err(ClientError::Refused(refusal)) => refusal,
        Err(_) => return Outcome::Unknown,
    };
    match refusal.code() {
        "NOTQUORATE" | "TRYAGAIN" | "OVERLOADED" | "OOM" | "LOADING" | "ERR" | "WRONGTYPE" => {
            Outcome::Refused
        }
        "TIMEOUT" if refusal.text.contains("nothing was applied") => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}
