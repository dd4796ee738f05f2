//! The state of a running demo as a viewer sees it: the scenario updates it, the story and the
//! screen show it.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::score::Scores;
use crate::doors::Data;
use crate::doors::Status;

/// How long a node may take to answer a status request: a round trip, plus the time it waits for
/// nodes that do not answer.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);
/// How many paragraphs the screen remembers.
const STORY_MAX: usize = 64;

/// Where the story is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// On stdout, for people.
    Stdout,
    /// On stderr, because stdout is for a program.
    Stderr,
    /// Only on the screen.
    Screen,
}

/// The acts of the demo, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Start,
    Work,
    Split,
    Heal,
    Crash,
    Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Starting,
    Up,
    Crashed,
}

/// What one node reports about the replicas of the whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) contexts_equal: bool,
    pub(super) digests_equal: bool,
    pub(super) recent: u64,
    pub(super) residuals: u64,
    pub(super) rows: u64,
    /// Its own conclusion, which takes an answer from every node.
    pub(super) converged: bool,
    /// How many nodes it knows.
    pub(super) nodes: usize,
}

/// One node of the demo.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) name: String,
    pub(super) site: usize,
    pub(super) resp: SocketAddr,
    pub(super) health: Health,
    pub(super) view: Option<View>,
    pub(super) door: Option<Arc<dyn Data>>,
}

/// A snapshot of everything shown.
#[derive(Clone)]
pub(super) struct Picture {
    pub(super) phase: Phase,
    pub(super) waiting: String,
    pub(super) seats: Vec<Seat>,
    pub(super) sites: usize,
    pub(super) cut: Option<usize>,
    pub(super) story: Vec<String>,
    pub(super) elapsed: Duration,
}

/// The picture, shared by the scenario and whoever shows it.
pub(super) struct Board {
    started: Instant,
    voice: Voice,
    pub(super) scores: Scores,
    picture: Mutex<Picture>,
}

impl View {
    fn of(status: &Status) -> Self {
        let all =
            |equal: fn(&crate::doors::KeyspaceStatus) -> bool| status.keyspaces.iter().all(equal);
        let sum = |figure: fn(&crate::doors::KeyspaceStatus) -> u64| {
            status.keyspaces.iter().map(figure).sum()
        };
        Self {
            contexts_equal: all(|keyspace| keyspace.contexts_equal),
            digests_equal: all(|keyspace| keyspace.digests_equal),
            recent: sum(|keyspace| keyspace.recent),
            residuals: sum(|keyspace| keyspace.residuals),
            rows: sum(|keyspace| keyspace.rows),
            converged: status.converged,
            nodes: status.nodes.len(),
        }
    }

    /// Whether contexts and digests are equal and nothing is left to exchange.
    pub(super) fn settled(&self) -> bool {
        self.converged
            && self.contexts_equal
            && self.digests_equal
            && self.recent == 0
            && self.residuals == 0
    }
}

impl Board {
    pub(super) fn new(voice: Voice, sites: usize) -> Arc<Self> {
        let picture = Picture {
            phase: Phase::Start,
            waiting: String::new(),
            seats: Vec::new(),
            sites,
            cut: None,
            story: Vec::new(),
            elapsed: Duration::ZERO,
        };
        Arc::new(Self {
            started: Instant::now(),
            voice,
            scores: Scores::new(),
            picture: Mutex::new(picture),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Picture> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything as it is now.
    pub(super) fn picture(&self) -> Picture {
        Picture {
            elapsed: self.started.elapsed(),
            ..self.lock().clone()
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Picture)) {
        change(&mut self.lock());
    }

    pub(super) fn seat(&self, index: usize, change: impl FnOnce(&mut Seat)) {
        self.lock().seats.get_mut(index).map(change);
    }

    /// Time since the demo began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Opens an act.
    pub(super) fn enter(&self, phase: Phase) {
        self.change(|picture| {
            picture.phase = phase;
            picture.waiting.clear();
        });
        self.chapter(phase as usize + 1, phase.title());
    }

    /// Tells a heading.
    pub(super) fn chapter(&self, number: usize, title: &str) {
        let title = format!("{number}. {title}");
        self.tell(&format!("{title}\n{}", "-".repeat(title.len())));
    }

    /// Adds a paragraph to the story. A closed stdout or stderr is ignored.
    pub(super) fn tell(&self, paragraph: &str) {
        match self.voice {
            Voice::Stdout => drop(writeln!(io::stdout().lock(), "{paragraph}\n")),
            Voice::Stderr => drop(writeln!(io::stderr().lock(), "{paragraph}\n")),
            Voice::Screen => {}
        }
        self.change(|picture| {
            if picture.story.len() == STORY_MAX {
                picture.story.remove(0);
            }
            picture.story.push(paragraph.to_owned());
        });
    }

    /// What each node reported last, to explain why something did not happen.
    pub(super) fn views(&self) -> String {
        let line = |seat: &Seat| match seat.view {
            Some(View {
                contexts_equal,
                digests_equal,
                recent,
                residuals,
                nodes,
                ..
            }) => format!(
                "  {}: knows {nodes} nodes, contexts equal: {contexts_equal}, digests equal: {digests_equal}, recent {recent}, residuals {residuals}\n",
                seat.name
            ),
            None => format!("  {}: no answer\n", seat.name),
        };
        self.lock().seats.iter().map(line).collect()
    }

    /// Announces what the demo is waiting for.
    pub(super) fn wait_for(&self, what: &str, at_most: Duration) {
        let line = format!("waiting for {what} (at most {} s)", at_most.as_secs());
        if self.voice != Voice::Screen {
            drop(writeln!(io::stderr().lock(), "  … {line}"));
        }
        self.change(|picture| picture.waiting = line);
    }

    /// Asks every running node for its status, all at once, and shows the answers. `None` stands
    /// for a node that is not running or did not answer.
    pub(super) async fn ask_all(&self) -> Vec<Option<View>> {
        let doors: Vec<_> = self
            .lock()
            .seats
            .iter()
            .map(|seat| seat.door.clone())
            .collect();
        let mut views = vec![None; doors.len()];
        let mut asked = JoinSet::new();
        for (index, door) in doors.into_iter().enumerate() {
            let Some(door) = door else { continue };
            let answer = door.status();
            asked
                .spawn(async move { (index, tokio::time::timeout(STATUS_PATIENCE, answer).await) });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((index, Ok(Ok(status)))) = answer {
                views[index] = Some(View::of(&status));
            }
        }
        let mut picture = self.lock();
        picture
            .seats
            .iter_mut()
            .zip(&views)
            .for_each(|(seat, view)| seat.view = *view);
        views
    }
}

impl Phase {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Start => "A cluster across several datacenters",
            Self::Work => "Clients choose a consistency level for each request",
            Self::Split => "One datacenter is cut off",
            Self::Heal => "The links heal and the replicas converge",
            Self::Crash => "A node crashes and comes back",
            Self::Verdict => "Verdict",
        }
    }
}
