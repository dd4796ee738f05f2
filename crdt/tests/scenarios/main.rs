//! The types in the situations that their documentation describes.

mod counters;
mod exchange;
mod maps;
mod merging;
mod rankings;
mod sets;
mod sketches;
mod trees;
