//! A machine in its group: the engine feeds it without knowing its types, handles look at it.

use std::sync::Arc;

use bytes::Bytes;
use quorate_crdt::NodeId;
use tokio::sync::{broadcast, watch};
use xxhash_rust::xxh3::xxh3_128;

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
    /// Applies one entry and returns the outcome of its command. A command that is not one of this
    /// machine has an empty outcome and changes nothing; none is proposed.
    fn apply(&self, index: LogIndex, term: u64, proposal: Proposal) -> Bytes;

    /// Publishes what there is to publish once what was applied is durable.
    fn publish(self: Arc<Self>, commit: &dyn Commit);

    fn freeze(&self) -> Frozen;

    /// The hash of the state as [`freeze`](Self::freeze) writes it.
    fn hash(&self) -> u128;

    /// Checks that the bytes are a state.
    fn check(&self, state: &[u8]) -> Result<(), CodecError>;

    fn install(&self, state: &[u8]) -> Result<(), CodecError>;

    /// Forgets everything.
    fn reset(&self);

    /// The only node that may propose the command, if it is one of this machine.
    fn speaks_for(&self, command: &[u8]) -> Result<Option<NodeId>, CodecError>;

    fn answer(&self, query: &[u8]) -> Result<Bytes, CodecError>;

    /// The command in words, without its secrets.
    fn in_words(&self, command: &[u8]) -> Result<String, CodecError>;

    fn awaits_time(&self) -> bool;

    /// How much there is of what.
    fn figures(&self) -> Vec<(&'static str, u64)>;
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
    fn apply(&self, index: LogIndex, term: u64, proposal: Proposal) -> Bytes {
        let (mut outcome, mut events) = (Bytes::new(), Vec::new());
        self.state.send_modify(|state| {
            state.pass(index, term, proposal.elapsed_ms, &mut events);
            let command = proposal
                .command
                .map(|command| decode::<M::Command>(&command));
            if let Some(Ok(command)) = command {
                let encoded = encode(&state.apply(index, command, &mut events));
                outcome = encoded.unwrap_or_default();
            }
        });
        self.tell(index, events);
        outcome
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

    fn hash(&self) -> u128 {
        let encoded = encode(&*self.state.borrow());
        xxh3_128(&encoded.unwrap_or_default())
    }

    fn check(&self, state: &[u8]) -> Result<(), CodecError> {
        decode::<M>(state).map(drop)
    }

    fn install(&self, state: &[u8]) -> Result<(), CodecError> {
        self.state.send_replace(decode(state)?);
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

    fn in_words(&self, command: &[u8]) -> Result<String, CodecError> {
        Ok(decode::<M::Command>(command)?.to_string())
    }

    fn awaits_time(&self) -> bool {
        self.state.borrow().awaits_time()
    }

    fn figures(&self) -> Vec<(&'static str, u64)> {
        self.state.borrow().figures()
    }
}
