//! TLS for clients: the certificate that the faces show, whom they ask for one, and whom our own
//! tools trust.
//!
//! Nothing here is about the traffic between nodes, which always is encrypted: see
//! `quorate_gossip::quic`.

mod stream;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use stream::Stream;

/// A certificate and its key, in files of PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFiles {
    /// The certificate, and after it those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The files that make the faces speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// What the node shows.
    pub own: KeyFiles,
    /// The authorities of clients. If there is a file, only clients whose certificate one of them
    /// has signed are let in.
    pub client_ca: Option<PathBuf>,
}

/// Why files cannot be used. What was in use before stays in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read, or is not PEM.
    #[error("{}: {}", path.display(), in_words(cause))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: pem::Error,
    },
    /// The certificate and the key do not belong together, or are of a kind that is not known.
    #[error("{} and {} do not make a certificate: {cause}", files.certificate.display(), files.key.display())]
    Pair {
        /// The files.
        files: KeyFiles,
        /// What is wrong.
        cause: rustls::Error,
    },
    /// The file holds no usable authority.
    #[error("{}: {cause}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn in_words(cause: &pem::Error) -> String {
    match cause {
        pem::Error::Io(cause) => cause.to_string(),
        pem::Error::NoItemsFound => "there is nothing of the kind in it".to_owned(),
        cause => format!("not PEM: {cause}"),
    }
}

/// The faces' side of TLS. The files are read again by [`reload`](Self::reload); connections that
/// are open keep what they began with.
pub struct TlsDoor {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
}

impl fmt::Debug for TlsDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsDoor")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl TlsDoor {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::new(server(&files)?);
        Ok(Arc::new(Self { files, current }))
    }

    /// Reads the files again, for the connections that are still to come.
    ///
    /// # Errors
    /// [`TlsError`]; then everything is as before.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(server(&self.files)?);
        Ok(())
    }

    /// Does the handshake with a client that has connected. [`begin`] bounds the time.
    ///
    /// # Errors
    /// The connection is lost, or the client speaks no TLS, or shows no certificate that it needs.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let secure = TlsAcceptor::from(self.current.load_full())
            .accept(stream)
            .await?;
        Ok(Stream::Secure(Box::new(secure.into())))
    }
}

/// Begins to serve a client that has connected: with a `door` it must finish the handshake within
/// this time.
///
/// # Errors
/// As [`TlsDoor::accept`], or the time is over.
pub async fn begin(
    stream: TcpStream,
    door: Option<&TlsDoor>,
    within: Duration,
) -> io::Result<Stream> {
    match door {
        None => Ok(Stream::Plain(stream)),
        Some(door) => timeout(within, door.accept(stream))
            .await
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?,
    }
}

/// A client's side of TLS: whom it trusts, and what it shows.
#[derive(Clone)]
pub struct TlsTrust(Arc<ClientConfig>);

impl fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTrust(…)")
    }
}

impl TlsTrust {
    /// Trusts the authorities in the file `ca`, and no others. Shows `own` to a node that asks.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(ca: &Path, own: Option<&KeyFiles>) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("invariant: the provider knows the default versions")
            .with_root_certificates(authorities(ca)?);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = pair(files)?;
                let pair = |cause| TlsError::Pair {
                    files: files.clone(),
                    cause,
                };
                builder.with_client_auth_cert(chain, key).map_err(pair)?
            }
        };
        Ok(Self(Arc::new(config)))
    }

    /// Does the handshake with the node at `host`, whose certificate must name it.
    ///
    /// # Errors
    /// The connection is lost, or the node does not show a certificate that is trusted.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|cause| io::Error::new(io::ErrorKind::InvalidInput, cause))?;
        let secure = TlsConnector::from(Arc::clone(&self.0))
            .connect(name, stream)
            .await?;
        Ok(Stream::Secure(Box::new(secure.into())))
    }
}

/// The implementation of TLS that the nodes use among themselves as well.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = pair(&files.own)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("invariant: the provider knows the default versions");
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|cause| TlsError::Authority {
                    path: path.clone(),
                    cause: cause.into(),
                })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(chain, key)
        .map_err(|cause| TlsError::Pair {
            files: files.own.clone(),
            cause,
        })?;
    Ok(Arc::new(config))
}

/// A certificate with those that lead to its authority, and its key.
pub(crate) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads a certificate and its key.
pub(crate) fn pair(files: &KeyFiles) -> Result<Pair, TlsError> {
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| TlsError::File {
        path: files.key.clone(),
        cause,
    })?;
    Ok((certificates(&files.certificate)?, key))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|cause| TlsError::Authority {
                path: path.to_owned(),
                cause: cause.into(),
            })?;
    }
    Ok(roots)
}

/// All certificates of a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = match found {
        Ok(found) if found.is_empty() => Err(pem::Error::NoItemsFound),
        found => found,
    };
    found.map_err(|cause| TlsError::File {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests;
