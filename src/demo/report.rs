//! The result of a demo, for people and for programs.

use std::fmt;

use serde_json::{Map, Value, json};

use super::score::{Cell, LEVELS, SIDES, Side, Totals, is_served};
use crate::table::Table;

#[cfg(test)]
mod tests;

/// Fewer requests than this at one level on one side prove nothing. Guess: enough for chance
/// failures to show.
const REQUESTS_MIN: u64 = 10;
/// Comparing fewer facts than this proves nothing.
const FACTS_MIN: usize = 50;
/// One request in this many may fail where a level is served: a machine at its limit must not look
/// like a lost quorum.
const FAILED_SHARE: u64 = 20;

/// How often the cluster contradicted what clients had been told. One contradiction counts once,
/// however many nodes showed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Harms {
    /// Acknowledged writes that were missing.
    pub lost: u64,
    /// Counters that were higher than everything ever added to them.
    pub double_counted: u64,
    /// Things that were there again although their removal was acknowledged.
    pub resurrected: u64,
    /// Writes that were there although they had been refused.
    pub phantom: u64,
    /// Keys that could not be read back.
    pub unread: u64,
}

/// How long the replicas took to become equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Healing {
    /// Whether every proof ended with equal contexts, equal digests and nothing left to exchange,
    /// as seen from every node.
    pub converged: bool,
    /// Milliseconds from the healing of the links until then.
    pub after_split_ms: u64,
    /// Milliseconds from the last write around the crash until then.
    pub after_crash_ms: u64,
}

/// The result of a demo that ran to its end. Unlike the `Report` of `check`, it also counts what
/// was served.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Number of datacenters.
    pub datacenters: usize,
    /// Number of nodes in all datacenters together.
    pub nodes: usize,
    /// All requests in all acts.
    pub totals: Totals,
    /// One row per level of [`LEVELS`], one cell per side of [`SIDES`].
    pub table: [[Cell; 3]; 4],
    /// Contradictions found.
    pub harms: Harms,
    /// Counters, registers, elements and keys whose value was compared.
    pub facts: usize,
    /// How many of them were removals that had been acknowledged.
    pub removals: usize,
    /// Convergence after the split and after the crash.
    pub healing: Healing,
    /// How long the demo took, in seconds.
    pub seconds: f64,
}

/// A reason not to call the run a success.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// See [`Harms::lost`].
    #[error("{0} acknowledged writes were lost")]
    Lost(u64),
    /// See [`Harms::double_counted`].
    #[error("{0} counters were higher than everything added to them")]
    DoubleCounted(u64),
    /// See [`Harms::resurrected`].
    #[error("{0} removed things came back")]
    Resurrected(u64),
    /// See [`Harms::phantom`].
    #[error("{0} writes were applied although the client was told that nothing was applied")]
    Phantom(u64),
    /// See [`Harms::unread`].
    #[error("{0} keys could not be read back")]
    Unread(u64),
    /// See [`Healing::converged`].
    #[error("the replicas did not converge")]
    NotConverged,
    /// Too little was compared to prove anything.
    #[error("only {facts} facts and {removals} removals were compared, too few to prove anything")]
    TooFewFacts {
        /// See [`Report::facts`].
        facts: usize,
        /// See [`Report::removals`].
        removals: usize,
    },
    /// Too few requests were made at a level to compare it.
    #[error("only {requests} requests were made at {level} {}, too few to prove anything", .side.place())]
    TooFewRequests {
        /// The level.
        level: quorate_dynamo::Consistency,
        /// Where the requests were made.
        side: Side,
        /// How many there were.
        requests: u64,
    },
    /// A level failed where there are enough replicas for it.
    #[error("{level} failed {failed} times {}, where there are enough replicas", .side.place())]
    NotServed {
        /// The level.
        level: quorate_dynamo::Consistency,
        /// Where.
        side: Side,
        /// How many requests failed.
        failed: u64,
    },
    /// A level was answered where there are too few replicas for it.
    #[error("{level} was answered {ok} times {}, where there are too few replicas", .side.place())]
    Overclaimed {
        /// The level.
        level: quorate_dynamo::Consistency,
        /// Where.
        side: Side,
        /// How many requests were answered.
        ok: u64,
    },
}

impl Report {
    /// The reasons why the run does not count as a success; empty if it does.
    pub fn doubts(&self) -> Vec<Doubt> {
        let Harms {
            lost,
            double_counted,
            resurrected,
            phantom,
            unread,
        } = self.harms;
        let found = [
            (lost > 0, Doubt::Lost(lost)),
            (double_counted > 0, Doubt::DoubleCounted(double_counted)),
            (resurrected > 0, Doubt::Resurrected(resurrected)),
            (phantom > 0, Doubt::Phantom(phantom)),
            (unread > 0, Doubt::Unread(unread)),
            (!self.healing.converged, Doubt::NotConverged),
            (
                self.facts < FACTS_MIN || self.removals == 0,
                Doubt::TooFewFacts {
                    facts: self.facts,
                    removals: self.removals,
                },
            ),
        ];
        let mut doubts: Vec<Doubt> = found
            .into_iter()
            .filter(|(found, _)| *found)
            .map(|(_, doubt)| doubt)
            .collect();
        for (level, row) in self.table.iter().enumerate() {
            doubts.extend(
                SIDES
                    .iter()
                    .zip(row)
                    .filter_map(|(side, cell)| self.doubt_level(level, *side, *cell)),
            );
        }
        doubts
    }

