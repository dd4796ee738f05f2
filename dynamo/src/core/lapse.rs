//! Questions under way to the holders of a partition: has the time of these keys passed?

use std::time::Duration;

use bytes::Bytes;
use quorate_control::quorum::Tally;

use crate::protocol::Place;

/// A question to the holders of a partition: has the time of these keys passed?
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) place: Place,
    pub(super) since: Duration,
    /// The keys; `None` once that has been decided.
    pub(super) keys: Vec<(Bytes, Option<Tally>)>,
}
