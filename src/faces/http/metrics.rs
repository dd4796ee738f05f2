//! `GET /metrics`, in the form that the scraper asks for: `OpenMetrics`, or the older text form
//! of Prometheus, which everything else reads.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::face::Shared;

const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(State(face): Shared, headers: HeaderMap) -> Response {
    let text = face.data.metrics();
    let mut accepted = headers.get_all(header::ACCEPT).into_iter();
    let open = accepted.any(|accepted| {
        let accepted = accepted.to_str().unwrap_or_default();
        accepted.contains("application/openmetrics-text")
    });
    if open {
        ([(header::CONTENT_TYPE, OPEN)], text).into_response()
    } else {
        ([(header::CONTENT_TYPE, PLAIN)], plain(&text)).into_response()
    }
}

/// From `OpenMetrics` to the older form. There a family of counters is called like its samples,
/// with `_total`, and the end needs no mark.
fn plain(open: &str) -> String {
    let mut plain = String::with_capacity(open.len());
    // The type of a family, by which its name is decided, comes after its description.
    let mut help = None;
    for line in open.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = Some(described);
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, "untyped"));
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let text = help.take().and_then(|help| help.strip_prefix(name));
            let written = write!(
                plain,
                "# HELP {name}{ending}{}\n# TYPE {name}{ending} {kind}\n",
                text.unwrap_or_default()
            );
            written.expect("invariant: a String takes all text");
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_names_counters_by_their_samples_and_has_no_end_mark() {
        let open = concat!(
            "# HELP quorate_requests Requests answered.\n# TYPE quorate_requests counter\n",
            "quorate_requests_total{op=\"read\"} 3\n",
            "# HELP wait_seconds Time.\n# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n",
            "wait_seconds_sum 0.5\nwait_seconds_count 1\nwait_seconds_bucket{le=\"+Inf\"} 1\n# EOF\n"
        );
        assert_eq!(
            plain(open),
            concat!(
                "# HELP quorate_requests_total Requests answered.\n# TYPE quorate_requests_total counter\n",
                "quorate_requests_total{op=\"read\"} 3\n",
                "# HELP wait_seconds Time.\n# TYPE wait_seconds histogram\n",
                "wait_seconds_sum 0.5\nwait_seconds_count 1\nwait_seconds_bucket{le=\"+Inf\"} 1\n"
            )
        );
    }
}
