//! The acts of the demo, in order. Every wait has a deadline and says what it is waiting for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_dynamo::Consistency;
use tokio::time::{Instant, sleep};

use super::board::{Board, Phase, Seat};
use super::cluster::Cluster;
use super::error::DemoError;
use super::ledger::{Finding, Harm, Ledger};
use super::plan::Plan;
use super::report::{Harms, Healing, Report, levels_table};
use super::score::{LEVELS, SIDES, Window};
use super::workload::{SharedLedger, Workload};
use super::{audit, wan};
use crate::table::Table;

/// How long the nodes may take to find each other on a busy machine.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// How long both sides may take to notice a cut. The wide-area failure detector takes about six
/// seconds; this is five times that, for a busy machine.
const NOTICE_PATIENCE: Duration = Duration::from_secs(30);
/// How long the replicas may take to become equal.
const CONVERGE_PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// The share of the demo's duration for the workload before the cut, and again while it lasts. The
/// rest goes to starting, noticing and proving.
const WORK_SHARE: f64 = 0.2;
/// The share of the duration for the workload around the crash.
const CRASH_SHARE: f64 = 0.12;

/// What the acts share.
struct Play<'a> {
    plan: Plan,
    cluster: &'a mut Cluster,
    board: &'a Arc<Board>,
    ledger: SharedLedger,
    findings: BTreeSet<Finding>,
    healing: Healing,
}

/// Plays all acts.
pub(super) async fn play(
    plan: Plan,
    cluster: &mut Cluster,
    board: &Arc<Board>,
) -> Result<Report, DemoError> {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let healing = Healing {
        converged: true,
        ..Healing::default()
    };
    let mut acts = Play {
        plan,
        cluster,
        board,
        ledger,
        findings: BTreeSet::new(),
        healing,
    };
    acts.start().await?;
    let workload = acts.work().await;
    acts.split(workload).await?;
    acts.heal().await?;
    acts.crash().await?;
    Ok(acts.verdict())
}

