//! What `quorate bench` measured, and how it is printed.

use clap::ValueEnum as _;
use serde::Serialize;

use super::options::Bench;
use crate::table::Table;

/// What is printed. The JSON form has exactly these fields.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) ops_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) errors: u64,
}

impl Report {
    pub(super) fn table(&self, bench: &Bench) -> Table {
        let workload = bench
            .workload
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default();
        let mut table = Table::new([
            "WORKLOAD", "LEVEL", "OPS/S", "P50", "P99", "P99.9", "ERRORS",
        ]);
        let time = |micros: f64| format!("{micros} us");
        table.push([
            workload,
            if bench.level.is_empty() {
                "default".to_owned()
            } else {
                bench.level.join(" ")
            },
            format!("{:.0}", self.ops_per_second),
            time(self.p50_us),
            time(self.p99_us),
            time(self.p999_us),
            self.errors.to_string(),
        ]);
        table
    }
}
