//! Records a run: what each client saw, and at the end what each node shows.

use std::cell::RefCell;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value as Json;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::levels::Levels;
use super::options::{Bench, Entrance, entrances};
use super::script::{Kind, Script};
use crate::check::{Action, Call, History};
use crate::cli::fail::Failure;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Output};
use crate::faces::resp::client::{Client, ClientError, Refusal, Value};
use crate::table::Table;

/// How long a client waits before it reconnects, and how often convergence is polled.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the keys of one generation are in use. A checker's work grows with the square of the
/// number of operations on one key (guess).
const GENERATION: Duration = Duration::from_secs(4);
/// Operations per second unless the run says otherwise (guess: enough overlaps, and files that can
/// be mailed).
const RATE: u32 = 500;

/// What is printed. The JSON form has exactly these fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Summary {
    /// Operations that were acknowledged or answered.
    done: u64,
    /// Operations that were refused as not applied, and reads without an answer.
    refused: u64,
    /// Updates that may be applied.
    unknown: u64,
    /// Seconds until every target reported convergence; null if some did not within `--settle`.
    settled_s: Option<f64>,
}

/// State shared by all clients of a run.
struct Run {
    history: RefCell<History>,
    script: RefCell<Script>,
    summary: RefCell<Summary>,
    start: Instant,
    /// Unix time at `start`, in nanoseconds, by which recordings of several programs can be
    /// combined.
    epoch: u64,
    end: Instant,
    /// The time between two operations of one client, and between two beats of all.
    pause: Duration,
    keyspace: Option<String>,
}

/// Records until time is up, then waits for the cluster to converge, and reads everything through
/// every target.
pub(super) async fn run(bench: &Bench, file: &Path, globals: &Globals) -> Result<(), Failure> {
    let unwritable = |cause: std::io::Error| Failure::History {
        file: file.to_owned(),
        cause: cause.into(),
    };
    let targets = entrances(&bench.target, globals)?;
    // Fail before the run rather than after it.
    let mut to = BufWriter::new(File::create(file).map_err(unwritable)?);
    let run = Rc::new(Run::new(bench));
    let tasks = LocalSet::new();
    for (number, target) in (0..u64::from(bench.clients)).zip(targets.iter().cycle()) {
        let (run, target) = (Rc::clone(&run), target.clone());
        tasks.spawn_local(async move { run.client(number, &target).await });
    }
    tasks.await;
    run.summary.borrow_mut().settled_s = run
        .settle(&targets, Duration::from_secs(bench.recording.settle.into()))
        .await;
    run.final_reads(bench.clients.into(), &targets).await;
    run.history.borrow().write(&mut to).map_err(unwritable)?;
    let summary = *run.summary.borrow();
    match globals.output {
        Output::Json => {
            output::line(serde_json::to_string(&summary).map_err(std::io::Error::from)?)?;
        }
        Output::Table => output::line(summary.table().to_string().trim_end())?,
    }
    if summary.done > 0 {
        Ok(())
    } else {
        Err(Failure::NothingMeasured)
    }
}

impl Summary {
    fn table(&self) -> Table {
        let mut table = Table::new(["DONE", "REFUSED", "UNKNOWN", "CONVERGED"]);
        let settled = self.settled_s.map_or_else(
            || "no".to_owned(),
            |seconds| format!("after {seconds:.1} s"),
        );
        table.push([
            self.done.to_string(),
            self.refused.to_string(),
            self.unknown.to_string(),
            settled,
        ]);
        table
    }
}

