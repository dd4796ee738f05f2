//! TLS 1.3 between nodes. The handshake proves that each side holds the key of its certificate.
//! Whether the certificate is good enough is decided here too, but after the handshake and before
//! any stream, because only then can the other side be told why it is refused.

use std::sync::Arc;

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quorate_crdt::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use super::identity::{NodeIdentity, fingerprint, parse_name};
use super::reasons::CloseReason;
use crate::token::JoinToken;
use crate::wire::VERSION;

/// The protocol of members. It needs a client certificate. Ends in the wire's [`VERSION`].
pub(super) const ALPN: &[u8] = b"quorate/5";
/// The protocol of newcomers: one exchange, without a certificate. Ends in the wire's [`VERSION`].
pub(super) const ALPN_JOIN: &[u8] = b"quorate-join/5";

const _: () = assert!(
    ALPN[ALPN.len() - 1] == b'0' + VERSION && ALPN_JOIN[ALPN_JOIN.len() - 1] == b'0' + VERSION
);

/// The protocol that a finished handshake has agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Member,
    Join,
}

/// The node and cluster that a certificate names, valid or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) node: NodeId,
    pub(super) cluster: u128,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(super) fn protocol(connection: &quinn::Connection) -> Option<Protocol> {
    let data = connection
        .handshake_data()?
        .downcast::<HandshakeData>()
        .ok()?;
    match data.protocol.as_deref() {
        Some(ALPN) => Some(Protocol::Member),
        Some(ALPN_JOIN) => Some(Protocol::Join),
        _ => None,
    }
}

/// The certificates that the other side has shown, its own first.
fn shown(connection: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    connection
        .peer_identity()
        .and_then(|shown| shown.downcast().ok())
        .map(|chain| *chain)
        .unwrap_or_default()
}

/// Decides whether the other side is a member of `identity`'s cluster. If not, also says which node
/// its certificate claims to be.
pub(super) fn vet(
    connection: &quinn::Connection,
    identity: &NodeIdentity,
) -> Result<NodeId, (Option<NodeId>, CloseReason)> {
    let chain = shown(connection);
    let leaf = chain.first().ok_or((None, CloseReason::NoCertificate))?;
    let claim = claim(leaf);
    let node = claim.map(|claim| claim.node);
    match claim {
        Some(claim) if claim.cluster != identity.cluster() => {
            Err((node, CloseReason::OtherCluster))
        }
        Some(claim) if signed_by(leaf, identity.authority()) => Ok(claim.node),
        _ => Err((node, CloseReason::ForeignAuthority)),
    }
}

/// Decides whether the other side is a member of the cluster that `token` is for. If not, also says
/// which cluster it claims to belong to.
pub(super) fn vet_for_join(
    connection: &quinn::Connection,
    token: &JoinToken,
) -> Result<CertificateDer<'static>, Option<u128>> {
    let chain = shown(connection);
    let claim = chain.first().and_then(|leaf| claim(leaf));
    match (chain.as_slice(), claim) {
        ([leaf, authority, ..], Some(claim))
            if claim.cluster == token.cluster
                && fingerprint(authority) == token.fingerprint
                && signed_by(leaf, authority) =>
        {
            Ok(authority.clone())
        }
        _ => Err(claim.map(|claim| claim.cluster)),
    }
}

pub(super) fn claim(leaf: &CertificateDer<'_>) -> Option<Claim> {
    let certificate = EndEntityCert::try_from(leaf).ok()?;
    let (node, cluster) = certificate.valid_dns_names().find_map(parse_name)?;
    Some(Claim { node, cluster })
}

pub(super) fn signed_by(leaf: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> bool {
    let (Ok(certificate), Ok(anchor)) = (
        EndEntityCert::try_from(leaf),
        webpki::anchor_from_trusted_cert(authority),
    ) else {
        return false;
    };
    let algorithms = provider().signature_verification_algorithms.all;
    certificate
        .verify_for_usage(
            algorithms,
            &[anchor],
            &[],
            UnixTime::now(),
            KeyUsage::server_auth(),
            None,
            None,
        )
        .is_ok()
}

/// The settings of the listening side: asks for a certificate, resumes no session, accepts no early
/// data.
pub(super) fn server(identity: &NodeIdentity) -> Result<QuicServerConfig, rustls::Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(KeyProof(provider())))
        .with_single_cert(identity.chain(), identity.key())?;
    config.alpn_protocols = vec![ALPN.to_vec(), ALPN_JOIN.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    QuicServerConfig::try_from(config).map_err(|error| rustls::Error::General(error.to_string()))
}

/// The settings of the dialling side: a member with its identity, or a newcomer without one.
pub(super) fn client(
    identity: Option<&NodeIdentity>,
    alpn: &[u8],
) -> Result<QuicClientConfig, rustls::Error> {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KeyProof(provider())));
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain(), identity.key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    QuicClientConfig::try_from(config).map_err(|error| rustls::Error::General(error.to_string()))
}

/// Checks that the other side holds the key of its certificate, and nothing else. [`vet`] and
/// [`vet_for_join`] do the rest.
#[derive(Debug)]
struct KeyProof(Arc<CryptoProvider>);

/// For TLS 1.2, which is not offered, so this is never called.
fn no_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::PeerIncompatible(
        rustls::PeerIncompatible::Tls12NotOffered,
    ))
}

impl ServerCertVerifier for KeyProof {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for KeyProof {
    fn client_auth_mandatory(&self) -> bool {
        // A newcomer has none yet; `vet` refuses a member that has none.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
