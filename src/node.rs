//! A whole node: shards, control group, failure detector and disk, put together.
//!
//! Production starts nodes with [`Node::start`]. The simulator boots the same parts on a network, a
//! disk and clocks of its own.
//!
//! The files, each of which names only files above it:
//!
//! | file | what it is for |
//! |---|---|
//! | `error` | why a node does not start |
//! | `clock` | where a node reads the time |
//! | `adopted` | the topology that a node acts on: the newest that it has made durable |
//! | `disk_guard` | a failed disk stops the whole node, whoever notices |
//! | `figures` | what a node tells another about itself |
//! | `meter` | what a node counts about itself |
//! | `commits` | batches of a shard on their way to the disk |
//! | `world` | what a node is given: time, disk, chance, and its settings |
//! | `inbox` | what a shard is given to do, and the line in which it waits |
//! | `lines` | questions of other nodes that wait until those have taken earlier answers |
//! | `outbox` | what leaves a shard once it is durable |
//! | `slots` | values under small numbers that are used again |
//! | `shard` | the driver of one core: batch, handle, commit, release |
//! | `hub` | takes what comes from peers and faces to the right shard or to the control group |
//! | `reach` | whether a node answers anybody |
//! | `control` | the node's part in the control group, and the admission of new nodes |
//! | `keys` | the key that a node shows, and the one that it will show instead |
//! | `coordinating` | what faces ask of the coordination group, and the waits that end in it |
//! | `shared` | what tasks and doors share |
//! | `rekey` | takes the steps of a change of keys |
//! | `detector` | drives the failure detector |
//! | `levels` | which default levels can be met with the nodes that are reached |
//! | `members` | the nodes as an operator sees them |
//! | `users` | what is asked about users, and how refusals are told |
//! | `status` | the status document |
//! | `explain` | what every replica holds of a key |
//! | `tasks` | what runs beside the shards |
//! | `doors` | the node as faces see it |
//! | `boot` | the steps from a world to a node at work |
//! | `disk` | the disk of a real node |
//! | `recovery` | goes on from one survivor, offline |
//! | `identity` | who a real node is: founder, newcomer, or the one it was before |
//! | `start` | a real node, on threads of its own |

mod adopted;
mod boot;
mod clock;
mod commits;
mod control;
mod coordinating;
mod detector;
mod disk;
mod disk_guard;
mod doors;
mod error;
mod explain;
mod figures;
mod groups;
mod hub;
mod identity;
mod inbox;
mod keys;
mod keyspaces;
mod levels;
mod lines;
mod members;
mod meter;
mod outbox;
mod reach;
mod recovery;
mod rekey;
mod shard;
mod shared;
mod slots;
mod start;
mod status;
mod tasks;
mod users;
mod world;

pub(crate) use adopted::{keep_granted, last_kept};
pub(crate) use boot::{Boot, Plug, Started};
pub use clock::{Clock, SystemClock};
pub use disk::FORMAT_NOW;
pub use error::StartError;
pub use recovery::{Survivor, SurvivorError};
pub use start::{Node, Options};
pub use world::Queues;
pub(crate) use world::{DiskGauge, Onlooker, Settings, World};
