//! `quorate bench`: a load generator for anything that speaks RESP. Its percentiles include the
//! requests that a stall held back.

mod chronicle;
mod levels;
mod load;
mod options;
mod pace;
mod record;
mod report;
mod script;
mod work;

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::LocalSet;
use tokio::time::Instant;

use super::fail::Failure;
use super::globals::Globals;
use super::output::{self, Output};
use load::Load;
pub(super) use options::Bench;
use options::entrances;
use pace::Pacer;
use record::{Recorder, Window};
use report::Report;

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate bench --workload set --clients 50 --pipeline 16 --seconds 10 --level ONE
  quorate bench --target resp://127.0.0.1:6379 --workload get --rate 20000      (any Redis)
  quorate bench --target resp://a:7379,resp://b:7379 --workload sadd --set-size 1000000
  quorate bench --target resp://a:7379,resp://b:7379 --record history.jsonl --level QUORUM --level ONE --rate 500

Latency with --rate is measured from the moment at which the request was due, whether or not a
connection was free to send it; requests still unsent at the end count with the time they have
waited. Without --rate, each connection waits for its answers before it sends again, so a stall hides
the requests that would have met it. The histogram is corrected by the mean time between two
pipelines of one connection (HdrHistogram's correction for coordinated omission).
The warm-up is not measured. With --wait, each write counts when its WAIT is answered.

With --record nothing is measured: the file gets the history of what the clients saw, for
`quorate check` (docs/history-format.md).";

impl Bench {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        if let Some(file) = self.recording.record.clone() {
            return chronicle::run(&self, &file, globals).await;
        }
        let report = self.measure(globals).await?;
        match globals.output {
            Output::Json => {
                output::line(serde_json::to_string(&report).map_err(std::io::Error::from)?)?;
            }
            Output::Table => output::line(report.table(&self).to_string().trim_end())?,
        }
        // The report is printed in any case: its errors are worth knowing.
        if report.ops_per_second > 0.0 {
            Ok(())
        } else {
            Err(Failure::NothingMeasured)
        }
    }

    /// Connects everything, writes what the workload reads, then measures. A connection lost on the
    /// way counts as an error in the report.
    async fn measure(&self, globals: &Globals) -> Result<Report, Failure> {
        let load = Rc::new(Load::new(self));
        let targets = entrances(&self.target, globals)?;
        let mut workers = Vec::new();
        for (number, target) in (0..self.clients).zip(targets.iter().cycle()) {
            workers.push(
                work::Worker::connect(
                    number,
                    target.address.clone(),
                    target.options.clone(),
                    Rc::clone(&load),
                )
                .await?,
            );
        }
        workers[0].preload().await?;

        let window = Window::starting_at(Instant::now(), self.warmup, self.seconds);
        let recorder = Rc::new(RefCell::new(Recorder::new(window)));
        let pacer = self.rate.map(|rate| Pacer::start(window, rate));
        let tasks = LocalSet::new();
        for worker in workers {
            let (recorder, pace) = (Rc::clone(&recorder), pacer.as_ref().map(Pacer::pace));
            tasks.spawn_local(async move {
                match pace {
                    Some(pace) => worker.open_loop(pace, &recorder).await,
                    None => worker.closed_loop(&recorder).await,
                }
            });
        }
        let progress = Rc::clone(&recorder);
        let shown = async move { record::show_progress(&progress).await };
        // The workers end by themselves; the progress line continues until then.
        tokio::select! {
            () = tasks => {},
            () = shown => {},
        }
        let mut recorder = recorder.borrow_mut();
        match pacer {
            Some(pacer) => pacer.count_unsent(&mut recorder),
            None => recorder.correct(self.clients, self.pipeline),
        }
        for (words, count) in recorder.words() {
            output::note(format_args!("{count} times: {words}"));
        }
        Ok(recorder.report())
    }
}

#[cfg(test)]
mod tests;
