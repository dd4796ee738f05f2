//! The log, the vote and the markers of the control group, in the node's store. There is no second
//! write-ahead log and no second disk synchronisation: every promise waits for the node's group
//! commit.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::codec::{seal, unseal};
use super::types::{Entry, LogId, Types, Vote};
use crate::planted::{LOG_UNSYNCED, VOTE_UNSYNCED};
use crate::store::{Batch, Commit, Space, Store, StoreError};

const ENTRY: u8 = b'e';
pub(super) const VOTE: &[u8] = b"v";
pub(super) const COMMITTED: &[u8] = b"c";
pub(super) const PURGED: &[u8] = b"p";
pub(super) const SNAPSHOT: &[u8] = b"s";

/// The control group's part of the store.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) store: Arc<dyn Store>,
    pub(super) commit: Arc<dyn Commit>,
}

impl Disk {
    /// Reads every record once, so that damage is found at the start and not during an election.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.read::<Vote>(VOTE, "the control vote")?;
        self.read::<Option<LogId>>(COMMITTED, "the control commit marker")?;
        self.state().map(drop)
    }

    pub(super) fn read<T: DeserializeOwned>(
        &self,
        key: &[u8],
        what: &'static str,
    ) -> Result<Option<T>, StoreError> {
        self.store
            .get(Space::Control, key)?
            .map(|record| unseal(key, &record, what))
            .transpose()
    }

    pub(super) fn write<T: Serialize>(&self, key: &'static [u8], value: &T) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.put(
            Space::Control,
            Bytes::from_static(key),
            seal(key, value).map_err(io::Error::other)?,
        );
        self.store.apply(batch).map_err(io::Error::other)
    }

    /// Returns when everything applied so far is durable.
    pub(super) async fn durable(&self) -> io::Result<()> {
        let (done, waiting) = oneshot::channel();
        self.commit
            .commit_durably(Box::new(move |result| drop(done.send(result))));
        match waiting.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_dropped) => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the committer has stopped",
            )),
        }
    }

    pub(super) fn entries(&self, range: &impl RangeBounds<u64>) -> Result<Vec<Entry>, StoreError> {
        let (from, to) = bounds(range);
        let mut found = Ok(Vec::new());
        self.store
            .scan(Space::Control, &from, Some(&to), &mut |key, record| {
                match (
                    unseal::<Entry>(key, record, "a control log entry"),
                    &mut found,
                ) {
                    (Ok(entry), Ok(entries)) => entries.push(entry),
                    (Err(error), _) => found = Err(error),
                    (Ok(_), Err(_)) => {}
                }
                if found.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        found
    }

    /// Where the log begins and ends. A gap is damage: this node never promised the entries after
    /// it.
    fn state(&self) -> Result<LogState<Types>, StoreError> {
        let last_purged_log_id: Option<LogId> = self.read(PURGED, "the control purge marker")?;
        let entries = self.entries(&..)?;
        let mut next = last_purged_log_id.as_ref().map(|id| id.index + 1);
        for entry in &entries {
            let index = entry.log_id().index;
            if next.is_some_and(|next| next != index) {
                return Err(StoreError::Damaged {
                    what: "the control log: an entry is missing",
                });
            }
            next = Some(index + 1);
        }
        let last_log_id = entries.last().map(RaftEntry::log_id).or(last_purged_log_id);
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    /// Deletes the whole log and writes these records, in one batch.
    pub(super) fn replace(
        &self,
        records: impl IntoIterator<Item = (&'static [u8], Bytes)>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (key, record) in records {
            batch.put(Space::Control, Bytes::from_static(key), record);
        }
        self.delete(&.., batch)
    }

    /// Deletes the entries of the range, in one batch with what `batch` already holds.
    fn delete(&self, range: &impl RangeBounds<u64>, mut batch: Batch) -> Result<(), StoreError> {
        let (from, to) = bounds(range);
        let listed = self
            .store
            .scan(Space::Control, &from, Some(&to), &mut |key, _| {
                batch.delete(Space::Control, Bytes::copy_from_slice(key));
                ControlFlow::Continue(())
            });
        listed.and_then(|()| self.store.apply(batch))
    }
}

fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [ENTRY; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The keys of a range of indices: from the first key, up to but not including the second.
fn bounds(range: &impl RangeBounds<u64>) -> (Vec<u8>, Vec<u8>) {
    let key = |index: u64| entry_key(index).to_vec();
    // Index 2^64 - 1 is never reached. Its successor would be the first key after all entries.
    let after = |index: u64| index.checked_add(1).map_or_else(|| vec![ENTRY + 1], key);
    let from = match range.start_bound() {
        Bound::Included(&index) => key(index),
        Bound::Excluded(&index) => after(index),
        Bound::Unbounded => vec![ENTRY],
    };
    let to = match range.end_bound() {
        Bound::Included(&index) => after(index),
        Bound::Excluded(&index) => key(index),
        Bound::Unbounded => vec![ENTRY + 1],
    };
    (from, to)
}

impl RaftLogReader<Types> for Disk {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        self.entries(&range).map_err(io::Error::other)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.read(VOTE, "the control vote")
            .map_err(io::Error::other)
    }
}

impl RaftLogStorage<Types> for Disk {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        self.state().map_err(io::Error::other)
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write(VOTE, vote)?;
        if VOTE_UNSYNCED.is_planted() {
            return Ok(());
        }
        self.durable().await
    }

    /// Does not wait for the disk: what follows from a commit is published only once this marker is
    /// durable.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.write(COMMITTED, &committed)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.read(COMMITTED, "the control commit marker")
            .map(Option::flatten)
            .map_err(io::Error::other)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut batch = Batch::default();
        for entry in entries {
            let key = entry_key(entry.log_id().index);
            batch.put(
                Space::Control,
                key.to_vec(),
                seal(&key, &entry).map_err(io::Error::other)?,
            );
        }
        self.store.apply(batch).map_err(io::Error::other)?;
        if LOG_UNSYNCED.is_planted() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        self.commit.commit_durably(Box::new(move |result| {
            callback.io_completed(result.map_err(io::Error::other));
        }));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        self.delete(&(from..), Batch::default())
            .map_err(io::Error::other)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.put(
            Space::Control,
            Bytes::from_static(PURGED),
            seal(PURGED, &upto).map_err(io::Error::other)?,
        );
        self.delete(&(..=upto.index), batch)
            .map_err(io::Error::other)
    }
}
