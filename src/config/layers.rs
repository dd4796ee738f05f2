//! The three sources, and how a later one replaces what an earlier one gave.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::origin::Origin;
use super::table::{KEYS, Key, Kind};
use super::text::nearest;

const PREFIX: &str = "QUORATE_";
/// Variables with the prefix that are not keys of the file: the path of the file, and what only
/// other commands read.
const OTHER_VARIABLES: [&str; 5] = [
    "QUORATE_CONFIG",
    "QUORATE_CONSISTENCY",
    "QUORATE_TIMEOUT",
    "QUORATE_USER",
    "QUORATE_TLS_CA",
];

/// The raw input of a configuration. Only [`Sources::of_process`] looks at the process itself.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file named by `--config`. Without one, `QUORATE_CONFIG` may name it.
    pub file: Option<PathBuf>,
    /// The environment. Of the variables without the prefix `QUORATE_` only those matter that say
    /// where the default data directory is.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags, by key of the file: `data_dir` for `--data-dir`.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// The environment of this process, with `file` and `flags`.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Self {
        Self {
            file,
            environment: std::env::vars_os().collect(),
            flags,
        }
    }

    pub(super) fn variable(&self, name: &str) -> Option<OsString> {
        self.environment
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.clone())
    }
}

/// The merged texts, each with its origin.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeMap<&'static str, (String, Origin)>);

impl Given {
    pub(super) fn origin_of(&self, key: &'static str) -> Option<Origin> {
        self.0.get(key).map(|(_, origin)| origin.clone())
    }

    pub(super) fn origin(&self, key: &'static str) -> Origin {
        self.origin_of(key).unwrap_or(Origin::Default)
    }

    /// The value of `key`, if a source gave one.
    pub(super) fn take<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, origin)) = self.0.get(key) else {
            return Ok(None);
        };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(ConfigError::BadValue {
                key,
                expected: expected(key),
                origin: origin.clone(),
            }),
        }
    }
}

fn expected(name: &str) -> &'static str {
    KEYS.iter()
        .find(|key| key.name == name)
        .expect("invariant: only keys of the table are taken")
        .expected
}

/// Reads all sources. A later one replaces what an earlier one gave.
pub(super) fn merge(sources: &Sources) -> Result<Given, ConfigError> {
    let mut given = Given::default();
    let named = sources
        .variable("QUORATE_CONFIG")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    if let Some(path) = sources.file.clone().or(named) {
        let text = std::fs::read_to_string(&path).map_err(|cause| ConfigError::Unreadable {
            path: path.clone(),
            cause,
        })?;
        merge_file(&mut given, &path, &text)?;
    }
    for (name, value) in &sources.environment {
        merge_variable(&mut given, name, value)?;
    }
    for (name, value) in &sources.flags {
        let origin = Origin::Flag(format!("--{}", name.replace('_', "-")).into());
        given.0.insert(name, (value.clone(), origin));
    }
    Ok(given)
}

fn merge_file(given: &mut Given, path: &Path, text: &str) -> Result<(), ConfigError> {
    let origin = |at: usize| Origin::File {
        path: path.to_owned(),
        line: line(text, at),
    };
    let table = DeTable::parse(text).map_err(|cause| {
        let at = cause.span().map_or(0, |span| span.start);
        ConfigError::Syntax {
            origin: origin(at),
            cause,
        }
    })?;
    for (name, value) in table.get_ref() {
        let origin = origin(name.span().start);
        let Some(key) = KEYS.iter().find(|key| key.name == name.get_ref().as_ref()) else {
            return Err(unknown(
                origin,
                name.get_ref(),
                KEYS.iter().map(|key| key.name.to_owned()),
            ));
        };
        match scalar(key, value) {
            Some(text) => given.0.insert(key.name, (text, origin)),
            None => {
                return Err(ConfigError::BadValue {
                    key: key.name,
                    expected: key.expected,
                    origin,
                });
            }
        };
    }
    Ok(())
}

/// The value as text, if it has the key's type.
fn scalar(key: &Key, value: &Spanned<DeValue<'_>>) -> Option<String> {
    match (key.kind, value.get_ref()) {
        (Kind::Text, DeValue::String(text)) => Some(text.clone().into_owned()),
        (Kind::Number, DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(|n| n.to_string())
        }
        (Kind::Switch, DeValue::Boolean(on)) => Some(on.to_string()),
        _ => None,
    }
}

fn merge_variable(given: &mut Given, name: &OsString, value: &OsString) -> Result<(), ConfigError> {
    let name = name.to_string_lossy();
    if !name.starts_with(PREFIX) || OTHER_VARIABLES.contains(&name.as_ref()) {
        return Ok(());
    }
    let origin = Origin::Variable(name.clone().into());
    let Some(key) = KEYS.iter().find(|key| variable(key.name) == name) else {
        let valid = KEYS
            .iter()
            .map(|key| variable(key.name))
            .chain(OTHER_VARIABLES.map(str::to_owned));
        return Err(unknown(origin, &name, valid));
    };
    match value.to_str() {
        Some(text) => given.0.insert(key.name, (text.to_owned(), origin)),
        None => {
            return Err(ConfigError::BadValue {
                key: key.name,
                expected: key.expected,
                origin,
            });
        }
    };
    Ok(())
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

fn unknown(origin: Origin, key: &str, valid: impl Iterator<Item = String>) -> ConfigError {
    ConfigError::UnknownKey {
        origin,
        key: key.into(),
        nearest: nearest(key, valid).into(),
    }
}

/// The line of a byte offset, from 1.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
