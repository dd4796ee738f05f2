//! Flags: on wins, or off wins.

use crate::causal::DotSet;
use crate::codec::Kind;
use crate::value::dot_store_by_field;
use crate::{Edit, Tx};

/// A flag for which on wins: it is on if some call of `enable` was not seen by any `disable`
/// (Almeida, Shoker, Baquero, arXiv 1603.01529, section 7.2). For example, Amy enables it while Ben
/// disables it: it is on, because Ben had not seen Amy's change. It starts off.
///
/// What grows: nothing but the context.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct EwFlag(DotSet);

dot_store_by_field! { [] EwFlag, DotSet, |tag| tag.kind(Kind::EwFlag) }

impl EwFlag {
    /// Whether the flag is on. False at first.
    pub fn is_enabled(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Edit<'_, EwFlag> {
    /// Turns the flag on.
    pub fn enable(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        replace(&mut state.0, &mut delta.0, tx);
    }

    /// Turns the flag off, unless it was turned on elsewhere and this replica has not seen that.
    pub fn disable(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        clear(&mut state.0, &mut delta.0, tx);
    }
}

/// A flag for which off wins: it is off if some call of `disable` was not seen by any `enable`. For
/// example, Amy enables it while Ben disables it: it is off. It starts on.
///
/// What grows: nothing but the context.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DwFlag(DotSet);

dot_store_by_field! { [] DwFlag, DotSet, |tag| tag.kind(Kind::DwFlag) }

impl DwFlag {
    /// Whether the flag is on. True at first.
    pub fn is_enabled(&self) -> bool {
        self.0.is_empty()
    }
}

impl Edit<'_, DwFlag> {
    /// Turns the flag off.
    pub fn disable(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        replace(&mut state.0, &mut delta.0, tx);
    }

    /// Turns the flag on, unless it was turned off elsewhere and this replica has not seen that.
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
