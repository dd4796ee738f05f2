//! The identity of a node: a certificate that the cluster's own authority has signed. It names the
//! node and its cluster.
//!
//! The certificates of a cluster do not expire. Membership ends when the topology says so, and
//! every node checks the topology before it talks to a peer. An authority that expired on a
//! forgotten date would take the whole cluster down at once.

use core::fmt;

use bytes::Bytes;
use quorate_crdt::{NodeId, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::token::JoinToken;
use crate::wire::{self, WireError};

/// Bytes of an Ed25519 public key.
pub(super) const PUBLIC_KEY_BYTES: usize = 32;

/// The cluster's certificate authority. Anyone who holds it can make members.
///
/// The first node creates it. The control plane keeps it as a [`Secret`], so that any member can
/// sign.
pub struct ClusterAuthority {
    cluster: u128,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// What a node proves its identity with. It belongs in the data directory, readable by the node
/// alone.
#[derive(Clone)]
pub struct NodeIdentity {
    node: NodeId,
    cluster: u128,
    /// The node's certificate, then the authority's.
    chain: [CertificateDer<'static>; 2],
    key: Secret,
}

/// An authority or identity cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The stored bytes were not written by this program, or are damaged.
    #[error("the stored identity cannot be read")]
    Wire(#[from] WireError),
    /// A key or certificate has the wrong form.
    #[error("the stored identity holds an invalid key")]
    Crypto(#[from] rcgen::Error),
    /// A public key that is not 32 bytes long.
    #[error("an Ed25519 public key has 32 bytes, but this one has {bytes}")]
    PublicKey {
        /// The length of the key.
        bytes: usize,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
}

/// The stored form of both. An authority has no node.
#[derive(Serialize, Deserialize)]
struct Stored {
    cluster: u128,
    node: Option<NodeId>,
    certificates: Vec<Bytes>,
    key: Secret,
}

/// `N` bytes from the operating system's cryptographic generator, for cluster numbers and token
/// secrets.
///
/// # Errors
/// [`IdentityError::Random`].
pub fn random_bytes<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_no_detail| IdentityError::Random)?;
    Ok(bytes)
}

/// SHA-256 of a certificate.
pub(super) fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite
        .tls13()
        .expect("invariant: this is a TLS 1.3 suite")
        .common
        .hash_provider
        .hash(certificate);
    hash.as_ref()
        .try_into()
        .expect("invariant: SHA-256 has 32 bytes")
}

/// The name in a node's certificate: `node-<id>.<cluster, 32 hex digits>.quorate`.
pub(super) fn name_of(node: NodeId, cluster: u128) -> String {
    format!("node-{node}.{cluster:032x}.quorate")
}

/// The inverse of [`name_of`]; `None` for any other text.
pub(super) fn parse_name(name: &str) -> Option<(NodeId, u128)> {
    let (node, cluster) = name
        .strip_prefix("node-")?
        .strip_suffix(".quorate")?
        .split_once('.')?;
    let parsed = (
        NodeId(node.parse().ok()?),
        u128::from_str_radix(cluster, 16).ok()?,
    );
    (name_of(parsed.0, parsed.1) == name).then_some(parsed)
}

/// A public key that came over the wire.
struct PublicKey([u8; PUBLIC_KEY_BYTES]);

impl rcgen::PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl ClusterAuthority {
    /// Creates the authority of a new cluster.
    ///
    /// # Errors
    /// [`IdentityError::Crypto`] if no key can be made; nothing is left behind.
    pub fn generate(cluster: u128) -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let certificate = authority_params(cluster).self_signed(&key)?.into();
        Ok(Self {
            cluster,
            certificate,
            key,
        })
    }

    /// The cluster that it belongs to.
    pub fn cluster(&self) -> u128 {
        self.cluster
    }

    /// SHA-256 of the certificate. Join tokens carry it.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// A token with a fresh secret. The caller must record it in the control plane; a token that is
    /// not recorded admits nobody.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    pub fn token(&self, id: u64) -> Result<JoinToken, IdentityError> {
        Ok(JoinToken::new(
            self.cluster,
            self.fingerprint(),
            id,
            random_bytes()?,
        ))
    }

    /// Makes the identity of `node` with a new key, for the node that founds the cluster. Other
    /// nodes make their own keys and join.
    ///
    /// # Errors
    /// [`IdentityError::Crypto`].
    pub fn identity(&self, node: NodeId) -> Result<NodeIdentity, IdentityError> {
        let key = NewKey::generate()?;
        let certificate = self.certify(node, key.public())?;
        Ok(key.into_identity(node, self.cluster, [certificate, self.certificate.clone()]))
    }

    /// Signs a certificate which says that the holder of `public_key` is `node`.
    pub(super) fn certify(
        &self,
        node: NodeId,
        public_key: &[u8],
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let key = public_key
            .try_into()
            .map_err(|_wrong_length| IdentityError::PublicKey {
                bytes: public_key.len(),
            })?;
        let mut params = CertificateParams::new([name_of(node, self.cluster)])?;
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let issuer = authority_params(self.cluster);
        Ok(params
            .signed_by(&PublicKey(key), &Issuer::from_params(&issuer, &self.key))?
            .into())
    }

    /// The whole authority with its key, for the control plane to keep.
    pub fn to_secret(&self) -> Secret {
        store(
            self.cluster,
            None,
            &[&self.certificate],
            Secret::new(self.key.serialize_der()),
        )
    }

    /// Reads what [`to_secret`](Self::to_secret) wrote.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_secret(secret: &Secret) -> Result<Self, IdentityError> {
        let stored: Stored = wire::decode(secret.expose())?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(stored.key.expose()),
            &rcgen::PKCS_ED25519,
        )?;
        let [certificate] = certificates(stored.certificates)?;
        Ok(Self {
            cluster: stored.cluster,
            certificate,
            key,
        })
    }
}

