//! The laws of replicated types as tests: one line per type, for the types here and for yours. With
//! feature `laws`, which brings in proptest and is meant for `[dev-dependencies]`.
//!
//! ```
//! quorate_crdt::laws! {
//!     or_set: quorate_crdt::OrSet<u8>, |set, tx, op| match op.action % 8 {
//!         0..4 => set.add(tx, op.argument),
//!         4..7 => { set.remove(tx, &op.argument); }
//!         _ => set.clear(tx),
//!     };
//! }
//! ```
//!
//! Each line makes a module of tests. They play random histories of three replicas ([`Event`]) and
//! check on the states and deltas that come up:
//!
//! | test | law |
//! |---|---|
//! | `is_a_semilattice` | merging is idempotent, commutative, associative; the default is the bottom |
//! | `deltas_do_what_the_mutations_did` | merging the delta of a mutation is performing it; merges are monotone; effects are told only of values that changed; live dots are in the context, each once |
//! | `converges_whatever_the_network_does` | deltas shuffled and doubled make what full states make; a full state makes up for lost deltas |
//! | `has_one_encoding` | equal values have equal bytes, however they came about, and decode to themselves |
//! | `decodes_anything_without_panic` | damaged and random bytes are refused, or are those that a value has, which merges, changes and encodes like any |
//! | `two_round_trips_synchronise` | [`Summary`](crate::Summary) and [`delta_since`](crate::Replicated::delta_since) make diverged replicas equal |
//! | `is_the_sum_of_its_parts` | [`Crdt::part`] of all dots is the value; a part and the rest join to it |
//! | `is_what_its_operations_say` | with `spec` and `view`: what readers see is a function of the operations seen, and no merge changes it without effects |
//!
//! The last one takes a specification: `…, spec: specification, view: view;` with
//! `specification: fn(&[Rc<SeenOp>]) -> V` and `view: fn(&Type) -> V`. [`alive`] helps. The idea of
//! computing what a value must be from (operation, operations it had observed): Burckhardt et al.,
//! "Replicated data types: specification, verification, optimality", POPL 2014, section 3.
//!
//! **Bounds:** histories have at most [`EVENTS`] events. The number of cases is `PROPTEST_CASES`,
//! else 256 per law.

mod history;
mod lattice;
mod refinement;
mod sync;
mod wire;

use core::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

pub use self::history::{EVENTS, Event, Op, REPLICAS, replica};
pub use self::lattice::{converges, deltas_do_what_mutations_did, is_a_semilattice};
pub use self::refinement::{SeenOp, alive, refines};
pub use self::sync::{is_the_sum_of_its_parts, two_round_trips_synchronise};
pub use self::wire::{decodes_anything, has_one_encoding};
use crate::{Crdt, Tx};

/// A replicated type under test, and what a random operation does to it. [`laws!`](crate::laws!)
/// implements it.
pub trait Subject {
    /// The type.
    type State: Crdt + Debug;

    /// Performs an operation. It must depend on nothing but its arguments, or failures cannot be
    /// repeated.
    fn mutate(edit: &mut <Self::State as Crdt>::Edit<'_>, tx: &mut Tx<'_>, op: Op);
}

/// Makes for each type a module of tests that check the [laws](mod@crate::laws).
///
/// `name: Type, |edit, tx, op| mutation;` and optionally `, spec: specification, view: view` before
/// the semicolon. `edit`, `tx` and `op` are what [`Subject::mutate`](crate::laws::Subject::mutate)
/// takes.
#[macro_export]
macro_rules! laws {
    ($($name:ident: $type:ty, |$edit:ident, $tx:ident, $op:ident| $mutate:expr $(, spec: $spec:expr, view: $view:expr)?);+ $(;)?) => {$(
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports, reason = "the type may be named by its path")]
            use super::*;

            struct Case;

            impl $crate::laws::Subject for Case {
                type State = <$type as $crate::Schema>::State;

                #[allow(unused_variables, reason = "a type may have one operation only")]
                fn mutate($edit: &mut <Self::State as $crate::Crdt>::Edit<'_>, $tx: &mut $crate::Tx<'_>, $op: $crate::laws::Op) {
                    $mutate;
                }
            }

            #[test]
            fn is_a_semilattice() {
                $crate::laws::is_a_semilattice::<Case>();
            }

            #[test]
            fn deltas_do_what_the_mutations_did() {
                $crate::laws::deltas_do_what_mutations_did::<Case>();
            }

            #[test]
            fn converges_whatever_the_network_does() {
                $crate::laws::converges::<Case>();
            }

            #[test]
            fn has_one_encoding() {
                $crate::laws::has_one_encoding::<Case>();
            }

            #[test]
            fn decodes_anything_without_panic() {
                $crate::laws::decodes_anything::<Case>();
            }

            #[test]
            fn two_round_trips_synchronise() {
                $crate::laws::two_round_trips_synchronise::<Case>();
            }

            #[test]
            fn is_the_sum_of_its_parts() {
                $crate::laws::is_the_sum_of_its_parts::<Case>();
            }

            $(
                #[test]
                fn is_what_its_operations_say() {
                    $crate::laws::refines::<Case, _>($spec, $view);
                }
            )?
        }
    )+};
}

/// Runs a law on random inputs and panics with the smallest one found that breaks it.
fn check<I: Debug>(inputs: impl Strategy<Value = I>, law: impl Fn(I) -> Result<(), TestCaseError>) {
    // The failing input is printed; nothing is written beside the sources.
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
