//! `quorate sim`: plays random histories of whole clusters in virtual time and checks every
//! promise.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::fail::Failure;
use super::globals::Globals;
use super::output::{self, Output};
use crate::sim::campaign::{Campaign, Totals};
use crate::sim::scenario::Scenario;
use crate::sim::{PANIC, Plan, Violation, planted, play, report};
use crate::table::Table;

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate sim                                 1000 histories, each with its own cluster, load and faults
  quorate sim --minutes 10 --from 5000        as many as there is time for
  quorate sim --seed 4711 --trace             one history, line by line
  quorate sim --scenario examples/split.toml  your own cluster, with faults at your times
  quorate sim --planted                       break every rule on purpose, and see that a check notices

The exit code is 0 only if no promise was broken. A history that breaks one is shrunk and shown; the
same seed reproduces it.";

/// How often a long run reports its progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Which histories to play, and how much of them to show.
#[derive(Debug, Args)]
pub(super) struct Sim {
    /// Number of histories [default: 1000, or as many as --minutes allows].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Start no new history after this many minutes.
    #[arg(long, value_name = "M", value_parser = minutes)]
    minutes: Option<f64>,
    /// Play the scenario in this file, and show what was served at which level.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "from", "minutes", "seed", "planted"])]
    scenario: Option<PathBuf>,
    /// Play only this seed.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from", "minutes"])]
    seed: Option<u64>,
    /// Show everything that happens; needs --seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Play every seed twice and compare the runs.
    #[arg(long)]
    verify: bool,
    /// Number of histories played at the same time [default: one per processor].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    bugs: Bugs,
    /// Seconds to spend on shrinking a failure.
    #[arg(long, value_name = "S", default_value_t = 30)]
    shrink: u64,
    /// Known findings that do not fail the run: `SEED:CHECK`, or with --planted the name of a bug
    /// that is missed.
    #[arg(long, value_name = "FINDING", value_delimiter = ',')]
    known: Vec<String>,
    /// Stop after this many failures.
    #[arg(long, value_name = "N", default_value_t = 10)]
    failures: usize,
}

/// Which bugs to plant.
#[derive(Debug, Args)]
struct Bugs {
    /// Plant this bug, or all bugs one after another, and see which check finds it.
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["seeds", "from", "seed"]
    )]
    planted: Option<String>,
    /// List all bugs that can be planted.
    #[arg(long)]
    list_planted: bool,
    /// Seconds to spend on hunting one planted bug.
    #[arg(long, value_name = "S", default_value_t = 60)]
    hunt: u64,
    /// Hunt only with this many random histories of whole clusters, without scripts and drills,
    /// however long it takes.
    #[arg(long, value_name = "N")]
    by_chance: Option<u64>,
}

/// Parses `--minutes`. Zero is refused: it would play nothing and find nothing wrong.
fn minutes(text: &str) -> Result<f64, &'static str> {
    text.parse()
        .ok()
        .filter(|minutes: &f64| minutes.is_finite() && *minutes > 0.0)
        .ok_or("use a number of minutes greater than 0")
}

impl Sim {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        if self.bugs.list_planted {
            return list_planted();
        }
        if let Some(name) = &self.bugs.planted {
            return self.hunt(name, globals);
        }
        if let Some(file) = &self.scenario {
            return scenario(file, globals);
        }
        if let (Some(seed), true) = (self.seed, self.trace) {
            return trace(seed);
        }
        let campaign = Campaign {
            from: self.seed.unwrap_or(self.from),
            seeds: if self.seed.is_some() {
                Some(1)
            } else {
                self.seeds
                    .or_else(|| self.minutes.is_none().then_some(1000))
            },
            within: self
                .minutes
                .map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0)),
            threads: self.threads(),
            verify: self.verify,
            shrink_for: Duration::from_secs(self.shrink),
            failures_max: self.failures.max(1),
        };
        let said = Mutex::new((Instant::now(), 0));
        let totals = campaign.run(|totals| say(totals, &said));
        match globals.output {
            Output::Json => output::line(report::json(&totals))?,
            Output::Table => output::line(table(&totals))?,
        }
        if let Some(asked) = self.seeds
            && totals.histories < asked
            && totals.failures.len() < campaign.failures_max
        {
            return Err(Failure::TooFewHistories {
                played: totals.histories,
                asked,
            });
        }
        let known = |seed: u64, violation: &Violation| {
            let finding = format!("{seed}:{}", violation.check);
            violation.check != PANIC && self.known.contains(&finding)
        };
        let news = totals
            .violations()
            .filter(|(seed, violation)| !known(*seed, violation))
            .count();
        if news == 0 {
            Ok(())
        } else {
            Err(Failure::PromisesBroken(news))
        }
    }
}

