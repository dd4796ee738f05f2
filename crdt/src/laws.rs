//! The laws of replicated types as tests: one line per type, for the types of this crate and for
//! yours. It needs the feature `laws`, which brings in proptest and is meant for
//! `[dev-dependencies]`.
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
//! check the states and deltas that occur:
//!
//! | test | law |
//! |---|---|
//! | `is_a_semilattice` | merging is idempotent, commutative and associative; the default is the bottom |
//! | `deltas_do_what_the_mutations_did` | merging the delta of a mutation is the same as performing it; merges are monotone; effects name only values that changed; live dots are in the context, each once |
//! | `converges_whatever_the_network_does` | shuffled and doubled deltas give what full states give; a full state makes up for lost deltas |
//! | `has_one_encoding` | equal values have equal bytes, however they came about, and decode to themselves |
//! | `decodes_anything_without_panic` | damaged and random bytes are refused, or they are the encoding of a value that can be merged, changed and encoded |
//! | `two_round_trips_synchronise` | [`Summary`](crate::Summary) and [`delta_since`](crate::Replicated::delta_since) make diverged replicas equal |
//! | `is_the_sum_of_its_parts` | [`Crdt::part`](crate::Crdt::part) of all dots is the value; a part and the rest join to the value |
//! | `is_what_its_operations_say` | with `spec` and `view`: what readers see is a function of the operations seen, and no merge changes it without reporting effects |
//!
//! The last test needs a specification: `…, spec: specification, view: view;` with `specification:
//! fn(&[Rc<SeenOp>]) -> V` and `view: fn(&Type) -> V`. [`alive`] helps to write one. The idea of
//! computing a value from its operations and what each had observed: Burckhardt et al., "Replicated
//! data types: specification, verification, optimality", POPL 2014, section 3.
//!
//! **Bounds:** a history has at most [`EVENTS`] events. A law runs `PROPTEST_CASES` cases, 256 by
//! default.

mod history;
mod lattice;
mod refinement;
mod subject;
mod sync;
mod wire;

pub use self::history::{EVENTS, Event, REPLICAS, replica};
pub use self::lattice::{converges, deltas_do_what_mutations_did, is_a_semilattice};
pub use self::refinement::{SeenOp, alive, refines};
pub use self::subject::{Op, Subject};
pub use self::sync::{is_the_sum_of_its_parts, two_round_trips_synchronise};
pub use self::wire::{decodes_anything, has_one_encoding};

/// Makes a module of tests for each type, which check the [laws](mod@crate::laws).
///
/// The form is `name: Type, |edit, tx, op| mutation;`, optionally with `, spec: specification,
/// view: view` before the semicolon. `edit`, `tx` and `op` are the arguments of
/// [`Subject::mutate`](crate::laws::Subject::mutate).
#[macro_export]
macro_rules! laws {
    ($(
        $name:ident: $type:ty, |$edit:ident, $tx:ident, $op:ident| $mutate:expr
        $(, spec: $spec:expr, view: $view:expr)?
    );+ $(;)?) => {$(
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports, reason = "the type may be named by its path")]
            use super::*;

            struct Case;

            impl $crate::laws::Subject for Case {
                type State = <$type as $crate::Schema>::State;

                #[allow(unused_variables, reason = "a type may have only one kind of operation")]
                fn mutate(
                    $edit: &mut <Self::State as $crate::Crdt>::Edit<'_>,
                    $tx: &mut $crate::Tx<'_>,
                    $op: $crate::laws::Op,
                ) {
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
