//! `quorate bench`: a load generator for anything that speaks RESP. Its percentiles include the
//! requests that a stall held back.

mod chronicle;
mod levels;
mod load;
mod pace;
mod record;
mod script;
mod work;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::Globals;
use super::fail::Failure;
use super::output::{self, Output};
use crate::faces::resp::client::Options;
use crate::table::Table;
use load::Load;
use pace::Pacer;
use record::{Recorder, Window};

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate bench --workload set --clients 50 --pipeline 16 --seconds 10 --level ONE
  quorate bench --target resp://127.0.0.1:6379 --workload get --rate 20000      (any Redis)
  quorate bench --target resp://a:7379,resp://b:7379 --workload sadd --set-size 1000000
  quorate bench --target resp://a:7379,resp://b:7379 --record history.jsonl --level QUORUM --level ONE --rate 500

Latency with --rate is measured from the moment at which the request was due, whether or not a
connection was free to send it; requests still unsent at the end count with the time they have
waited. Without --rate, each connection waits for its answers before it sends again, so a stall hides
the requests that would have met it. The histogram is corrected by the mean time between two
pipelines of one connection (HdrHistogram's correction for coordinated omission).
The warm-up is not measured. With --wait, each write counts when its WAIT is answered.

With --record nothing is measured: the file gets the history of what the clients saw, for
`quorate check` (docs/history-format.md).";

/// What to measure.
#[derive(Clone, Debug, Args)]
pub(super) struct Bench {
    /// Servers to load, as resp://HOST:PORT; separate several with commas. The connections are spread
    /// over them. `resp://USER@HOST:PORT` logs in as USER, the name of a level.
    #[arg(long, value_name = "URL", value_delimiter = ',', default_value = "resp://127.0.0.1:7379", value_parser = target)]
    target: Vec<Target>,
    /// What the clients do.
    #[arg(long, value_enum, default_value_t = Workload::Mixed)]
    workload: Workload,
    /// Number of connections.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// The most requests that a connection has under way.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pipeline: u32,
    /// Seconds to measure, after the warm-up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Seconds to warm up.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=3_600))]
    warmup: u32,
    /// Level of the requests, such as `LOCAL_QUORUM` or R=2,W=2. If given several times, each request
    /// takes one of them. Without it the commands are plain Redis.
    #[arg(long)]
    level: Vec<String>,
    /// Requests per second over all connections [default: as many as possible].
    #[arg(long, value_name = "OPS", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    #[command(flatten)]
    shape: Shape,
    /// Send WAIT for this many replicas after each write; fewer count as an error [default: no WAIT].
    #[arg(long, value_name = "REPLICAS", default_value_t = 0)]
    wait: u32,
    #[command(flatten)]
    recording: Recording,
}

/// How much data.
#[derive(Clone, Copy, Debug, Args)]
struct Shape {
    /// Number of keys, over which the requests are spread evenly.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Bytes of a value.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=16 * 1024 * 1024))]
    value_bytes: u32,
    /// Elements of the set that `sadd` adds to.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    set_size: u32,
}

/// The options of a recording.
#[derive(Clone, Debug, Args)]
struct Recording {
    /// Record what the clients see, for `quorate check`, instead of measuring. Keys are short-lived,
    /// values are written once, and at the end each target is read back.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pipeline", "warmup", "keys", "value_bytes", "set_size", "wait"])]
    record: Option<PathBuf>,
    /// Record in this keyspace [default: the default one].
    #[arg(long, value_name = "NAME", requires = "record")]
    keyspace: Option<String>,
    /// Seconds to wait at the end until every target reports that the cluster has converged.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        requires = "record"
    )]
    settle: u32,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// SET of random keys.
    Set,
    /// GET of random keys, which are written first.
    Get,
    /// INCR of random counters.
    Incr,
    /// SADD of random elements that one set of --set-size elements already holds, so its size does
    /// not change.
    Sadd,
    /// HSET of random fields of random hashes.
    Hset,
    /// Half SET, half GET; with --record, all kinds of operations.
    Mixed,
}

/// One of `--target`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    user: Option<String>,
    address: String,
}

