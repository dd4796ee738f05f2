//! The Redis face over real sockets, in front of a fake node that keeps everything in one map.
//! Tests the translation, the order of replies, the limits and the errors.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    reason = "helpers of tests fail by panicking, and their numbers are small"
)]

mod commands;
mod connections;
mod fake;
mod levels;
mod locks;
mod operators;
mod pipelines;
mod tls;
mod transactions;
mod users;
mod wire;