impl Run {
    fn new(bench: &Bench) -> Self {
        let start = Instant::now();
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64);
        let rate = bench.rate.unwrap_or(RATE);
        Self {
            history: RefCell::default(),
            script: RefCell::new(Script::new(bench.workload, bench.level.clone(), epoch)),
            summary: RefCell::default(),
            start,
            epoch,
            end: start + Duration::from_secs(bench.seconds.into()),
            pause: Duration::from_secs(1) * bench.clients / rate,
            keyspace: bench.recording.keyspace.clone(),
        }
    }

    fn now(&self) -> u64 {
        self.epoch + self.start.elapsed().as_nanos() as u64
    }

    /// When the clients act next. They act together, so that their operations overlap however
    /// quick the answers are; one that was held up does not catch up afterwards.
    fn next_beat(&self) -> Instant {
        let beats = self.start.elapsed().as_nanos() / self.pause.as_nanos().max(1) + 1;
        self.start + self.pause * beats as u32
    }

    async fn connect(&self, target: &Entrance) -> Result<Client, ClientError> {
        let mut client = Client::connect(&target.address, target.options.clone()).await?;
        if let Some(keyspace) = &self.keyspace {
            client.command(&[b"SELECT", keyspace.as_bytes()]).await?;
        }
        Ok(client)
    }

    /// A connection with its levels, which go into the record.
    async fn connect_knowing(&self, target: &Entrance) -> Result<(Client, Levels), ClientError> {
        let mut client = self.connect(target).await?;
        let levels = Levels::of(&mut client, self.keyspace.as_deref()).await?;
        Ok((client, levels))
    }

    /// Runs one client at its target, which may go away and come back.
    async fn client(&self, number: u64, target: &Entrance) {
        let mut connection = None;
        while Instant::now() < self.end {
            sleep_until(self.next_beat().min(self.end)).await;
            let Some((client, levels)) = &mut connection else {
                connection = self.connect_knowing(target).await.ok();
                if connection.is_none() {
                    sleep(AGAIN).await;
                }
                continue;
            };
            let generation = (self.start.elapsed().as_nanos() / GENERATION.as_nanos()) as u32;
            let (call, words) = self.script.borrow_mut().next(number, generation);
            let level = Some(levels.effective(call.level.as_deref(), call.f.is_read()));
            if !self
                .ask(
                    client,
                    Call {
                        node: Some(target.address.as_str().into()),
                        level,
                        ..call
                    },
                    &words,
                )
                .await
            {
                connection = None;
            }
        }
    }

    /// Sends one operation and records it. Returns whether the connection can still be used.
    async fn ask(&self, client: &mut Client, call: Call, words: &[String]) -> bool {
        let (process, read, whole) = (
            call.process,
            call.f.is_read(),
            words.iter().any(|word| word == "HGETALL"),
        );
        self.history.borrow_mut().invoke(call, self.now());
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let answer = client.command(&words).await;
        let (time, mut history, mut summary) = (
            self.now(),
            self.history.borrow_mut(),
            self.summary.borrow_mut(),
        );
        match &answer {
            Ok(value) => {
                history.ok(
                    process,
                    if whole { fields(value) } else { json(value) },
                    time,
                );
                summary.done += 1;
            }
            Err(cause) if read || not_applied(cause) => {
                history.fail(process, &cause.to_string(), time);
                summary.refused += 1;
            }
            Err(cause) => {
                history.info(process, &cause.to_string(), time);
                summary.unknown += 1;
            }
        }
        matches!(answer, Ok(_) | Err(ClientError::Refused(_)))
    }

    /// Waits until every target reports convergence, and returns how many seconds it took.
    async fn settle(&self, targets: &[Entrance], patience: Duration) -> Option<f64> {
        let begun = Instant::now();
        for target in targets {
            while !self.converged(target).await {
                if begun.elapsed() > patience {
                    return None;
                }
                sleep(AGAIN).await;
            }
        }
        Some((begun.elapsed().as_secs_f64() * 10.0).round() / 10.0)
    }

    async fn converged(&self, target: &Entrance) -> bool {
        let status = async {
            self.connect(target)
                .await?
                .command(&[b"QUORATE", b"STATUS"])
                .await
        };
        let Ok(Value::Bulk(text)) = status.await else {
            return false;
        };
        serde_json::from_slice::<Json>(&text).is_ok_and(|status| status["converged"] == true)
    }

    /// Reads every key at `ONE` through every target, each as a separate process.
    async fn final_reads(&self, first: u64, targets: &[Entrance]) {
        let keys: Vec<(Kind, Box<str>)> = self.script.borrow().keys().collect();
        for (process, target) in (first..).zip(targets) {
            let Ok(mut client) = self.connect(target).await else {
                continue;
            };
            for (kind, key) in &keys {
                let words = ["CL", "ONE", kind.read(), key].map(str::to_owned);
                let call = Call::new(process, Action::FinalRead, key.clone(), Json::Null);
                let call = Call {
                    node: Some(target.address.as_str().into()),
                    level: Some("ONE".into()),
                    ..call
                };
                if !self.ask(&mut client, call, &words).await {
                    break;
                }
            }
        }
    }
}

/// Whether the error says that nothing was changed and nothing will be. Silence does not say so.
pub(super) fn not_applied(cause: &ClientError) -> bool {
    let claims = |refusal: &Refusal| match refusal.code() {
        "TIMEOUT" => refusal.text.contains("nothing was applied"),
        "STOPPING" => false,
        _ => !refusal.may_have_been_applied(),
    };
    matches!(cause, ClientError::Refused(refusal) if claims(refusal))
}

fn json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Error(_) => Json::Null,
        Value::Integer(number) => (*number).into(),
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::Array(values) => values.iter().map(json).collect(),
    }
}

/// Reads an array of alternating fields and values.
fn fields(value: &Value) -> Json {
    let Value::Array(values) = value else {
        return json(value);
    };
    let name =
        |value: &Value| String::from_utf8_lossy(value.bytes().unwrap_or_default()).into_owned();
    Json::Object(
        values
            .chunks_exact(2)
            .map(|pair| (name(&pair[0]), json(&pair[1])))
            .collect(),
    )
}
