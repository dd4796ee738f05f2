//! Quorate.

pub mod data;
pub mod status;
mod table;
pub mod resp;
