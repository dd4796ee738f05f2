//! Scenario files: a user describes nodes and steps, such as "cut this link after ten seconds", and
//! sees what was served at each level.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use quorate_dynamo::Consistency;
use quorate_dynamo::op::Limits;
use serde::Deserialize;

use super::history::{Fate, Told};
use super::plan::action::Action;
use super::plan::request::{Ask, Deed, Key, Kind};
use super::plan::shape::{Knobs, Shape};
use super::plan::{Plan, Step};
use super::play::Outcome;
use crate::config::parse_duration;
use crate::node::Queues;
use crate::table::Table;

/// A scenario file. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    datacenters: BTreeMap<String, u8>,
    within: Option<String>,
    between: Option<String>,
    levels: Vec<String>,
    every: Option<String>,
    lasts: String,
    seed: Option<u64>,
    #[serde(default)]
    step: Vec<WrittenStep>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    at: String,
    /// The first is cut off from the others, in both directions.
    cut: Option<Vec<String>>,
    /// The others no longer hear the first.
    mute: Option<Vec<String>>,
    heal: Option<bool>,
    crash: Option<String>,
    restart: Option<String>,
    stop: Option<String>,
    go_on: Option<String>,
    wipe: Option<String>,
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file is not valid TOML, or has an unknown key.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    /// No datacenter and no node has this name.
    #[error(
        "there is no datacenter or node called {name:?}; nodes are named dc-1, dc-2, … after their datacenter"
    )]
    NoSuchPlace {
        /// The name in the file.
        name: String,
    },
    /// Not a duration.
    #[error("{text:?} is not a duration such as 500ms or 10s")]
    BadTime {
        /// The text in the file.
        text: String,
    },
    /// Not a consistency level.
    #[error(transparent)]
    BadLevel(#[from] quorate_dynamo::consistency::UnknownLevel),
    /// The step does nothing, or more than one thing. Each step starts one section of the table.
    #[error(
        "the step at {at} must have exactly one of cut, mute, heal, crash, restart, stop, go_on and wipe"
    )]
    BadStep {
        /// The time of the step.
        at: String,
    },
    /// The step comes when no more requests are made.
    #[error(
        "the step at {at} comes too late: the scenario lasts {lasts}, so move the step or raise lasts"
    )]
    StepTooLate {
        /// The time of the step.
        at: String,
        /// The length of the scenario.
        lasts: String,
    },
    /// The step does not cut anybody off from anybody.
    #[error(
        "the step at {at} must name who is cut off from whom, for example cut = [\"dc1\", \"dc2\"]"
    )]
    NobodyCut {
        /// The time of the step.
        at: String,
    },
    /// The scenario makes no requests.
    #[error("levels is empty: name at least one, for example levels = [\"QUORUM\"]")]
    NoLevels,
    /// The scenario ends before its first request.
    #[error("lasts = {lasts:?} is too short for one request: it must be longer than {least_ms}ms")]
    TooShort {
        /// The length in the file.
        lasts: String,
        /// The length must be greater than this.
        least_ms: u64,
    },
    /// There is no node to ask, or too many nodes.
    #[error("a scenario needs 1 to 9 nodes, and at least one in each datacenter")]
    BadShape,
}

