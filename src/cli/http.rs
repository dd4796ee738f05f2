//! Calls to the HTTP face of a node, for the verbs that need it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::HeaderMap;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::fail::Failure;
use super::globals::Globals;
use crate::tls;

const DEFAULT_HTTP: &str = "127.0.0.1:7380";

/// The fields of a problem document that the CLI uses.
#[derive(Deserialize)]
struct Problem {
    code: Box<str>,
    detail: Box<str>,
    #[serde(default)]
    may_be_applied: bool,
}

/// Gets a document.
pub(super) fn get<T: DeserializeOwned>(globals: &Globals, path: &str) -> Result<T, Failure> {
    get_within(globals, path, globals.patience())
}

/// Gets a document, and waits for it for `patience`.
pub(super) fn get_within<T: DeserializeOwned>(
    globals: &Globals,
    path: &str,
    patience: Duration,
) -> Result<T, Failure> {
    call(globals, path, Method::Get, patience)
}

/// Sends a command to the node and returns the document that it answers.
pub(super) fn post<T: DeserializeOwned>(
    globals: &Globals,
    path: &str,
    body: &Value,
) -> Result<T, Failure> {
    post_within(globals, path, body, globals.patience())
}

/// Sends a command, and waits for the document for `patience`.
pub(super) fn post_within<T: DeserializeOwned>(
    globals: &Globals,
    path: &str,
    body: &Value,
    patience: Duration,
) -> Result<T, Failure> {
    call(globals, path, Method::Post(body.to_string()), patience)
}

/// Has the node do something that needs no document, within `patience`.
pub(super) fn put_within(globals: &Globals, path: &str, patience: Duration) -> Result<(), Failure> {
    call::<Option<Value>>(globals, path, Method::Put, patience).map(drop)
}

/// Has the node look what a change would do, and returns the document that says so.
pub(super) fn patch_and_read<T: DeserializeOwned>(
    globals: &Globals,
    path: &str,
    body: &Value,
) -> Result<T, Failure> {
    let method = Method::Patch(body.to_string());
    call(globals, path, method, globals.patience())
}

/// Has the node change something.
pub(super) fn patch(globals: &Globals, path: &str, body: &Value) -> Result<(), Failure> {
    let method = Method::Patch(body.to_string());
    call::<Option<Value>>(globals, path, method, globals.patience()).map(drop)
}

/// Has the node remove something.
pub(super) fn delete(globals: &Globals, path: &str) -> Result<(), Failure> {
    call::<Option<Value>>(globals, path, Method::Delete, globals.patience()).map(drop)
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("invariant: a string takes all that is written");
        }
    }
    text
}

/// What is asked, with what is sent along.
enum Method {
    Get,
    Post(String),
    Patch(String),
    Put,
    Delete,
    /// Bytes that are no document. What they ask for may be asked again.
    Send(Vec<u8>),
}

/// The longest answer that is taken, in bytes: a page of a backup, a saved state, or a document.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

fn call<T: DeserializeOwned>(
    globals: &Globals,
    path: &str,
    method: Method,
    patience: Duration,
) -> Result<T, Failure> {
    Client::open(globals, patience)?.document(path, method)
}

/// A node over HTTP. Connections stay open from one request to the next, so that the node checks a
/// password once.
pub(super) struct Client {
    agent: ureq::Agent,
    address: Box<str>,
    scheme: &'static str,
    authorization: Option<String>,
}

impl Client {
    /// Connects nowhere yet. Each request is given up after `patience`.
    pub(super) fn open(globals: &Globals, patience: Duration) -> Result<Self, Failure> {
        let given = globals.http.as_deref().unwrap_or(DEFAULT_HTTP);
        let place = globals.place(given, "https://", &["http://"])?;
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .tls_config(tls_config(globals)?)
            .proxy(None);
        Ok(Self {
            agent: ureq::Agent::new_with_config(config.build()),
            address: place.address.into(),
            scheme: if place.tls { "https" } else { "http" },
            authorization: authorization(globals),
        })
    }

