//! The laws of the encoding.

use alloc::vec::Vec;
use core::fmt::Debug;

use proptest::prelude::*;

use super::history::{World, histories, merged, replica};
use super::subject::{Op, Subject, check};
use crate::codec::VERSION;
use crate::{Causal, Crdt, Limits, NodeId, ReplicaId, Replicated, Summary};

/// What decoding may cost here: little, so that false claims in the bytes cost the test no time.
const LIMITS: Limits = Limits {
    bytes: 1 << 16,
    elements: 1 << 12,
    depth: 16,
};

/// The highest counter that decodes; an event issued after it cannot be sent.
const HIGHEST_COUNTER: u64 = u64::MAX >> 1;

/// Every value decodes to itself, and equal values have equal bytes, however they came about.
pub fn has_one_encoding<S: Subject>() {
    check((histories(), any::<[u8; 3]>()), |(history, picks)| {
        let world = World::after::<S>(&history);
        for value in world.all() {
            let decoded = Causal::<S::State>::decode(&value.encode());
            prop_assert_eq!(
                decoded.as_ref(),
                Ok(value),
                "the decoded value is not the encoded one"
            );
            prop_assert_eq!(
                decoded.map(|value| value.encode()),
                Ok(value.encode()),
                "the bytes differ after a round trip"
            );
        }
        let forwards = world
            .all()
            .fold(Causal::new(), |all, value| merged(&all, value));
        let backwards = world
            .all()
            .rev()
            .fold(Causal::new(), |all, value| merged(&all, value));
        prop_assert_eq!(
            forwards.encode(),
            backwards.encode(),
            "bytes depend on the order of merges"
        );
        let [a, b, c] = picks.map(|pick| world.pick(pick));
        prop_assert_eq!(
            a == b,
            a.encode() == b.encode(),
            "equal values do not have equal bytes, or unequal values do"
        );
        let (left, right) = (merged(&merged(a, b), c), merged(c, &merged(b, a)));
        prop_assert_eq!(
            left.encode(),
            right.encode(),
            "bytes depend on the order of merges"
        );
        Ok(())
    });
}

/// Damaged and random bytes are refused, or they decode to a value that can be merged, changed and
/// encoded. The same holds for damaged summaries.
pub fn decodes_anything<S: Subject>() {
    let flips = prop::collection::vec((any::<u16>(), any::<u8>()), 1..4);
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    check(
        (histories(), flips, any::<u16>(), noise),
        |(history, flips, cut, noise)| {
            let world = World::after::<S>(&history);
            let state = world.pick(cut as u8);
            let bytes = state.encode();
            // Flipped; cut off and continued with noise; noise alone.
            let continued: Vec<u8> = bytes[..usize::from(cut) % bytes.len()]
                .iter()
                .chain(&noise)
                .copied()
                .collect();
            let random: Vec<u8> = core::iter::once(VERSION).chain(noise).collect();
            for bytes in [damaged(bytes, &flips), continued, random] {
                if let Ok((value, older)) = Causal::<S::State>::decode_leniently(&bytes, LIMITS) {
                    // The decoder refuses one of two forms.
                    let refused = Causal::<S::State>::decode_within(&bytes, LIMITS).is_err();
                    prop_assert!(
                        older || refused == (value.encode() != bytes),
                        "a value has two encodings, and both decode"
                    );
                    survives::<S>(&value, state)?;
                    survives::<S>(&value, world.replicas[1].state())?;
                }
            }
            if let Ok(summary) = Summary::decode(&damaged(state.summary().encode(), &flips)) {
                drop((state.delta_since(&summary), state.summary_against(&summary)));
            }
            Ok(())
        },
    );
}

fn damaged(mut bytes: Vec<u8>, flips: &[(u16, u8)]) -> Vec<u8> {
    for &(at, bits) in flips {
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= bits;
    }
    bytes
}

/// A decoded value may lie about history, so no two replicas need agree on it; but each can
/// continue with it.
fn survives<S: Subject>(
    value: &Causal<S::State>,
    other: &Causal<S::State>,
) -> Result<(), TestCaseError> {
    intact(value)?;
    for both in [merged(value, other), merged(other, value)] {
        intact(&both)?;
        // A replica whose events are claimed to be used up, or to be others than it knows, takes
        // another id.
        let here = Replicated::<S::State>::resume(replica(0), both.clone());
        let Some(mut here) = here
            .or_else(|_| Replicated::resume(ReplicaId::new(NodeId(u64::MAX), 9), both))
            .ok()
        else {
            continue;
        };
        for action in 0..16 {
            let delta = here.update(|edit, tx| {
                S::mutate(
                    edit,
                    tx,
                    Op {
                        action,
                        argument: action % 3,
                    },
                );
            });
            intact(&delta)?;
        }
        intact(here.state())?;
        drop((
            here.delta_since(&value.summary()),
            value.delta_since(&here.summary_against(&value.summary())),
        ));
    }
    Ok(())
}

/// A value that survives its own bytes has its invariants.
fn intact<T: Crdt + Debug>(value: &Causal<T>) -> Result<(), TestCaseError> {
    if value
        .context
        .runs()
        .all(|(_, run)| *run.end() <= HIGHEST_COUNTER)
    {
        let decoded = Causal::decode(&value.encode());
        prop_assert_eq!(
            decoded.as_ref(),
            Ok(value),
            "a value does not survive its own bytes"
        );
    }
    Ok(())
}
