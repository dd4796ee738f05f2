//! The Redis face over real sockets, before a node that keeps everything in one map: what is tested is the translation, the order of
//! replies, the limits and the errors.

mod commands;
mod connections;
mod fake;
mod levels;
mod pipelines;
mod wire;
