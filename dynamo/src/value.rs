//! What rows mean: folds live entries into Redis's values, and turns mutations into events.

mod fold;
mod guard;
mod mutate;
mod once;
mod query;
mod token;

pub(crate) use fold::{expired_unseen, is_stale, lapsed};
pub(crate) use guard::{hidden_unseen, must_look, overtaken, reads_whole_collection, restate};
pub(crate) use mutate::{Clocked, mutate, needs_time};
pub(crate) use once::{Remembered, is_reserved, must_see_once, remembered};
pub(crate) use query::{partition, query, ranges_of};
