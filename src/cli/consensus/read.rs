//! `quorate consensus read`: what the coordination group knows, as fresh as it is asked for.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::fail::Failure;
use crate::cli::globals::{Globals, time};
use crate::cli::http::{self, Client};
use crate::cli::output::{self, Output, value_field};

/// How fresh the answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Everything that was decided before: a majority of the voters is asked.
    Strong,
    /// The same from the leader alone, while a majority has answered it lately.
    Lease,
    /// What the node has, which may be old.
    Stale,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Lease => "lease",
            Self::Stale => "stale",
        }
    }
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("subject").required(true))]
pub(super) struct Read {
    /// A value of metadata.
    #[arg(long, value_name = "KEY", group = "subject")]
    key: Option<String>,
    /// An election: what the leader publishes.
    #[arg(long, value_name = "NAME", group = "subject")]
    election: Option<String>,
    /// The locks of a holder.
    #[arg(long, value_name = "HOLDER", group = "subject")]
    locks_of: Option<String>,
    /// How fresh the answer must be.
    #[arg(long, value_enum, default_value_t = Level::Strong)]
    level: Level,
    /// How old an answer at level stale may be, such as 5s [default: however old].
    #[arg(long, value_name = "TIME", value_parser = time, requires = "level")]
    max_staleness: Option<Duration>,
}

impl Read {
    pub(super) fn run(&self, globals: &Globals) -> Result<(), Failure> {
        let level = self.level.name();
        let at = match self.max_staleness {
            None => format!("level={level}"),
            Some(within) => format!("level={level}&max_staleness={}us", within.as_micros()),
        };
        if let Some(key) = &self.key {
            return value(globals, key, &at);
        }
        let path = match (&self.election, &self.locks_of) {
            (Some(name), _) => format!("/v1/elections/{}?{at}", http::segment(name)),
            (None, holder) => {
                let holder = holder.as_deref().unwrap_or_default();
                format!("/v1/locks?held_by={}&{at}", http::segment(holder))
            }
        };
        let found: Value = http::get(globals, &path)?;
        match (globals.output, &found["locks"]) {
            (Output::Json, _) => output::line(found)?,
            (Output::Table, Value::Array(locks)) => {
                for lock in locks {
                    let key = lock["key"].as_str().unwrap_or_default();
                    output::line(format_args!("{key} under token {}", lock["token"]))?;
                }
            }
            (Output::Table, _) => output::line(found["value"].as_str().unwrap_or_default())?,
        }
        Ok(())
    }
}

fn value(globals: &Globals, key: &str, at: &str) -> Result<(), Failure> {
    let path = format!("/v1/metadata/{}?{at}", http::segment(key));
    let client = Client::open(globals, globals.patience())?;
    let (value, revision) = client.bytes_and(&path, "quorate-revision")?;
    match globals.output {
        Output::Table => output::bytes(&value)?,
        Output::Json => {
            let (field, value) = value_field(&value);
            let mut document = json!({ "key": key, "revision": revision.parse::<u64>().ok() });
            document[field] = value;
            output::line(document)?;
        }
    }
    Ok(())
}
