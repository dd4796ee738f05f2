//! Questions to the holders of a partition, in progress, about keys that may have expired.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::quorum::Tally;

use crate::protocol::Place;

/// A question to the holders of a partition: have these keys expired?
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) place: Place,
    pub(super) since: Duration,
    /// The keys, each with the count of the holders that agree; `None` once that is decided.
    pub(super) keys: Vec<(Bytes, Option<Tally>)>,
}
