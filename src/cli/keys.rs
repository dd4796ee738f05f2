//! `quorate get`, `put`, `incr` and `del`: one request over RESP, as any Redis client would send
//! it.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use super::fail::Failure;
use super::globals::{Globals, time};
use super::output::{self, Output};
use crate::faces::resp::client::{Client, ClientError, Value};

const DEFAULT_RESP: &str = "127.0.0.1:7379";

#[derive(Debug, Default, Args)]
pub(super) struct In {
    /// Name or number of the keyspace [default: default].
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,
}

#[derive(Debug, Args)]
struct Named {
    /// Name for this change, 1 to 32 bytes. If the outcome is unknown, repeat the command with the
    /// same name: the change is done only once.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The key.
    key: String,
    #[command(flatten)]
    within: In,
}

#[derive(Debug, Args)]
pub(super) struct Put {
    /// The key.
    key: String,
    /// The value.
    value: String,
    /// Time to live of the key, such as 10m.
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<Duration>,
    #[command(flatten)]
    within: In,
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
pub(super) struct Incr {
    /// The key.
    key: String,
    /// How much to add.
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    by: i64,
    #[command(flatten)]
    within: In,
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
pub(super) struct Del {
    /// The keys.
    #[arg(required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    within: In,
    #[command(flatten)]
    named: Named,
}

impl Get {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut session = Session::open(globals, &self.within).await?;
        let found = session.read(&[b"GET", self.key.as_bytes()]).await?;
        match (globals.output, found.bytes()) {
            (Output::Table, Some(value)) => Ok(output::bytes(value)?),
            (Output::Table, None) => Err(Failure::NoSuchKey),
            (Output::Json, value) => {
                let (name, value) = value.map_or(("value", Json::Null), output::value_field);
                let document = Map::from_iter([
                    ("key".to_owned(), self.key.into()),
                    (name.to_owned(), value),
                ]);
                output::line(Json::from(document))?;
                if found == Value::Nil {
                    Err(Failure::NoSuchKey)
                } else {
                    Ok(())
                }
            }
        }
    }
}

impl Put {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut session = Session::open(globals, &self.within)
            .await?
            .named(&self.named);
        let (key, value) = (self.key.as_bytes(), self.value.as_bytes());
        match self
            .expires
            .map(|after| after.as_millis().max(1).to_string())
        {
            None => session.write(&[b"SET", key, value]).await?,
            Some(millis) => {
                session
                    .write(&[b"SET", key, value, b"PX", millis.as_bytes()])
                    .await?
            }
        };
        say(globals, "OK", &json!({ "key": self.key, "done": true }))
    }
}

impl Incr {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut session = Session::open(globals, &self.within)
            .await?
            .named(&self.named);
        let sum = session
            .write(&[
                b"INCRBY",
                self.key.as_bytes(),
                self.by.to_string().as_bytes(),
            ])
            .await?;
        let sum = session.number(&sum)?;
        say(globals, sum, &json!({ "key": self.key, "value": sum }))
    }
}

impl Del {
    /// Sends one command per key: the keys are in different partitions, and each has its own
    /// outcome.
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut session = Session::open(globals, &self.within)
            .await?
            .named(&self.named);
        let mut removed = 0;
        for (at, key) in (1..).zip(&self.keys) {
            let reply = session.write(&[b"DEL", key.as_bytes()]).await;
            let number = reply.and_then(|reply| session.number(&reply));
            removed += number.map_err(|cause| match self.keys.len() {
                1 => cause,
                keys => Failure::OfSeveral {
                    cause: Box::new(cause),
                    at,
                    keys,
                },
            })?;
        }
        say(globals, removed, &json!({ "removed": removed }))
    }
}

fn say(globals: &Globals, text: impl std::fmt::Display, document: &Json) -> Result<(), Failure> {
    match globals.output {
        Output::Table => output::line(text)?,
        Output::Json => output::line(document)?,
    }
    Ok(())
}

/// A connection to the chosen node, at the chosen level.
pub(super) struct Session {
    client: Client,
    address: Box<str>,
    /// The argument of `CL`, if level or timeout are given.
    level: Option<String>,
    /// The argument of `REQ`, if the change has a name.
    named: Option<String>,
}

impl Session {
    fn named(self, named: &Named) -> Self {
        Self {
            named: named.request_id.clone(),
            ..self
        }
    }

    pub(super) async fn open(globals: &Globals, within: &In) -> Result<Self, Failure> {
        let given = globals.resp.as_deref().unwrap_or(DEFAULT_RESP);
        let place = globals.place(given, "rediss://", &["redis://", "resp://"])?;
        let options = globals.options(place.tls, None)?;
        let address: Box<str> = place.address.into();
        let mut client =
            Client::connect(&*address, options)
                .await
                .map_err(|cause| match cause {
                    ClientError::Refused(refusal) => Failure::Refused(refusal),
                    cause => Failure::Unreachable {
                        address: address.clone(),
                        cause,
                    },
                })?;
        if let Some(keyspace) = &within.keyspace {
            client
                .command(&[b"SELECT", keyspace.as_bytes()])
                .await
                .map_err(read_failure)?;
        }
        let level = globals.consistency.map(|level| level.to_string());
        let timeout = globals
            .timeout
            .map(|timeout| format!("TIMEOUT={}ms", timeout.as_millis().max(1)));
        let level: Vec<String> = level.into_iter().chain(timeout).collect();
        Ok(Self {
            client,
            address,
            level: (!level.is_empty()).then(|| level.join(",")),
            named: None,
        })
    }

    async fn command(&mut self, args: &[&[u8]]) -> Result<Value, ClientError> {
        let mut words: Vec<&[u8]> = Vec::with_capacity(args.len() + 4);
        for (prefix, word) in [("REQ", &self.named), ("CL", &self.level)] {
            words.extend(
                word.iter()
                    .flat_map(|word| [prefix.as_bytes(), word.as_bytes()]),
            );
        }
        words.extend(args);
        self.client.command(&words).await
    }

    pub(super) async fn read(&mut self, args: &[&[u8]]) -> Result<Value, Failure> {
        self.command(args).await.map_err(read_failure)
    }

    async fn write(&mut self, args: &[&[u8]]) -> Result<Value, Failure> {
        self.command(args).await.map_err(|cause| match cause {
            ClientError::Refused(refusal) => Failure::Refused(refusal),
            cause => Failure::OutcomeUnknown(cause),
        })
    }

    fn number(&self, reply: &Value) -> Result<i64, Failure> {
        reply.integer().ok_or_else(|| self.strange())
    }

    /// The node gave an answer that a node does not give.
    pub(super) fn strange(&self) -> Failure {
        Failure::Strange {
            address: self.address.clone(),
        }
    }
}

fn read_failure(cause: ClientError) -> Failure {
    match cause {
        ClientError::Refused(refusal) => Failure::Refused(refusal),
        cause => Failure::Unanswered(cause),
    }
}
