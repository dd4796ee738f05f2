//! Every bug that can be planted must be found: what checks nothing finds nothing, and would look the same as a cluster without faults.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use quorate_crdt::planted::Bug;

use super::{Focus, Incident, Kind, Outcome, Plan, panics, play, scripted};

/// Whether bugs can be planted in this build.
pub const POSSIBLE: bool = cfg!(feature = "planted-bugs");

/// How a hunt for one bug ended.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Which bug.
    pub bug: &'static Bug,
    /// Which check found it; `None`: none did.
    pub found_by: Option<&'static str>,
    /// In which history: a seed, or the name of a script.
    pub history: String,
    /// Histories played until then.
    pub histories: u64,
    /// How long it took.
    pub took: Duration,
}

/// Hunts for each of `bugs` for at most `within`, on several threads. `progress` is told of each.
pub fn hunt(bugs: &[&'static Bug], within: Duration, threads: usize, progress: impl Fn(&Hunt) + Sync) -> Vec<Hunt> {
    let (next, hunts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                panics::watch();
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let hunt = hunt_for(bug, within);
                    progress(&hunt);
                    locked(&hunts).push(hunt);
                }
            });
        }
    });
    let mut hunts = hunts.into_inner().expect("invariant: no code panics while it collects");
    hunts.sort_by_key(|hunt| bugs.iter().position(|bug| bug.name == hunt.bug.name));
    hunts
}

fn locked(hunts: &Mutex<Vec<Hunt>>) -> MutexGuard<'_, Vec<Hunt>> {
    hunts.lock().expect("invariant: no code panics while it collects")
}

/// Plays histories with the bug planted until a check fails that does not fail without it.
fn hunt_for(bug: &'static Bug, within: Duration) -> Hunt {
    let begun = Instant::now();
    let scripts = scripted::for_bug(bug.name).into_iter().map(|(name, plan)| (name.to_owned(), plan));
    let about = focus(bug.name);
    let seeds = (0_u64..).map(|seed| (format!("seed {seed}"), Plan::drawn(seed, about)));
    let mut histories = 0;
    for (history, plan) in scripts.chain(seeds) {
        if begun.elapsed() >= within {
            break;
        }
        histories += 1;
        let outcome = with(bug, &plan);
        let Some(violation) = outcome.violations.first() else { continue };
        // What fails anyway says nothing about the bug.
        let without = play(&plan);
        if !without.violations.iter().any(|other| other.check == violation.check) {
            return Hunt { bug, found_by: Some(violation.check), history, histories, took: begun.elapsed() };
        }
    }
    Hunt { bug, found_by: None, history: String::new(), histories, took: begun.elapsed() }
}

/// Plays `plan` with `bug` planted on this thread.
fn with(bug: &'static Bug, plan: &Plan) -> Outcome {
    #[cfg(feature = "planted-bugs")]
    {
        let before = quorate_crdt::planted::plant(Some(bug));
        debug_assert!(before.is_none(), "one bug at a time");
        let outcome = play(plan);
        quorate_crdt::planted::plant(None);
        outcome
    }
    #[cfg(not(feature = "planted-bugs"))]
    {
        debug_assert!(!bug.is_planted(), "this build has no bugs to plant");
        play(plan)
    }
}

/// What a bug is about: random histories that have nothing to do with it are left out.
fn focus(bug: &str) -> Focus {
    use Incident::{
        Crash, CrashAll, CrashWhileStarting, Cut, DropFrames, Flap, Garble, Join, Jump, Keyspace, Move, Restore, SlowDisk, Stop, Wipe,
    };
    let (incidents, kinds): (&[Incident], &[Kind]) = match bug {
        name if name.starts_with("topology-") || name.starts_with("erase-") => {
            (&[Keyspace, CrashAll, Crash, CrashWhileStarting, Join], &[])
        }
        name if name.starts_with("expiry-") || name.starts_with("reap-") || name.starts_with("refuses-") => {
            (&[Jump, Cut, Crash, DropFrames], &[Kind::Expiring, Kind::Set, Kind::Hash])
        }
        "lives-reused" | "switch-without-spread" | "mover-forgets-itself" | "repair-counts-one-set" | "rewrite-counts-unsent" => {
            (&[Move, Join, Cut, Crash, DropFrames], &[Kind::Cell, Kind::Counter, Kind::Set])
        }
        "copies-trusted" | "own-events-overlooked" | "life-number-reused" => (&[Restore, Crash], &[Kind::Cell, Kind::Counter]),
        "chunk-of-any-stream" | "pull-once" | "fill-from-filled-only" => {
            (&[Wipe, Crash, Cut, Flap, DropFrames, Garble, Stop], &[Kind::Cell, Kind::Set])
        }
        name if name.starts_with("flight-") || name.starts_with("ack-") || name.ends_with("-round") => {
            (&[Crash, Cut, Flap, SlowDisk, Garble, DropFrames, Move], &[Kind::Cell, Kind::Counter, Kind::Set])
        }
        "answer-lost-when-keyspace-gone" => (&[Keyspace, SlowDisk, Cut, DropFrames], &[]),
        _ => (&[], &[]),
    };
    Focus { incidents, kinds }
}
