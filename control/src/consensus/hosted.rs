//! A machine in its group: the engine feeds it without knowing its types, handles look at it.

use std::sync::Arc;

use bytes::Bytes;
use quorate_crdt::NodeId;
use tokio::sync::{broadcast, watch};

use super::codec::{CodecError, decode, encode};
use super::machine::Machine;
use super::types::Proposal;
use crate::state::LogIndex;
use crate::store::Commit;

/// How many events a slow watcher may be behind before it is told that it has missed some. Guess.
const EVENTS_MAX: usize = 4096;

/// The state at one moment, on its way to becoming bytes.
pub(super) type Frozen = Box<dyn Fn() -> Result<Bytes, CodecError> + Send + Sync>;

/// A machine as the engine sees it: commands, outcomes and states are bytes.
pub(super) trait Host: Send + Sync {
    /// Applies the commands of one entry. A command that is not one of this machine has an empty
    /// outcome and changes nothing; none is proposed.
    fn apply(&self, index: LogIndex, term: u64, proposal: Proposal) -> Vec<Bytes>;

    /// Publishes what there is to publish once what was applied is durable.
    fn publish(self: Arc<Self>, commit: &dyn Commit);

    fn freeze(&self) -> Frozen;

    /// Checks that the bytes are a state.
    fn check(&self, state: &[u8]) -> Result<(), CodecError>;

    fn install(&self, state: &[u8]) -> Result<(), CodecError>;

    /// Forgets everything.
    fn reset(&self);

    /// The only node that may propose the command, if it is one of this machine.
    fn speaks_for(&self, command: &[u8]) -> Result<Option<NodeId>, CodecError>;

    fn answer(&self, query: &[u8]) -> Result<Bytes, CodecError>;

    fn awaits_time(&self) -> bool;

    fn commands_per_entry(&self) -> usize;
}

/// A machine with those who look at it.
pub(super) struct Hosted<M: Machine> {
    /// The state as applied. After a power loss a node may restart from a little before it.
    state: watch::Sender<M>,
    events: broadcast::Sender<(LogIndex, M::Event)>,
    /// What is published. **Invariant:** a restart never falls behind it, because it is set only
    /// once the commit marker that leads to it is durable. So a replica that has fenced an epoch
    /// has fenced it for good.
    published: watch::Sender<M::Published>,
}

impl<M: Machine> Hosted<M> {
    pub(super) fn new() -> Self {
        let state = M::default();
        let published = state.published();
        Self {
            state: watch::Sender::new(state),
            events: broadcast::Sender::new(EVENTS_MAX),
            published: watch::Sender::new(published),
        }
    }

    /// Looks at the state as applied. `read` must be quick: it holds up the machine.
    pub(super) fn read<R>(&self, read: impl FnOnce(&M) -> R) -> R {
        read(&self.state.borrow())
    }

    pub(super) fn published(&self) -> watch::Receiver<M::Published> {
        self.published.subscribe()
    }

    pub(super) fn events(&self) -> broadcast::Receiver<(LogIndex, M::Event)> {
        self.events.subscribe()
    }

    fn tell(&self, index: LogIndex, events: Vec<M::Event>) {
        for event in events {
            // Nobody may be watching.
            drop(self.events.send((index, event)));
        }
    }
}

impl<M: Machine> Host for Hosted<M> {
    fn apply(&self, index: LogIndex, term: u64, proposal: Proposal) -> Vec<Bytes> {
        let Proposal {
            elapsed_ms,
            commands,
        } = proposal;
        let (mut outcomes, mut events) = (Vec::with_capacity(commands.len()), Vec::new());
        self.state.send_modify(|state| {
            state.pass(index, term, elapsed_ms, &mut events);
            for command in commands {
                let outcome = decode::<M::Command>(&command)
                    .and_then(|command| encode(&state.apply(index, command, &mut events)));
                outcomes.push(outcome.unwrap_or_default());
            }
        });
        self.tell(index, events);
        outcomes
    }

    fn publish(self: Arc<Self>, commit: &dyn Commit) {
        let newest = self.state.borrow().published();
        if M::version(&newest) <= M::version(&self.published.borrow()) {
            return;
        }
        commit.commit_durably(Box::new(move |result| {
            if result.is_ok() {
                self.published.send_if_modified(|published| {
                    let newer = M::version(&newest) > M::version(published);
                    if newer {
                        *published = newest;
                    }
                    newer
                });
            }
        }));
    }

    fn freeze(&self) -> Frozen {
        let state = self.state.borrow().clone();
        Box::new(move || encode(&state))
    }

    fn check(&self, state: &[u8]) -> Result<(), CodecError> {
        read_state::<M>(state).map(drop)
    }

    fn install(&self, state: &[u8]) -> Result<(), CodecError> {
        self.state.send_replace(read_state(state)?);
        Ok(())
    }

    fn reset(&self) {
        self.state.send_replace(M::default());
    }

    fn speaks_for(&self, command: &[u8]) -> Result<Option<NodeId>, CodecError> {
        Ok(M::speaks_for(&decode(command)?))
    }

    fn answer(&self, query: &[u8]) -> Result<Bytes, CodecError> {
        let query = decode(query)?;
        encode(&self.state.borrow().answer(&query))
    }

    fn awaits_time(&self) -> bool {
        self.state.borrow().awaits_time()
    }

    fn commands_per_entry(&self) -> usize {
        M::COMMANDS_PER_ENTRY
    }
}

/// A machine's state from its bytes.
pub(super) fn read_state<M: Machine>(state: &[u8]) -> Result<M, CodecError> {
    decode::<M>(state)?.revive().ok_or(CodecError::Malformed)
}
