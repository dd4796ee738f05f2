//! Bugs of the node that can be planted, and the list of all: see [`quorate_crdt::planted`].

use quorate_crdt::planted::Bug;

quorate_crdt::bugs! {
    /// A restart begins with the topology of the join, or none.
    TOPOLOGY_NOT_KEPT = "topology-not-kept": "a node does not write down the topology that it acts on";
    /// Replay and snapshots show the past again.
    TOPOLOGY_GOES_BACK = "topology-goes-back": "a node adopts an older topology than it has acted on";
    /// Power loss takes the topology away that fenced and erased.
    TOPOLOGY_KEPT_UNSYNCED = "topology-kept-unsynced": "a node acts on a topology that it has written and not synchronised";
    /// Shards see each topology one step before the disk.
    TOPOLOGY_KEPT_LATE = "topology-kept-late": "a node writes a topology down only when the next one comes";
    /// A node that was away waits for a leader that it does not let in.
    TOPOLOGY_FROM_THE_LEADER_ALONE = "topology-from-the-leader-alone": "a node learns a newer topology from its control group only";
    /// The control group ends on a failed disk, and the data plane goes on without it.
    PLANE_FAILS_ALONE = "plane-fails-alone": "a part of the node that learns of a failed disk does not tell the others";
    /// A disk brought back goes on under the number that others know.
    LIFE_NUMBER_REUSED = "life-number-reused": "a start goes on under the life number of the one before";
    /// The order of commit and release.
    ACK_BEFORE_COMMIT = "ack-before-commit": "a write is acknowledged before it is durable";
    /// What is longer than a frame never arrives, and nobody is told. Its bound is small, so that
    /// short runs meet it.
    OVERSIZE_FRAME_DROPPED = "oversize-frame-dropped": "a message between nodes that is too long for one frame is dropped";
    /// Whoever asked for it waits until the deadline.
    OVERSIZE_REPLY_UNANSWERED = "oversize-reply-unanswered": "an answer that is too long for any message is dropped instead of refused";
    /// While the disk stands, what is to leave when it has answered piles up.
    FRAMES_WAIT_WITHOUT_BOUND = "frames-wait-without-bound": "a disk that stands still makes a node take all memory";
    /// What is to leave is built when all works that were taken are done.
    TURN_WITHOUT_BOUND = "turn-without-bound": "a few short reads of long values make a node build all their answers before it sends one";
    /// A node answers whoever asks, whether that has taken what it was answered before or not.
    ANSWERS_PILE_UP = "answers-pile-up": "a node that asks faster than the network carries answers away fills another's memory with them";
    /// The other shards go on, and nobody is told.
    PANIC_UNNOTICED = "panic-unnoticed": "a node whose shard has panicked goes on without the partitions of that";
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
