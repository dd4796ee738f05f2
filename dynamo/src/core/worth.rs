//! How much this node's clock is worth since the start, and how that is being found out.

use std::time::Duration;

use quorate_crdt::Now;

/// How long it takes until the failure detector knows who can be reached. Guess: two of its looks.
const WHO_IS_THERE: Duration = Duration::from_secs(1);
/// How long somebody who can be reached may keep a node waiting for the time. Guess: some round
/// trips of the widest area.
const LONGEST: Duration = Duration::from_secs(3);

/// How much this node's clock is worth since the start. It never falls from the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// Others are being asked: what must be stamped waits.
    Doubted,
    /// Nobody could be asked: it stamps, and has no say. In doubt again as soon as somebody can be
    /// reached.
    #[default]
    Unheard,
    /// It was compared, and either nobody can say which clock is right or this one is off.
    Compared,
    /// A majority of all clocks agreed with it, or one that others had confirmed, or there is no
    /// other.
    Confirmed,
}

/// What the clock is worth, and how that is being found out.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    pub(super) worth: Worth,
    /// Since when.
    pub(super) since: Duration,
    /// When the others are asked again, and how long to wait after that.
    pub(super) again: Duration,
    pub(super) patience: Duration,
}

impl Doubt {
    pub(super) fn begin(&mut self, now: Now, patience: Duration) {
        *self = Self {
            worth: Worth::Doubted,
            since: now.monotonic,
            again: now.monotonic + patience,
            patience,
        };
    }

    pub(super) fn asks_again(&mut self, now: Now) -> bool {
        let due = self.worth == Worth::Doubted && now.monotonic >= self.again;
        if due {
            self.patience *= 2;
            self.again = now.monotonic + self.patience;
        }
        due
    }

    /// What the clock is worth if neither a majority nor a confirmed clock has spoken, of the
    /// `reachable` nodes having `told` their time.
    pub(super) fn without_a_majority(&self, now: Now, reachable: usize, told: usize) -> Worth {
        let waited = now.monotonic.saturating_sub(self.since);
        let nobody_else = told == reachable && waited >= WHO_IS_THERE;
        match self.worth {
            Worth::Doubted if nobody_else || waited >= LONGEST => {
                if told > 0 {
                    Worth::Compared
                } else {
                    Worth::Unheard
                }
            }
            Worth::Unheard if told > 0 => Worth::Compared,
            worth => worth,
        }
    }
}
