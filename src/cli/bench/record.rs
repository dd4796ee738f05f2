//! Records what was measured: counts and a histogram, over the window after the warm-up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::report::Report;

/// The longest latency that can be distinguished, in nanoseconds: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// When the run starts, when measuring begins, and when both end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) start: Instant,
    pub(super) measured: Instant,
    pub(super) end: Instant,
}

impl Window {
    pub(super) fn starting_at(start: Instant, warmup: u32, seconds: u32) -> Self {
        let measured = start + Duration::from_secs(warmup.into());
        Self {
            start,
            measured,
            end: measured + Duration::from_secs(seconds.into()),
        }
    }
}

/// Collects the outcomes of all clients.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) window: Window,
    latencies: Histogram<u64>,
    done: u64,
    errors: u64,
    /// How often each error occurred, in the words of the server; bounded in number.
    words: BTreeMap<String, u64>,
}

/// The most distinct errors recorded.
const WORDS_MAX: usize = 5;

impl Recorder {
    pub(super) fn new(window: Window) -> Self {
        let latencies = Histogram::new_with_bounds(1, LONGEST_NS, 3)
            .expect("invariant: the bounds are constants that a histogram takes");
        Self {
            window,
            latencies,
            done: 0,
            errors: 0,
            words: BTreeMap::new(),
        }
    }

    /// Records a completed request. It counts as throughput if it ended within the window, and its
    /// latency counts if it also began there.
    pub(super) fn done(&mut self, began: Instant, ended: Instant) {
        if ended >= self.window.measured && ended < self.window.end {
            self.done += 1;
        }
        self.waited(began, ended);
    }

    /// Records a latency alone.
    pub(super) fn waited(&mut self, began: Instant, ended: Instant) {
        if began >= self.window.measured && began < self.window.end {
            self.latencies
                .saturating_record(ended.saturating_duration_since(began).as_nanos() as u64);
        }
    }

    /// Records failed requests.
    pub(super) fn failed(&mut self, requests: u64, ended: Instant) {
        if ended >= self.window.measured {
            self.errors += requests;
        }
    }

    /// Records the error of a failed request.
    pub(super) fn heard(&mut self, words: &str) {
        if let Some(count) = self.words.get_mut(words) {
            *count += 1;
        } else if self.words.len() < WORDS_MAX {
            self.words.insert(words.to_owned(), 1);
        }
    }

    /// How often each error occurred, for the first few errors.
    pub(super) fn words(&self) -> impl Iterator<Item = (&str, u64)> {
        self.words
            .iter()
            .map(|(words, count)| (words.as_str(), *count))
    }

    /// Adds the requests that a stall held back, for connections that wait for their answers before
    /// they send again.
    pub(super) fn correct(&mut self, clients: u32, pipeline: u32) {
        let measured = (self.window.end - self.window.measured).as_nanos()
            * u128::from(clients)
            * u128::from(pipeline);
        if let Some(interval) = measured.checked_div(u128::from(self.done)) {
            self.latencies = self.latencies.clone_correct(interval as u64);
        }
    }

    /// The report. All numbers except the errors are 0 if no request completed.
    pub(super) fn report(&self) -> Report {
        let seconds = (self.window.end - self.window.measured).as_secs_f64();
        let micros = |quantile| tenths(self.latencies.value_at_quantile(quantile) as f64 / 1_000.0);
        Report {
            ops_per_second: tenths(self.done as f64 / seconds),
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            errors: self.errors,
        }
    }
}

/// Rounds to the precision of the measurement.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Prints one line per second if a person watches; otherwise waits for ever.
pub(super) async fn show_progress(recorder: &RefCell<Recorder>) {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (done, errors, left) = {
            let recorder = recorder.borrow();
            (
                recorder.done,
                recorder.errors,
                recorder
                    .window
                    .end
                    .saturating_duration_since(Instant::now()),
            )
        };
        let text = format!(
            "\r{:>8} op/s  {errors} errors  {} s left   ",
            done - before,
            left.as_secs()
        );
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
        before = done;
    }
}