/// What the authority's certificate says. It must be the same at every call, because issued
/// certificates repeat parts of it.
fn authority_params(cluster: u128) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("quorate {cluster:032x}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl NodeIdentity {
    /// The node it identifies.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> u128 {
        self.cluster
    }

    /// The whole identity with its key, for the data directory.
    pub fn to_secret(&self) -> Secret {
        store(
            self.cluster,
            Some(self.node),
            &[&self.chain[0], &self.chain[1]],
            self.key.clone(),
        )
    }

    /// Reads what [`to_secret`](Self::to_secret) wrote.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_secret(secret: &Secret) -> Result<Self, IdentityError> {
        let stored: Stored = wire::decode(secret.expose())?;
        let node = stored.node.ok_or(WireError::Malformed)?;
        Ok(Self {
            node,
            cluster: stored.cluster,
            chain: certificates(stored.certificates)?,
            key: stored.key,
        })
    }

    /// The certificates that TLS shows to a peer.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.to_vec()
    }

    /// The certificate of the authority that has certified this node and its peers.
    pub(super) fn authority(&self) -> &CertificateDer<'static> {
        &self.chain[1]
    }

    /// The key that TLS signs with.
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.expose().to_vec()).into()
    }
}

/// A newcomer's key, which has no certificate yet.
pub(super) struct NewKey(KeyPair);

impl NewKey {
    pub(super) fn generate() -> Result<Self, IdentityError> {
        Ok(Self(KeyPair::generate_for(&rcgen::PKCS_ED25519)?))
    }

    pub(super) fn public(&self) -> &[u8] {
        self.0.public_key_raw()
    }

    pub(super) fn into_identity(
        self,
        node: NodeId,
        cluster: u128,
        chain: [CertificateDer<'static>; 2],
    ) -> NodeIdentity {
        NodeIdentity {
            node,
            cluster,
            chain,
            key: Secret::new(self.0.serialize_der()),
        }
    }
}

fn store(
    cluster: u128,
    node: Option<NodeId>,
    certificates: &[&CertificateDer<'_>],
    key: Secret,
) -> Secret {
    let certificates = certificates
        .iter()
        .map(|der| Bytes::copy_from_slice(der))
        .collect();
    Secret::new(wire::encode(&Stored {
        cluster,
        node,
        certificates,
        key,
    }))
}

fn certificates<const N: usize>(
    stored: Vec<Bytes>,
) -> Result<[CertificateDer<'static>; N], WireError> {
    let certificates: Vec<_> = stored
        .into_iter()
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect();
    certificates
        .try_into()
        .map_err(|_wrong_number| WireError::Malformed)
}

impl fmt::Debug for ClusterAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterAuthority({:032x}, key hidden)", self.cluster)
    }
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NodeIdentity({}, key hidden)",
            name_of(self.node, self.cluster)
        )
    }
}

#[cfg(test)]
mod tests;
