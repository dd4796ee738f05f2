//! Short histories written by hand, for what random ones rarely reach.

use super::plan::Plan;

mod disks;
mod expiry;
mod moves;
mod script;
mod sizes;
mod starts;

/// The scripts that can find the bug, with their names.
pub(super) fn for_bug(bug: &str) -> Vec<(&'static str, Plan)> {
    let (name, script): (&str, fn() -> Plan) = match bug {
        "reap-by-own-clock" | "reap-at-one" => ("a clock two hours ahead", expiry::clock_ahead),
        "reap-without-a-look" => (
            "an expiry extended while the reaper is cut off",
            expiry::extended,
        ),
        "expiry-outlives-set" => ("a set over a value that expires", expiry::set_over_expiry),
        "switch-without-spread" => ("a move away from the one that knows", moves::leaving),
        "lives-reused" => ("away and back", moves::away_and_back),
        "topology-kept-unsynced" => ("a decision while a disk is slow", moves::slow_to_keep),
        "topology-goes-back" => ("a node that starts again after decisions", moves::replayed),
        "chunk-of-any-stream" | "pull-once" => {
            ("a wiped node behind a link that drops", disks::wiped)
        }
        "plane-fails-alone" => (
            "a disk that fails under the control group",
            disks::control_disk,
        ),
        "frames-wait-without-bound" => ("a disk that stands still", disks::standing_disk),
        "oversize-frame-dropped" => ("many elements at once", sizes::many_elements),
        "oversize-reply-unanswered" => ("an answer longer than a message", sizes::long_answer),
        "oversize-question-forgotten" => ("a write longer than a message", sizes::long_write),
        "topology-from-the-leader-alone" => (
            "a leader that joined while a node was away",
            starts::unknown_leader,
        ),
        "address-untold" => (
            "nodes that come back at other addresses",
            starts::readdressed,
        ),
        "addresses-unheard" => (
            "voters that meet one node without a vote",
            starts::readdressed_together,
        ),
        "panic-unnoticed" => ("a shard that panics", starts::panicking),
        "topology-kept-late" => ("a node that starts again", starts::started_again),
        "renew-by-one" => {
            return vec![
                ("a disk from three starts before", starts::set_back()),
                ("an older disk after an hour ahead", starts::older_disk()),
            ];
        }
        _ => return Vec::new(),
    };
    vec![(name, script())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::play::play;

    fn keeps_every_promise(plan: &Plan) {
        let violations = play(plan).violations;
        assert!(violations.is_empty(), "{violations:?}");
    }

    #[test]
    fn a_leader_that_joined_while_a_node_was_away_is_let_in() {
        keeps_every_promise(&starts::unknown_leader());
    }

    #[test]
    fn nodes_that_come_back_at_other_addresses_find_each_other() {
        keeps_every_promise(&starts::readdressed());
        keeps_every_promise(&starts::readdressed_together());
    }

    #[test]
    fn a_node_whose_disk_is_set_back_is_reached_again() {
        keeps_every_promise(&starts::set_back());
    }

    #[test]
    fn what_is_longer_than_a_message_is_answered_at_once() {
        keeps_every_promise(&sizes::long_answer());
    }

    #[test]
    fn a_write_that_is_longer_than_a_message_is_refused_at_once() {
        keeps_every_promise(&sizes::long_write());
    }

    #[test]
    fn a_decision_is_acted_on_when_it_is_durable_and_never_taken_back() {
        keeps_every_promise(&moves::slow_to_keep());
        keeps_every_promise(&moves::replayed());
    }

    #[test]
    fn a_node_whose_shard_has_panicked_starts_again_and_has_what_it_acknowledged() {
        keeps_every_promise(&starts::panicking());
    }

    #[test]
    fn a_disk_that_stands_still_takes_bounded_memory() {
        keeps_every_promise(&disks::standing_disk());
    }

    #[test]
    fn a_disk_that_fails_under_the_control_group_ends_the_node() {
        keeps_every_promise(&disks::control_disk());
    }
}
