//! What follows from the status of a cluster: which levels can be met, what is amiss with a node.

use std::fmt;

use quorate_control::quorum::majority;
use quorate_dynamo::Consistency;
use serde::Serialize;

use crate::cli::fail::Failure;
use crate::doors::{AccessKind, KeyspaceStatus, NodeState, QuorumView, Status};

/// A disk with less room than this refuses writes.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// A clock that is off by more is not believed.
const CLOCK_OFF_MS: u64 = 500;

/// Whether a keyspace can be served at its default levels.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Served {
    keyspace: String,
    read: String,
    write: String,
    pub(super) met: bool,
    unmet: Vec<String>,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            keyspace,
            read,
            write,
            ..
        } = self;
        write!(f, "{keyspace}: reads at {read} and writes at {write}")?;
        if self.met {
            f.write_str(" can be met from every datacenter that answers")
        } else {
            write!(f, ": {}", self.unmet.join("; "))
        }
    }
}

/// Of one keyspace, or of all.
pub(super) fn keyspaces(status: &Status, name: Option<&str>) -> Result<Vec<Served>, Failure> {
    if let Some(name) = name {
        named(status, name)?;
    }
    let wanted = status
        .keyspaces
        .iter()
        .filter(|keyspace| name.is_none_or(|name| keyspace.name == name));
    Ok(wanted.map(served).collect())
}

fn served(keyspace: &KeyspaceStatus) -> Served {
    let unmet = keyspace.defaults_unmet().map(|(levels, unmet)| {
        format!(
            "{} from {} needs {} replicas, {} answer, and waits for {}",
            unmet.level,
            levels.datacenter,
            unmet.required,
            unmet.answering,
            unmet.missing.join(", ")
        )
    });
    let unmet: Vec<String> = unmet.collect();
    Served {
        keyspace: keyspace.name.clone(),
        read: keyspace.defaults.read.clone(),
        write: keyspace.defaults.write.clone(),
        met: unmet.is_empty(),
        unmet,
    }
}

/// Whether a level can be met from one datacenter.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    datacenter: String,
    keyspace: String,
    operation: AccessKind,
    level: String,
    pub(super) met: bool,
    /// Replicas that it needs, in the partition that lacks most; absent if it is met, or never can
    /// be.
    required: Option<u32>,
    answering: Option<u32>,
    missing: Vec<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.operation {
            AccessKind::Read => "read",
            AccessKind::Write => "written",
        };
        let Self {
            datacenter,
            keyspace,
            level,
            ..
        } = self;
        match (self.met, self.required, self.answering) {
            (true, ..) => write!(f, "from {datacenter}, {keyspace} can be {what} at {level}"),
            (false, Some(required), Some(answering)) => write!(
                f,
                "from {datacenter}, {keyspace} cannot be {what} at {level}: it needs {required} replicas, {answering} answer, and it waits for {}",
                self.missing.join(", ")
            ),
            (false, ..) => write!(
                f,
                "from {datacenter}, {keyspace} can never be {what} at {level}: it has too few replicas"
            ),
        }
    }
}

/// From where a keyspace can be read or written at a level now.
pub(super) fn places(
    status: &Status,
    keyspace: &str,
    access: AccessKind,
    level: Option<Consistency>,
) -> Result<Vec<Place>, Failure> {
    let keyspace = named(status, keyspace)?;
    let default = match access {
        AccessKind::Read => &keyspace.defaults.read,
        AccessKind::Write => &keyspace.defaults.write,
    };
    let level = level.map_or_else(|| default.clone(), |level| level.to_string());
    let is_named = Consistency::NAMED
        .iter()
        .any(|named| named.to_string() == level);
    if !is_named && level != *default {
        return Err(Failure::Usage(
            "a level in numbers is judged only if it is the keyspace's default: name one, such as QUORUM",
        ));
    }
    let place = |levels: &crate::doors::Levels| {
        let met = match access {
            AccessKind::Read => levels.read.contains(&level),
            AccessKind::Write => levels.write.contains(&level),
        };
        let unmet = levels
            .unmet
            .iter()
            .find(|unmet| unmet.level == level && unmet.access == access);
        Place {
            datacenter: levels.datacenter.clone(),
            keyspace: keyspace.name.clone(),
            operation: access,
            level: level.clone(),
            met,
            required: unmet.map(|unmet| unmet.required),
            answering: unmet.map(|unmet| unmet.answering),
            missing: unmet.map_or_else(Vec::new, |unmet| unmet.missing.clone()),
        }
    };
    Ok(keyspace.levels.iter().map(place).collect())
}

