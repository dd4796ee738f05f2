//! Hunts planted bugs. Every bug that can be planted must be found: a check that finds nothing
//! looks the same as a cluster without faults.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use quorate_crdt::planted::Bug;

use super::draw::Focus;
use super::draw::incident::Incident;
use super::plan::Plan;
use super::plan::request::Kind;
use super::play::play;
use super::{direct, panics, scripted};

/// Whether bugs can be planted in this build.
pub const POSSIBLE: bool = cfg!(feature = "planted-bugs");

/// How many histories of the library's replicas, without a network, are tried for a bug of the
/// library.
#[cfg(feature = "planted-bugs")]
const LIBRARY_SEEDS: u64 = 500;

/// How the hunt for one bug ended.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The bug.
    pub bug: &'static Bug,
    /// The check that found it, or `None`.
    pub found_by: Option<&'static str>,
    /// Where it was found: the name of a script, a library seed, a drill, or a seed.
    pub history: String,
    /// Histories played until it was found.
    pub histories: u64,
    /// Real time it took.
    pub took: Duration,
}

/// How to hunt for bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunting {
    /// Time limit for each bug.
    pub within: Duration,
    /// Play only this many random histories of whole clusters, with no scripts or drills.
    pub by_chance: Option<u64>,
}

/// Hunts for each of `bugs` on several threads. `progress` is called after each.
pub fn hunt(
    bugs: &[&'static Bug],
    hunting: Hunting,
    threads: usize,
    progress: impl Fn(&Hunt) + Sync,
) -> Vec<Hunt> {
    let (next, hunts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                panics::watch();
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let hunt = hunt_for(bug, hunting);
                    progress(&hunt);
                    locked(&hunts).push(hunt);
                }
            });
        }
    });
    let mut hunts = hunts
        .into_inner()
        .expect("invariant: no code panics while it collects");
    hunts.sort_by_key(|hunt| bugs.iter().position(|bug| bug.name == hunt.bug.name));
    hunts
}

fn locked(hunts: &Mutex<Vec<Hunt>>) -> MutexGuard<'_, Vec<Hunt>> {
    hunts
        .lock()
        .expect("invariant: no code panics while it collects")
}

/// Tries one instrument after another until one fails with the bug planted and passes without it:
/// scripts, the library's own checks, drills of the cores, random histories.
fn hunt_for(bug: &'static Bug, Hunting { within, by_chance }: Hunting) -> Hunt {
    let begun = Instant::now();
    let mut hunt = Hunt {
        bug,
        found_by: None,
        history: String::new(),
        histories: 0,
        took: Duration::ZERO,
    };
    let scripts = scripted::for_bug(bug.name)
        .into_iter()
        .map(|(name, plan)| (format!("script: {name}"), plan));
    let found =
        by_chance.is_none() && (hunt.among(scripts) || hunt.in_library() || hunt.in_drill());
    // A bug of the library alone never shows in a cluster.
    if !found && !is_of_library(bug) {
        let about = focus(bug.name);
        let goes_on = |seed: &u64| {
            by_chance.map_or_else(|| begun.elapsed() < within, |histories| *seed < histories)
        };
        let seeds = (0_u64..).take_while(goes_on);
        hunt.among(seeds.map(|seed| (format!("seed {seed}"), Plan::drawn(seed, about))));
    }
    hunt.took = begun.elapsed();
    hunt
}

impl Hunt {
    /// Plays histories until a check fails in one that keeps every promise without the bug.
    fn among(&mut self, histories: impl Iterator<Item = (String, Plan)>) -> bool {
        for (history, plan) in histories {
            self.histories += 1;
            let outcome = with(self.bug, || play(&plan));
            let Some(violation) = outcome.violations.first() else {
                continue;
            };
            // A history that also fails without the bug says nothing about it.
            if play(&plan).violations.is_empty() {
                return self.found(violation.check, history);
            }
        }
        false
    }

