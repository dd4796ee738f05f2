//! A handful of cores that talk through a queue: what each level needs and gives, what a removal sees, what heals.

mod levels;
mod moves;
mod net;
mod repair;