/// Whether these are the default levels of a keyspace, as far as they are given.
pub(super) fn has_levels(
    status: &Status,
    keyspace: &str,
    read: Option<Consistency>,
    write: Option<Consistency>,
) -> bool {
    let is = |held: &str, wanted: Option<Consistency>| {
        wanted.is_none_or(|wanted| held.parse() == Ok(wanted))
    };
    named(status, keyspace).is_ok_and(|keyspace| {
        is(&keyspace.defaults.read, read) && is(&keyspace.defaults.write, write)
    })
}

/// What the default levels of a keyspace give up.
pub(super) fn given_up(status: &Status, keyspace: &str) -> Vec<String> {
    let Ok(keyspace) = named(status, keyspace) else {
        return Vec::new();
    };
    let replicas: u32 = keyspace
        .replication
        .values()
        .map(|count| u32::from(*count))
        .sum();
    let (read, write) = (&keyspace.defaults.read, &keyspace.defaults.write);
    let needed = |level: &str, access| {
        let level = level.parse::<Consistency>().ok()?;
        needed(level, replicas, access)
    };
    let mut remarks = Vec::new();
    match (needed(read, AccessKind::Read), needed(write, AccessKind::Write)) {
        (Some(reads), Some(writes)) if reads + writes > replicas => {}
        (Some(reads), Some(writes)) => remarks.push(format!(
            "{read} and {write} ask {reads} and {writes} of {replicas} replicas, which need not meet: a read may miss a write that was acknowledged before it"
        )),
        _ => remarks.push(format!(
            "{read} and {write} meet within a datacenter at most: a read elsewhere may miss a write that was acknowledged before it"
        )),
    }
    if keyspace.defaults.copies == 1 {
        remarks.push(format!(
            "a write at {write} may be on one node only when it is acknowledged: the loss of that node can lose it"
        ));
    }
    remarks
}

/// How many replicas a level counts on, wherever they are; `None` if it looks at datacenters.
fn needed(level: Consistency, replicas: u32, access: AccessKind) -> Option<u32> {
    match level {
        Consistency::One => Some(1),
        Consistency::Two => Some(2),
        Consistency::Three => Some(3),
        Consistency::All => Some(replicas),
        Consistency::Numeric { read, write } => Some(u32::from(match access {
            AccessKind::Read => read,
            AccessKind::Write => write,
        })),
        // A majority in every datacenter is one of all replicas.
        Consistency::Quorum | Consistency::EachQuorum => Some(majority(replicas as usize) as u32),
        Consistency::LocalOne | Consistency::LocalQuorum => None,
    }
}

/// Something that is amiss with a node.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) what: &'static str,
    pub(super) text: String,
}

/// How many entries a voter may lack before it is said to be behind. Guess: what is under way in a
/// busy group.
const BEHIND_MAX: u64 = 1000;