/// What is printed. The JSON form has exactly these fields.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Report {
    ops_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    errors: u64,
}

fn target(text: &str) -> Result<Target, &'static str> {
    let rest = text
        .strip_prefix("resp://")
        .or_else(|| text.strip_prefix("redis://"))
        .unwrap_or(text)
        .trim_end_matches('/');
    let (user, address) = match rest.split_once('@') {
        Some((user, address)) => (Some(user.to_owned()), address),
        None => (None, rest),
    };
    let dialable = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !dialable
        || user
            .as_ref()
            .is_some_and(|user| user.is_empty() || user.contains(':'))
    {
        return Err(
            "use resp://HOST:PORT or resp://USER@HOST:PORT; the password goes into QUORATE_PASSWORD",
        );
    }
    Ok(Target {
        user,
        address: address.to_owned(),
    })
}

impl Bench {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        if let Some(file) = self.recording.record.clone() {
            return chronicle::run(&self, &file, globals).await;
        }
        let report = self.measure(globals.password(), globals.patience()).await?;
        match globals.output {
            Output::Json => {
                output::line(serde_json::to_string(&report).map_err(std::io::Error::from)?)?
            }
            Output::Table => output::line(report.table(&self).to_string().trim_end())?,
        }
        // The report is printed in any case: its errors are worth knowing.
        if report.ops_per_second > 0.0 {
            Ok(())
        } else {
            Err(Failure::NothingMeasured)
        }
    }

    /// Connects everything, writes what the workload reads, then measures. A connection lost on the
    /// way counts as an error in the report.
    async fn measure(
        &self,
        password: Option<String>,
        patience: Duration,
    ) -> Result<Report, Failure> {
        let load = Rc::new(Load::new(self));
        let options = |target: &Target| Options {
            user: target.user.clone(),
            password: password.clone(),
            timeout: patience,
        };
        let mut workers = Vec::new();
        for (number, target) in (0..self.clients).zip(self.target.iter().cycle()) {
            workers.push(
                work::Worker::connect(
                    number,
                    target.address.clone(),
                    options(target),
                    Rc::clone(&load),
                )
                .await?,
            );
        }
        workers[0].preload().await?;

        let window = Window::starting_at(Instant::now(), self.warmup, self.seconds);
        let recorder = Rc::new(RefCell::new(Recorder::new(window)));
        let pacer = self.rate.map(|rate| Pacer::start(window, rate));
        let tasks = LocalSet::new();
        for worker in workers {
            let (recorder, pace) = (Rc::clone(&recorder), pacer.as_ref().map(Pacer::pace));
            tasks.spawn_local(async move {
                match pace {
                    Some(pace) => worker.open_loop(pace, &recorder).await,
                    None => worker.closed_loop(&recorder).await,
                }
            });
        }
        let progress = Rc::clone(&recorder);
        let shown = async move { record::show_progress(&progress).await };
        // The workers end by themselves; the progress line continues until then.
        tokio::select! {
            () = tasks => {},
            () = shown => {},
        }
        let mut recorder = recorder.borrow_mut();
        match pacer {
            Some(pacer) => pacer.count_unsent(&mut recorder),
            None => recorder.correct(self.clients, self.pipeline),
        }
        for (words, count) in recorder.words() {
            output::note(format_args!("{count} times: {words}"));
        }
        Ok(recorder.report())
    }
}

impl Report {
    fn table(&self, bench: &Bench) -> Table {
        let workload = bench
            .workload
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default();
        let mut table = Table::new([
            "WORKLOAD", "LEVEL", "OPS/S", "P50", "P99", "P99.9", "ERRORS",
        ]);
        let time = |micros: f64| format!("{micros} us");
        table.push([
            workload,
            if bench.level.is_empty() {
                "default".to_owned()
            } else {
                bench.level.join(" ")
            },
            format!("{:.0}", self.ops_per_second),
            time(self.p50_us),
            time(self.p99_us),
            time(self.p999_us),
            self.errors.to_string(),
        ]);
        table
    }
}

#[cfg(test)]
mod tests;
