//! A value together with the context that it is true in.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use super::context::CausalContext;
use super::live::live_dots;
use crate::codec::{DecodeError, Limits, Reader, Tag, VERSION, Writer};
use crate::{Contexts, Crdt, Lattice, bugs};

/// A causal value: what is alive, and everything ever seen. The state of a replica and a delta have
/// this same type.
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

/// The changes of a transaction, or what one replica lacks of another: a [`Causal`] value that
/// holds nothing else, under the exact events that it covers. Merging it equals making the changes.
pub type Delta<T> = Causal<T>;

impl<T: Crdt> Causal<T> {
    /// Nothing alive and nothing seen: the bottom of the lattice.
    pub fn new() -> Self {
        Self::default()
    }

    /// All events that this value knows of, visible or not.
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// Whether merging it would change no value.
    pub fn is_bottom(&self) -> bool {
        self.context.is_empty() && self.value.is_bottom()
    }

    /// Takes the value apart, for instance to keep many values under one context.
    pub fn into_parts(self) -> (T, CausalContext) {
        (self.value, self.context)
    }

    /// Makes this the least upper bound of both and returns what readers will see differently.
    ///
    /// **Laws:** those of [`Lattice::merge`](crate::Lattice::merge): deltas may be lost, repeated
    /// and reordered, and a full state can replace any of them.
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

    /// The dots that are alive, that is, whose effect is visible. O(live dots).
    pub fn live(&self) -> CausalContext {
        live_dots(&self.value)
    }

    /// The value as bytes. The encoding is versioned and canonical: equal values have equal bytes.
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
    /// The bytes are anything else. No bytes make this panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_within(bytes, Limits::default())
    }

    /// Reads what [`encode`](Self::encode) wrote, within `limits`.
    ///
    /// # Errors
    /// The bytes are anything else, or exceed `limits`. No bytes make this panic.
    pub fn decode_within(bytes: &[u8], limits: Limits) -> Result<Self, DecodeError> {
        let (decoded, older) = Self::decode_leniently(bytes, limits)?;
        // Each value has one form: bytes that this would not write were not written by this.
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
    /// Makes a delta that claims no events from a value without dots. Use it to merge what did not
    /// come in a delta, such as the changes of a document that were requested by hash.
    pub fn of(value: T) -> Self {
        Self {
            value,
            context: CausalContext::new(),
        }
    }
}

impl<T> Deref for Causal<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