/// What is amiss with a node in one group.
pub(super) fn findings_in(group: &QuorumView, name: &str) -> Vec<Finding> {
    let QuorumView { group: of, .. } = group;
    let mut findings = Vec::new();
    let mut add = |what, text| findings.push(Finding { what, text });
    if !group.voters.iter().any(|voter| voter == name) {
        return findings;
    }
    let Some(voter) = group.said.iter().find(|voter| voter.node == name) else {
        add("silent", format!("{of}: it votes and does not answer"));
        return findings;
    };
    if voter.distrusted {
        add(
            "votes",
            format!(
                "{of}: it does not vote, because its directory is older than one it has run on: replace it"
            ),
        );
    }
    if let Some(entry) = voter.differs {
        add(
            "differs",
            format!(
                "{of}: after entry {entry} it had decided otherwise than a majority, so it takes no part: replace it"
            ),
        );
        return findings;
    }
    match (&group.leader, &voter.follows) {
        (Some(leader), Some(follows)) if leader != follows => add(
            "follows",
            format!("{of}: it follows {follows}, and a majority follows {leader}"),
        ),
        (Some(leader), None) => add(
            "follows",
            format!("{of}: it follows nobody, and a majority follows {leader}"),
        ),
        _ => {}
    }
    let last = group.said.iter().map(|voter| voter.last_log).max();
    let lacks = last.unwrap_or(0).saturating_sub(voter.applied);
    if lacks > BEHIND_MAX {
        add(
            "behind",
            format!("{of}: it has yet to apply {lacks} entries"),
        );
    }
    findings
}

/// What is amiss with a node.
pub(super) fn findings(status: &Status, name: &str) -> Result<Vec<Finding>, Failure> {
    let node = status
        .nodes
        .iter()
        .find(|node| node.name == name)
        .ok_or_else(|| Failure::unknown("no_node", format!("there is no node {name}")))?;
    let mut findings = Vec::new();
    let mut add = |what, text| findings.push(Finding { what, text });
    match node.state {
        NodeState::Alive => {}
        NodeState::Suspect => add("suspect", "it has missed probes".to_owned()),
        NodeState::Down => add(
            "down",
            "it does not answer: is its process running, and can the others reach its address?"
                .to_owned(),
        ),
    }
    if let Some(offset) = node
        .clock_offset_ms
        .filter(|ms| ms.unsigned_abs() > CLOCK_OFF_MS)
    {
        add(
            "clock",
            format!(
                "its clock is {offset} ms ahead of the others': it refuses writes that need a stamp"
            ),
        );
    }
    let free = node.load.and_then(|load| load.free_bytes);
    if let Some(free) = free.filter(|free| *free < FREE_BYTES_MIN) {
        add(
            "disk",
            format!("{} MiB are free: it refuses whatever grows", free >> 20),
        );
    }
    if status.volatile_voters.iter().any(|voter| voter == name) {
        add("votes", "its store may forget its vote".to_owned());
    }
    let others = status.nodes.iter().filter(|other| other.name != name);
    let versions: Vec<&String> = others.filter_map(|other| other.version.as_ref()).collect();
    if let Some(version) = &node.version
        && !versions.is_empty()
        && !versions.contains(&version)
    {
        add(
            "version",
            format!("it runs {version}, and no other node does"),
        );
    }
    if node.leaving {
        add(
            "leaving",
            format!("it holds {} partitions still", node.partitions),
        );
    }
    for keyspace in &status.keyspaces {
        for lacking in keyspace
            .lacking
            .iter()
            .filter(|lacking| lacking.node == name)
        {
            let partitions = lacking.partitions;
            let reason = format!("{:?}", lacking.reason).to_lowercase();
            add(
                "lacking",
                format!("{}: {reason} in {partitions} partitions", keyspace.name),
            );
        }
        let waiting = keyspace
            .moving
            .iter()
            .flat_map(|moving| &moving.waiting_for);
        for waiting in waiting.filter(|waiting| waiting.node == name) {
            let partitions = waiting.partitions;
            let reason = format!("{:?}", waiting.reason).to_lowercase();
            add(
                "moving",
                format!(
                    "{}: {partitions} moves wait for it: {reason}",
                    keyspace.name
                ),
            );
        }
    }
    Ok(findings)
}

fn named<'a>(status: &'a Status, name: &str) -> Result<&'a KeyspaceStatus, Failure> {
    let found = status
        .keyspaces
        .iter()
        .find(|keyspace| keyspace.name == name);
    found.ok_or_else(|| Failure::unknown("no_keyspace", format!("there is no keyspace {name}")))
}

#[cfg(test)]
mod tests;
