//! The flags that every command understands, and the environment variables behind them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quorate_dynamo::Consistency;

use super::fail::Failure;
use super::output::Output;
use crate::config::{KeyFiles, parse_duration};
use crate::faces::resp::client::Options;
use crate::tls::TlsTrust;

/// Which node to ask, and how to print its answer.
#[derive(Clone, Debug, Args)]
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
    /// User to be; `user+level` also chooses the level of get, put, incr, del and bench [env:
    /// `QUORATE_USER`] [default: default, whose password is the node's own].
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// Password of the node, or of the user. Prefer the environment variable `QUORATE_PASSWORD`:
    /// other users of this machine can see flags.
    #[arg(long, global = true)]
    pub(super) password: Option<String>,
    /// PEM file with the authorities that nodes are trusted by. With it the command speaks TLS, and
    /// so it does with an address that begins with https:// or rediss:// [env: `QUORATE_TLS_CA`].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
    /// PEM file with a certificate: the one that `start` shows to clients, or the one that other
    /// commands show to a node that asks for one [env: `QUORATE_TLS_CERT`].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// PEM file with the key of --tls-cert [env: `QUORATE_TLS_KEY`].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// Consistency level of get, put, incr and del, such as ONE, `LOCAL_QUORUM`, ALL or R=2,W=2
    /// [env: `QUORATE_CONSISTENCY`] [default: the keyspace's].
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) consistency: Option<Consistency>,
    /// How long a request to a node may take, such as 500ms [env: `QUORATE_TIMEOUT`] [default: the
    /// node's setting for the request, 5s for the whole command].
    #[arg(long, global = true, value_name = "TIME", value_parser = time)]
    pub(super) timeout: Option<Duration>,
}

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// Host and port.
    pub(super) address: &'a str,
    pub(super) tls: bool,
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
        let file =
            |given: Option<PathBuf>, name| given.or_else(|| variable(name).map(PathBuf::from));
        Ok(Self {
            output: self.output,
            resp: self.resp.or_else(|| variable("QUORATE_RESP")),
            http: self.http.or_else(|| variable("QUORATE_HTTP")),
            user: self.user.or_else(|| variable("QUORATE_USER")),
            password: self.password.or_else(|| variable("QUORATE_PASSWORD")),
            tls_ca: file(self.tls_ca, "QUORATE_TLS_CA"),
            tls_cert: file(self.tls_cert, "QUORATE_TLS_CERT"),
            tls_key: file(self.tls_key, "QUORATE_TLS_KEY"),
            consistency,
            timeout,
        })
    }

    pub(super) fn password(&self) -> Option<String> {
        self.password
            .clone()
            .filter(|password| !password.is_empty())
    }

    /// The certificate to show to a node that asks for one.
    pub(super) fn own_certificate(&self) -> Result<Option<KeyFiles>, Failure> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(KeyFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            (None, None) => Ok(None),
            _ => Err(Failure::Usage(
                "--tls-cert and --tls-key go together: give both or neither",
            )),
        }
    }

    /// Where a node is, and whether to speak TLS with it. `secure` and `plain` are the words that
    /// an address may begin with.
    pub(super) fn place<'a>(
        &self,
        address: &'a str,
        secure: &str,
        plain: &[&str],
    ) -> Result<Place<'a>, Failure> {
        let bare = |prefix: &str| address.strip_prefix(prefix);
        let (rest, tls) = match (bare(secure), plain.iter().find_map(|plain| bare(plain))) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => (address, self.tls_ca.is_some()),
        };
        if tls && self.tls_ca.is_none() {
            return Err(Failure::Usage(
                "TLS needs --tls-ca FILE (or QUORATE_TLS_CA): the authority that signed the node's certificate",
            ));
        }
        Ok(Place {
            address: rest.trim_end_matches('/'),
            tls,
        })
    }

    /// How to connect over RESP, with TLS or without, as `user` or as the user that is named here.
    pub(super) fn options(&self, tls: bool, user: Option<String>) -> Result<Options, Failure> {
        let tls = match self.tls_ca.as_ref().filter(|_| tls) {
            None => None,
            Some(ca) => Some(TlsTrust::load(ca, self.own_certificate()?.as_ref())?),
        };
        Ok(Options {
            user: user.or_else(|| self.user.clone()),
            password: self.password(),
            tls,
            timeout: self.patience(),
        })
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
