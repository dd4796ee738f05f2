//! Drills on keyspaces that are read-only on the smaller side of a split.

use quorate_control::topology::{KeyspaceId, SplitPolicy};
use quorate_dynamo::Consistency as C;

use super::cores::{Cores, secs};
use super::drill::{Drills, Verdict, holds};
use super::topology::topology;

pub(super) const DRILLS: Drills = &[("minority-writes", "minority-wrote", minority)];

/// A client of the smaller side asks for as little as it can.
fn minority() -> Verdict {
    let mut topology = topology(&[3], 3);
    if let Some(keyspace) = topology.keyspaces.get_mut(&KeyspaceId(0)) {
        keyspace.split = SplitPolicy::ReadOnlyInMinority;
    }
    let mut net = Cores::of(topology, |_| {});
    net.settle();
    holds(net.set(3, "k", "before", C::All), "healthy")?;
    net.cut(&[3], &[1, 2]);
    for other in [1, 2] {
        net.sees(&[3], other, false);
    }
    net.sees(&[1, 2], 3, false);
    holds(
        !net.set(3, "k", "minority", C::One),
        "a write was executed on the smaller side",
    )?;
    holds(
        net.set(1, "k", "majority", C::One),
        "the larger side writes",
    )?;
    net.heal();
    for other in [1, 2] {
        net.sees(&[3], other, true);
    }
    net.sees(&[1, 2], 3, true);
    net.run(secs(5));
    holds(net.set(3, "j", "after", C::One), "the split is over")?;
    net.run(secs(5));
    holds(net.converged(), "the split is over")
}
