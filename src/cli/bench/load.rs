//! The requests of a workload, and the data that must exist before it begins.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::options::{Bench, Workload};
use crate::faces::resp::client::{Client, ClientError, Value};

/// Elements or keys in one command or pipeline of the preload.
const PRELOAD_BATCH: u32 = 100;
/// Fields of a hash.
const FIELDS: [&[u8]; 4] = [b"one", b"two", b"three", b"four"];
/// How long `WAIT` may wait, in milliseconds.
const WAIT_MS: &[u8] = b"1000";

/// State shared by all clients of a run.
#[derive(Debug)]
pub(super) struct Load {
    workload: Workload,
    keys: u32,
    set: String,
    set_size: u32,
    value: Vec<u8>,
    levels: Vec<String>,
    wait: u32,
    pipeline: u32,
}

/// One client's random choices. The same client number makes the same choices in every run.
#[derive(Debug)]
pub(super) struct Choices {
    rng: StdRng,
    name: String,
}

impl Choices {
    pub(super) fn of_client(number: u32) -> Self {
        Self {
            rng: StdRng::seed_from_u64(number.into()),
            name: String::new(),
        }
    }
}

impl Load {
    pub(super) fn new(bench: &Bench) -> Self {
        Self {
            workload: bench.workload,
            keys: bench.shape.keys,
            set: format!("bench:set:{}", bench.shape.set_size),
            set_size: bench.shape.set_size,
            value: vec![b'x'; bench.shape.value_bytes as usize],
            levels: bench.level.clone(),
            wait: bench.wait,
            pipeline: bench.pipeline,
        }
    }

    /// Queues the next request and returns its number of replies. If there are two, the last is
    /// that of `WAIT`.
    pub(super) fn queue(&self, client: &mut Client, choices: &mut Choices) -> u32 {
        let Choices { rng, name } = choices;
        name.clear();
        let write = match self.workload {
            Workload::Get => false,
            Workload::Mixed => rng.random(),
            Workload::Set | Workload::Incr | Workload::Sadd | Workload::Hset => true,
        };
        let chosen = rng.random_range(
            0..if self.workload == Workload::Sadd {
                self.set_size
            } else {
                self.keys
            },
        );
        let kind = match self.workload {
            Workload::Incr => "bench:counter:",
            Workload::Sadd => "element:",
            Workload::Hset => "bench:hash:",
            Workload::Set | Workload::Get | Workload::Mixed => "bench:key:",
        };
        write!(name, "{kind}{chosen}").expect("invariant: writing to a String does not fail");
        let name = name.as_bytes();
        let level = if self.levels.len() > 1 {
            rng.random_range(0..self.levels.len())
        } else {
            0
        };
        let field = FIELDS[if self.workload == Workload::Hset {
            rng.random_range(0..FIELDS.len())
        } else {
            0
        }];
        match self.workload {
            Workload::Incr => self.send(client, level, &[b"INCR", name]),
            Workload::Sadd => self.send(client, level, &[b"SADD", self.set.as_bytes(), name]),
            Workload::Hset => self.send(client, level, &[b"HSET", name, field, &self.value]),
            _ if write => self.send(client, level, &[b"SET", name, &self.value]),
            _ => self.send(client, level, &[b"GET", name]),
        }
        if write && self.wait > 0 {
            client.queue(&[b"WAIT", self.wait.to_string().as_bytes(), WAIT_MS]);
            return 2;
        }
        1
    }

    /// Whether the reply with this number (from 1) of a request is a success.
    pub(super) fn accepts(&self, reply: &Value, number: u32) -> bool {
        match reply {
            Value::Error(_) => false,
            reply if number == 2 => reply
                .integer()
                .is_some_and(|acked| acked >= i64::from(self.wait)),
            _ => true,
        }
    }

    /// The most requests that one connection has under way.
    pub(super) fn pipeline(&self) -> u32 {
        self.pipeline
    }

    fn send(&self, client: &mut Client, level: usize, args: &[&[u8]]) {
        match self.levels.get(level) {
            None => client.queue(args),
            Some(level) => {
                let mut prefixed: [&[u8]; 6] = [b"CL", level.as_bytes(), b"", b"", b"", b""];
                prefixed[2..2 + args.len()].copy_from_slice(args);
                client.queue(&prefixed[..2 + args.len()]);
            }
        }
    }

    /// Writes the data that the workload reads. A set that already has its size is left alone.
    pub(super) async fn preload(&self, client: &mut Client) -> Result<(), ClientError> {
        match self.workload {
            Workload::Get | Workload::Mixed => self.preload_keys(client).await,
            Workload::Sadd => self.preload_set(client).await,
            Workload::Set | Workload::Incr | Workload::Hset => Ok(()),
        }
    }

    async fn preload_keys(&self, client: &mut Client) -> Result<(), ClientError> {
        for first in (0..self.keys).step_by(PRELOAD_BATCH as usize) {
            let last = self.keys.min(first + PRELOAD_BATCH);
            for number in first..last {
                self.send(
                    client,
                    0,
                    &[
                        b"SET",
                        format!("bench:key:{number}").as_bytes(),
                        &self.value,
                    ],
                );
            }
            client.flush().await?;
            for _ in first..last {
                refused(client.receive().await?)?;
            }
        }
        Ok(())
    }

    async fn preload_set(&self, client: &mut Client) -> Result<(), ClientError> {
        if client
            .command(&[b"SCARD", self.set.as_bytes()])
            .await?
            .integer()
            == Some(self.set_size.into())
        {
            return Ok(());
        }
        client.command(&[b"DEL", self.set.as_bytes()]).await?;
        for first in (0..self.set_size).step_by(PRELOAD_BATCH as usize) {
            let elements: Vec<String> = (first..self.set_size.min(first + PRELOAD_BATCH))
                .map(|n| format!("element:{n}"))
                .collect();
            let mut args: Vec<&[u8]> = vec![b"SADD", self.set.as_bytes()];
            args.extend(elements.iter().map(String::as_bytes));
            client.command(&args).await?;
        }
        Ok(())
    }
}

fn refused(reply: Value) -> Result<(), ClientError> {
    match reply {
        Value::Error(refusal) => Err(ClientError::Refused(refusal)),
        _ => Ok(()),
    }
}
