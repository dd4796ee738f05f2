//! A register as it behaves when one operation follows another: it holds the last value written.

use serde_json::Value;

use super::history::Action;
use super::linear::Machine;
use super::operation::Operation;

/// The machine of a register.
pub(super) struct LastValue;

fn value(of: &Value) -> Option<Box<str>> {
    (!of.is_null()).then(|| of.to_string().into())
}

impl Machine for LastValue {
    type State = Option<Box<str>>;
    const NO_ORDER: &'static str = "no order of these operations explains every read";

    fn knows(&self, action: &Action) -> bool {
        !action.is_about_holding()
    }

    fn step(&self, state: &Self::State, operation: &Operation<'_>) -> Option<Self::State> {
        let call = &operation.call.value;
        match operation.call.f {
            Action::Write => Some(value(call)),
            Action::Remove => Some(None),
            Action::Cas => {
                let expected = value(call.get(0)?) == *state;
                expected.then_some(value(call.get(1)?))
            }
            _ => (value(operation.answer()) == *state).then(|| state.clone()),
        }
    }

    fn goes_with(
        &self,
        chosen: &Operation<'_>,
        other: &Operation<'_>,
        _all: &[Operation<'_>],
    ) -> bool {
        let written = chosen.call.f == Action::Write;
        written && other.call.f.is_read() && *other.answer() == chosen.call.value
    }
}
