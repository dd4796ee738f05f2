//! Flags.

use crate::causal::DotSet;
use crate::codec::Kind;
use crate::value::dot_store_by_field;
use crate::{Edit, Tx};

/// A flag that is up if some raising of it was not seen by a lowering: raising wins over a
/// concurrent lowering (delta paper, section 7.2).
///
/// What grows: nothing but the context.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct EwFlag(DotSet);

dot_store_by_field! { [] EwFlag, DotSet, |tag| tag.kind(Kind::EwFlag) }

impl EwFlag {
    /// Whether it is up.
    pub fn is_enabled(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Edit<'_, EwFlag> {
    /// Raises the flag.
    pub fn enable(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        replace(&mut state.0, &mut delta.0, tx);
    }

    /// Lowers the flag, as far as it was seen up here.
    pub fn disable(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        clear(&mut state.0, &mut delta.0, tx);
    }
}

/// A flag that is down if some lowering of it was not seen by a raising: lowering wins over a
/// concurrent raising. It starts up.
///
/// What grows: nothing but the context.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DwFlag(DotSet);

dot_store_by_field! { [] DwFlag, DotSet, |tag| tag.kind(Kind::DwFlag) }

impl DwFlag {
    /// Whether it is up.
    pub fn is_enabled(&self) -> bool {
        self.0.is_empty()
    }
}

impl Edit<'_, DwFlag> {
    /// Lowers the flag.
    pub fn disable(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        replace(&mut state.0, &mut delta.0, tx);
    }

    /// Raises the flag, as far as it was seen down here.
    pub fn enable(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        clear(&mut state.0, &mut delta.0, tx);
    }
}

fn replace(state: &mut DotSet, delta: &mut DotSet, tx: &mut Tx<'_>) {
    clear(state, delta, tx);
    let dot = tx.issue();
    (*state, *delta) = (DotSet::one(dot), DotSet::one(dot));
}

fn clear(state: &mut DotSet, delta: &mut DotSet, tx: &mut Tx<'_>) {
    state.drain().for_each(|dot| tx.end(dot));
    *delta = DotSet::new();
}
