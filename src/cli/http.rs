//! Calls to the HTTP face of a node, for the verbs that need it.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fail::Failure;
use super::globals::Globals;

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
    call(
        globals,
        path,
        Method::Post(body.to_string()),
        globals.patience(),
    )
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

/// What is asked, with the document sent along.
enum Method {
    Get,
    Post(String),
    Patch(String),
    Delete,
}

fn call<T: DeserializeOwned>(
    globals: &Globals,
    path: &str,
    method: Method,
    patience: Duration,
) -> Result<T, Failure> {
    let address: Box<str> = globals
        .http
        .as_deref()
        .unwrap_or(DEFAULT_HTTP)
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .into();
    let url = format!("http://{address}{path}");
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .http_status_as_error(false)
        .proxy(None);
    let agent = ureq::Agent::new_with_config(config.build());
    let bearer = globals
        .password()
        .map(|password| format!("Bearer {password}"));
    let bearer = bearer.as_deref();
    let sent_write = !matches!(method, Method::Get);
    let answer = match method {
        Method::Get => authorized(agent.get(&url), bearer).call(),
        Method::Delete => authorized(agent.delete(&url), bearer).call(),
        Method::Post(body) => authorized(agent.post(&url), bearer)
            .header("Content-Type", "application/json")
            .send(body),
        Method::Patch(body) => authorized(agent.patch(&url), bearer)
            .header("Content-Type", "application/json")
            .send(body),
    };
    let failed = |cause| Failure::Call {
        address: address.clone(),
        cause,
        sent_write,
    };
    let mut answer = answer.map_err(failed)?;
    let text = answer.body_mut().read_to_string().map_err(failed)?;
    if answer.status().is_success() {
        // An answer without a document is `null` to whoever asked for none.
        let text = if text.is_empty() { "null" } else { &text };
        return serde_json::from_str(text).map_err(|_not_the_document| Failure::Strange {
            address: address.clone(),
        });
    }
    match serde_json::from_str(&text) {
        Ok(Problem {
            code,
            detail,
            may_be_applied,
        }) => Err(Failure::Problem {
            code,
            detail,
            may_be_applied,
        }),
        Err(_not_a_problem) => Err(Failure::Strange { address }),
    }
}

fn authorized<B>(
    request: ureq::RequestBuilder<B>,
    bearer: Option<&str>,
) -> ureq::RequestBuilder<B> {
    match bearer {
        Some(bearer) => request.header("Authorization", bearer),
        None => request,
    }
}
