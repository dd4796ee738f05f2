//! What is logged, and in which form.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::error::ConfigError;
use super::layers::{self, Sources};

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
                // Who administered what.
                .with_target("audit", Level::INFO)
                .with_target("openraft", LevelFilter::OFF)
        };
        let format = given.take("log_format", |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        })?;
        Ok(Self {
            filter: given.take("log", parse_log_filter)?.unwrap_or_else(usual),
            format: format.unwrap_or_default(),
        })
    }
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
