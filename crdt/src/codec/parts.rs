//! Replicated values within replicated values: their tags, and their bytes with their own dots.

use super::{DecodeError, Reader, Tag, Writer};
use crate::causal::{alive, live_dots};
use crate::{CausalContext, Crdt, bugs};

impl Tag {
    /// The tag of a type, including what it contains.
    pub fn of<T: Crdt>() -> Self {
        let mut tag = Self::default();
        if bugs::ANY_TYPE.is_planted() {
            tag.structure();
        } else {
            T::tag(&mut tag);
        }
        tag
    }
}

impl Writer {
    /// Writes a replicated value that is part of this one, with its own dots in front;
    /// [`Reader::inner`] reads it.
    pub fn inner<T: Crdt>(&mut self, value: &T) {
        self.scoped(&live_dots(value), |out| value.encode(out));
    }
}

impl Reader<'_> {
    /// Reads a replicated value that is part of this one, as [`Writer::inner`] writes it.
    ///
    /// **Law:** its live dots are exactly those announced for it, each once, so the caller need not
    /// check.
    ///
    /// # Errors
    /// Its decoder fails, or its dots are not those announced.
    pub fn inner<T: Crdt>(&mut self) -> Result<T, DecodeError> {
        self.scoped(Reader::exactly)
    }

    /// Reads a value that has exactly these live dots, each once.
    pub(crate) fn exactly<T: Crdt>(&mut self, live: &CausalContext) -> Result<T, DecodeError> {
        let value = T::decode(self)?;
        let (found, once) = alive(&value);
        if once && found == *live {
            Ok(value)
        } else {
            Err(DecodeError::Invalid(
                "dots that stand for nothing, or for two things",
            ))
        }
    }
}
