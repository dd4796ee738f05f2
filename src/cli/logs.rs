//! Which log lines go to stderr, and how they look.

use std::io::IsTerminal as _;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::fail::Failure;
use crate::config::{LogFormat, parse_log_filter};

/// The log filter in `QUORATE_LOG`, such as `warn,quorate=debug`; `None` if it is unset.
pub(super) fn asked_for() -> Result<Option<Targets>, Failure> {
    let asked = std::env::var("QUORATE_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    asked
        .map(|text| parse_log_filter(&text).ok_or(Failure::Usage(FORM)))
        .transpose()
}

const FORM: &str = "QUORATE_LOG must be a level (off, error, warn, info, debug, trace) or TARGET=LEVEL; separate several with commas";

/// Logs to stderr what `filter` lets through. Text is in colour only on a terminal, so that none
/// gets into a file.
pub(super) fn begin(filter: Targets, format: LogFormat) {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let colours = std::io::stderr().is_terminal() && !plain;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    // Fails only if a subscriber is installed already; then that one gets the logs.
    drop(match format {
        LogFormat::Text => registry
            .with(lines.with_ansi(colours).with_filter(filter))
            .try_init(),
        LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_filter(filter))
            .try_init(),
    });
}
