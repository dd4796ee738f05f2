//! `quorate lock`: runs a command while a lock is held, and ends it when the lease is lost.
//!
//! The lease counts from when it was asked for, by this machine's clock, and is given up a tenth of
//! its time before the cluster could grant the lock to somebody else.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Deserialize;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{interval, sleep_until};

use super::fail::Failure;
use super::globals::{Globals, time};
use super::http;

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate lock nightly-report -- ./report.sh
  quorate lock migrations --wait 30s --ttl 10s -- ./migrate.sh
  quorate lock cache --shared -- ./read-cache.sh

The command finds the fencing token in QUORATE_FENCING_TOKEN, and in QUORATE_LOCK the name of the lock.

Exit codes: that of the command; 4 if the lock was not granted in time, 5 if the lease was lost and the command
            was ended, 3 if the cluster is not quorate; 128 and the signal's number if a signal ended the command";

/// How often the command is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What an answer may take beyond the wait that was asked for.
const GRACE: Duration = Duration::from_secs(10);
/// The parts of the TTL by which this machine gives up early.
const MARGIN: u32 = 10;

#[derive(Debug, Args)]
pub(super) struct Lock {
    /// The name of the lock.
    key: String,
    /// How long the lock is held unless it is renewed; it is renewed three times as often.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    ttl: Duration,
    /// How long to wait for the lock. Without it the lock is tried once.
    #[arg(long, value_name = "TIME", value_parser = time)]
    wait: Option<Duration>,
    /// Share the lock with others that share it.
    #[arg(long)]
    shared: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What the node grants.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Granted {
    token: u64,
    session: u64,
}

/// A lock that is held.
struct Lease {
    globals: Arc<Globals>,
    path: String,
    hold: String,
    ttl: Duration,
    /// Until when it is certainly held.
    until: Instant,
}

impl Lock {
    pub(super) async fn run(&self, globals: &Globals) -> Result<(), Failure> {
        let (lease, granted) = self.acquire(globals).await?;
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .env("QUORATE_LOCK", &self.key)
            .env("QUORATE_FENCING_TOKEN", granted.token.to_string());
        let running = Running::start(&mut command);
        let ended = match running {
            Ok(running) => lease.keep(running).await,
            Err(cause) => Err(Failure::CannotRun {
                command: self.command[0].to_string_lossy().into(),
                cause,
            }),
        };
        match ended {
            Ok(status) => {
                lease.release().await;
                let code = status.code().or(status.signal().map(|signal| 128 + signal));
                std::process::exit(code.unwrap_or(1));
            }
            Err(failure) => {
                if !matches!(failure, Failure::LeaseLost) {
                    lease.release().await;
                }
                Err(failure)
            }
        }
    }

