//! The faces: how other tools reach a node, over the Redis protocol and HTTP. A face speaks to
//! [`crate::doors`] and never to a node.

mod gate;
pub mod http;
pub mod resp;

pub use gate::Gate;
