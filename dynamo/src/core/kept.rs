//! What a core keeps in memory beside the rows of its replicas, each with its bound.

/// An amount of one kind of thing, with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What is kept, and whether it is counted in pieces or bytes.
    pub what: &'static str,
    /// How much is kept.
    pub held: usize,
    /// How much may be kept.
    pub max: usize,
    /// Whether it goes to zero when nobody asks for anything, all nodes are up and all replicas
    /// have converged.
    pub passes: bool,
}

impl Kept {
    /// Something that is gone when everything is at rest.
    pub const fn passing(what: &'static str, held: usize, max: usize) -> Self {
        Self {
            what,
            held,
            max,
            passes: true,
        }
    }

    /// Something that may stay.
    pub const fn lasting(what: &'static str, held: usize, max: usize) -> Self {
        Self {
            what,
            held,
            max,
            passes: false,
        }
    }
}
