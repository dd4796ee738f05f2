//! Up or down.

use serde::{Deserialize, Serialize};

use super::dot_store_by_field;
use crate::{Causal, DotSet, ReplicaId};

/// A flag where enabling wins over a concurrent disabling.
///
/// Used as `Causal<EwFlag>`.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EwFlag(DotSet);

dot_store_by_field! { [] EwFlag }

impl EwFlag {
    /// Whether some enabling has not been seen by a disabling.
    pub fn is_enabled(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Causal<EwFlag> {
    /// Raises the flag and returns the delta. Raising it again matters: it outlives a concurrent disabling of the first.
    pub fn enable(&mut self, replica: ReplicaId) -> Self {
        self.write(|store, context| {
            let dot = context.next(replica);
            context.drops(store.0.drain());
            store.0.insert(dot);
            EwFlag([dot].into_iter().collect())
        })
    }

    /// Lowers the flag, as far as it was seen up here, and returns the delta.
    pub fn disable(&mut self) -> Self {
        self.remove_observed()
    }
}
