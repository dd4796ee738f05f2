//! Documents as a replicated type: a lattice without dots.

use super::change::Actor;
use super::edit::DocumentEdit;
use super::engine::Engine;
use super::order;
use super::set::Document;
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{CausalContext, Changed, Contexts, Crdt, Dot, Edit, Lattice, ReplicaId, Undotted};

impl<E: Engine> Crdt for Document<E> {
    type Edit<'a>
        = DocumentEdit<'a, E>
    where
        Self: 'a;
    type Effects = Changed;

    fn tag(tag: &mut Tag) {
        tag.kind(Kind::Document);
    }

    fn is_bottom(&self) -> bool {
        self.changes.is_empty()
    }

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> Changed {
        Changed(self.merge(theirs))
    }

    fn dots(&self, _: &mut dyn FnMut(Dot)) {}

    fn part(&self, _: &CausalContext, undotted: Undotted<'_>) -> Self {
        if undotted.stay() {
            self.clone()
        } else {
            Self::default()
        }
    }

    fn has_undotted(&self) -> bool {
        !self.is_bottom()
    }

    /// Whether `theirs` has changes of this replica that are not here.
    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let me = Actor::from(replica);
        theirs
            .changes
            .values()
            .any(|change| change.actor == me && !self.changes.contains_key(&change.hash))
    }

    fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> DocumentEdit<'a, E> {
        DocumentEdit(Edit::new(state, delta))
    }

    fn encode(&self, out: &mut Writer) {
        let mut inner = Writer::new(&CausalContext::new());
        order::encode(&self.changes, &mut inner);
        out.bytes(&inner.finish());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = input.bytes()?;
        let mut inner = Reader::new(bytes, &CausalContext::new(), input.limits())?;
        let changes = order::decode(&mut inner)?;
        input.take_elements((input.limits().elements - inner.limits().elements) as u64)?;
        inner.finish()?;
        Ok(Self::from(changes))
    }
}