    /// Gets a document.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.document(path, Method::Get)
    }

    /// Gets text.
    pub(super) fn text(&self, path: &str) -> Result<String, Failure> {
        String::from_utf8(self.bytes(path)?).map_err(|_not_text| self.strange())
    }

    /// Gets bytes.
    pub(super) fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.call(path, Method::Get)
    }

    /// Sends a document and returns the one that is answered.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: String) -> Result<T, Failure> {
        self.document(path, Method::Post(body))
    }

    /// Sends bytes and returns the document that is answered.
    pub(super) fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, Failure> {
        self.document(path, Method::Send(body))
    }

    /// Sends bytes and returns those that are answered.
    pub(super) fn exchange(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self.call(path, Method::Send(body))
    }

    fn document<T: DeserializeOwned>(&self, path: &str, method: Method) -> Result<T, Failure> {
        let bytes = self.call(path, method)?;
        // An answer without a document is `null` to whoever asked for none.
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes).map_err(|_not_the_document| self.strange())
    }

    /// Gets bytes and what stands in a header beside them.
    pub(super) fn bytes_and(&self, path: &str, header: &str) -> Result<(Vec<u8>, String), Failure> {
        let (bytes, headers) = self.answer(path, Method::Get)?;
        let value = headers.get(header).and_then(|value| value.to_str().ok());
        let value = value.ok_or_else(|| self.strange())?;
        Ok((bytes, value.to_owned()))
    }

    fn call(&self, path: &str, method: Method) -> Result<Vec<u8>, Failure> {
        Ok(self.answer(path, method)?.0)
    }

    fn answer(&self, path: &str, method: Method) -> Result<(Vec<u8>, HeaderMap), Failure> {
        let url = format!("{}://{}{path}", self.scheme, self.address);
        let authorization = self.authorization.as_deref();
        let sent_write = !matches!(method, Method::Get);
        let with_body = |request: ureq::RequestBuilder<_>, kind: &str| {
            authorized(request, authorization).header("Content-Type", kind)
        };
        let json = "application/json";
        let answer = match method {
            Method::Get => authorized(self.agent.get(&url), authorization).call(),
            Method::Delete => authorized(self.agent.delete(&url), authorization).call(),
            Method::Put => authorized(self.agent.put(&url), authorization).send_empty(),
            Method::Post(body) => with_body(self.agent.post(&url), json).send(body),
            Method::Patch(body) => with_body(self.agent.patch(&url), json).send(body),
            Method::Send(body) => {
                with_body(self.agent.post(&url), "application/octet-stream").send(body)
            }
        };
        let failed = |cause| Failure::Call {
            address: self.address.clone(),
            cause,
            sent_write,
        };
        let mut answer = answer.map_err(failed)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let bytes = body.read_to_vec().map_err(failed)?;
        if answer.status().is_success() {
            return Ok((bytes, answer.headers().clone()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Problem {
                code,
                detail,
                may_be_applied,
            }) => Err(Failure::Problem {
                code,
                detail,
                may_be_applied,
            }),
            Err(_not_a_problem) => Err(self.strange()),
        }
    }

    fn strange(&self) -> Failure {
        Failure::Strange {
            address: self.address.clone(),
        }
    }
}

/// Whom to trust and what to show, if the command speaks TLS at all.
fn tls_config(globals: &Globals) -> Result<TlsConfig, Failure> {
    let config = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(tls::provider())
        .root_certs(RootCerts::Specific(Arc::new(match &globals.tls_ca {
            None => Vec::new(),
            Some(ca) => taken(&tls::certificates(ca)?),
        })));
    let own = match globals.own_certificate()? {
        None => None,
        Some(files) => {
            // Says what is wrong with the files; the key is read again in ureq's own form.
            let (chain, _) = tls::pair(&files)?;
            let key = PrivateKey::from_pem(&fs::read(&files.key)?).map_err(io::Error::other)?;
            Some(ClientCert::new_with_certs(&taken(&chain), key))
        }
    };
    Ok(config.client_cert(own).build())
}

fn taken(certificates: &[CertificateDer<'_>]) -> Vec<Certificate<'static>> {
    certificates
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect()
}

/// The header that says who asks.
fn authorization(globals: &Globals) -> Option<String> {
    let password = globals.password();
    match &globals.user {
        Some(user) => {
            // Over HTTP a user has no level.
            let user = user.split('+').next().unwrap_or_default();
            let pair = format!("{user}:{}", password.unwrap_or_default());
            Some(format!("Basic {}", STANDARD.encode(pair)))
        }
        None => password.map(|password| format!("Bearer {password}")),
    }
}

fn authorized<B>(
    request: ureq::RequestBuilder<B>,
    authorization: Option<&str>,
) -> ureq::RequestBuilder<B> {
    match authorization {
        Some(authorization) => request.header("Authorization", authorization),
        None => request,
    }
}
