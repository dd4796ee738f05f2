//! Which log lines go to stderr, and how they look.

use std::io::IsTerminal as _;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::fail::Failure;

/// The log filter in `QUORATE_LOG`, such as `warn,quorate=debug`; `None` if it is unset.
pub(super) fn asked_for() -> Result<Option<Targets>, Failure> {
    let asked = std::env::var("QUORATE_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    asked
        .map(|text| targets(&text).ok_or(Failure::Usage(FORM)))
        .transpose()
}

const FORM: &str = "QUORATE_LOG must be a level (off, error, warn, info, debug, trace) or TARGET=LEVEL; separate several with commas";

/// Refuses a word that is not a level: it would be read as a target, and everything else would fall
/// silent.
pub(super) fn targets(text: &str) -> Option<Targets> {
    let known = |directive: &str| {
        directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok()
    };
    text.split(',')
        .all(known)
        .then(|| text.parse().ok())
        .flatten()
}

/// Logs to stderr what `filter` lets through, in colour if stderr is a terminal.
pub(super) fn begin(filter: Targets) {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let colours = std::io::stderr().is_terminal() && !plain;
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    // Fails only if a subscriber is installed already; then that one gets the logs.
    drop(
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .try_init(),
    );
}
