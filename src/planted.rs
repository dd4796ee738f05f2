//! Bugs that can be planted in the node, and the list of the bugs of all crates. See
//! [`quorate_crdt::planted`].

use quorate_crdt::planted::Bug;

quorate_crdt::bugs! {
    /// Whoever holds a token that is used up can fill the log of the control group.
    REFUSED_JOIN_PROPOSED = "refused-join-proposed": "a join that will be refused is proposed to the control group";
    /// The control group waits for a member that has never run.
    UNFIT_ADMITTED = "unfit-admitted": "a newcomer that will refuse to start in this cluster is admitted to it";
    /// A restart begins with the topology from the join, or with none.
    TOPOLOGY_NOT_KEPT = "topology-not-kept": "a node does not write down the topology that it acts on";
    /// A log replay and a snapshot show older topologies again.
    TOPOLOGY_GOES_BACK = "topology-goes-back": "a node adopts an older topology than it has acted on";
    /// Power loss takes away the topology by which the node has fenced and erased.
    TOPOLOGY_KEPT_UNSYNCED = "topology-kept-unsynced": "a node acts on a topology that it has written and not synchronised";
    /// The shards are one topology ahead of the disk.
    TOPOLOGY_KEPT_LATE = "topology-kept-late": "a node writes a topology down only when the next one comes";
    /// A node that was away waits for a leader whose connection it refuses.
    TOPOLOGY_FROM_THE_LEADER_ALONE = "topology-from-the-leader-alone": "a node learns of a newer topology only from its control group";
    /// Two nodes that have moved one after the other never find each other again.
    ADDRESS_UNTOLD = "address-untold": "a node that comes back at another address does not tell the cluster";
    /// Voters that know only a third node never find each other.
    ADDRESSES_UNHEARD = "addresses-unheard": "a node looks for others only where the topology has them and where it has met them itself";
    /// The control group ends on a failed disk, and the data plane goes on without it.
    PLANE_FAILS_ALONE = "plane-fails-alone": "a part of the node that learns of a failed disk does not tell the others";
    /// A restored disk goes on under a number that the others know.
    LIFE_NUMBER_REUSED = "life-number-reused": "a start goes on under the life number of the one before";
    /// Two nodes hold one place: what the living one acknowledges is lost.
    LIVING_TAKEN_FOR_LOST = "living-taken-for-lost": "a node that other members reach is declared lost or replaced";
    /// Release comes before commit.
    ACK_BEFORE_COMMIT = "ack-before-commit": "a write is acknowledged before it is durable";
    /// A message longer than a frame never arrives, and nobody is told. The bound is small here, so
    /// that short runs reach it.
    OVERSIZE_FRAME_DROPPED = "oversize-frame-dropped": "a message between nodes that is too long for one frame is dropped";
    /// The node that asked waits until the deadline.
    OVERSIZE_REPLY_UNANSWERED = "oversize-reply-unanswered": "an answer that is too long for any message is dropped instead of refused";
    /// While the disk is stuck, frames that wait for it pile up.
    FRAMES_WAIT_WITHOUT_BOUND = "frames-wait-without-bound": "while a disk is stuck, the frames that wait for it take all memory";
    /// A turn builds everything that is to leave only after all its works are done.
    TURN_WITHOUT_BOUND = "turn-without-bound": "a few short reads of long values make a node build all their answers before it sends one";
    /// A node answers other nodes whether or not they have taken its earlier answers.
    ANSWERS_PILE_UP = "answers-pile-up": "a node that asks faster than the network carries answers away fills another's memory with them";
    /// The other shards go on, and nobody is told.
    PANIC_UNNOTICED = "panic-unnoticed": "a node goes on without the partitions of a shard that has panicked";
    /// Whoever waits for the answer to it waits until the deadline, and it is sent again each time.
    OVERSIZE_QUESTION_FORGOTTEN = "oversize-question-forgotten": "a write that is too long for any message is logged and forgotten";
}

/// Every bug of every crate.
pub fn everywhere() -> impl Iterator<Item = &'static Bug> {
    [
        quorate_crdt::bugs::ALL,
        quorate_control::planted::ALL,
        quorate_gossip::planted::ALL,
        quorate_dynamo::planted::ALL,
        ALL,
    ]
    .into_iter()
    .flatten()
}
