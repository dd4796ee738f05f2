//! Bytes that must not be printed. Nothing about replicated values: it is here because every other
//! crate of the workspace knows this one, and a cluster's secrets pass through most of them.

use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Bytes that must not be printed: `Debug` hides them. A clone shares them.
///
/// **Law:** how long a comparison takes depends on the length of the guess alone, so an answer
/// that comes sooner or later tells a guesser nothing about the bytes or their number.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes a copy of `bytes`.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self(bytes.as_ref().into())
    }

    /// The bytes themselves, to store them or to sign with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret as the text that it was made of: a password, or a join token. Empty if it is not
    /// text.
    pub fn reveal(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether `guess` is the secret; see the law above.
    pub fn matches(&self, guess: &[u8]) -> bool {
        let differing = guess.iter().enumerate().fold(0, |seen, (at, byte)| {
            seen | (byte ^ self.0.get(at).unwrap_or(&!byte))
        });
        differing == 0 && guess.len() == self.0.len()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests;