/// A scenario that can be played.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What happens.
    pub plan: Plan,
    /// The datacenters, by number.
    datacenters: Vec<String>,
    /// The datacenter of each node, by number.
    homes: Vec<usize>,
    levels: Vec<Consistency>,
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// [`ScenarioError`].
    pub fn read(text: &str) -> Result<Self, ScenarioError> {
        let written: Written = toml::from_str(text)?;
        let nodes: usize = written
            .datacenters
            .values()
            .map(|&nodes| usize::from(nodes))
            .sum();
        if !(1..=9).contains(&nodes) || written.datacenters.values().any(|&nodes| nodes == 0) {
            return Err(ScenarioError::BadShape);
        }
        let datacenters: Vec<String> = written.datacenters.keys().cloned().collect();
        let places = Places::new(&written.datacenters);
        let levels = written
            .levels
            .iter()
            .map(|level| Consistency::from_str(level))
            .collect::<Result<Vec<_>, _>>()?;
        if levels.is_empty() {
            return Err(ScenarioError::NoLevels);
        }
        let until = millis(&written.lasts)?;
        // A scenario without requests breaks no promise, and would be reported as keeping them all.
        if until <= FIRST_MS + LAST_MS {
            return Err(ScenarioError::TooShort {
                lasts: written.lasts,
                least_ms: FIRST_MS + LAST_MS,
            });
        }
        let every = written.every.as_deref().map_or(Ok(500), millis)?.max(10);
        let mut steps = Vec::new();
        for step in &written.step {
            steps.extend(places.step(step)?);
            if millis(&step.at)? >= until {
                return Err(ScenarioError::StepTooLate {
                    at: step.at.clone(),
                    lasts: written.lasts,
                });
            }
        }
        steps.extend(load(nodes as u64, &levels, every, until));
        steps.sort_by_key(|step| step.at);
        let shape = Shape {
            datacenters: written.datacenters.values().copied().collect(),
            racks: 0,
            partitions: 4,
            cores: 1,
            within_us: written.within.as_deref().map_or(Ok(500), micros)?,
            between_ms: written.between.as_deref().map_or(Ok(15), millis)?,
            loss: 0.0,
            skew_ms: 20,
            heartbeat_ms: 150,
        };
        let plan = Plan {
            seed: written.seed.unwrap_or(1),
            shape,
            knobs: Knobs::default(),
            limits: Limits::default(),
            queues: Queues::default(),
            steps,
            until,
        };
        Ok(Self {
            plan,
            datacenters,
            homes: places.homes,
            levels,
        })
    }

    /// What was served in each datacenter at each level, in one section for every stretch between
    /// two events.
    pub fn table(&self, outcome: &Outcome) -> String {
        let mut bounds: Vec<u64> = outcome
            .events
            .iter()
            .map(|(at, _)| *at)
            .filter(|at| *at < self.plan.until)
            .collect();
        bounds.push(self.plan.until);
        bounds.sort_unstable();
        bounds.dedup();
        let mut text = String::new();
        let mut from = 0;
        for to in bounds {
            let happened: Vec<&str> = outcome
                .events
                .iter()
                .filter(|(at, _)| *at == from)
                .map(|(_, what)| &**what)
                .collect();
            text.push_str(
                &format_args!(
                    "{:.1} s to {:.1} s  {}\n",
                    from as f64 / 1e3,
                    to as f64 / 1e3,
                    happened.join(", ")
                )
                .to_string(),
            );
            text.push_str(&self.served(outcome, from, to).to_string());
            text.push('\n');
            from = to;
        }
        text
    }

    fn served(&self, outcome: &Outcome, from: u64, to: u64) -> Table {
        let mut table = Table::new(["LEVEL", "DATACENTER", "WRITES", "READS"]);
        for level in &self.levels {
            for (number, datacenter) in self.datacenters.iter().enumerate() {
                let share = |writes: bool| {
                    let asked = outcome.history.iter().filter(|told| {
                        let at = told.from.as_millis() as u64;
                        let home = self.homes.get(told.ask.node as usize - 1);
                        told.ask.level == *level
                            && home == Some(&number)
                            && (from..to).contains(&at)
                            && told.ask.deed.writes() == writes
                    });
                    let fates: Vec<Fate> = asked.map(Told::fate).collect();
                    let of = |fate: Fate| fates.iter().filter(|other| **other == fate).count();
                    let open = if of(Fate::Open) > 0 {
                        format!(", {} open", of(Fate::Open))
                    } else {
                        String::new()
                    };
                    format!("{} of {}{open}", of(Fate::Done), fates.len())
                };
                table.push([
                    level.to_string(),
                    datacenter.clone(),
                    share(true),
                    share(false),
                ]);
            }
        }
        table
    }
}

/// When the first requests are made, and how long before the end the last ones are.
const FIRST_MS: u64 = 100;
const LAST_MS: u64 = 50;

