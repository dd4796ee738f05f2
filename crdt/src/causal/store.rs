//! Dot stores: the parts of a value that are alive under a context.

mod fun;
mod map;
mod set;

#[cfg(test)]
mod tests;

pub use fun::DotFun;
pub use map::{DotMap, MapEffects};
pub use set::DotSet;
