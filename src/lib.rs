//! Quorate.

pub mod cli;
pub mod config;
pub mod data;
pub mod sim;
pub mod http;
pub mod status;
mod table;
pub mod resp;