    fn in_library(&mut self) -> bool {
        if !is_of_library(self.bug) {
            return false;
        }
        #[cfg(feature = "planted-bugs")]
        if let Some(found) = quorate_crdt::hunt::find(Some(self.bug), 0..LIBRARY_SEEDS) {
            self.histories += found.seed + 1;
            let alone = quorate_crdt::hunt::find(None, found.seed..found.seed + 1).is_none();
            return alone && self.found(found.check, format!("library: seed {}", found.seed));
        }
        false
    }

    fn in_drill(&mut self) -> bool {
        let Some(drill) = direct::for_bug(self.bug.name) else {
            return false;
        };
        self.histories += 1;
        with(self.bug, || drill.fails())
            && !drill.fails()
            && self.found(drill.check, "drill".to_owned())
    }

    fn found(&mut self, check: &'static str, history: String) -> bool {
        self.found_by = Some(check);
        self.history = history;
        true
    }
}

fn is_of_library(bug: &Bug) -> bool {
    quorate_crdt::bugs::ALL
        .iter()
        .any(|other| other.name == bug.name)
}

/// Runs `what` with `bug` planted on this thread.
fn with<T>(bug: &'static Bug, what: impl FnOnce() -> T) -> T {
    #[cfg(feature = "planted-bugs")]
    {
        let before = quorate_crdt::planted::plant(Some(bug));
        debug_assert!(before.is_none(), "one bug at a time");
        let outcome = what();
        quorate_crdt::planted::plant(None);
        outcome
    }
    #[cfg(not(feature = "planted-bugs"))]
    {
        debug_assert!(!bug.is_planted(), "this build has no bugs to plant");
        what()
    }
}

/// Where to look for a bug: random histories that cannot show it are left out.
fn focus(bug: &str) -> Focus {
    use Incident::{
        Crash, CrashAll, CrashWhileStarting, Cut, DropFrames, Flap, Garble, Join, Jump, Keyspace,
        Move, Readdress, Restore, SlowDisk, Stop, Wipe, WrongStart,
    };
    let (incidents, kinds): (&[Incident], &[Kind]) = match bug {
        name if name.starts_with("topology-") || name.starts_with("erase-") => {
            (&[Keyspace, CrashAll, Crash, CrashWhileStarting, Join], &[])
        }
        name if name.starts_with("expiry-")
            || name.starts_with("reap-")
            || name.starts_with("refuses-") =>
        {
            (
                &[Jump, Cut, Crash, DropFrames],
                &[Kind::Expiring, Kind::Set, Kind::Hash, Kind::Turning],
            )
        }
        "lives-reused"
        | "switch-without-spread"
        | "mover-forgets-itself"
        | "repair-counts-one-set"
        | "rewrite-counts-unsent" => (
            &[Move, Join, Cut, Crash, DropFrames],
            &[Kind::Cell, Kind::Counter, Kind::Set],
        ),
        "address-untold" | "addresses-unheard" => (&[Readdress, CrashAll, Crash], &[]),
        "stamps-before-asking" | "every-clock-a-witness" => (&[WrongStart], &[Kind::Register]),
        "copies-trusted" | "own-events-overlooked" | "life-number-reused" => {
            (&[Restore, Crash], &[Kind::Cell, Kind::Counter])
        }
        "chunk-of-any-stream" | "pull-once" | "fill-from-filled-only" => (
            &[Wipe, Crash, Cut, Flap, DropFrames, Garble, Stop],
            &[Kind::Cell, Kind::Set],
        ),
        name if name.starts_with("flight-")
            || name.starts_with("ack-")
            || name.ends_with("-round") =>
        {
            (
                &[Crash, Cut, Flap, SlowDisk, Garble, DropFrames, Move],
                &[Kind::Cell, Kind::Counter, Kind::Set],
            )
        }
        "request-id-forgotten" | "twins-count-twice" | "share-overflow" => (
            &[Cut, Crash, SlowDisk, DropFrames],
            &[Kind::Counter, Kind::Tally, Kind::Text],
        ),
        "token-unseen" => (&[Cut, Crash, DropFrames, Flap], &[Kind::Siblings]),
        "answer-lost-when-keyspace-gone" => (&[Keyspace, SlowDisk, Cut, DropFrames], &[]),
        _ => (&[], &[]),
    };
    Focus { incidents, kinds }
}
