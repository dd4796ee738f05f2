//! The state machine of the topology in its group.

use std::sync::Arc;

use quorate_crdt::NodeId;

use super::machine::Machine;
use crate::state::{Command, ControlState, LogIndex, Response};
use crate::topology::{Epoch, Topology};

impl Machine for ControlState {
    type Command = Command;
    type Outcome = Response;
    type Event = ();
    /// Asks for the newest topology's version.
    type Query = ();
    type Answer = Epoch;
    type Published = Arc<Topology>;

    fn apply(&mut self, index: LogIndex, command: Command, _events: &mut Vec<()>) -> Response {
        self.apply(index, command)
    }

    fn answer(&self, _query: &()) -> Epoch {
        self.topology().epoch
    }

    fn figures(&self) -> Vec<(&'static str, u64)> {
        let topology = self.topology();
        let placements = || topology.keyspaces.values().flat_map(|it| &it.placement);
        let moving = placements().filter(|placement| placement.transition.is_some());
        vec![
            ("nodes", topology.nodes.len() as u64),
            ("keyspaces", topology.keyspaces.len() as u64),
            ("partitions", placements().count() as u64),
            ("moving_partitions", moving.count() as u64),
            ("users", topology.users.len() as u64),
            ("tokens", self.tokens().len() as u64),
        ]
    }

    fn speaks_for(command: &Command) -> Option<NodeId> {
        command.speaks_for()
    }

    fn published(&self) -> Arc<Topology> {
        Arc::clone(self.topology())
    }

    fn version(published: &Arc<Topology>) -> u64 {
        published.epoch.0
    }
}
