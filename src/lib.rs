//! The library behind the `quorate` binary: whole nodes, the faces in front of them, and the tools
//! around them.
//!
//! - [`doors`]: what a node offers, as traits
//! - [`faces`]: the Redis and HTTP servers on top of the doors
//! - [`client`]: guards of locks and elections, for other programs
//! - [`node`]: a node, put together from the protocol crates
//! - [`store`]: its storage engines and the group commit
//! - [`tls`]: TLS between clients and faces
//! - [`config`]: every setting, and where it may come from
//! - [`cli`]: the verbs of the command line
//! - [`sim`]: whole clusters in virtual time
//! - [`check`]: compares recorded histories with what is promised
//! - [`demo`]: three datacenters on one machine, split and healed

pub mod check;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod doors;
pub mod faces;
pub mod limits;
pub mod node;
mod password;
pub mod planted;
mod process;
pub mod sim;
pub mod store;
mod table;
pub mod tls;
