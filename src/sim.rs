//! Whole clusters in virtual time. Every run can be replayed from its seed.
//!
//! The nodes are those of [`crate::node`]. Network, disks and clocks are simulated, and everything
//! runs on one thread whose clock advances only when all tasks wait. Two runs of one seed have the
//! same [`Trace`].
//!
//! ```
//! use quorate::sim::{self, Layout};
//! use quorate_dynamo::Consistency;
//! use quorate_dynamo::op::{Mutation, Query, Reply};
//!
//! let (members, _trace) = sim::run(7, Layout::new(3, 1), async |cluster| {
//!     cluster.split("dc1");
//!     let minority = cluster.client(cluster.nodes_in("dc1")[0], Some(Consistency::LocalQuorum));
//!     let add_red = Mutation::Add(vec!["red".into()]);
//!     minority.mutate("colours", add_red).await?; // All copies of its own datacenter are there.
//!     cluster.heal();
//!     cluster.settled().await?; // Now all replicas are equal.
//!     let majority = cluster.client(cluster.nodes_in("dc2")[0], Some(Consistency::LocalOne));
//!     Ok::<_, Box<dyn std::error::Error>>(majority.query("colours", Query::Members).await?)
//! })?;
//! assert_eq!(members?, Reply::List(vec!["red".into()]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agreement;
mod ask;
mod bidder;
pub mod campaign;
mod client;
mod clock;
mod cluster;
mod direct;
mod disk;
mod draw;
mod eye;
mod grants;
mod history;
mod host;
mod layout;
mod network;
mod newcomers;
mod oracle;
mod panics;
mod plan;
pub mod planted;
mod play;
mod promise;
pub mod report;
mod rest;
pub mod scenario;
mod scripted;
mod shrink;
mod trace;

pub use client::{Broken, Client, Ledger};
pub use clock::{START_UNIX_MILLIS, SimClock};
pub use cluster::{Seen, SimError, Simulation, run};
pub use disk::SimDisk;
pub use draw::Focus;
pub use draw::incident::Incident;
pub use grants::{Fortune, Heard};
pub use history::{Fate, Need, Told};
pub use layout::Layout;
pub use network::Network;
pub use network::port::Port;
pub use network::state::Conditions;
pub use oracle::Violation;
pub use panics::PANIC;
pub use plan::action::Action;
pub use plan::bid::{Bid, Stake, Thing, Wish};
pub use plan::request::{Ask, Deed, Key, Kind};
pub use plan::shape::{Knobs, Shape};
pub use plan::{Plan, Step};
pub use play::{Outcome, play};
pub use trace::Trace;
