//! `quorate check`: compares a recorded history with what is promised.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::fail::Failure;
use super::globals::time;
use super::output::{self, Output};
use crate::check::{
    self, Counterexample, Event, Kind, Least, Model, Options, Process, Report, Unusable,
};
use crate::table::Table;

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate bench --record history.jsonl --level QUORUM --level ONE --seconds 60
  quorate check history.jsonl --model register --min-faults 0     (no faults were injected)
  quorate check history.jsonl --model set --output json | jq .counterexample

docs/history-format.md describes the format. It is close to Jepsen's, with one event per line; add a
line for each fault that you inject. Exit codes: 0 every promise was kept, 1 one was broken, 2 the
history cannot be read or shows too little to judge.";

/// The most lines of a counterexample in the form for people.
const LINES_MAX: usize = 60;

/// What to check.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The history, a file of JSON lines.
    file: PathBuf,
    /// What the keys hold, and so what is promised about them.
    #[arg(long, value_parser = model)]
    model: Model,
    /// Check that registers are linearizable, as SERIAL promises.
    #[arg(long)]
    linearizable: bool,
    /// How much the clocks of two nodes may differ: writes closer together than this may be ordered
    /// either way [default: not at all].
    #[arg(long, value_name = "TIME", value_parser = time)]
    clock_skew: Option<Duration>,
    /// Completed operations that a history must have to be judged.
    #[arg(long, value_name = "N", default_value_t = Least::default().operations)]
    min_operations: usize,
    /// Operations that must have overlapped others on the same key.
    #[arg(long, value_name = "N", default_value_t = Least::default().overlaps)]
    min_overlaps: usize,
    /// Faults that must have happened during the history.
    #[arg(long, value_name = "N", default_value_t = Least::default().faults)]
    min_faults: usize,
}

fn model(name: &str) -> Result<Model, String> {
    let known = Model::ALL.map(|model| model.to_string());
    Model::ALL
        .into_iter()
        .find(|model| model.to_string() == name)
        .ok_or_else(|| format!("use one of {}", known.join(", ")))
}

/// What is printed about a history that cannot be judged: `ok` is false, because nothing was shown.
#[derive(Serialize)]
struct NoVerdict {
    model: Model,
    operations: usize,
    ok: bool,
    counterexample: (),
    unusable: String,
}

impl Check {
    pub(super) fn run(&self, output: Output) -> Result<(), Failure> {
        let least = Least {
            operations: self.min_operations,
            overlaps: self.min_overlaps,
            faults: self.min_faults,
        };
        let options = Options {
            linearizable: self.linearizable,
            skew: self.clock_skew.unwrap_or_default().as_nanos() as u64,
            least,
        };
        let verdict = self
            .events()
            .and_then(|events| Ok(check::check(&events, self.model, &options)?));
        let report = match verdict {
            Ok(report) => report,
            Err(cause) => {
                if output == Output::Json {
                    let none = NoVerdict {
                        model: self.model,
                        operations: 0,
                        ok: false,
                        counterexample: (),
                        unusable: cause.explain(),
                    };
                    output::line(serde_json::to_string(&none).map_err(std::io::Error::from)?)?;
                }
                return Err(cause);
            }
        };
        match output {
            Output::Json => {
                output::line(serde_json::to_string(&report).map_err(std::io::Error::from)?)?;
            }
            Output::Table => output::line(for_people(&report).trim_end())?,
        }
        if report.ok {
            Ok(())
        } else {
            Err(Failure::NotAsPromised)
        }
    }

    fn events(&self) -> Result<Vec<Event>, Failure> {
        let file = File::open(&self.file).map_err(|cause| Failure::History {
            file: self.file.clone(),
            cause: cause.into(),
        })?;
        check::read(BufReader::new(file)).map_err(|cause| Failure::History {
            file: self.file.clone(),
            cause,
        })
    }
}

impl From<Unusable> for Failure {
    fn from(unusable: Unusable) -> Self {
        Self::Unusable(unusable)
    }
}

fn for_people(report: &Report) -> String {
    let Report {
        model, operations, ..
    } = report;
    match &report.counterexample {
        None => format!("{model}: as promised, in {operations} operations"),
        Some(found) => format!(
            "{model}: not as promised, in {operations} operations\n{}",
            story(found)
        ),
    }
}

fn story(found: &Counterexample) -> String {
    let rule = serde_json::to_value(found.rule)
        .ok()
        .and_then(|rule| rule.as_str().map(str::to_owned))
        .unwrap_or_default();
    let keys = if found.keys == 1 {
        String::new()
    } else {
        format!(", the shortest of {} keys", found.keys)
    };
    let mut table = Table::new(["MS", "PROCESS", "NODE", "LEVEL", "WHAT", "VALUE", ""]);
    let start = found.history.first().map_or(0, |event| event.time);
    for event in found.history.iter().take(LINES_MAX) {
        table.push(line(event, start));
    }
    let more = found.history.len().saturating_sub(LINES_MAX);
    let more = if more > 0 {
        format!("… {more} more lines; --output json has all\n")
    } else {
        String::new()
    };
    format!(
        "{rule}: {}\nkey {}{keys}\n\n{table}{more}",
        found.says, found.key
    )
}

fn line(event: &Event, start: u64) -> [String; 7] {
    let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
    let process = match event.process {
        Process::Client(number) => number.to_string(),
        Process::Nemesis => "nemesis".to_owned(),
    };
    let end = match event.kind {
        Kind::Invoke => "begins".to_owned(),
        Kind::Ok => "done".to_owned(),
        Kind::Fail => format!("not applied: {}", text(&event.error)),
        Kind::Info => format!("may be applied: {}", text(&event.error)),
    };
    let value = if event.kind == Kind::Invoke && event.f.is_read() {
        String::new()
    } else {
        event.value.to_string()
    };
    let millis = event.time.saturating_sub(start) as f64 / 1e6;
    [
        format!("{millis:.3}"),
        process,
        text(&event.node),
        text(&event.level),
        event.f.to_string(),
        value,
        end,
    ]
}
