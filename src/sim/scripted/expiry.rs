//! Scripts on values that expire.

use super::script::{ALL, ONE, QUORUM, Script};
use crate::sim::plan::Plan;
use crate::sim::plan::action::Action;
use crate::sim::plan::request::{Deed, Kind};

const HOUR_MS: u64 = 3_600_000;

/// One clock after another runs two hours ahead for a while. A value that expires in an hour must
/// still be there at the end.
pub(super) fn clock_ahead() -> Plan {
    Script::new(3)
        .ask(200, 1, ALL, Kind::Expiring, Deed::SetFor { ms: HOUR_MS })
        .each(|script, node| {
            let at = 4_000 * node - 3_000;
            script
                .at(at, Action::Jump(node, 7_200_000))
                .at(at + 3_000, Action::MendClock(node))
        })
        .done()
}

/// A key's expiry is extended at a quorum, but the node that removes expired values has not heard
/// of it.
pub(super) fn extended() -> Plan {
    Script::new(3)
        .ask(100, 1, ALL, Kind::Expiring, Deed::SetFor { ms: 1_500 })
        .drop_frames(300, 2, 1, 1.0)
        .drop_frames(300, 2, 2, 0.0)
        .drop_frames(300, 2, 3, 0.0)
        .drop_frames(300, 3, 1, 0.5)
        .ask(
            500,
            2,
            QUORUM,
            Kind::Expiring,
            Deed::ExpireIn { ms: HOUR_MS },
        )
        .at(6_000, Action::Heal)
        .done()
}

/// A node overwrites an expiring value with one that does not expire, without having heard of the
/// first: the new value must stay.
pub(super) fn set_over_expiry() -> Plan {
    let deaf = |script: Script, at, share| {
        script
            .drop_frames(at, 1, 2, share)
            .drop_frames(at, 3, 2, share)
    };
    let expires = Deed::SetFor { ms: 2_000 };
    let script = deaf(Script::new(3), 50, 1.0)
        .ask(100, 1, QUORUM, Kind::Expiring, expires)
        .ask(160, 2, ONE, Kind::Expiring, Deed::Set);
    (3..6)
        .fold(deaf(script, 400, 0.0), |script, second| {
            script.ask(second * 1_000, 3, QUORUM, Kind::Expiring, Deed::Get)
        })
        .done()
}
