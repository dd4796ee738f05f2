//! How other people's tools reach a node: the Redis protocol and HTTP. A face speaks to
//! [`crate::doors`] and never to a node.

pub mod http;
pub mod resp;
