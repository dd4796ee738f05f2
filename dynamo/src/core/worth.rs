//! What this node's clock is worth since the start, and how that is being found out.

use std::time::Duration;

use quorate_crdt::Now;

/// How long the failure detector may take to find out who is reachable. Guess: two of its rounds.
const WHO_IS_THERE: Duration = Duration::from_secs(1);
/// How long a reachable node may keep this one waiting for the time. Guess: a few round trips of
/// the widest network.
const LONGEST: Duration = Duration::from_secs(3);

/// What this node's clock is worth since the start. Once confirmed, it stays so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// Other nodes are being asked. Requests that need a stamp wait.
    Doubted,
    /// Nobody could be asked. The clock stamps, but has no say. It is doubted again as soon as a
    /// node can be reached.
    #[default]
    Unheard,
    /// It was compared, and either nobody can say which clock is right, or this one is off.
    Compared,
    /// A majority of all clocks agreed with it, or a clock did that others had confirmed, or there
    /// is no other clock.
    Confirmed,
}

/// What the clock is worth, and how that is being found out.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    pub(super) worth: Worth,
    /// When the doubt began.
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

    /// What the clock is worth if neither a majority nor a confirmed clock has spoken. `told` of
    /// the `reachable` nodes have told their time.
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