impl Sim {
    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        })
    }

    /// Plants the bug of this name, or every one, and hunts for it.
    fn hunt(&self, name: &str, globals: &Globals) -> Result<(), Failure> {
        if !planted::POSSIBLE {
            return Err(Failure::Usage(
                "this build cannot plant bugs; use: cargo run --release --features planted-bugs -- sim --planted",
            ));
        }
        let bugs: Vec<_> = crate::planted::everywhere()
            .filter(|bug| name.is_empty() || bug.name == name)
            .collect();
        if bugs.is_empty() {
            return Err(Failure::Usage(
                "there is no such bug; quorate sim --list-planted lists all of them",
            ));
        }
        let Bugs {
            hunt, by_chance, ..
        } = self.bugs;
        let hunting = planted::Hunting {
            within: Duration::from_secs(hunt),
            by_chance,
        };
        let hunts = planted::hunt(&bugs, hunting, self.threads(), |hunt| {
            let found = hunt.found_by.unwrap_or("NOT FOUND");
            output::note(format_args!(
                "{}: {found}, {} histories, {:.1} s",
                hunt.bug.name,
                hunt.histories,
                hunt.took.as_secs_f64()
            ));
        });
        let missed: Vec<&str> = hunts
            .iter()
            .filter(|hunt| hunt.found_by.is_none())
            .map(|hunt| hunt.bug.name)
            .collect();
        match globals.output {
            Output::Json => output::line(
                json!({ "planted": hunts.len(), "found": hunts.len() - missed.len(), "missed": missed }),
            )?,
            Output::Table => output::line(report::hunts(&hunts))?,
        }
        let news = missed
            .iter()
            .filter(|missed| !self.known.iter().any(|known| known == *missed))
            .count();
        if news == 0 {
            Ok(())
        } else {
            Err(Failure::BugsMissed(news))
        }
    }
}

/// Plays a scenario file.
fn scenario(file: &Path, globals: &Globals) -> Result<(), Failure> {
    let scenario = Scenario::read(&std::fs::read_to_string(file)?)?;
    let begun = Instant::now();
    let outcome = play(&scenario.plan);
    let mut totals = Totals::default();
    totals.add(&scenario.plan, &outcome);
    totals.took = begun.elapsed();
    let broken: Vec<_> = outcome
        .violations
        .iter()
        .map(|violation| format!("{}: {}", violation.check, violation.what))
        .collect();
    if globals.output == Output::Json {
        let mut document = report::json(&totals);
        document["violations"] = broken.clone().into();
        output::line(document)?;
    } else {
        output::line(scenario.table(&outcome))?;
        output::line(if broken.is_empty() {
            "nothing was lost, and every promise was kept".to_owned()
        } else {
            broken.join("\n")
        })?;
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Failure::PromisesBroken(1))
    }
}

fn list_planted() -> Result<(), Failure> {
    let mut table = Table::new(["BUG", "BREAKS"]);
    for bug in crate::planted::everywhere() {
        table.push([bug.name.to_owned(), bug.breaks.to_owned()]);
    }
    Ok(output::line(table)?)
}

fn trace(seed: u64) -> Result<(), Failure> {
    let plan = Plan::from_seed(seed);
    let outcome = play(&plan);
    output::line(report::timeline(&plan, &outcome))?;
    output::line(format_args!("trace {:016x}", outcome.trace))?;
    if outcome.violations.is_empty() {
        Ok(())
    } else {
        Err(Failure::PromisesBroken(1))
    }
}

/// Reports progress now and then, and shows every failure as soon as it is found.
fn say(totals: &Totals, said: &Mutex<(Instant, usize)>) {
    let mut said = said
        .lock()
        .expect("invariant: no code panics while it speaks");
    for failure in totals.failures.iter().skip(said.1) {
        output::note(format_args!("{}", report::failure(failure, commit())));
    }
    said.1 = totals.failures.len();
    if said.0.elapsed() >= PROGRESS_EVERY {
        said.0 = Instant::now();
        let (histories, failures) = (totals.histories, totals.failures.len());
        output::note(format_args!(
            "{histories} histories in {:.0} s, {failures} failures",
            totals.took.as_secs_f64()
        ));
    }
}

/// The commit that the program was built from, if the build set it.
fn commit() -> &'static str {
    option_env!("QUORATE_COMMIT").unwrap_or(env!("CARGO_PKG_VERSION"))
}

fn table(totals: &Totals) -> String {
    let figures = format!(
        "histories     {}\noperations    {}\nacknowledged  {}\nvirtual time  {} s\ntook          {:.1} s\ntrace         {:016x}\nviolations    {}\n",
        totals.histories,
        totals.operations,
        totals.acknowledged,
        totals.virtual_time.as_secs(),
        totals.took.as_secs_f64(),
        totals.trace,
        totals.failures.len(),
    );
    let faults: Vec<String> = totals
        .faults
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    let failures: Vec<String> = totals
        .violations()
        .map(|(seed, violation)| format!("\n{seed}: {}: {}", violation.check, violation.what))
        .collect();
    format!(
        "{figures}faults        {}{}",
        faults.join(", "),
        failures.concat()
    )
}
