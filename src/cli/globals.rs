//! The flags that every command understands, and the environment variables behind them.

use std::time::Duration;

use clap::Args;
use quorate_dynamo::Consistency;

use super::fail::Failure;
use super::output::Output;
use crate::config::parse_duration;

/// Which node to ask, and how to print its answer.
#[derive(Debug, Args)]
pub(super) struct Globals {
    /// How to print the result, and a failure.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    /// RESP address: where `start` listens; the node that get, put, incr and del ask [env:
    /// `QUORATE_RESP`] [default: 127.0.0.1:7379].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(super) resp: Option<String>,
    /// HTTP address: where `start` listens; the node that all other commands ask [env:
    /// `QUORATE_HTTP`] [default: 127.0.0.1:7380].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(super) http: Option<String>,
    /// Password of the node. Prefer the environment variable `QUORATE_PASSWORD`: other users of
    /// this machine can see flags.
    #[arg(long, global = true)]
    pub(super) password: Option<String>,
    /// Consistency level of get, put, incr and del, such as ONE, `LOCAL_QUORUM`, ALL or R=2,W=2
    /// [env: `QUORATE_CONSISTENCY`] [default: the keyspace's].
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) consistency: Option<Consistency>,
    /// How long a request to a node may take, such as 500ms [env: `QUORATE_TIMEOUT`] [default: the
    /// node's setting for the request, 5s for the whole command].
    #[arg(long, global = true, value_name = "TIME", value_parser = time)]
    pub(super) timeout: Option<Duration>,
}

impl Globals {
    /// The flags, and where one is not given, the variable of its name. Not for `start`, which
    /// reads its variables with its file.
    ///
    /// # Errors
    /// [`Failure::Variable`].
    pub(super) fn with_environment(
        self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let consistency = match (self.consistency, variable("QUORATE_CONSISTENCY")) {
            (None, Some(text)) => Some(text.parse().map_err(
                |unknown: quorate_dynamo::consistency::UnknownLevel| {
                    Failure::variable("QUORATE_CONSISTENCY", unknown.to_string())
                },
            )?),
            (given, _) => given,
        };
        let timeout = match (self.timeout, variable("QUORATE_TIMEOUT")) {
            (None, Some(text)) => {
                Some(time(&text).map_err(|form| Failure::variable("QUORATE_TIMEOUT", form))?)
            }
            (given, _) => given,
        };
        Ok(Self {
            output: self.output,
            resp: self.resp.or_else(|| variable("QUORATE_RESP")),
            http: self.http.or_else(|| variable("QUORATE_HTTP")),
            password: self.password.or_else(|| variable("QUORATE_PASSWORD")),
            consistency,
            timeout,
        })
    }

    pub(super) fn password(&self) -> Option<String> {
        self.password
            .clone()
            .filter(|password| !password.is_empty())
    }

    /// How long the command waits for its answer: a little longer than the request may take, so
    /// that the node's own error arrives first.
    pub(super) fn patience(&self) -> Duration {
        self.timeout.unwrap_or(crate::config::REQUEST_TIMEOUT) + Duration::from_secs(1)
    }
}

/// Parses the value of a flag that is a duration.
pub(super) fn time(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("use a whole number with a unit (us, ms, s, m, h, d), such as 500ms")
}
