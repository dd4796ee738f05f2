//! What a core keeps beside the rows of its replicas, each with its bound: for whoever checks that
//! memory follows the work.

use super::Dynamo;
use super::forwards::REMEMBERED_MAX;
use super::help::TALKS_AT_ONCE;
use crate::replica::Replica;

/// So much of one kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What is kept, and whether it is counted in pieces or bytes.
    pub what: &'static str,
    /// How much of it.
    pub held: usize,
    /// How much of it there may be.
    pub max: usize,
    /// Whether there is none of it when nobody asks for anything, all nodes are up and all replicas
    /// are converged.
    pub passes: bool,
}

impl Kept {
    /// What is gone when all is at rest.
    pub const fn passing(what: &'static str, held: usize, max: usize) -> Self {
        Self {
            what,
            held,
            max,
            passes: true,
        }
    }

    /// What may stay.
    pub const fn lasting(what: &'static str, held: usize, max: usize) -> Self {
        Self {
            what,
            held,
            max,
            passes: false,
        }
    }
}

impl Dynamo {
    /// What this core keeps. Of `recent` the bounds hold after each
    /// [`Timer::AntiEntropy`](crate::protocol::Timer::AntiEntropy), of all else after each input.
    pub fn kept(&self, recent: bool) -> Vec<Kept> {
        let (config, flights, healing) = (&self.config, &self.flights, &self.healing);
        // One alone may bring more than all may, or it could never be done.
        let flight_bytes_max = if flights.len() > 1 {
            config.flight_bytes_max
        } else {
            usize::MAX
        };
        let mut kept = vec![
            Kept::passing("requests in flight", flights.len(), config.flights_max),
            Kept::passing(
                "bytes of requests in flight",
                flights.weights(),
                flight_bytes_max,
            ),
            Kept::lasting(
                "writes whose acknowledgements nobody waits for",
                flights.owed.len(),
                self.owed_max(),
            ),
            Kept::lasting(
                "forwarded writes of one sender",
                flights.forwards.most(),
                REMEMBERED_MAX,
            ),
            Kept::passing(
                "forwarded reads in flight",
                flights.forwards.reads(),
                flights.len(),
            ),
            Kept::passing("waits for writes to spread", self.waiters.len(), usize::MAX),
            Kept::passing(
                "bytes of hints",
                healing.hints.weights(),
                config.hint_bytes_max,
            ),
            Kept::passing(
                "partitions streamed to this core",
                healing.pulls.len(),
                self.replicas.len(),
            ),
            Kept::passing(
                "conversations about what was missed",
                healing.talks(),
                TALKS_AT_ONCE,
            ),
            Kept::passing(
                "removed rows that lie on disk",
                self.removed_rows(),
                self.removed_rows_max(),
            ),
            Kept::passing(
                "records of erased replicas that lie on disk",
                self.erased_records(),
                usize::MAX,
            ),
        ];
        if recent {
            let (most, bytes) = self
                .replicas
                .values()
                .fold((0, 0), |(most, bytes), replica| {
                    (
                        most.max(Replica::recent_count(replica)),
                        bytes + replica.recent_bytes(),
                    )
                });
            kept.push(Kept::passing(
                "recent events of one partition",
                most,
                config.recent.events_max,
            ));
            kept.push(Kept::passing(
                "bytes of recent events",
                bytes,
                config.recent.bytes_max,
            ));
        }
        kept
    }

    /// Clients of this node that are owed an answer.
    pub fn asked(&self) -> usize {
        self.flights.of_clients() + self.waiters.len()
    }
}
