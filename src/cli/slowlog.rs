//! `quorate slowlog`: lists the commands that took a node longest, as `SLOWLOG GET` gives them.

use clap::Args;
use serde::Serialize;

use super::cluster::print_json;
use super::fail::Failure;
use super::globals::Globals;
use super::keys::{In, Session};
use super::output::{self, Output};
use crate::doors::Printable;
use crate::faces::resp::client::Value;
use crate::table::Table;

#[derive(Debug, Args)]
pub(super) struct SlowLog {
    /// How many, the latest first.
    #[arg(default_value_t = 10)]
    count: u32,
}

/// One slow command.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Slow {
    id: i64,
    /// When it was executed, in seconds since 1970.
    at: i64,
    /// How long it took.
    micros: i64,
    /// Its words, the long ones shortened by the node.
    command: Vec<Printable>,
    /// Who sent it.
    client: Printable,
}

impl Slow {
    /// An entry of Redis' form: id, time, duration, words, address, name.
    fn of(entry: &Value) -> Option<Self> {
        let Value::Array(fields) = entry else {
            return None;
        };
        let [id, at, micros, Value::Array(words), client, ..] = fields.as_slice() else {
            return None;
        };
        let words = words.iter().map(|word| word.bytes().map(Printable::of));
        Some(Self {
            id: id.integer()?,
            at: at.integer()?,
            micros: micros.integer()?,
            command: words.collect::<Option<_>>()?,
            client: Printable::of(client.bytes()?),
        })
    }
}

impl SlowLog {
    pub(super) async fn run(&self, globals: &Globals) -> Result<(), Failure> {
        let mut session = Session::open(globals, &In::default()).await?;
        let count = self.count.to_string();
        let answer = session
            .read(&[b"SLOWLOG", b"GET", count.as_bytes()])
            .await?;
        let entries = match &answer {
            Value::Array(entries) => entries.iter().map(Slow::of).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let entries = entries.ok_or_else(|| session.strange())?;
        if globals.output == Output::Json {
            return Ok(print_json(&entries)?);
        }
        let mut table = Table::new([
            "ID",
            "AT (S SINCE 1970)",
            "MICROSECONDS",
            "CLIENT",
            "COMMAND",
        ]);
        for slow in entries {
            let words: Vec<String> = slow.command.iter().map(Printable::to_string).collect();
            table.push([
                slow.id.to_string(),
                slow.at.to_string(),
                slow.micros.to_string(),
                slow.client.to_string(),
                words.join(" "),
            ]);
        }
        Ok(output::line(table.to_string().trim_end())?)
    }
}
