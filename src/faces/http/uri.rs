//! Reads keys and query parameters from a URI. Keys are bytes, not text, so they are decoded here
//! and not by the router.

use axum::http::Uri;

use super::problem::Problem;
use axum::http::StatusCode;

/// The keyspace and the key of a path such as `/v1/kv/{keyspace}/{key}`, which begins with
/// `prefix`. Everything after the slash behind the keyspace is the key, slashes included.
pub(super) fn keyspace_and_key(uri: &Uri, prefix: &str) -> Result<(String, Vec<u8>), Problem> {
    let path = uri.path().strip_prefix(prefix).unwrap_or_default();
    let (keyspace, key) = path.split_once('/').unwrap_or((path, ""));
    let keyspace = decode(keyspace, false).and_then(|bytes| String::from_utf8(bytes).ok());
    match (keyspace, decode(key, false)) {
        (Some(keyspace), Some(key)) if !key.is_empty() => Ok((keyspace, key)),
        _ => Err(bad_path()),
    }
}

/// The segment behind `prefix`, such as the key in `/v1/locks/{key}/renew`. A slash in it is
/// written `%2F`.
pub(super) fn segment(uri: &Uri, prefix: &str) -> Result<Vec<u8>, Problem> {
    let path = uri.path().strip_prefix(prefix).unwrap_or_default();
    let segment = path.split('/').next().unwrap_or_default();
    decode(segment, false)
        .filter(|key| !key.is_empty())
        .ok_or_else(|| {
            let detail = "the path must have a key, with valid %-escapes";
            Problem::new(StatusCode::BAD_REQUEST, "bad_path", detail)
        })
}

/// The path has no key, or one that cannot be decoded.
pub(super) fn bad_path() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad_path",
        "the path must end in {keyspace}/{key}, with a key and valid %-escapes",
    )
}

/// The parameters of the query. Each must be one of `known` and appear at most once.
pub(super) fn parameters<const N: usize>(
    uri: &Uri,
    known: [&'static str; N],
) -> Result<[Option<String>; N], Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail);
    let mut found = [const { None }; N];
    for pair in uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let at = known.iter().position(|known| *known == name);
        let at = at.ok_or_else(|| bad(format!("unknown parameter; use {}", known.join(", "))))?;
        let value = decode(value, true).and_then(|bytes| String::from_utf8(bytes).ok());
        let value =
            value.ok_or_else(|| bad(format!("{} is not valid %-escaped UTF-8", known[at])))?;
        if found[at].replace(value).is_some() {
            return Err(bad(format!("{} is given twice", known[at])));
        }
    }
    Ok(found)
}

/// Undoes %-escapes, and in a query the plus sign for a blank. `None` if an escape is cut short or
/// not hexadecimal.
pub(super) fn decode(text: &str, query: bool) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if query => b' ',
            other => other,
        });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
