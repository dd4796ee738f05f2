//! TLS 1.3 between nodes. Both sides show a raw public key (RFC 7250), and the handshake proves
//! that each holds the private half. Whether the key is that of a member is decided after the
//! handshake and before any stream, because only then can the other side be told why it is refused.

use std::sync::Arc;

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quorate_crdt::PublicKey;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

use super::keys::{KeyPair, shown};
use crate::wire::VERSION;

/// The protocol of members. Ends in the wire's [`VERSION`].
pub(super) const ALPN: &[u8] = b"quorate/8";
/// The protocol of newcomers: one exchange. Ends in the wire's [`VERSION`].
pub(super) const ALPN_JOIN: &[u8] = b"quorate-join/8";

const _: () = assert!(
    ALPN[ALPN.len() - 1] == b'0' + VERSION && ALPN_JOIN[ALPN_JOIN.len() - 1] == b'0' + VERSION
);

/// The name that a dialling node gives for the other side. TLS wants one; the key says who it is.
pub(super) const SERVER_NAME: &str = "node.quorate";

/// The protocol that a finished handshake has agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Member,
    Join,
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

/// The key of the other side, which has proved that it holds the private half.
pub(super) fn peer(connection: &quinn::Connection) -> Option<PublicKey> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    shown(chain.first()?)
}

/// A number that only the two ends of this connection know. What is signed together with it is
/// worth nothing on any other connection.
pub(super) fn bound(connection: &quinn::Connection) -> Option<[u8; 32]> {
    let mut number = [0; 32];
    connection
        .export_keying_material(&mut number, b"quorate join", b"")
        .ok()?;
    Some(number)
}

/// The settings of the listening side: asks for a key, resumes no session, accepts no early data.
pub(super) fn server(keys: &KeyPair) -> Result<QuicServerConfig, rustls::Error> {
    let resolver = AlwaysResolvesServerRawPublicKeys::new(Arc::new(keys.for_tls()?));
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(KeyProof(provider())))
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec(), ALPN_JOIN.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    QuicServerConfig::try_from(config).map_err(|error| rustls::Error::General(error.to_string()))
}

/// The settings of the dialling side.
pub(super) fn client(keys: &KeyPair, alpn: &[u8]) -> Result<QuicClientConfig, rustls::Error> {
    let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::new(keys.for_tls()?));
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KeyProof(provider())))
        .with_client_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    QuicClientConfig::try_from(config).map_err(|error| rustls::Error::General(error.to_string()))
}

/// Checks that the other side shows an Ed25519 key and holds its private half, and nothing else.
#[derive(Debug)]
struct KeyProof(Arc<CryptoProvider>);

impl KeyProof {
    fn verify(
        &self,
        message: &[u8],
        info: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(info.as_ref()),
            signature,
            &self.0.signature_verification_algorithms,
        )
    }
}

/// Refuses anything but an Ed25519 key.
fn well_formed(info: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    shown(info)
        .map(|_key| ())
        .ok_or_else(|| rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding))
}

/// For TLS 1.2, which is not offered, so this is never called.
fn no_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::PeerIncompatible(
        rustls::PeerIncompatible::Tls12NotOffered,
    ))
}

impl ServerCertVerifier for KeyProof {
    fn verify_server_cert(
        &self,
        info: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        well_formed(info).map(|()| ServerCertVerified::assertion())
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
        info: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, info, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for KeyProof {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        info: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        well_formed(info).map(|()| ClientCertVerified::assertion())
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
        info: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, info, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
