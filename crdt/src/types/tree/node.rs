//! What the nodes of a tree are called: every replica has the same name for the same node.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{Dot, NodeId, ReplicaId};

/// A node of a [`Tree`](crate::Tree): the same at every replica, and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeKey(Place);

/// Lowest in the order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Place {
    Root,
    Trash,
    /// Named by the event that created it.
    Node(Dot),
}

impl NodeKey {
    /// The root. Every tree has it, and it cannot be moved.
    pub const ROOT: Self = Self(Place::Root);
    /// The parent of removed nodes.
    pub(super) const TRASH: Self = Self(Place::Trash);
    /// No node is higher.
    pub(super) const LAST: Self = Self(Place::Node(Dot::new(
        ReplicaId::new(NodeId(u64::MAX), u32::MAX),
        u64::MAX,
    )));

    pub(super) fn created_by(dot: Dot) -> Self {
        Self(Place::Node(dot))
    }

    /// The event that created the node; `None` for the root and the trash.
    pub(super) fn creation(self) -> Option<Dot> {
        if let Place::Node(dot) = self.0 {
            Some(dot)
        } else {
            None
        }
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Root => f.write_str("root"),
            Place::Trash => f.write_str("trash"),
            Place::Node(dot) => dot.fmt(f),
        }
    }
}
