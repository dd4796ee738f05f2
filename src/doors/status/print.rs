//! The status for people: a summary with what is amiss and why, then the nodes, the keyspaces, and
//! which levels can be met from where.

use std::fmt;

use super::{
    AccessKind, KeyspaceStatus, LackReason, Levels, NodeState, NodeStatus, Status, WaitReason,
};
use crate::table::Table;

/// A clock that is off by more than this is named. Equals the bound within which stamps are
/// believed: `Config::drift_max`.
const CLOCK_OFF_MS: u64 = 500;

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        let alive = self.nodes.iter();
        let alive = alive.filter(|node| node.state == NodeState::Alive).count();
        writeln!(f, "cluster    {}", self.cluster)?;
        writeln!(f, "epoch      {}", self.epoch)?;
        writeln!(f, "leader     {}", self.leadership())?;
        writeln!(f, "nodes      {alive} of {} alive", self.nodes.len())?;
        writeln!(f, "ready      {}", yes(self.ready))?;
        writeln!(f, "converged  {}", yes(self.converged))?;
        for (what, text) in self.remarks() {
            writeln!(f, "{what:<10} {text}")?;
        }
        writeln!(f)?;
        writeln!(f, "{}", self.node_table())?;
        writeln!(f, "{}", self.keyspace_table())?;
        write!(f, "{}", self.level_table())
    }
}

impl Status {
    /// What is amiss and what deserves to be known, each with the word that it is listed under.
    pub fn remarks(&self) -> Vec<(&'static str, String)> {
        let mut remarks = Vec::new();
        for node in &self.nodes {
            if node.state == NodeState::Down {
                remarks.push(("down", self.down(node)));
            }
            remarks.extend(clock(node).map(|text| ("clock", text)));
        }
        if !self.volatile_voters.is_empty() {
            let text = format!(
                "may be forgotten by {}: sled or an older copy of a disk keeps no promise; let nodes with --storage fjall join or replace them",
                self.volatile_voters.join(", ")
            );
            remarks.push(("votes", text));
        }
        for keyspace in &self.keyspaces {
            let name = &keyspace.name;
            let mut add = |what, text| remarks.push((what, format!("{name}: {text}")));
            for text in unmet(keyspace) {
                add("unmet", text);
            }
            if let Some(text) = moving(keyspace) {
                add("moving", text);
            }
            if let Some(text) = lacking(keyspace) {
                add("lacking", text);
            }
            if keyspace.defaults.copies == 1 {
                let level = &keyspace.defaults.write;
                add(
                    "one copy",
                    format!("a write at its default level, {level}, may be on one node only"),
                );
            }
        }
        remarks
    }

    fn leadership(&self) -> String {
        let control = &self.control;
        match &self.leader {
            Some(leader) => format!(
                "{leader}, in term {}: {} of {} voters follow it",
                control.term, control.following, control.voters
            ),
            None => format!(
                "none: {} of {} voters answer, and no majority of them follows one",
                control.answering, control.voters
            ),
        }
    }

    fn down(&self, node: &NodeStatus) -> String {
        match node.down_since {
            Some(since) => format!(
                "{} has not answered for {} s",
                node.name,
                self.at_ms.saturating_sub(since) / 1000
            ),
            None => format!("{} does not answer", node.name),
        }
    }

    fn node_table(&self) -> Table {
        let mut table = Table::new([
            "NODE",
            "NUMBER",
            "DATACENTER",
            "RACK",
            "ADDRESS",
            "VERSION",
            "STATE",
            "VOTES",
            "RTT",
            "STORE",
            "FREE",
            "MEMORY",
            "REQUESTS/S",
        ]);
        for node in &self.nodes {
            let mut state = node.state.to_string();
            if node.leaving {
                state.push_str(", leaving");
            }
            let load = node.load.as_ref();
            table.push([
                node.name.clone(),
                node.number.to_string(),
                node.datacenter.clone(),
                node.rack.clone(),
                node.address.clone(),
                known(node.version.clone()),
                state,
                if node.voter { "yes" } else { "no" }.to_owned(),
                known(node.rtt_us.map(millis)),
                known(load.map(|load| bytes(load.store_bytes))),
                known(load.and_then(|load| load.free_bytes).map(bytes)),
                known(load.and_then(|load| load.memory_bytes).map(bytes)),
                known(load.map(|load| load.requests_per_s)),
            ]);
        }
        table
    }

