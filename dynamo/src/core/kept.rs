//! What a core keeps in memory beside the rows of its replicas, each with its bound.

/// So much of one kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What is kept, and whether it is counted in pieces or bytes.
    pub what: &'static str,
    /// How much of it.
    pub held: usize,
    /// How much of it there may be.
    pub max: usize,
    /// Whether there is none of it when nobody asks for anything, all nodes are up and all replicas
    /// are converged.
    pub passes: bool,
}

impl Kept {
    /// What is gone when all is at rest.
    pub const fn passing(what: &'static str, held: usize, max: usize) -> Self {
        Self {
            what,
            held,
            max,
            passes: true,
        }
    }

    /// What may stay.
    pub const fn lasting(what: &'static str, held: usize, max: usize) -> Self {
        Self {
            what,
            held,
            max,
            passes: false,
        }
    }
}