    fn doubt_level(
        &self,
        level: usize,
        side: Side,
        Cell { ok, failed, .. }: Cell,
    ) -> Option<Doubt> {
        let level = LEVELS[level];
        let each = self.nodes / self.datacenters.max(1);
        if ok + failed < REQUESTS_MIN {
            return Some(Doubt::TooFewRequests {
                level,
                side,
                requests: ok + failed,
            });
        }
        match is_served(level, side, self.datacenters, each.min(3)) {
            true if failed * FAILED_SHARE > ok => Some(Doubt::NotServed {
                level,
                side,
                failed,
            }),
            false if ok > 0 => Some(Doubt::Overclaimed { level, side, ok }),
            _ => None,
        }
    }

    /// The verdict in one line.
    pub fn verdict(&self) -> String {
        let doubts = self.doubts();
        if let Some(first) = doubts.first() {
            let more = if doubts.len() > 1 {
                format!(" (and {} more)", doubts.len() - 1)
            } else {
                String::new()
            };
            return format!("verdict: FAILED: {first}{more}");
        }
        format!(
            "verdict: all held: {} operations, 0 lost, 0 double counted, 0 resurrected; converged {:.1} s after the split healed",
            self.totals.operations,
            self.healing.after_split_ms as f64 / 1000.0
        )
    }

    /// The totals, for people.
    pub(super) fn account(&self) -> String {
        let Totals {
            operations,
            acknowledged,
            refused,
            unknown,
        } = self.totals;
        let Harms {
            lost,
            double_counted,
            resurrected,
            phantom,
            ..
        } = self.harms;
        let figures = [
            (
                "operations",
                operations,
                "requests that clients sent in all acts",
            ),
            ("acknowledged", acknowledged, "answered at their level"),
            (
                "refused",
                refused,
                "not applied, and the client was told so at once",
            ),
            (
                "unknown",
                unknown,
                "no answer, because a link was cut or the node was killed",
            ),
            (
                "lost",
                lost,
                "acknowledged writes that were missing at the end",
            ),
            (
                "double counted",
                double_counted,
                "counters that were higher than everything added to them",
            ),
            ("resurrected", resurrected, "removed things that came back"),
            (
                "phantom",
                phantom,
                "refused writes that were applied after all",
            ),
        ];
        let lines =
            figures.map(|(name, count, meaning)| format!("{name:<15}{count:>7}   {meaning}"));
        lines.join("\n") + "\n"
    }

    /// The document of `--output json`. Its fields are stable.
    pub fn json(&self) -> Value {
        let cell = |cell: &Cell| {
            json!({
                "ok": cell.ok,
                "failed": cell.failed,
                "p50_ms": cell.p50_ms,
                "p99_ms": cell.p99_ms,
            })
        };
        let row = |[before, majority, minority]: &[Cell; 3]| {
            json!({
                "before": cell(before),
                "majority_side": cell(majority),
                "minority_side": cell(minority),
            })
        };
        let levels: Map<String, Value> = LEVELS
            .iter()
            .zip(&self.table)
            .map(|(level, cells)| (level.to_string(), row(cells)))
            .collect();
        json!({
            "nodes": self.nodes,
            "datacenters": self.datacenters,
            "operations": self.totals.operations,
            "acknowledged": self.totals.acknowledged,
            "refused": self.totals.refused,
            "unknown": self.totals.unknown,
            "facts": self.facts,
            "lost": self.harms.lost,
            "double_counted": self.harms.double_counted,
            "resurrected": self.harms.resurrected,
            "phantom": self.harms.phantom,
            "unread": self.harms.unread,
            "levels": levels,
            "converged": self.healing.converged,
            "convergence_ms": self.healing.after_split_ms,
            "recovery_ms": self.healing.after_crash_ms,
            "passed": self.doubts().is_empty(),
            "doubts": self.doubts().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "seconds": self.seconds,
        })
    }
}

/// A table of the levels on these sides, for people.
pub(super) fn levels_table(table: &[[Cell; 3]; 4], sides: &[Side]) -> String {
    let mut text = Table::new(["LEVEL", "WHERE", "OK", "FAILED", "P50 MS", "P99 MS", ""]);
    for (level, row) in LEVELS.iter().zip(table) {
        for side in sides {
            let cell = row[*side as usize];
            let word = cell.word();
            let millis = |value: f64| format!("{value:.1}");
            text.push([
                level.to_string(),
                side.to_string(),
                cell.ok.to_string(),
                cell.failed.to_string(),
                millis(cell.p50_ms),
                millis(cell.p99_ms),
                word.to_owned(),
            ]);
        }
    }
    text.to_string()
}

impl Cell {
    /// The figures in a word.
    pub(super) fn word(&self) -> &'static str {
        match (self.ok, self.failed) {
            (0, 0) => "",
            (_, 0) => "serves",
            (0, _) => "fails fast",
            _ => "serves in part",
        }
    }
}

impl Side {
    /// Where the side is, for a sentence.
    fn place(self) -> &'static str {
        match self {
            Self::Before => "before the cut",
            Self::Majority => "on the majority side",
            Self::Minority => "on the minority side",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Before => "before the cut",
            Self::Majority => "majority side",
            Self::Minority => "minority side",
        })
    }
}