impl Play<'_> {
    async fn start(&mut self) -> Result<(), DemoError> {
        let Plan {
            datacenters, nodes, ..
        } = self.plan;
        self.board.enter(Phase::Start);
        self.board.tell(&format!(
            "{} nodes run in this process, {nodes} in each of {datacenters} datacenters. Every\n\
             node has its own directory and sockets and talks to the others over QUIC. Packets\n\
             between datacenters are delayed as if they had to travel the distance. Each\n\
             datacenter keeps {} of every key. Data has no leader: any node takes any request.",
            self.plan.all_nodes(),
            match self.plan.replicas_each() {
                1 => "one copy".to_owned(),
                copies => format!("{copies} copies"),
            },
        ));
        self.board.wait_for(
            "all nodes to join and to share out the partitions",
            START_PATIENCE,
        );
        let begun = Instant::now();
        let started = tokio::time::timeout(START_PATIENCE, self.cluster.start()).await;
        let stuck = DemoError::Stuck {
            what: "all nodes to join",
            seconds: START_PATIENCE.as_secs(),
        };
        started.map_err(|_elapsed| stuck)??;
        if self.settled(START_PATIENCE).await.is_none() {
            self.board.tell(&format!(
                "The replicas did not become equal:\n{}",
                self.board.views()
            ));
            return Err(DemoError::Stuck {
                what: "the first convergence",
                seconds: START_PATIENCE.as_secs(),
            });
        }
        self.all_in_reach(self.plan.datacenters, "all nodes to reach each other")
            .await?;
        self.board.tell(&format!(
            "All {} nodes are serving after {:.1} s. Try them from another terminal while the\n\
             demo runs:\n\n\
             {}\n\
             Round trips between datacenters, in milliseconds:\n\n\
             {}",
            self.plan.all_nodes(),
            begun.elapsed().as_secs_f64(),
            self.doors(),
            self.distances(),
        ));
        Ok(())
    }

    /// The act before the cut. Its clients keep running.
    async fn work(&mut self) -> Workload {
        self.board.enter(Phase::Work);
        self.board.tell(&format!(
            "Clients in every datacenter now increment counters, add to sets, overwrite\n\
             registers and hash fields, and remove things. Every request names a consistency\n\
             level, which says how many copies must answer before the client is told that the\n\
             request is done:\n\n\
             {}\n\
             The more copies must answer, and the farther away they are, the longer a request\n\
             takes:",
            explained()
        ));
        let workload = Workload::start(self.board, &self.ledger, 1);
        self.look_at(Window::Whole).await;
        self.board.tell(&format!(
            "{}\n{}",
            levels_table(&self.board.scores.table(), &SIDES[..1]),
            "(The slowest one percent are removals. A removal first looks at what the other\n\
             copies have, so that it removes everything that the client could have seen. That\n\
             takes a second round trip.)"
        ));
        workload
    }

    async fn split(&mut self, workload: Workload) -> Result<(), DemoError> {
        let cut = self.plan.datacenters - 1;
        self.board.enter(Phase::Split);
        self.board.tell(&format!(
            "From now on no packet passes between {} and the other datacenters. Nobody is told:\n\
             each side has to notice by itself that the other no longer answers. Meanwhile the\n\
             clients keep going.",
            wan::name(cut)
        ));
        self.cluster.wan.cut_off(cut);
        self.board.change(|picture| picture.cut = Some(cut));
        let begun = Instant::now();
        self.all_in_reach(cut, "both sides to notice").await?;
        self.board.tell(&format!(
            "Both sides noticed after {:.1} s.",
            begun.elapsed().as_secs_f64()
        ));
        self.look_at(Window::Split(cut)).await;
        workload.finish().await;
        self.board.tell(&format!(
            "{}\n{}",
            levels_table(&self.board.scores.table(), &SIDES),
            "A level that can still be met is served as before, on both sides. A level that\n\
             cannot be met fails at once with NOTQUORATE and the names of the missing nodes, and\n\
             nothing is applied. No client waits for a side that cannot be reached, and no\n\
             client is told that something was done when it was not."
        ));
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), DemoError> {
        self.board.enter(Phase::Heal);
        self.board.tell(
            "The links work again. Each side has accepted writes that the other has not seen.\n\
             Every replica knows exactly which events it has (its causal context), so the sides\n\
             exchange only what the other lacks, and merge it.",
        );
        self.cluster.wan.heal();
        self.board.change(|picture| picture.cut = None);
        let (converged, millis) = self.prove("after the links healed", Instant::now()).await?;
        self.healing.converged &= converged;
        self.healing.after_split_ms = millis;
        Ok(())
    }

    async fn crash(&mut self) -> Result<(), DemoError> {
        let victim = self.plan.nodes + usize::from(self.plan.nodes > 1);
        let name = self
            .board
            .picture()
            .seats
            .get(victim)
            .map(|seat| seat.name.clone())
            .unwrap_or_default();
        self.board.enter(Phase::Crash);
        self.board.tell(&format!(
            "The clients write again, and {name} is killed in the middle: it finishes nothing\n\
             and tells nobody. Its clients switch to other nodes. Then it restarts from what is\n\
             on its disk, while the writes go on."
        ));
        self.all_in_reach(self.plan.datacenters, "all nodes to reach each other again")
            .await?;
        let part = self.plan.duration.mul_f64(CRASH_SHARE / 3.0);
        let workload = Workload::start(self.board, &self.ledger, 2);
        sleep(part).await;
        self.cluster.crash(victim).await;
        sleep(part).await;
        self.cluster.start_one(victim).await?;
        sleep(part).await;
        workload.finish().await;
        let (converged, millis) = self.prove("after the last write", Instant::now()).await?;
        self.healing.converged &= converged;
        self.healing.after_crash_ms = millis;
        Ok(())
    }

    fn verdict(self) -> Report {
        let harm = |harm: Harm| {
            self.findings
                .iter()
                .filter(|finding| finding.harm == harm)
                .count() as u64
        };
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let report = Report {
            datacenters: self.plan.datacenters,
            nodes: self.plan.all_nodes(),
            totals: self.board.scores.totals(),
            table: self.board.scores.table(),
            harms: Harms {
                lost: harm(Harm::Lost),
                double_counted: harm(Harm::DoubleCounted),
                resurrected: harm(Harm::Resurrected),
                phantom: harm(Harm::Phantom),
                unread: harm(Harm::Unread),
            },
            facts: ledger.facts(),
            removals: ledger.removals(),
            healing: self.healing,
            seconds: self.board.elapsed().as_secs_f64(),
        };
        self.board.enter(Phase::Verdict);
        self.board.tell(report.account().trim_end());
        report
    }

    /// Counts the workload in `window` for its share of the time.
    async fn look_at(&self, window: Window) {
        self.board.scores.look_at(Some(window));
        let refresh = Duration::from_secs(1);
        let until = Instant::now() + self.plan.duration.mul_f64(WORK_SHARE);
        while Instant::now() < until {
            sleep(refresh.min(until - Instant::now())).await;
            self.board.ask_all().await;
        }
        self.board.scores.look_at(None);
    }

    /// Waits for convergence, then compares what every node holds with what clients were told. Time
    /// counts from `since`.
    async fn prove(&mut self, after: &str, since: Instant) -> Result<(bool, u64), DemoError> {
        self.board.wait_for(
            "equal contexts and equal digests, as seen from every node",
            CONVERGE_PATIENCE,
        );
        let settled = self.settled(CONVERGE_PATIENCE).await;
        let millis = since.elapsed().as_millis() as u64;
        let Some(rows) = settled else {
            self.board.tell(&format!(
                "NOT CONVERGED after {millis} ms:\n{}",
                self.board.views()
            ));
            return Ok((false, millis));
        };
        let found = self.read_back_everywhere().await?;
        let (facts, removals) = {
            let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            (ledger.facts(), ledger.removals())
        };
        let nodes = self.plan.all_nodes();
        self.board.tell(&format!(
            "Converged {:.1} s {after}: all {nodes} nodes report that every copy has the same\n\
             context and the same digest over {rows} rows, and that nothing is left to exchange.\n\
             Then everything was read back at every node and compared with what the clients had\n\
             been told: {facts} counters, registers, elements and keys, {removals} of them\n\
             removed. {}",
            millis as f64 / 1000.0,
            if found.is_empty() {
                "Everything is as it must be.".to_owned()
            } else {
                complain(&found)
            },
        ));
        self.findings.extend(found);
        Ok((true, millis))
    }

    async fn read_back_everywhere(&self) -> Result<BTreeSet<Finding>, DemoError> {
        // Nobody writes any more, so the ledger can be taken instead of copied. It must not stay
        // locked while nodes are asked.
        let ledger =
            std::mem::take(&mut *self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found = BTreeSet::new();
        let mut result = Ok(());
        for seat in self.board.picture().seats {
            match audit::read_back(seat.resp, &ledger).await {
                Ok(reading) => found.extend(ledger.judge(&reading)),
                Err(error) => result = Err(error),
            }
        }
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
        result.map(|()| found)
    }

    /// Waits until every node reports that all replicas are equal and have nothing to exchange.
    /// Returns the number of rows.
    async fn settled(&self, patience: Duration) -> Option<u64> {
        let deadline = Instant::now() + patience;
        let all = self.plan.all_nodes();
        while Instant::now() < deadline {
            let views = self.board.ask_all().await;
            if views
                .iter()
                .all(|view| view.is_some_and(|view| view.settled() && view.nodes == all))
            {
                return views.first().copied().flatten().map(|view| view.rows);
            }
            sleep(LOOK_PAUSE).await;
        }
        None
    }

    /// Waits until every node reaches the replicas on its own side and no others. `whole` is the
    /// number of datacenters on the first side.
    async fn all_in_reach(&self, whole: usize, what: &'static str) -> Result<(), DemoError> {
        self.board.wait_for(what, NOTICE_PATIENCE);
        let deadline = Instant::now() + NOTICE_PATIENCE;
        let (sites, each) = (self.plan.datacenters, self.plan.replicas_each());
        for seat in self.board.picture().seats {
            let inside = if seat.site < whole {
                whole
            } else {
                sites - whole
            };
            while self.replicas_in_reach(&seat).await != Some(inside * each) {
                if Instant::now() > deadline {
                    return Err(DemoError::Stuck {
                        what,
                        seconds: NOTICE_PATIENCE.as_secs(),
                    });
                }
                sleep(LOOK_PAUSE).await;
            }
        }
        Ok(())
    }

    async fn replicas_in_reach(&self, seat: &Seat) -> Option<usize> {
        let all = self.plan.datacenters * self.plan.replicas_each();
        audit::replicas_in_reach(&**seat.door.as_ref()?, seat.site, all).await
    }

    fn doors(&self) -> String {
        let seats = self.board.picture().seats;
        let lines: Vec<_> = seats
            .iter()
            .map(|seat| format!("  redis-cli -p {:<5}   # {}", seat.resp.port(), seat.name))
            .collect();
        lines.join("\n") + "\n"
    }

    fn distances(&self) -> String {
        let sites = 0..self.plan.datacenters;
        let line = |name: &str, cells: Vec<String>| {
            cells
                .into_iter()
                .fold(format!("  {name:<9}"), |line, cell| {
                    line + &format!("{cell:>9}")
                })
        };
        let head = line(
            "",
            sites
                .clone()
                .map(|site| wan::name(site).to_owned())
                .collect(),
        );
        let millis = |from| {
            sites
                .clone()
                .map(|to| wan::round_trip(from, to).as_millis().to_string())
                .collect()
        };
        let rows = sites
            .clone()
            .map(|from| line(wan::name(from), millis(from)));
        std::iter::once(head)
            .chain(rows)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// A table of what each level requires and gives.
fn explained() -> String {
    let mut table = Table::new(["LEVEL", "WHICH COPIES MUST ANSWER", "WHAT YOU GET"]);
    for level in LEVELS {
        let [who, why] = match level {
            Consistency::One => ["any one copy", "the lowest latency; the others follow"],
            Consistency::LocalQuorum => [
                "a majority in the client's datacenter",
                "everyone in that datacenter sees the write",
            ],
            Consistency::Quorum => [
                "a majority of all copies",
                "everyone everywhere sees the write",
            ],
            _ => [
                "a majority in every datacenter",
                "no datacenter lags behind the write",
            ],
        };
        table.push([level.to_string(), who.to_owned(), why.to_owned()]);
    }
    table.to_string()
}

/// The first few contradictions, by name.
fn complain(found: &BTreeSet<Finding>) -> String {
    let some: Vec<String> = found
        .iter()
        .take(5)
        .map(|finding| format!("{}: {}", finding.slot, finding.harm))
        .collect();
    format!("{} ARE WRONG: {}", found.len(), some.join(", "))
}
