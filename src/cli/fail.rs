//! The reasons why a command fails, and the exit code of each.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::store::StoreError;
use serde_json::{Value, json};

use super::backup::ArchiveError;
use crate::check::{ReadError, Unusable};
use crate::config::ConfigError;
use crate::demo::DemoError;
use crate::doors::backup::PageError;
use crate::faces::resp::client::{ClientError, Refusal};
use crate::node::{StartError, SurvivorError};
use crate::sim::scenario::ScenarioError;
use crate::tls::TlsError;

/// Exit codes; 0 and 2 are clap's as well.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_QUORATE: u8 = 3;
const UNKNOWN_OUTCOME: u8 = 4;
const LEASE_LOST: u8 = 5;

/// Why a command did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The node refused, over RESP.
    #[error("{0}")]
    Refused(Refusal),
    /// The node refused, over HTTP.
    #[error("{detail}")]
    Problem {
        code: Box<str>,
        detail: Box<str>,
        may_be_applied: bool,
    },
    /// No connection, so nothing was sent.
    #[error("cannot reach {address}: {cause}")]
    Unreachable {
        address: Box<str>,
        cause: ClientError,
    },
    /// A read got no answer.
    #[error("{0}")]
    Unanswered(ClientError),
    /// A write was sent and got no answer.
    #[error("{0}; the write may have been applied")]
    OutcomeUnknown(ClientError),
    /// A command that changes one key after another stopped at this one.
    #[error(
        "{cause}; this was key {at} of {keys}: the keys before it were applied, the keys after it were not tried"
    )]
    OfSeveral {
        cause: Box<Self>,
        at: usize,
        keys: usize,
    },
    /// The HTTP call got no answer.
    #[error("{address}: {}", in_words(cause))]
    Call {
        address: Box<str>,
        cause: ureq::Error,
        sent_write: bool,
    },
    /// The answer is not one that a node gives.
    #[error("{address} does not answer like a Quorate node; check the address")]
    Strange { address: Box<str> },
    /// A file that the command needs.
    #[error("{}: {cause}", file.display())]
    Unreadable { file: PathBuf, cause: io::Error },
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Other machines can reach a face, and nobody there would have to say who it is.
    #[error(
        "{key} = {address} can be reached from other machines, and the cluster has no users: set a password \
         (QUORATE_PASSWORD), make a user through a node that listens on loopback, or say --insecure"
    )]
    OpenToStrangers {
        key: &'static str,
        address: SocketAddr,
    },
    #[error("no such key")]
    NoSuchKey,
    /// The lock is somebody else's, and the command was not run.
    #[error("{detail}; the command was not run")]
    NotGranted { detail: Box<str> },
    /// The lock may be somebody else's, so the command was ended, or was not run.
    #[error("the lease was lost; the command does not run any more")]
    LeaseLost,
    /// The lock was given back.
    #[error("cannot run {command}: {cause}")]
    CannotRun { command: Box<str>, cause: io::Error },
    /// The arguments are not a command.
    #[error("{0}")]
    Arguments(Box<str>),
    /// An environment variable with a value that its flag would not take.
    #[error("{name}: {why}")]
    Variable { name: &'static str, why: Box<str> },
    /// The cluster was not as it was waited for.
    #[error("not {goal} within {within:?}: {why}")]
    NotReached {
        goal: &'static str,
        within: Duration,
        why: Box<str>,
    },
    /// Flags that contradict each other or cannot be met.
    #[error("{0}")]
    Usage(&'static str),
    /// A removal or a draining was begun and is not over.
    #[error(
        "{name} {left}; it goes on, and `quorate node list` of another node shows how far it is"
    )]
    StillMoving {
        name: Box<str>,
        /// What it has not given up.
        left: Box<str>,
    },
    /// Too few nodes for what was asked about.
    #[error("{0}")]
    TooFew(Box<str>),
    /// The diagnosis of a node found something.
    #[error("{findings} findings about {node}")]
    Amiss { node: Box<str>, findings: usize },
    /// A backup or restore stopped. What is done stays done.
    #[error("{cause}; {verb} {done} of {of} partitions: run the same command again to go on")]
    Halfway {
        verb: &'static str,
        done: usize,
        of: usize,
        cause: Box<Self>,
    },
    /// The directory cannot be used as a backup.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The node answered something else than a page of a backup.
    #[error("the node's answer is no page of a backup: {0}")]
    NotAPage(PageError),
    /// The bench has nothing to report.
    #[error("no request succeeded, so nothing was measured")]
    NothingMeasured,
    /// The configuration is invalid; nothing was started.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot listen at {address}: {cause}")]
    Listen {
        address: SocketAddr,
        cause: io::Error,
    },
    #[error("the node did not start")]
    Start(#[from] StartError),
    /// Nothing was recovered, and nothing was changed.
    #[error(transparent)]
    Recover(#[from] SurvivorError),
    /// The node had to stop because its disk failed.
    #[error("the disk failed")]
    Disk(#[source] Arc<StoreError>),
    /// The history shows a broken promise.
    #[error("the history breaks a promise")]
    NotAsPromised,
    /// The history shows too little, or contradicts itself.
    #[error("the history cannot be judged: {0}")]
    Unusable(Unusable),
    #[error("{}: {cause}", file.display())]
    History { file: PathBuf, cause: ReadError },
    /// The demo could not show what it should.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The simulator found violations.
    #[error("{0} promises were broken")]
    PromisesBroken(usize),
    /// Time ran out before all histories were played.
    #[error(
        "only {played} of {asked} histories were played in time; allow more --minutes or ask for fewer --seeds"
    )]
    TooFewHistories { played: u64, asked: u64 },
    /// The scenario cannot be played.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The simulator missed planted bugs.
    #[error("{0} planted bugs were not found")]
    BugsMissed(usize),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn in_words(cause: &ureq::Error) -> String {
    match cause {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        cause => cause.to_string(),
    }
}

impl Failure {
    /// The failure and all its causes in one line.
    pub(super) fn explain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(found) = cause {
            let words = found.to_string();
            // Some causes repeat the message of the error that they caused.
            if !text.ends_with(&words) {
                text = format!("{text}: {words}");
            }
            cause = found.source();
        }
        text
    }

    /// The failure as a document for programs.
    pub(super) fn document(&self) -> Value {
        let may_be_applied = match self {
            Self::Problem { may_be_applied, .. } => *may_be_applied,
            Self::Refused(refusal) => refusal.may_have_been_applied(),
            Self::OutcomeUnknown(_) => true,
            Self::Call { sent_write, .. } => *sent_write && self.code() == UNKNOWN_OUTCOME,
            Self::Halfway { verb, .. } => *verb == "restored",
            Self::OfSeveral { cause, at, .. } => {
                *at > 1 || cause.document()["error"]["may_be_applied"] == true
            }
            _ => false,
        };
        json!({ "error": {
            "code": self.word(),
            "detail": self.explain(),
            "exit_code": self.code(),
            "may_be_applied": may_be_applied,
        } })
    }

    /// A stable word for programs: the node's own, where it gave one.
    fn word(&self) -> String {
        match self {
            Self::Problem { code, .. } => code.to_string(),
            Self::Refused(refusal) => refusal.code().to_ascii_lowercase(),
            Self::OfSeveral { cause, .. } | Self::Halfway { cause, .. } => cause.word(),
            Self::Unreachable { .. } => "unreachable".to_owned(),
            Self::Unanswered(_) | Self::OutcomeUnknown(_) | Self::Call { .. } => {
                "unanswered".to_owned()
            }
            Self::NoSuchKey => "not_found".to_owned(),
            Self::TooFew(_) => "not_quorate".to_owned(),
            Self::Amiss { .. } => "amiss".to_owned(),
            Self::NotReached { .. } | Self::StillMoving { .. } => "not_reached".to_owned(),
            Self::NotGranted { .. } => "taken".to_owned(),
            Self::LeaseLost => "lease_lost".to_owned(),
            failure if failure.code() == USAGE => "usage".to_owned(),
            _ => "failed".to_owned(),
        }
    }

    /// Something that the node's own document does not name.
    pub(super) fn unknown(code: &'static str, detail: String) -> Self {
        Self::Problem {
            code: code.into(),
            detail: detail.into(),
            may_be_applied: false,
        }
    }

    /// Whether the same request may succeed a little later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Call { .. } => true,
            Self::Problem { code, .. } => matches!(
                &**code,
                "not_quorate"
                    | "too_stale"
                    | "refused"
                    | "moving"
                    | "overloaded"
                    | "clock"
                    | "not_ready"
                    | "stopping"
                    | "too_many_clients"
                    | "busy"
                    | "timeout"
                    | "disk_slow"
            ),
            _ => false,
        }
    }

    pub(super) fn variable(name: &'static str, why: impl Into<Box<str>>) -> Self {
        let why = why.into();
        Self::Variable { name, why }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::OfSeveral { cause, .. } | Self::Halfway { cause, .. } => cause.code(),
            Self::TooFew(_) => NOT_QUORATE,
            Self::Refused(refusal) if refusal.may_have_been_applied() => UNKNOWN_OUTCOME,
            Self::Refused(refusal) => match refusal.code() {
                "NOTQUORATE" => NOT_QUORATE,
                "TIMEOUT" => UNKNOWN_OUTCOME,
                _ => FAILED,
            },
            Self::Problem {
                may_be_applied: true,
                ..
            }
            | Self::OutcomeUnknown(_)
            | Self::NotReached { .. }
            | Self::NotGranted { .. }
            | Self::StillMoving { .. } => UNKNOWN_OUTCOME,
            Self::LeaseLost => LEASE_LOST,
            Self::Problem { code, .. } => match &**code {
                "not_quorate" | "too_stale" => NOT_QUORATE,
                "timeout" => UNKNOWN_OUTCOME,
                _ => FAILED,
            },
            // Without a connection, nothing was sent.
            Self::Call {
                cause: ureq::Error::ConnectionFailed | ureq::Error::HostNotFound,
                ..
            } => FAILED,
            Self::Call {
                cause: ureq::Error::Io(cause),
                ..
            } if cause.kind() == io::ErrorKind::ConnectionRefused => FAILED,
            Self::Call {
                sent_write: true, ..
            } => UNKNOWN_OUTCOME,
            // A history that cannot be judged neither keeps nor breaks a promise.
            Self::Unusable(_)
            | Self::History { .. }
            | Self::Usage(_)
            | Self::Tls(_)
            | Self::OpenToStrangers { .. }
            | Self::Arguments(_)
            | Self::Variable { .. }
            | Self::Scenario(_)
            | Self::Config(_)
            | Self::Demo(DemoError::Plan(_)) => USAGE,
            _ => FAILED,
        }
    }
}
