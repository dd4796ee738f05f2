//! Why a command ends without success, and the exit code that says so.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use quorate_control::store::StoreError;

use crate::check::{ReadError, Unusable};
use crate::config::ConfigError;
use crate::demo::DemoError;
use crate::faces::resp::client::{ClientError, Refusal};
use crate::node::StartError;
use crate::sim::scenario::ScenarioError;

/// Exit codes; 0 and 2 are clap's as well.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_QUORATE: u8 = 3;
const UNKNOWN_OUTCOME: u8 = 4;

/// A command that did not do what it was asked.
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
    /// Nothing had been asked yet.
    #[error("cannot reach {address}: {cause}")]
    Unreachable {
        address: Box<str>,
        cause: ClientError,
    },
    /// A read brought no answer.
    #[error("{0}")]
    Unanswered(ClientError),
    /// A write was sent and brought no answer.
    #[error("{0}; whether it was applied is unknown")]
    OutcomeUnknown(ClientError),
    /// A command that changes key after key came no further.
    #[error(
        "{cause}; that was key {at} of {keys}: those before it were applied, those after it were not tried"
    )]
    OfSeveral {
        cause: Box<Self>,
        at: usize,
        keys: usize,
    },
    /// The HTTP call brought no answer.
    #[error("{address}: {}", in_words(cause))]
    Call {
        address: Box<str>,
        cause: ureq::Error,
        sent_write: bool,
    },
    /// What came is not what a node answers.
    #[error("{address} gives no answer that a node would give")]
    Strange { address: Box<str> },
    #[error("no such key")]
    NoSuchKey,
    /// Flags that contradict each other or cannot be met.
    #[error("{0}")]
    Usage(&'static str),
    /// A removal was begun and is not over.
    #[error(
        "{name} still holds {partitions} partitions; its removal goes on, `quorate node list` shows how far it is"
    )]
    StillLeaving { name: Box<str>, partitions: u32 },
    /// The bench has nothing to report.
    #[error("not one request was answered without an error")]
    NothingMeasured,
    /// The configuration is refused; nothing was started.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot listen at {address}: {cause}")]
    Listen {
        address: SocketAddr,
        cause: io::Error,
    },
    #[error("the node did not start")]
    Start(#[from] StartError),
    /// The node had to stop.
    #[error("the disk failed")]
    Disk(#[source] Arc<StoreError>),
    /// The history shows that something promised was not kept.
    #[error("what is promised was not kept")]
    NotAsPromised,
    /// The history shows nothing.
    #[error("the history cannot be judged: {0}")]
    Unusable(Unusable),
    #[error("{}: {cause}", file.display())]
    History { file: PathBuf, cause: ReadError },
    /// The demo has shown nothing, or not what it should.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The simulator has found something.
    #[error("{0} promises were broken")]
    PromisesBroken(usize),
    /// What was not played shows nothing.
    #[error(
        "{played} of {asked} histories were played in time; allow more --minutes or ask for fewer --seeds"
    )]
    TooFewHistories { played: u64, asked: u64 },
    /// The scenario says nothing that can be played.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The simulator is blind to something.
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
            // Some causes say no more than what they caused.
            if !text.ends_with(&words) {
                text = format!("{text}: {words}");
            }
            cause = found.source();
        }
        text
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::OfSeveral { cause, .. } => cause.code(),
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
            | Self::StillLeaving { .. } => UNKNOWN_OUTCOME,
            Self::Problem { code, .. } => match &**code {
                "not_quorate" => NOT_QUORATE,
                "timeout" => UNKNOWN_OUTCOME,
                _ => FAILED,
            },
            // A connection that was never made carried nothing.
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
            // A history that cannot be judged was neither kept nor broken.
            Self::Unusable(_)
            | Self::History { .. }
            | Self::Usage(_)
            | Self::Scenario(_)
            | Self::Config(_)
            | Self::Demo(DemoError::Plan(_)) => USAGE,
            _ => FAILED,
        }
    }
}
