//! Quorate.

pub mod data;