    async fn acquire(&self, globals: &Globals) -> Result<(Lease, Granted), Failure> {
        let wait = self.wait.unwrap_or(Duration::ZERO);
        let path = format!("/v1/locks/{}", http::segment(&self.key));
        let body = json!({
            "ttl_ms": self.ttl.as_millis() as u64,
            "wait_ms": wait.as_millis() as u64,
            "shared": self.shared,
            "holder": holder(),
        });
        let globals = Arc::new(globals.clone());
        let asked = Instant::now();
        let granted = {
            let (globals, path) = (Arc::clone(&globals), path.clone());
            blocking(move || http::post_within::<Granted>(&globals, &path, &body, wait + GRACE))
        };
        let granted = granted.await.map_err(|failure| match failure {
            Failure::Problem { code, detail, .. } if &*code == "taken" => {
                Failure::NotGranted { detail }
            }
            failure => failure,
        })?;
        let mut lease = Lease {
            globals,
            path,
            hold: format!("token={}&session={}", granted.token, granted.session),
            ttl: self.ttl,
            until: held_until(asked, self.ttl),
        };
        // Nobody knows when the time of a grant began that was waited for, so it begins anew.
        if asked.elapsed() > self.ttl / MARGIN {
            let renewed = lease.renew(Instant::now() + self.ttl).await;
            let Ok(Renewed::Until(until)) = renewed else {
                lease.release().await;
                return Err(Failure::LeaseLost);
            };
            lease.until = until;
        }
        Ok((lease, granted))
    }
}

/// Until when a lease is certainly held that was asked for at `asked`.
fn held_until(asked: Instant, ttl: Duration) -> Instant {
    asked + ttl.saturating_sub(ttl / MARGIN)
}

/// This process, as others see it in the list of locks.
fn holder() -> String {
    let name = rustix::system::uname();
    let host = name.nodename().to_string_lossy();
    let holder = format!("{host}:{}", std::process::id());
    holder.chars().take(128).filter(char::is_ascii).collect()
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(call)
        .await
        .unwrap_or_else(|stopped| Err(Failure::Io(io::Error::other(stopped))))
}

impl Lease {
    /// Renews the lease while the command runs.
    async fn keep(&self, mut running: Running) -> Result<ExitStatus, Failure> {
        let mut until = self.until;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut look = interval(LOOK_EVERY);
        let mut renewal = None;
        let mut next = Instant::now() + self.ttl / 3;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until.into()) => {
                    running.end();
                    return Err(Failure::LeaseLost);
                }
                renewed = finished(&mut renewal) => {
                    renewal = None;
                    match renewed {
                        Renewed::Until(later) => until = until.max(later),
                        Renewed::Lost => {
                            running.end();
                            return Err(Failure::LeaseLost);
                        }
                        // Tried again soon, as long as there is time.
                        Renewed::Unknown => next = Instant::now() + self.ttl / 20,
                    }
                }
                () = sleep_until(next.into()), if renewal.is_none() => {
                    renewal = Some(self.renew(until));
                    next = Instant::now() + self.ttl / 3;
                }
                _ = interrupt.recv() => running.signal(Signal::INT),
                _ = terminate.recv() => running.signal(Signal::TERM),
                _ = look.tick() => if let Some(status) = running.child.try_wait()? {
                    return Ok(status);
                },
            }
        }
    }

    /// Asks for the whole time to live again.
    fn renew(&self, until: Instant) -> JoinHandle<Renewed> {
        let (globals, ttl) = (Arc::clone(&self.globals), self.ttl);
        let path = format!("{}/renew?{}", self.path, self.hold);
        spawn_blocking(move || {
            let asked = Instant::now();
            let patience = until.saturating_duration_since(asked);
            match http::put_within(&globals, &path, patience.max(LOOK_EVERY)) {
                Ok(()) => Renewed::Until(held_until(asked, ttl)),
                Err(Failure::Problem { code, .. }) if &*code == "not_held" => Renewed::Lost,
                Err(_) => Renewed::Unknown,
            }
        })
    }

    /// Gives the lock back. If that fails, it ends with its time to live.
    async fn release(&self) {
        let (globals, path) = (
            Arc::clone(&self.globals),
            format!("{}?{}", self.path, self.hold),
        );
        drop(blocking(move || http::delete(&globals, &path)).await);
    }
}

/// What came of a renewal.
enum Renewed {
    /// The lock is certainly held until then.
    Until(Instant),
    /// Somebody else may have the lock.
    Lost,
    /// There was no answer.
    Unknown,
}

async fn finished(renewal: &mut Option<JoinHandle<Renewed>>) -> Renewed {
    match renewal {
        Some(renewal) => renewal.await.unwrap_or(Renewed::Unknown),
        None => std::future::pending().await,
    }
}

/// The command while it runs.
struct Running {
    child: Child,
    /// Whether it leads a process group, so that its own children end with it. Not at a terminal:
    /// there it must be able to read.
    leads: bool,
}

impl Running {
    fn start(command: &mut Command) -> io::Result<Self> {
        let leads = !io::stdin().is_terminal();
        if leads {
            command.process_group(0);
        }
        let child = command.spawn()?;
        Ok(Self { child, leads })
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) else {
            return;
        };
        // It may have ended meanwhile.
        if self.leads {
            kill_process_group(pid, signal).ok();
        } else {
            kill_process(pid, signal).ok();
        }
    }

    /// Ends it at once.
    fn end(&mut self) {
        self.signal(Signal::KILL);
        drop(self.child.wait());
    }
}
