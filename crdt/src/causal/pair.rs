//! A value together with the context it is true in.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use super::CausalContext;
use super::runs::Runs;
use crate::codec::{DecodeError, Limits, Reader, Tag, VERSION, Writer};
use crate::{Contexts, Crdt, Lattice, bugs};

/// A causal value: what is alive, and all that was ever seen. The state of a replica and a delta
/// are the same type.
///
/// **Invariant:** every live dot is in the context; bytes that say otherwise do not decode. Equal
/// values have equal bytes.
///
/// Reads go through [`Deref`] to the value. Writes go through [`Replicated`](crate::Replicated),
/// which knows who writes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Causal<T> {
    pub(crate) value: T,
    pub(crate) context: CausalContext,
}

/// What a transaction changed, or what one replica lacks of another: a [`Causal`] value that holds
/// this alone, under the exact events that it covers. Merging it is as good as having made the
/// change.
pub type Delta<T> = Causal<T>;

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
    /// **Laws:** those of [`Lattice::merge`](crate::Lattice::merge): deltas may be lost, repeated
    /// and reordered, and any of them may be replaced by a full state.
    pub fn merge(&mut self, other: &Self) -> T::Effects {
        let effects = self.value.join(
            &other.value,
            Contexts {
                mine: &self.context,
                theirs: &other.context,
            },
        );
        self.context.union(&other.context);
        effects
    }

    /// The dots that are alive: their effect is visible.
    pub fn live(&self) -> CausalContext {
        live_dots(&self.value)
    }

    /// The value as bytes: canonical, which is to say that equal values have equal bytes, and
    /// versioned.
    pub fn encode(&self) -> Vec<u8> {
        let live = self.live();
        let mut out = Writer::new(&self.context);
        out.byte(VERSION);
        out.tag(&Tag::of::<T>());
        out.value(&self.context);
        out.dots(&live);
        let mut value = Writer::within(&self.context, &live);
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
        let (decoded, older) = Self::decode_leniently(bytes, limits)?;
        // One form for each value: what would not be written like this was not written by this.
        if older || bugs::ANY_FORM.is_planted() || decoded.encode() == bytes {
            Ok(decoded)
        } else {
            Err(DecodeError::NotCanonical)
        }
    }

    /// The value, and whether it may be in the form of an older version of a struct.
    pub(crate) fn decode_leniently(
        bytes: &[u8],
        limits: Limits,
    ) -> Result<(Self, bool), DecodeError> {
        let mut input = Reader::new(bytes, &CausalContext::new(), limits)?;
        let version = input.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        input.expect_tag(&Tag::of::<T>())?;
        let context: Arc<CausalContext> = Arc::new(input.value()?);
        let mut input = Reader::new(input.rest(), &context, limits)?;
        let live = input.dots()?;
        let mut input = Reader::new(input.rest(), &live, input.limits())?.within(&context);
        let value = input.exactly::<T>(&live)?;
        let older = input.was_older();
        input.finish()?;
        Ok((
            Self {
                value,
                context: Arc::unwrap_or_clone(context),
            },
            older,
        ))
    }
}

impl<T: Crdt + Lattice> Causal<T> {
    /// A value without dots as a delta that claims no events: to merge what came by another way
    /// than a delta, as the changes of a document do that were asked for by their hashes.
    pub fn of(value: T) -> Self {
        Self {
            value,
            context: CausalContext::new(),
        }
    }
}

/// The dots that are alive in a value.
pub(crate) fn live_dots(value: &impl Crdt) -> CausalContext {
    alive(value).0
}

/// The dots that are alive in a value, and whether each was visited once.
pub(crate) fn alive(value: &impl Crdt) -> (CausalContext, bool) {
    let mut runs = Runs::default();
    value.dots(&mut |dot| runs.push(dot));
    runs.into_context()
}

impl<T> Deref for Causal<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
