//! Flags: on wins, or off wins.

use crate::causal::DotSet;
use crate::codec::Kind;
use crate::value::dot_store_by_field;
use crate::{Edit, Tx};

/// A flag for which on wins: it is up if some raising was not seen by a lowering (Almeida, Shoker,
/// Baquero, arXiv 1603.01529, section 7.2). For example, Amy raises it while Ben lowers it: it is
/// up, because Ben's lowering had not seen Amy's raising.
///
/// What grows: nothing but the context.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct EwFlag(DotSet);

dot_store_by_field! { [] EwFlag, DotSet, |tag| tag.kind(Kind::EwFlag) }

impl EwFlag {
    /// Whether it is up. False at first.
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

    /// Lowers the flag. Raisings that this replica has not seen keep it up.
    pub fn disable(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        clear(&mut state.0, &mut delta.0, tx);
    }
}

/// A flag for which off wins: it is down if some lowering was not seen by a raising. It starts up.
/// For example, Amy raises it while Ben lowers it: it is down.
///
/// What grows: nothing but the context.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DwFlag(DotSet);

dot_store_by_field! { [] DwFlag, DotSet, |tag| tag.kind(Kind::DwFlag) }

impl DwFlag {
    /// Whether it is up. True at first.
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

    /// Raises the flag. Lowerings that this replica has not seen keep it down.
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
