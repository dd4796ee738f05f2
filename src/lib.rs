//! Quorate.

pub mod check;
pub mod cli;
pub mod config;
pub mod data;
pub mod demo;
pub mod http;
pub mod limits;
pub mod node;
pub mod planted;
pub mod resp;
pub mod sim;
pub mod status;
pub mod store;
mod table;
