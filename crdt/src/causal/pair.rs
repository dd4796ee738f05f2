//! A value together with the context it is true in.

use alloc::vec::Vec;
use core::ops::Deref;

use thiserror::Error;

use super::CausalContext;
use crate::codec::{DecodeError, Limits, Reader, VERSION, Writer};
use crate::{Contexts, Crdt, ReplicaId};

/// A causal value: what is alive, and all that was ever seen. The state of a replica and a delta are the same type.
///
/// **Invariant:** every live dot is in the context; bytes that say otherwise do not decode. Equal values have equal bytes.
///
/// Reads go through [`Deref`] to the value. Writes go through [`Replicated`](crate::Replicated), which knows who writes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Causal<T> {
    pub(crate) value: T,
    pub(crate) context: CausalContext,
}

/// What a transaction changed, or what one replica lacks of another: a [`Causal`] value that holds this alone, under the
/// exact events that it covers. Merging it is as good as having made the change.
pub type Delta<T> = Causal<T>;

/// A delta was not merged, because it claims events that this replica never issued: its sender is broken, or this replica
/// has lost its memory and must go on under a new incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("claims event {claimed} of {replica:?}, which has issued {issued}")]
pub struct UnissuedEvents {
    /// This replica.
    pub replica: ReplicaId,
    /// The highest of its events that the delta claims to know.
    pub claimed: u64,
    /// How many it has issued.
    pub issued: u64,
}

impl<T: Crdt> Causal<T> {
    /// Nothing alive, nothing seen: the bottom of the lattice.
    pub fn new() -> Self {
        Self::default()
    }

    /// All events this value knows of, visible or not.
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// Whether merging it changes nothing anywhere.
    pub fn is_bottom(&self) -> bool {
        self.context.is_empty() && self.value.is_bottom()
    }

    /// Takes the value apart, for instance to keep many under one context.
    pub fn into_parts(self) -> (T, CausalContext) {
        (self.value, self.context)
    }

    /// Makes this the least upper bound of both and says what readers will see differently.
    ///
    /// **Laws:** those of [`Lattice::merge`](crate::Lattice::merge): deltas may be lost, repeated and reordered, and any
    /// of them may be replaced by a full state.
    pub fn merge(&mut self, other: &Self) -> T::Effects {
        let effects = self.value.join(&other.value, Contexts { mine: &self.context, theirs: &other.context });
        self.context.union(&other.context);
        effects
    }

    /// The dots that are alive: their effect is visible.
    pub fn live(&self) -> CausalContext {
        live_dots(&self.value)
    }

    /// The value as bytes: canonical, which is to say that equal values have equal bytes, and versioned.
    pub fn encode(&self) -> Vec<u8> {
        let live = self.live();
        let mut out = Writer::new(&self.context);
        out.byte(VERSION);
        out.value(&self.context);
        out.dots(&live);
        let mut value = Writer::new(&live);
        self.value.encode(&mut value);
        out.append(&value.finish());
        out.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, within the default [`Limits`].
    ///
    /// # Errors
    /// Anything else. No bytes make this panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_within(bytes, Limits::default())
    }

    /// Reads what [`encode`](Self::encode) wrote, within `limits`.
    ///
    /// # Errors
    /// Anything else. No bytes make this panic.
    pub fn decode_within(bytes: &[u8], limits: Limits) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes, &CausalContext::new(), limits)?;
        let version = input.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let context: CausalContext = input.value()?;
        let mut input = Reader::new(input.rest(), &context, limits)?;
        let live = input.dots()?;
        let mut input = Reader::new(input.rest(), &live, input.limits())?;
        let value = T::decode(&mut input)?;
        input.finish()?;
        let (mut claimed, mut twice) = (CausalContext::new(), false);
        value.dots(&mut |dot| twice |= !claimed.insert(dot));
        if claimed == live && !twice {
            Ok(Self { value, context })
        } else {
            Err(DecodeError::Invalid("live dots that stand for nothing, or for two things"))
        }
    }
}

/// The dots that are alive in a value.
pub(crate) fn live_dots(value: &impl Crdt) -> CausalContext {
    let mut live = CausalContext::new();
    value.dots(&mut |dot| {
        live.insert(dot);
    });
    live
}

impl<T> Deref for Causal<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
