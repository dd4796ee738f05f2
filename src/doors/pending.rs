//! What a door gives at once.

use tokio::sync::oneshot;

/// An answer that is still to come. A dropped sender means that the node is stopping.
pub type Pending<T> = oneshot::Receiver<T>;
