//! Calls to the HTTP face of a node, for the verbs that need it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Globals;
use super::fail::Failure;

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
    call(globals, path, None)
}

/// Sends a command to the node and returns the document that it answers.
pub(super) fn post<T: DeserializeOwned>(
    globals: &Globals,
    path: &str,
    body: &Value,
) -> Result<T, Failure> {
    call(globals, path, Some(body.to_string()))
}

fn call<T: DeserializeOwned>(
    globals: &Globals,
    path: &str,
    body: Option<String>,
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
        .timeout_global(Some(globals.patience()))
        .http_status_as_error(false)
        .proxy(None);
    let agent = ureq::Agent::new_with_config(config.build());
    let bearer = globals
        .password()
        .map(|password| format!("Bearer {password}"));
    let sent_write = body.is_some();
    let answer = match body {
        None => authorized(agent.get(&url), bearer.as_deref()).call(),
        Some(body) => authorized(agent.post(&url), bearer.as_deref())
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
        return serde_json::from_str(&text).map_err(|_not_the_document| Failure::Strange {
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