/// A write and a read at every level from every node, again and again.
fn load(nodes: u64, levels: &[Consistency], every: u64, until: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for at in (FIRST_MS..until.saturating_sub(LAST_MS)).step_by(every as usize) {
        for node in 1..=nodes {
            for (lane, &level) in levels.iter().enumerate() {
                let client = (node * 10) as u8 + lane as u8;
                for deed in [Deed::Set, Deed::Get] {
                    let id = steps.len() as u32 + 1;
                    let key = Key(Kind::Cell, lane as u8);
                    let ask = Ask {
                        client,
                        level,
                        timeout: 400,
                        ..Ask::new(id, node, key, deed)
                    };
                    steps.push(Step {
                        at,
                        action: Action::Ask(ask),
                    });
                }
            }
        }
    }
    steps
}

/// An action on one node.
type OfNode = fn(u64) -> Action;

/// Which nodes a name stands for.
struct Places {
    by_name: BTreeMap<String, Vec<u64>>,
    homes: Vec<usize>,
}

impl Places {
    /// Numbers the nodes round robin over the datacenters, in the order in which they start.
    fn new(datacenters: &BTreeMap<String, u8>) -> Self {
        let (mut by_name, mut homes) = (BTreeMap::<String, Vec<u64>>::new(), Vec::new());
        let most = datacenters.values().copied().max().unwrap_or(0);
        for turn in 1..=most {
            for (home, (name, _)) in datacenters
                .iter()
                .enumerate()
                .filter(|(_, (_, nodes))| turn <= **nodes)
            {
                homes.push(home);
                let number = homes.len() as u64;
                by_name.insert(format!("{name}-{turn}"), vec![number]);
                by_name.entry(name.clone()).or_default().push(number);
            }
        }
        Self { by_name, homes }
    }

    fn nodes(&self, name: &str) -> Result<Vec<u64>, ScenarioError> {
        self.by_name
            .get(name)
            .cloned()
            .ok_or_else(|| ScenarioError::NoSuchPlace {
                name: name.to_owned(),
            })
    }

    fn step(&self, written: &WrittenStep) -> Result<Vec<Step>, ScenarioError> {
        let mut actions = Vec::new();
        let parted = |names: &[String]| match names {
            [first, others @ ..] if !others.is_empty() => {
                Ok((self.nodes(first)?, self.all(others)?))
            }
            _ => Err(ScenarioError::NobodyCut {
                at: written.at.clone(),
            }),
        };
        if let Some(names) = &written.cut {
            let (inside, outside) = parted(names)?;
            actions.push(Action::Cut {
                from: inside.clone(),
                to: outside.clone(),
            });
            actions.push(Action::Cut {
                from: outside,
                to: inside,
            });
        }
        if let Some(names) = &written.mute {
            let (from, to) = parted(names)?;
            actions.push(Action::Cut { from, to });
        }
        if written.heal == Some(true) {
            actions.push(Action::Heal);
        }
        let each: [(&Option<String>, OfNode); 5] = [
            (&written.crash, Action::Crash),
            (&written.restart, Action::Restart),
            (&written.stop, Action::Stop),
            (&written.go_on, Action::GoOn),
            (&written.wipe, Action::Wipe),
        ];
        for (name, action) in each {
            if let Some(name) = name {
                actions.extend(self.nodes(name)?.into_iter().map(action));
            }
        }
        let lines = [
            written.cut.is_some(),
            written.mute.is_some(),
            written.heal.is_some(),
        ];
        let said = lines
            .into_iter()
            .chain(each.map(|(name, _)| name.is_some()))
            .filter(|said| *said)
            .count();
        if said != 1 || actions.is_empty() {
            return Err(ScenarioError::BadStep {
                at: written.at.clone(),
            });
        }
        let at = millis(&written.at)?;
        Ok(actions
            .into_iter()
            .map(|action| Step { at, action })
            .collect())
    }

    fn all(&self, names: &[String]) -> Result<Vec<u64>, ScenarioError> {
        Ok(names
            .iter()
            .map(|name| self.nodes(name))
            .collect::<Result<Vec<_>, _>>()?
            .concat())
    }
}

fn micros(text: &str) -> Result<u64, ScenarioError> {
    parse_duration(text)
        .map(|time| time.as_micros() as u64)
        .ok_or_else(|| ScenarioError::BadTime {
            text: text.to_owned(),
        })
}

fn millis(text: &str) -> Result<u64, ScenarioError> {
    micros(text).map(|micros| micros / 1000)
}
