//! Join tokens: the text that an operator copies from a member of the cluster to a newcomer.

use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quorate_crdt::Secret;

/// Names the format of the rest of the text.
const PREFIX: &str = "qt2.";
/// The cluster's number, the token's number and the secret.
const TOKEN_BYTES: usize = 16 + 8 + 16;

/// What a private key is made from: 128 random bits. It is never sent and never stored by a member.
/// Unlike [`Secret`], it has a fixed length, which is part of the token's text. Comparing takes the
/// same time wherever the difference is.
#[derive(Clone, Copy)]
pub struct TokenSecret(pub [u8; 16]);

/// Lets a newcomer join, and lets it recognise its cluster. The text is `qt2.` and 54 characters of
/// base64url.
///
/// The secret is a key: the newcomer signs its request with it, and the members check the signature
/// with the public half. So whoever answers in a member's place, or reads what the members have,
/// learns nothing that opens the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The cluster that it opens.
    pub cluster: u128,
    /// Its number in the cluster: what the control group calls `TokenId`. Not secret.
    pub id: u64,
    /// What the newcomer signs with.
    pub secret: TokenSecret,
}

/// The text is not a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It does not begin with `qt1.`: it is of another version, or not a token at all.
    #[error("a join token begins with qt2.")]
    Prefix,
    /// It has a character outside the base64url alphabet.
    #[error("the join token has a character that no join token has")]
    Alphabet,
    /// It is cut off, or something was appended.
    #[error("the join token has {bytes} bytes instead of {TOKEN_BYTES}: was it cut off?")]
    Length {
        /// How many bytes it has.
        bytes: usize,
    },
}

impl JoinToken {
    /// A token for this cluster whose secret is `random`: 16 bytes from a cryptographic generator.
    pub const fn new(cluster: u128, id: u64, random: [u8; 16]) -> Self {
        Self {
            cluster,
            id,
            secret: TokenSecret(random),
        }
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend_from_slice(&self.cluster.to_be_bytes());
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&self.secret.0);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        if body.len() > 2 * TOKEN_BYTES {
            return Err(TokenError::Length {
                bytes: body.len() / 4 * 3,
            });
        }
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|error| match error {
            base64::DecodeError::InvalidByte(..) | base64::DecodeError::InvalidPadding => {
                TokenError::Alphabet
            }
            _ => TokenError::Length {
                bytes: body.len() * 3 / 4,
            },
        })?;
        let whole: [u8; TOKEN_BYTES] = bytes
            .as_slice()
            .try_into()
            .map_err(|_wrong_length| TokenError::Length { bytes: bytes.len() })?;
        Ok(Self {
            cluster: u128::from_be_bytes(part(&whole, 0)),
            id: u64::from_be_bytes(part(&whole, 16)),
            secret: TokenSecret(part(&whole, 24)),
        })
    }
}

/// `N` bytes of a token, starting at `at`.
fn part<const N: usize>(whole: &[u8; TOKEN_BYTES], at: usize) -> [u8; N] {
    whole[at..at + N]
        .try_into()
        .expect("invariant: the parts lie within the token")
}

impl PartialEq for TokenSecret {
    fn eq(&self, other: &Self) -> bool {
        Secret::new(self.0).matches(&other.0)
    }
}

impl Eq for TokenSecret {}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("cluster", &format_args!("{:032x}", self.cluster))
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
