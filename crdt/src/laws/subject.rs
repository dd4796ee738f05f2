//! What is under test, and how a law is run.

use core::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::{Crdt, Tx};

/// A random operation. The [`Subject`] decides what it means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Op {
    /// Chooses the mutator. Any number, so take the remainder.
    pub action: u8,
    /// Chooses the argument. Below 4 in three of four operations, so that they collide.
    pub argument: u8,
}

/// A replicated type under test, and what a random operation does to it. The macro
/// [`laws!`](crate::laws!) implements this.
pub trait Subject {
    /// The type under test.
    type State: Crdt + Debug;

    /// Performs an operation. It must depend on nothing but its arguments, or failures cannot be
    /// reproduced.
    fn mutate(edit: &mut <Self::State as Crdt>::Edit<'_>, tx: &mut Tx<'_>, op: Op);
}

/// Runs a law on random inputs and panics with the smallest one found that breaks it.
pub(super) fn check<I: Debug>(
    inputs: impl Strategy<Value = I>,
    law: impl Fn(I) -> Result<(), TestCaseError>,
) {
    // The failing input is printed; nothing is written next to the sources.
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    match runner.run(&inputs, law) {
        Ok(()) => {}
        Err(TestError::Fail(reason, input)) => {
            panic!("{reason}\nsmallest failing input: {input:#?}")
        }
        Err(TestError::Abort(reason)) => panic!("the test itself failed: {reason}"),
    }
}
