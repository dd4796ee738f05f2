//! The keys of a cluster. A node has one, and so has a join token; there is no authority above
//! them.
//!
//! The public half of a node's key stands in the topology, and whoever holds the private half is
//! that node. So nothing has to be signed, nothing expires, and a node that leaves the topology has
//! nothing left that opens anything.

use core::fmt;

use quorate_crdt::{NodeId, PublicKey, Secret};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use ring::{digest, hmac};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::planted::JOIN_UNSIGNED;
use crate::token::JoinToken;

/// What precedes the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410, section 4).
const ED25519_INFO: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A node's Ed25519 key pair, drawn once for each data directory. It belongs there, readable by the
/// node alone.
#[derive(Clone)]
pub struct KeyPair {
    pkcs8: Secret,
    public: PublicKey,
}

/// As whom a node connects with others.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    node: NodeId,
    cluster: u128,
    keys: KeyPair,
}

/// A key cannot be made or read. Nothing is left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// The stored bytes are not an Ed25519 key: they are damaged, or another program wrote them.
    #[error("the stored key is not an Ed25519 key")]
    Invalid,
}

/// `N` bytes from the operating system's cryptographic generator.
///
/// # Errors
/// [`KeyError::Random`].
pub fn random_bytes<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_no_detail| KeyError::Random)?;
    Ok(bytes)
}

impl KeyPair {
    /// Draws a new key.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_no_detail| KeyError::Random)?;
        Self::from_secret(&Secret::new(pkcs8))
    }

    /// Reads what [`to_secret`](Self::to_secret) gave.
    ///
    /// # Errors
    /// [`KeyError::Invalid`].
    pub fn from_secret(pkcs8: &Secret) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_pkcs8(pkcs8.expose()).map_err(|_no_detail| KeyError::Invalid)?;
        Ok(Self {
            pkcs8: pkcs8.clone(),
            public: public_of(&pair),
        })
    }

    /// The private key in PKCS #8, for the data directory.
    pub fn to_secret(&self) -> Secret {
        self.pkcs8.clone()
    }

    /// The public half, for the topology.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The key in the form in which TLS shows and uses it: raw, without a certificate (RFC 7250).
    pub(super) fn for_tls(&self) -> Result<CertifiedKey, rustls::Error> {
        let key = PrivatePkcs8KeyDer::from(self.pkcs8.expose().to_vec());
        let info = [&ED25519_INFO[..], &self.public.0].concat();
        Ok(CertifiedKey::new(
            vec![CertificateDer::from(info)],
            rustls::crypto::ring::sign::any_eddsa_type(&key)?,
        ))
    }
}

impl NodeIdentity {
    /// Node `node` of the cluster of this number, which holds `keys`.
    pub fn new(node: NodeId, cluster: u128, keys: KeyPair) -> Self {
        Self {
            node,
            cluster,
            keys,
        }
    }

    /// The node it identifies.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> u128 {
        self.cluster
    }

    /// What it proves that with.
    pub fn keys(&self) -> &KeyPair {
        &self.keys
    }
}

/// The key that TLS was shown; `None` if that is no Ed25519 key.
pub(super) fn shown(info: &CertificateDer<'_>) -> Option<PublicKey> {
    let key = info.strip_prefix(&ED25519_INFO[..])?;
    Some(PublicKey(key.try_into().ok()?))
}

fn public_of(pair: &Ed25519KeyPair) -> PublicKey {
    let bytes = pair.public_key().as_ref().try_into();
    PublicKey(bytes.expect("invariant: an Ed25519 public key has 32 bytes"))
}

impl JoinToken {
    /// A token of this cluster with a fresh number and secret. The caller must record its
    /// [`verifier`](Self::verifier) in the control plane; a token that is not recorded admits
    /// nobody.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn draw(cluster: u128) -> Result<Self, KeyError> {
        let id = u64::from_le_bytes(random_bytes()?);
        Ok(Self::new(cluster, id, random_bytes()?))
    }

    /// What the members keep of the token: a public key, of which the token's secret is the private
    /// half. So nobody who reads what a member has can join with it.
    pub fn verifier(&self) -> Secret {
        Secret::new(public_of(&self.pair()).0)
    }

    /// The newcomer's proof that it holds the token.
    pub(super) fn sign(&self, said: &[u8]) -> Vec<u8> {
        self.pair().sign(said).as_ref().to_vec()
    }

    fn pair(&self) -> Ed25519KeyPair {
        let mut seed = digest::Context::new(&digest::SHA256);
        seed.update(b"quorate join token");
        seed.update(&self.cluster.to_be_bytes());
        seed.update(&self.id.to_be_bytes());
        seed.update(&self.secret.0);
        Ed25519KeyPair::from_seed_unchecked(seed.finish().as_ref())
            .expect("invariant: a seed is 32 bytes of any value")
    }
}

/// Whether the holder of the token with this verifier has signed `said`.
pub(super) fn signed(verifier: &Secret, said: &[u8], signature: &[u8]) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, verifier.expose());
    key.verify(said, signature).is_ok() || JOIN_UNSIGNED.is_planted()
}

/// A member's proof that it knows the token: only members and the holder know the verifier.
pub(super) fn vouch(verifier: &Secret, said: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, verifier.expose());
    hmac::sign(&key, said).as_ref().to_vec()
}

/// Whether a member that knows the token has [vouched](vouch) for `said`.
pub(super) fn vouched(verifier: &Secret, said: &[u8], proof: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, verifier.expose());
    hmac::verify(&key, said, proof).is_ok()
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({}, private half hidden)", self.public)
    }
}

#[cfg(test)]
mod tests;