    fn keyspace_table(&self) -> Table {
        let equal = |equal: bool| if equal { "equal" } else { "DIFFER" }.to_owned();
        let mut table = Table::new([
            "KEYSPACE",
            "PARTITIONS",
            "REPLICATION",
            "ROWS",
            "RECENT",
            "RESIDUALS",
            "CONTEXTS",
            "DIGESTS",
        ]);
        for keyspace in &self.keyspaces {
            let replication: Vec<String> = keyspace
                .replication
                .iter()
                .map(|(dc, count)| format!("{dc}={count}"))
                .collect();
            table.push([
                keyspace.name.clone(),
                keyspace.partitions.to_string(),
                replication.join(","),
                keyspace.rows.to_string(),
                keyspace.recent.to_string(),
                keyspace.residuals.to_string(),
                equal(keyspace.contexts_equal),
                equal(keyspace.digests_equal),
            ]);
        }
        table
    }

    /// Each default level with a star; what the placement can never satisfy is left out.
    fn level_table(&self) -> Table {
        let mut table = Table::new(["KEYSPACE", "FROM", "READS NOW", "WRITES NOW"]);
        for keyspace in &self.keyspaces {
            for levels in &keyspace.levels {
                table.push([
                    keyspace.name.clone(),
                    levels.datacenter.clone(),
                    met(&levels.read, &keyspace.defaults.read),
                    met(&levels.write, &keyspace.defaults.write),
                ]);
            }
        }
        table
    }
}

/// The levels, the default one with a star.
fn met(levels: &[String], default: &str) -> String {
    if levels.is_empty() {
        return "none".to_owned();
    }
    let marked = levels.iter().map(|level| {
        let star = if level == default { "*" } else { "" };
        format!("{level}{star}")
    });
    marked.collect::<Vec<_>>().join(" ")
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

/// Bytes with three digits or fewer before the unit.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut unit) = (bytes, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (whole, unit) = (whole / 1024, unit + 1);
    }
    format!("{whole} {}", UNITS[unit])
}

fn clock(node: &NodeStatus) -> Option<String> {
    let offset = node.clock_offset_ms?;
    let off = offset.unsigned_abs();
    let (seconds, millis) = (off / 1000, off % 1000);
    let direction = if offset < 0 { "behind" } else { "ahead" };
    (off > CLOCK_OFF_MS).then(|| {
        format!(
            "{} is {seconds}.{millis:03} s {direction}: the node refuses writes that need a stamp until the clock is right",
            node.name
        )
    })
}

/// The default levels that cannot be met.
fn unmet(keyspace: &KeyspaceStatus) -> Vec<String> {
    let mut texts = Vec::new();
    for (Levels { datacenter, .. }, unmet) in keyspace.defaults_unmet() {
        let access = match unmet.access {
            AccessKind::Read => "reads",
            AccessKind::Write => "writes",
        };
        let missing = match unmet.missing.as_slice() {
            [] => "it has no more".to_owned(),
            missing => format!("without {}", missing.join(", ")),
        };
        texts.push(format!(
            "{access} from {datacenter} at its default level, {}, need {} replicas, and {} can answer: {missing}",
            unmet.level, unmet.required, unmet.answering
        ));
    }
    texts
}

fn moving(keyspace: &KeyspaceStatus) -> Option<String> {
    let moving = keyspace.moving.as_ref()?;
    let waits = moving.waiting_for.iter().map(|waiting| {
        let reason = match waiting.reason {
            WaitReason::Silent => "which does not answer",
            WaitReason::Filling => "which is being filled",
            WaitReason::Reporting => "whose report is on its way",
        };
        format!("{} ({}), {reason}", waiting.node, waiting.partitions)
    });
    let waits: Vec<String> = waits.collect();
    Some(format!(
        "{} partitions move, {} of them are being copied; they wait for {}",
        moving.partitions,
        moving.copying,
        waits.join("; ")
    ))
}

fn lacking(keyspace: &KeyspaceStatus) -> Option<String> {
    let lacks = keyspace.lacking.iter().map(|lacking| {
        let reason = match lacking.reason {
            LackReason::Silent => "cannot be asked",
            LackReason::Absent => "has no replica yet",
            LackReason::Filling => "is being filled",
            LackReason::Quarantined => "is in quarantine",
            LackReason::Behind => "has not seen the same as the others",
        };
        format!("{} {reason} in {}", lacking.node, lacking.partitions)
    });
    let lacks: Vec<String> = lacks.collect();
    (!lacks.is_empty())
        .then(|| format!("{} of {} partitions", lacks.join(", "), keyspace.partitions))
}
