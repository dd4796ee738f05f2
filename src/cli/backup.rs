//! `quorate backup`: saves what a running cluster holds into a directory, or as an archive to
//! stdout.

mod archive;
mod progress;
pub(super) mod restore;

use std::io::{self, IsTerminal as _, Stdout};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use quorate_dynamo::Consistency;
use quorate_gossip::quic::random_bytes;
use serde::Serialize;

use super::cluster::print_json;
use super::fail::Failure;
use super::globals::{Globals, time};
use super::http::{self, Client};
use super::output::{self, Output};
use crate::doors::backup::{BackupPage, Inventory, encode_end};
pub(super) use archive::ArchiveError;
use archive::{Begun, Manifest, PageRecord};
use progress::{Progress, in_mebibytes, patiently};

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate backup --to /backups/monday
  quorate backup --to - | zstd > monday.tar.zst
Run the same command again to go on with a backup that was interrupted.";

/// How long the request for a page, or one of the changes that restore it, may take, unless
/// --timeout says otherwise.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How much longer all changes of a page may take together. Guess.
const PAGE_TIME: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Directory to save into, which is made; - writes a tar archive to stdout, which cannot be
    /// gone on with.
    #[arg(long, value_name = "DIR|-")]
    to: PathBuf,
    /// How long to ask again while the cluster cannot answer at the level.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    patience: Duration,
}

/// How a command asks for pages.
struct Asking {
    client: Client,
    /// The query that every request for keys has.
    query: String,
    patience: Duration,
}

impl Asking {
    fn new(globals: &Globals, level: Consistency, patience: Duration) -> Result<Self, Failure> {
        let within = globals.timeout.unwrap_or(REQUEST_TIME);
        let level = http::segment(&level.to_string());
        Ok(Self {
            client: Client::open(globals, within + PAGE_TIME)?,
            query: format!(
                "consistency={level}&timeout={}ms",
                within.as_millis().max(1)
            ),
            patience,
        })
    }
}

/// Where a backup goes.
enum Sink {
    Directory(PathBuf),
    Tar(Mutex<tar::Builder<Stdout>>),
}

impl Sink {
    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Directory(dir) => Ok(archive::write(dir, path, bytes)?),
            Self::Tar(tar) => {
                let mut head = tar::Header::new_gnu();
                head.set_size(bytes.len() as u64);
                head.set_mode(0o600);
                let mut tar = tar.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(tar.append_data(&mut head, path, bytes)?)
            }
        }
    }

    fn finish(self, manifest: &Manifest) -> Result<(), Failure> {
        for (path, bytes) in manifest.files() {
            self.put(path, &bytes)?;
        }
        match self {
            Self::Directory(dir) => archive::finish(&dir)?,
            Self::Tar(tar) => tar
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .finish()?,
        }
        Ok(())
    }
}

/// What was saved, for scripts.
#[derive(Serialize)]
struct Report<'a> {
    archive: &'a str,
    cluster: &'a str,
    consistency: &'a str,
    keyspaces: usize,
    users: usize,
    pages: usize,
    keys: u64,
    bytes: u64,
    seconds: f64,
}

impl Backup {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let level = globals.consistency.unwrap_or(Consistency::Quorum);
        let asking = Asking::new(globals, level, self.patience)?;
        let inventory: Inventory = patiently(self.patience, || asking.client.get("/v1/backup"))?;
        let number = u128::from_le_bytes(random_bytes().map_err(io::Error::other)?);
        let new = Begun::new(number, level.to_string(), inventory);
        let (begun, sink) = self.open(new)?;
        let partitions: Vec<(&str, u16)> = begun
            .inventory
            .keyspaces
            .iter()
            .flat_map(|keyspace| {
                (0..keyspace.partitions).map(|partition| (&*keyspace.name, partition))
            })
            .collect();
        let pages = Mutex::new(Vec::new());
        let took = Progress::new("saved", partitions.len()).work_off(
            &partitions,
            |(keyspace, partition), progress| {
                let saved = save(&asking, &sink, keyspace, *partition, progress)?;
                let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
                pages.extend(saved);
                Ok(())
            },
        )?;
        let pages = pages.into_inner().unwrap_or_else(PoisonError::into_inner);
        let manifest = Manifest::new(begun.clone(), pages);
        let to_stdout = matches!(sink, Sink::Tar(_));
        sink.finish(&manifest)?;
        let report = Report {
            archive: &begun.archive,
            cluster: &begun.inventory.cluster,
            consistency: &begun.level,
            keyspaces: begun.inventory.keyspaces.len(),
            users: begun.inventory.users.len(),
            pages: manifest.pages.len(),
            keys: manifest.pages.iter().map(|page| page.keys).sum(),
            bytes: manifest.pages.iter().map(|page| page.bytes).sum(),
            seconds: took.as_secs_f64(),
        };
        let said = format!(
            "saved {} keys in {} keyspaces at {}: {} in {:.1} s",
            report.keys,
            report.keyspaces,
            report.consistency,
            in_mebibytes(report.bytes),
            report.seconds
        );
        match globals.output {
            _ if to_stdout => output::note(format_args!("{said}")),
            Output::Table => output::line(said)?,
            Output::Json => print_json(&report)?,
        }
        Ok(())
    }

    /// The backup that was begun in the directory, or a new one.
    fn open(&self, new: Begun) -> Result<(Begun, Sink), Failure> {
        if self.to == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(Failure::Usage(
                    "an archive is nothing for a terminal: send it through a pipe or into a file",
                ));
            }
            return Ok((new, Sink::Tar(Mutex::new(tar::Builder::new(io::stdout())))));
        }
        let (begun, goes_on) = archive::begin(&self.to, new)?;
        if goes_on {
            output::note(format_args!(
                "going on with the backup in {}",
                self.to.display()
            ));
        }
        Ok((begun, Sink::Directory(self.to.clone())))
    }
}

/// Saves what is missing of a partition.
fn save(
    asking: &Asking,
    sink: &Sink,
    keyspace: &str,
    partition: u16,
    progress: &Progress,
) -> Result<Vec<PageRecord>, Failure> {
    let mut records = Vec::new();
    let mut end = Vec::new();
    if let Sink::Directory(dir) = sink {
        for (record, page) in archive::saved(dir, keyspace, partition) {
            records.push(record);
            match page.next {
                Some(next) => end = encode_end(&next),
                None => return Ok(records),
            }
        }
    }
    let path = format!("/v1/backup/{keyspace}/{partition}?{}", asking.query);
    loop {
        let bytes = patiently(asking.patience, || {
            asking.client.exchange(&path, end.clone())
        })?;
        let page = BackupPage::decode(&bytes).map_err(Failure::NotAPage)?;
        let number = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let record = PageRecord::of(keyspace, partition, number, page.keys.len(), &bytes);
        sink.put(&record.path(), &bytes)?;
        progress.page_done(record.bytes);
        records.push(record);
        match page.next {
            Some(next) => end = encode_end(&next),
            None => return Ok(records),
        }
    }
}
