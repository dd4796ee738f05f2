//! Quorate.

pub mod cli;
pub mod config;
pub mod data;
pub mod demo;
pub mod node;
pub mod sim;
pub mod http;
pub mod status;
pub mod store;
mod table;
pub mod resp;
