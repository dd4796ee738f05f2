//! Histories of what clients saw, line by line, in the format of `docs/history-format.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The process name of fault lines, as in Jepsen's histories.
const NEMESIS: &str = "nemesis";

/// Who a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Process {
    /// A client. It has at most one operation under way.
    Client(u64),
    /// Whatever causes the faults; written `"nemesis"`.
    Nemesis,
}

impl TryFrom<Value> for Process {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match (value.as_u64(), value.as_str()) {
            (Some(number), _) => Ok(Self::Client(number)),
            (None, Some(NEMESIS)) => Ok(Self::Nemesis),
            _ => Err("a process is a number, or \"nemesis\" for a fault"),
        }
    }
}

impl From<Process> for Value {
    fn from(process: Process) -> Self {
        match process {
            Process::Client(number) => number.into(),
            Process::Nemesis => NEMESIS.into(),
        }
    }
}

/// What a line says about its operation. Unlike the `Kind` of `dynamo`, it is not the type of a
/// value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It began.
    Invoke,
    /// It was done: a write was acknowledged, a read has its value.
    Ok,
    /// It was not applied and never will be.
    Fail,
    /// It may be applied, now or later. Fault lines have this kind too.
    Info,
}

/// The operation of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Box<str>", into = "Box<str>")]
pub enum Action {
    /// Reads the value, number, elements or fields of a key.
    Read,
    /// A read at the end, when the cluster says that it has converged, through the node in `node`.
    FinalRead,
    /// Sets a register or a field.
    Write,
    /// Removes a register, a field, an element, or everything that a key holds.
    Remove,
    /// Adds an element to a set.
    Add,
    /// Adds to a counter.
    Increment,
    /// Sets a register from the first of two values to the second, or fails.
    Cas,
    /// Takes a lock, permits of a semaphore, or the leadership of an election.
    Acquire,
    /// Holds it for longer.
    Renew,
    /// Gives it back.
    Release,
    /// Anything else: the name of a fault, such as `kill`.
    Other(Box<str>),
}

impl Action {
    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read | Self::FinalRead)
    }

    /// Whether it is about who holds something.
    pub fn is_about_holding(&self) -> bool {
        matches!(self, Self::Acquire | Self::Renew | Self::Release)
    }

    fn name(&self) -> &str {
        match self {
            Self::Read => "read",
            Self::FinalRead => "final-read",
            Self::Write => "write",
            Self::Remove => "remove",
            Self::Add => "add",
            Self::Increment => "increment",
            Self::Cas => "cas",
            Self::Acquire => "acquire",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Other(name) => name,
        }
    }
}

impl From<Box<str>> for Action {
    fn from(name: Box<str>) -> Self {
        match &*name {
            "read" => Self::Read,
            "final-read" => Self::FinalRead,
            "write" => Self::Write,
            "remove" => Self::Remove,
            "add" => Self::Add,
            "increment" => Self::Increment,
            "cas" => Self::Cas,
            "acquire" => Self::Acquire,
            "renew" => Self::Renew,
            "release" => Self::Release,
            _ => Self::Other(name),
        }
    }
}

impl From<Action> for Box<str> {
    fn from(action: Action) -> Self {
        action.name().into()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line. The order of the lines is the order of the events; `time` is for people, and for
/// [`Options::skew`](super::Options::skew). Unlike the `Event` of `crdt`, it is what a client saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Who the line is about.
    pub process: Process,
    /// Whether the operation begins, or how it ended.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The operation.
    pub f: Action,
    /// The key; faults have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
    /// The field of a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Box<str>>,
    /// The value written, or, in the last line of a read, the value read. Null stands for nothing.
    #[serde(default)]
    pub value: Value,
    /// Nanoseconds since a moment that is the same for all lines.
    pub time: u64,
    /// Increases from line to line.
    pub index: u64,
    /// The level of the request. Without one, it counts as `QUORUM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Box<str>>,
    /// The node that was asked, or that the fault struck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<str>>,
    /// The session whose token the client carries. A session's promises hold at every level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// What the client was told instead of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
}

/// An operation that is about to begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The client.
    pub process: u64,
    /// The operation.
    pub f: Action,
    /// The key.
    pub key: Box<str>,
    /// The field of a hash.
    pub field: Option<Box<str>>,
    /// The value to write; null for a read.
    pub value: Value,
    /// The level of the request.
    pub level: Option<Box<str>>,
    /// The node that is asked.
    pub node: Option<Box<str>>,
}

