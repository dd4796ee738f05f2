//! What the types do in the situations that their documentation names.

mod counters;
mod exchange;
mod maps;
mod merging;
mod rankings;
mod sets;
mod sketches;
mod trees;
