//! Where a node's life numbers come from.

use quorate_control::store::StoreError;

/// Draws life numbers of a node.
pub trait Lives: Send + Sync + 'static {
    /// A number that this node has never lived under and never will again, durable before this returns.
    ///
    /// # Errors
    /// [`StoreError`]; then the node must stop.
    fn next(&self) -> Result<u32, StoreError>;
}