impl Call {
    /// A call of `process` for `key`, without a level, field or node.
    pub fn new(process: u64, f: Action, key: impl Into<Box<str>>, value: impl Into<Value>) -> Self {
        Self {
            process,
            f,
            key: key.into(),
            field: None,
            value: value.into(),
            level: None,
            node: None,
        }
    }
}

/// Records events in the order in which it learns of them.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<Event>,
    /// Where each process's open operation began.
    open: BTreeMap<u64, usize>,
}

impl History {
    /// Records that an operation begins. If its process had one open, that one's outcome stays
    /// unknown.
    pub fn invoke(&mut self, call: Call, time: u64) {
        self.info(call.process, "abandoned", time);
        self.open.insert(call.process, self.events.len());
        self.push(Event {
            process: Process::Client(call.process),
            kind: Kind::Invoke,
            f: call.f,
            key: Some(call.key),
            field: call.field,
            value: call.value,
            time,
            index: 0,
            level: call.level,
            node: call.node,
            session: None,
            error: None,
        });
    }

    /// Records that the open operation of `process` was done. `answer` is the value of a read, the
    /// token of a grant, or whether what was renewed or given back was held; it is ignored for
    /// anything else.
    pub fn ok(&mut self, process: u64, answer: Value, time: u64) {
        self.complete(process, Kind::Ok, time, |event| {
            if event.f.is_read() || event.f.is_about_holding() {
                event.value = answer;
            }
        });
    }

    /// Records that the open operation of `process` was not applied.
    pub fn fail(&mut self, process: u64, error: &str, time: u64) {
        self.complete(process, Kind::Fail, time, |event| {
            event.error = Some(error.into());
        });
    }

    /// Records that the open operation of `process` may be applied.
    pub fn info(&mut self, process: u64, error: &str, time: u64) {
        self.complete(process, Kind::Info, time, |event| {
            event.error = Some(error.into());
        });
    }

    /// Records a fault, or the end of one.
    pub fn fault(&mut self, name: &str, node: Option<&str>, value: Value, time: u64) {
        self.push(Event {
            process: Process::Nemesis,
            kind: Kind::Info,
            f: Action::from(Box::from(name)),
            key: None,
            field: None,
            value,
            time,
            index: 0,
            level: None,
            node: node.map(Box::from),
            session: None,
            error: None,
        });
    }

    /// All events so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Writes one line per event.
    ///
    /// # Errors
    /// Any error of `to`. Some lines may have been written.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        for event in &self.events {
            serde_json::to_writer(&mut *to, event)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }

    fn complete(&mut self, process: u64, kind: Kind, time: u64, outcome: impl FnOnce(&mut Event)) {
        if let Some(begun) = self.open.remove(&process) {
            let mut event = Event {
                kind,
                time,
                ..self.events[begun].clone()
            };
            outcome(&mut event);
            self.push(event);
        }
    }

    fn push(&mut self, event: Event) {
        let index = self.events.len() as u64;
        self.events.push(Event { index, ..event });
    }
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file ended early or could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line is not an event.
    #[error("line {line}: {cause}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

/// Reads events from a file with one event per line. Empty lines are skipped.
///
/// # Errors
/// [`ReadError`] names the first line that is not an event.
pub fn read(from: impl BufRead) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::new();
    for (number, line) in from.lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            events.push(
                serde_json::from_str(&line).map_err(|cause| ReadError::Line {
                    line: number + 1,
                    cause,
                })?,
            );
        }
    }
    Ok(events)
}
