//! How a node changes its key for another while it runs, and how a change goes on that a stop has
//! interrupted.
//!
//! ```text
//! draw     the next key is written down beside the present one
//! offer    the topology names both: whichever the node shows, it is believed
//! show     the next key is written down as the present one, and shown on every new connection
//! settle   the topology names the new key alone: connections under the old one end
//! ```
//!
//! Each step follows from what the directory and the topology say, so a node that is killed between
//! two of them takes the next one when it is back. At no moment does it show a key that is not
//! believed, because it settles only what it has written down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_control::topology::NodeInfo;
use quorate_crdt::PublicKey;
use quorate_gossip::quic::{BindError, KeyError, KeyPair, QuicTransport};
use tokio::sync::Notify;

use super::error::StartError;
use crate::store::{DataDir, DataDirError};

/// The keys of a real node: on its disk, and as its transport shows them.
pub(super) struct Keys {
    dir: Arc<DataDir>,
    transport: Arc<QuicTransport>,
    held: Mutex<Held>,
    /// Tells that another key was drawn.
    pub(super) drawn: Notify,
}

struct Held {
    shown: KeyPair,
    next: Option<KeyPair>,
}

/// Why a key was not drawn or not shown. The present one stays.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Transport(#[from] BindError),
}

/// What a change of keys needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The cluster is to believe this key as well.
    Offer(PublicKey),
    /// [`Keys::show`].
    Show,
    /// The cluster is to believe this key alone.
    Settle(PublicKey),
}

impl Keys {
    pub(super) fn open(
        dir: Arc<DataDir>,
        transport: Arc<QuicTransport>,
        shown: KeyPair,
    ) -> Result<Self, StartError> {
        let next = dir.next_key()?;
        let next = next.map(|kept| KeyPair::from_secret(&kept)).transpose()?;
        Ok(Self {
            dir,
            transport,
            held: Mutex::new(Held { shown, next }),
            drawn: Notify::new(),
        })
    }

    /// A panic while the lock is held leaves both keys as they were.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the key that the node is to show next, durably, and begins the change. Blocks.
    ///
    /// # Errors
    /// [`KeysError`]; then nothing has begun.
    pub(super) fn draw(&self) -> Result<PublicKey, KeysError> {
        let next = KeyPair::generate()?;
        let public = next.public();
        let mut held = self.held();
        self.dir.set_next_key(&next.to_secret())?;
        held.next = Some(next);
        drop(held);
        self.drawn.notify_one();
        Ok(public)
    }

    /// Shows the next key from now on, also after a start. Blocks.
    pub(super) fn show(&self) -> Result<(), KeysError> {
        let mut held = self.held();
        if let Some(next) = held.next.clone() {
            self.dir.set_key(&next.to_secret())?;
            self.transport.show(&next)?;
            held.shown = next;
        }
        Ok(())
    }

    /// What is to be done next, if a change is under way.
    pub(super) fn step(&self, info: &NodeInfo) -> Option<Step> {
        let held = self.held();
        next_step(
            info,
            held.shown.public(),
            held.next.as_ref().map(KeyPair::public),
        )
    }
}

fn next_step(info: &NodeInfo, shown: PublicKey, next: Option<PublicKey>) -> Option<Step> {
    if info.next_key == Some(shown) {
        return Some(Step::Settle(shown));
    }
    let next = next.filter(|next| *next != shown)?;
    Some(if info.next_key == Some(next) {
        Step::Show
    } else {
        Step::Offer(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_keys_goes_on_wherever_it_was_interrupted() {
        let [old, new, newer] = [1, 2, 3].map(|byte| PublicKey([byte; 32]));
        let info = |key, next_key| NodeInfo {
            name: "a".into(),
            datacenter: "dc1".into(),
            rack: "r1".into(),
            quic: "10.0.0.1:7381".into(),
            key,
            next_key,
            voter: false,
            witness: false,
        };
        for (key, offered, shown, drawn, step) in [
            (old, None, old, None, None),
            (old, None, old, Some(new), Some(Step::Offer(new))),
            (old, Some(new), old, Some(new), Some(Step::Show)),
            (old, Some(new), new, Some(new), Some(Step::Settle(new))),
            (new, None, new, Some(new), None),
            // Another one was drawn meanwhile.
            (old, Some(new), old, Some(newer), Some(Step::Offer(newer))),
            (old, Some(new), new, Some(newer), Some(Step::Settle(new))),
        ] {
            assert_eq!(
                next_step(&info(key, offered), shown, drawn),
                step,
                "{offered:?} {shown} {drawn:?}"
            );
        }
    }
}
