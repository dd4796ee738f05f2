//! What is logged, and in which form.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::error::ConfigError;
use super::layers::{self, Sources};

/// Under which target stands who has administered what.
const AUDIT: &str = "audit";

/// What a node logs to stderr. It is read before everything else, so that whatever is wrong with
/// the rest can be logged as asked.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Which lines.
    pub filter: Targets,
    /// How they look.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: each line is a JSON document.
    Json,
}

impl LogConfig {
    /// Merges the sources. By default a node logs what happens to it, and only warnings of the
    /// crates that it is made of.
    ///
    /// # Errors
    /// [`ConfigError`] with the origin of the wrong value.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let given = layers::merge(sources)?;
        let usual = || {
            Targets::new()
                .with_default(Level::WARN)
                .with_target("quorate", Level::INFO)
                .with_target(AUDIT, Level::INFO)
                .with_target("openraft", LevelFilter::OFF)
        };
        let format = given.take("log_format", |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        })?;
        Ok(Self {
            filter: given.take("log", with_audit)?.unwrap_or_else(usual),
            format: format.unwrap_or_default(),
        })
    }
}

/// The levels that are asked for. Whoever says nothing of [`AUDIT`] does not mean to lose it.
fn with_audit(text: &str) -> Option<Targets> {
    let filter = parse_log_filter(text)?;
    let named = text
        .split(',')
        .any(|directive| directive.trim().starts_with(AUDIT));
    Some(if named {
        filter
    } else {
        filter.with_target(AUDIT, Level::INFO)
    })
}

/// Parses levels such as `warn,quorate=debug`. Refuses a word that is not a level: it would be read
/// as a target, and everything else would fall silent.
pub fn parse_log_filter(text: &str) -> Option<Targets> {
    let known = |directive: &str| {
        directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok()
    };
    text.split(',')
        .all(known)
        .then(|| text.parse().ok())
        .flatten()
}
