//! `quorate restore`: brings back what a backup holds, into the same cluster or another one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use quorate_dynamo::Consistency;
use serde::Serialize;

use super::Asking;
use super::archive::{self, ArchiveError, Manifest, PageRecord};
use super::progress::{Progress, in_mebibytes, patiently};
use crate::cli::cluster::print_json;
use crate::cli::fail::Failure;
use crate::cli::globals::{Globals, time};
use crate::cli::output::{self, Output};
use crate::doors::backup::{Inventory, RestoredInventory, RestoredPage};

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  quorate restore --from /backups/monday --check
  quorate restore --from /backups/monday
What was written after the backup stays. Restoring twice does no harm.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// Directory with a finished backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Only this keyspace, and no users; may be given several times [default: everything].
    #[arg(long, value_name = "NAME")]
    keyspace: Vec<String>,
    /// Read and check the backup, and restore nothing.
    #[arg(long)]
    check: bool,
    /// How long to ask again while the cluster cannot answer at the level.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    patience: Duration,
}

/// What was restored, for scripts.
#[derive(Serialize)]
struct Report<'a> {
    archive: &'a str,
    /// The cluster that the backup is of.
    cluster: &'a str,
    keys: u64,
    bytes: u64,
    /// Rows that were missing or older.
    restored: u64,
    /// Rows that stay as they are.
    kept: u64,
    inventory: RestoredInventory,
    seconds: f64,
}

impl Restore {
    pub(in crate::cli) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let manifest = Manifest::read(&self.from)?;
        let inventory = &manifest.begun.inventory;
        let known = |name: &&String| inventory.keyspaces.iter().any(|held| held.name == **name);
        if let Some(name) = self.keyspace.iter().find(|name| !known(name)) {
            let name = name.clone();
            return Err(ArchiveError::NoKeyspace { name }.into());
        }
        let partitions: Vec<&[PageRecord]> = manifest
            .pages
            .chunk_by(|a, b| (&a.keyspace, a.partition) == (&b.keyspace, b.partition))
            .filter(|pages| self.wants(&pages[0].keyspace))
            .collect();
        // All of it is checked before any of it is restored.
        Progress::new("checked", partitions.len()).work_off(&partitions, |pages, progress| {
            for record in *pages {
                archive::page(&self.from, record)?;
                progress.page_done(record.bytes);
            }
            Ok(())
        })?;
        let chosen = || partitions.iter().copied().flatten();
        let mut report = Report {
            archive: &manifest.begun.archive,
            cluster: &inventory.cluster,
            keys: chosen().map(|page| page.keys).sum(),
            bytes: chosen().map(|page| page.bytes).sum(),
            restored: 0,
            kept: 0,
            inventory: RestoredInventory::default(),
            seconds: 0.0,
        };
        if self.check {
            let said = format!(
                "the backup is whole: {} keys, {}",
                report.keys,
                in_mebibytes(report.bytes)
            );
            return tell(globals, &said, &report);
        }
        self.carry_out(globals, &manifest, &partitions, &mut report)?;
        for name in &report.inventory.keyspaces_auto {
            output::note(format_args!(
                "keyspace {name} got automatic replication: this cluster does not have its datacenters, or too few nodes in them"
            ));
        }
        let said = format!(
            "restored {} rows, kept {} that were there: {} keys, {} in {:.1} s",
            report.restored,
            report.kept,
            report.keys,
            in_mebibytes(report.bytes),
            report.seconds
        );
        tell(globals, &said, &report)
    }

    fn carry_out(
        &self,
        globals: &Globals,
        manifest: &Manifest,
        partitions: &[&[PageRecord]],
        report: &mut Report<'_>,
    ) -> Result<(), Failure> {
        let level = globals.consistency.unwrap_or(Consistency::Quorum);
        let asking = Asking::new(globals, level, self.patience)?;
        let inventory = &manifest.begun.inventory;
        report.inventory = make(
            &asking,
            &Inventory {
                keyspaces: inventory
                    .keyspaces
                    .iter()
                    .filter(|keyspace| self.wants(&keyspace.name))
                    .cloned()
                    .collect(),
                users: Vec::new(),
                ..inventory.clone()
            },
        )?;
        let (restored, kept) = (AtomicU64::new(0), AtomicU64::new(0));
        let query = format!("archive={}&{}", manifest.begun.archive, asking.query);
        let took = Progress::new("restored", partitions.len()).work_off(
            partitions,
            |pages, progress| {
                for record in *pages {
                    let (bytes, _) = archive::page(&self.from, record)?;
                    let path = format!("/v1/restore/{}?{query}", record.keyspace);
                    let done: RestoredPage =
                        patiently(asking.patience, || asking.client.send(&path, bytes.clone()))?;
                    restored.fetch_add(done.restored, Ordering::Relaxed);
                    kept.fetch_add(done.kept, Ordering::Relaxed);
                    progress.page_done(record.bytes);
                }
                Ok(())
            },
        )?;
        // Last, because from the first user on everybody must authenticate.
        if self.keyspace.is_empty() && !inventory.users.is_empty() {
            let users = make(
                &asking,
                &Inventory {
                    keyspaces: Vec::new(),
                    ..inventory.clone()
                },
            )?;
            report.inventory.users_made = users.users_made;
            report.inventory.users_kept = users.users_kept;
        }
        report.restored = restored.into_inner();
        report.kept = kept.into_inner();
        report.seconds = took.as_secs_f64();
        Ok(())
    }

    fn wants(&self, keyspace: &str) -> bool {
        self.keyspace.is_empty() || self.keyspace.iter().any(|name| name == keyspace)
    }
}

fn make(asking: &Asking, inventory: &Inventory) -> Result<RestoredInventory, Failure> {
    let document = serde_json::to_string(inventory)
        .expect("invariant: an inventory has string keys and serialises");
    patiently(asking.patience, || {
        asking.client.post("/v1/restore", document.clone())
    })
}

fn tell(globals: &Globals, said: &str, report: &Report<'_>) -> Result<(), Failure> {
    match globals.output {
        Output::Table => output::line(said)?,
        Output::Json => print_json(report)?,
    }
    Ok(())
}
