//! The facade library behind the `quorate` binary: whole nodes, what stands in front of them, and
//! the tools around them.
//!
//! - [`doors`]: what a node offers, as traits; [`faces`]: Redis and HTTP on top of them
//! - [`node`]: a node put together from the protocol crates; [`store`]: its engines
//! - [`config`]: every setting and where it may come from; [`cli`]: the commands
//! - [`sim`]: whole clusters in virtual time; [`check`]: histories against their promises
//! - [`demo`]: three datacenters on one machine, split and healed

pub mod check;
pub mod cli;
pub mod config;
pub mod demo;
pub mod doors;
pub mod faces;
pub mod limits;
pub mod node;
pub mod planted;
pub mod sim;
pub mod store;
mod table;
