//! Three replicas under a random history, and what readers see of them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::{
    Causal, Delta, Effects, NodeId, OrSet, Pair, PnCounter, ReplicaId, Replicated, RwSet, Standing,
    Text,
};

/// The type of the replicas' value: one type of each kind.
pub(super) type Value = Pair<OrSet<u8>, Pair<PnCounter, Pair<Text, RwSet<u8>>>>;

/// Pseudo-random numbers (Steele et al., "Fast splittable pseudorandom number generators", 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Three replicas and the deltas between them, which get lost, repeated and reordered.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) replicas: Vec<Replicated<Value>>,
    pub(super) sent: Vec<Delta<Value>>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let replicas = (1..=3)
            .map(|node| Replicated::new(ReplicaId::new(NodeId(node), 0)))
            .collect();
        Self {
            random: Random(seed),
            replicas,
            sent: Vec::new(),
        }
    }

    pub(super) fn pick(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// One replica changes its value.
    pub(super) fn change(&mut self) {
        let (at, what, n) = (self.pick(3), self.pick(8), self.random.below(4) as u8);
        let place = self.pick(4);
        let delta = self.replicas[at].update(|value, tx| match what {
            0 | 1 => value.first_mut(tx, |set, tx| set.add(tx, n)),
            2 => value.first_mut(tx, |set, tx| {
                set.remove(tx, &n);
            }),
            3 => value.second_mut(tx, |rest, tx| {
                rest.first_mut(tx, |counter, tx| counter.increment(tx, 1));
            }),
            _ => value.second_mut(tx, |rest, tx| {
                rest.second_mut(tx, |rest, tx| match what {
                    4 => rest.first_mut(tx, |text, tx| {
                        let at = place.min(text.len());
                        text.insert(tx, at, "ab").unwrap_or_default();
                    }),
                    5 => rest.first_mut(tx, |text, tx| {
                        let at = place.min(text.len());
                        let end = text.len().min(at + 2);
                        text.delete(tx, at..end).unwrap_or_default();
                    }),
                    6 => rest.second_mut(tx, |banned, tx| banned.add(tx, n)),
                    _ => rest.second_mut(tx, |banned, tx| {
                        banned.remove(tx, &n);
                    }),
                });
            }),
        });
        self.sent.push(delta);
    }

    /// Some delta arrives at some replica.
    pub(super) fn deliver(&mut self) -> Result<(), String> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let (which, to) = (self.pick(self.sent.len()), self.pick(3));
        let delta = self.sent[which].clone();
        self.merge(to, &delta)
    }

    pub(super) fn merge(&mut self, to: usize, delta: &Delta<Value>) -> Result<(), String> {
        let before = view(self.replicas[to].state());
        let effects = self.replicas[to]
            .merge(delta)
            .map_err(|refused| alloc::format!("refused without a reason: {refused}"))?;
        let after = view(self.replicas[to].state());
        if before != after && effects.is_empty() {
            return Err(alloc::format!(
                "readers see {after:?} instead of {before:?}, but the merge reports no effect"
            ));
        }
        Ok(())
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        if self.random.below(2) == 0 {
            self.change();
            return Ok(());
        }
        self.deliver()
    }

    /// All replicas synchronise by summaries alone.
    pub(super) fn synchronise(&mut self) -> Result<(), String> {
        for _ in 0..2 {
            for (a, b) in [(0, 1), (1, 2), (2, 0)] {
                let first = self.replicas[a].summary();
                let answer = self.replicas[b].summary_against(&first);
                let (for_a, for_b) = (
                    self.replicas[b].delta_since(&first),
                    self.replicas[a].delta_since(&answer),
                );
                let third = self.replicas[a].summary_against(&answer);
                self.merge(b, &for_b)?;
                self.merge(a, &for_a)?;
                let rest = self.replicas[b].delta_since(&third);
                self.merge(a, &rest)?;
                let standing = self.replicas[a].compare(&self.replicas[b].summary());
                if standing != Standing::Equal {
                    return Err(alloc::format!("{standing:?} after two round trips"));
                }
            }
        }
        Ok(())
    }
}

/// What readers see.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct View {
    set: Vec<u8>,
    count: i128,
    text: String,
    pub(super) banned: Vec<u8>,
}

pub(super) fn view(state: &Causal<Value>) -> View {
    let (set, rest) = (state.first(), state.second());
    View {
        set: set.sorted().into_iter().copied().collect(),
        count: rest.first().value(),
        text: rest.second().first().to_string(),
        banned: rest
            .second()
            .second()
            .sorted()
            .into_iter()
            .copied()
            .collect(),
    }
}
