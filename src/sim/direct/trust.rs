//! Drills on replicas that have seen the same events but do not hold the same rows.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_control::store::{Batch, Space, Store};
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency as C;
use quorate_dynamo::op::{Query, Reply, RequestError};
use quorate_dynamo::protocol::{Message, Refusal};

use super::cores::{Cores, secs};
use super::drill::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    ("mismatch-ignored", "rows-stay-lost", lost_row),
    (
        "any-difference-outvotes",
        "sound-replica-replaced",
        two_lost_rows,
    ),
    ("mend-source-fixed", "never-mended", source_gone),
    ("doubt-stops-writes", "doubt-stops-writes", written_in_doubt),
    ("doubt-asks-nobody", "contradicted-row-read", read_in_doubt),
];

/// Three nodes with ten keys each, at rest.
fn at_rest() -> Result<Cores, String> {
    let mut net = Cores::new(3, 3, |config| config.persist = true);
    for n in 0..10 {
        holds(net.set(1, &format!("k{n}"), "v", C::All), "healthy")?;
    }
    net.run(secs(3));
    Ok(net)
}

/// Restarts a node on its own disk, from which the row of one key may have been lost.
fn restart(net: &mut Cores, at: u64, lost: Option<&str>) -> Verdict {
    let disk = net.disk(at)?;
    if let Some(key_text) = lost {
        let mut row = None;
        let found = disk.scan(Space::Rows, &[], None, &mut |key, _| {
            if !key
                .windows(key_text.len())
                .any(|part| part == key_text.as_bytes())
            {
                return ControlFlow::Continue(());
            }
            row = Some(Bytes::copy_from_slice(key));
            ControlFlow::Break(())
        });
        found.map_err(|error| error.to_string())?;
        let mut batch = Batch::default();
        batch.delete(Space::Rows, row.ok_or("the row was not on disk")?);
        disk.apply(batch).map_err(|error| error.to_string())?;
    }
    net.start_on(at, &disk)
}

fn all_have_ten(net: &Cores) -> Verdict {
    let rows = [1, 2, 3].map(|at| net.rows(at));
    let quarantined =
        [1, 2, 3].map(|at| net.summary(at).is_some_and(|summary| summary.quarantined));
    holds(
        net.converged() && rows == [10; 3] && quarantined == [false; 3],
        format!("{rows:?} of 10 rows, in quarantine: {quarantined:?}"),
    )
}

fn lost_row() -> Verdict {
    let mut net = at_rest()?;
    restart(&mut net, 3, Some("k3"))?;
    net.run(secs(10));
    all_have_ten(&net)
}

/// Two nodes have each lost a different row, so that all three differ.
fn two_lost_rows() -> Verdict {
    let mut net = at_rest()?;
    restart(&mut net, 1, Some("k1"))?;
    restart(&mut net, 2, Some("k2"))?;
    net.run(secs(10));
    all_have_ten(&net)
}

/// The node that a replica is being repaired from goes away in the middle.
fn source_gone() -> Verdict {
    let mut net = at_rest()?;
    restart(&mut net, 3, Some("k3"))?;
    net.lose(1, |message| matches!(message, Message::Chunk { .. }));
    let (NodeId(source), ..) = net.lost().ok_or("nobody repairs it")?;
    let other = 3 - source;
    net.cut(&[source], &[other, 3]);
    net.sees(&[other, 3], source, false);
    net.run(secs(6));
    holds(
        net.rows(3) == 10 && net.reads(3, "k3", C::Quorum, "v"),
        format!("{} of 10 rows", net.rows(3)),
    )
}

/// n2 is away, n3 has lost a row, and both n1 and n3 have restarted.
fn in_doubt() -> Result<Cores, String> {
    let mut net = at_rest()?;
    net.cut(&[2], &[1, 3]);
    net.sees(&[1, 3], 2, false);
    restart(&mut net, 1, None)?;
    restart(&mut net, 3, Some("k3"))?;
    net.sees(&[1, 3], 2, false);
    net.run(secs(3));
    let quarantined = [1, 3].map(|at| net.summary(at).is_some_and(|summary| summary.quarantined));
    holds(quarantined == [true; 2], "the difference was not noticed").map(|()| net)
}

fn written_in_doubt() -> Verdict {
    let mut net = in_doubt()?;
    holds(
        net.set(3, "k5", "w", C::Quorum),
        "two of three can take a write",
    )?;
    holds(
        net.reads(1, "k5", C::Quorum, "w"),
        "the two must hold the same",
    )
}

fn read_in_doubt() -> Verdict {
    let mut net = in_doubt()?;
    let answer = net.query(3, "k3", Query::Get, C::One);
    let refused = |answer: &Option<Result<Reply, RequestError>>| {
        let Some(Err(RequestError::Refused { refused, .. })) = answer else {
            return false;
        };
        refused.iter().any(|(_, why)| *why == Refusal::Quarantined)
    };
    holds(refused(&answer), format!("{answer:?}"))
}
