//! The log, the vote and the markers of a group, in the node's store. There is no second
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

use super::codec::{CodecError, seal, unseal};
use super::machine::GroupId;
use super::types::{Entry, LogId, Types, Vote};
use crate::planted::{GROUPS_SHARE_A_LOG, LOG_UNSYNCED, VOTE_UNSYNCED};
use crate::store::{Batch, Commit, Space, Store, StoreError};

/// Before every key of a group; then the group's number (u16), and one of these.
const GROUP: u8 = b'g';
const ENTRY: u8 = b'e';
pub(super) const VOTE: &[u8] = b"v";
pub(super) const COMMITTED: &[u8] = b"c";
pub(super) const PURGED: &[u8] = b"p";
pub(super) const SNAPSHOT: &[u8] = b"s";

/// The most bytes of entries that one message carries, unless the first alone is longer. Guess:
/// less than a heartbeat's time on a slow link.
const APPEND_BYTES_MAX: usize = 1024 * 1024;

/// The records of all groups in the node's store.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) store: Arc<dyn Store>,
    pub(super) commit: Arc<dyn Commit>,
}

impl Disk {
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

    pub(super) fn write<T: Serialize>(&self, key: Vec<u8>, value: &T) -> io::Result<()> {
        let mut batch = Batch::default();
        let sealed = seal(&key, value).map_err(io::Error::other)?;
        batch.put(Space::Control, key, sealed);
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
}

/// One group's part of the store.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) disk: Disk,
    pub(super) group: GroupId,
}

impl Log {
    /// The whole key of a record of the group.
    fn key(&self, record: &[u8]) -> Vec<u8> {
        let group = if GROUPS_SHARE_A_LOG.is_planted() {
            GroupId::TOPOLOGY
        } else {
            self.group
        };
        [&[GROUP], &group.0.to_be_bytes()[..], record].concat()
    }

    /// Reads every record once, so that damage is found at the start and not during an election.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.read::<Vote>(VOTE, "a group's vote")?;
        self.read::<Option<LogId>>(COMMITTED, "a group's commit marker")?;
        self.state().map(drop)
    }

    /// Whether the node has had a part in the group: then it has voted or followed a leader.
    pub(super) fn is_begun(&self) -> Result<bool, StoreError> {
        Ok(self.read::<Vote>(VOTE, "a group's vote")?.is_some())
    }

    /// Whether the node holds nothing of what the group has decided.
    pub(super) fn is_empty(&self) -> Result<bool, StoreError> {
        let state = self.state()?;
        let snapshot = self.disk.store.get(Space::Control, &self.key(SNAPSHOT))?;
        Ok(state.last_log_id.is_none() && snapshot.is_none())
    }

    pub(super) fn read<T: DeserializeOwned>(
        &self,
        record: &[u8],
        what: &'static str,
    ) -> Result<Option<T>, StoreError> {
        self.disk.read(&self.key(record), what)
    }

    pub(super) fn write<T: Serialize>(&self, record: &[u8], value: &T) -> io::Result<()> {
        self.disk.write(self.key(record), value)
    }

    /// A record of the group as [`replace`](Self::replace) takes it.
    pub(super) fn sealed<T: Serialize>(
        &self,
        record: &[u8],
        value: &T,
    ) -> Result<(Vec<u8>, Bytes), CodecError> {
        let key = self.key(record);
        let sealed = seal(&key, value)?;
        Ok((key, sealed))
    }

    pub(super) fn entries(&self, range: &impl RangeBounds<u64>) -> Result<Vec<Entry>, StoreError> {
        self.entries_within(range, usize::MAX)
    }

    /// The first entries of the range that together have at most `bytes_max` bytes; at least one,
    /// if there is one.
    fn entries_within(
        &self,
        range: &impl RangeBounds<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (from, to) = self.bounds(range);
        let mut found = Ok(Vec::new());
        let mut bytes = 0_usize;
        let scanned = &mut |key: &[u8], record: &[u8]| {
            bytes = bytes.saturating_add(record.len());
            match (
                unseal::<Entry>(key, record, "a group's log entry"),
                &mut found,
            ) {
                (Ok(_), Ok(entries)) if bytes > bytes_max && !entries.is_empty() => {
                    return ControlFlow::Break(());
                }
                (Ok(entry), Ok(entries)) => entries.push(entry),
                (Err(error), _) => found = Err(error),
                (Ok(_), Err(_)) => {}
            }
            if found.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let store = &self.disk.store;
        store.scan(Space::Control, &from, Some(&to), scanned)?;
        found
    }

    /// Where the log begins and ends. A gap is damage: this node never promised the entries after
    /// it.
    fn state(&self) -> Result<LogState<Types>, StoreError> {
        let last_purged_log_id: Option<LogId> = self.read(PURGED, "a group's purge marker")?;
        let entries = self.entries(&..)?;
        let mut next = last_purged_log_id.as_ref().map(|id| id.index + 1);
        for entry in &entries {
            let index = entry.log_id().index;
            if next.is_some_and(|next| next != index) {
                return Err(StoreError::Damaged {
                    what: "a group's log: an entry is missing",
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

    /// The batch that deletes the whole log and writes these records.
    pub(super) fn replacing(
        &self,
        records: impl IntoIterator<Item = (Vec<u8>, Bytes)>,
        mut batch: Batch,
    ) -> Result<Batch, StoreError> {
        for (key, record) in records {
            batch.put(Space::Control, key, record);
        }
        self.deleting(&.., batch)
    }

    /// Deletes everything but the vote, durably: the node has left the group, and should it come
    /// back, it must not vote again in a term in which it has voted.
    pub(super) async fn erase(&self) -> io::Result<()> {
        let mut batch = self
            .deleting(&.., Batch::default())
            .map_err(io::Error::other)?;
        for record in [COMMITTED, PURGED, SNAPSHOT] {
            batch.delete(Space::Control, self.key(record));
        }
        self.disk.store.apply(batch).map_err(io::Error::other)?;
        self.disk.durable().await
    }

    /// The batch with the deletion of the entries of the range.
    fn deleting(
        &self,
        range: &impl RangeBounds<u64>,
        mut batch: Batch,
    ) -> Result<Batch, StoreError> {
        let (from, to) = self.bounds(range);
        let listed = &mut |key: &[u8], _: &[u8]| {
            batch.delete(Space::Control, Bytes::copy_from_slice(key));
            ControlFlow::Continue(())
        };
        let store = &self.disk.store;
        store.scan(Space::Control, &from, Some(&to), listed)?;
        Ok(batch)
    }

    fn delete(&self, range: &impl RangeBounds<u64>, batch: Batch) -> Result<(), StoreError> {
        let batch = self.deleting(range, batch)?;
        self.disk.store.apply(batch)
    }

    fn entry_key(&self, index: u64) -> Vec<u8> {
        let mut record = [ENTRY; 9];
        record[1..].copy_from_slice(&index.to_be_bytes());
        self.key(&record)
    }

    /// The keys of a range of indices: from the first key, up to but not including the second.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (Vec<u8>, Vec<u8>) {
        let key = |index: u64| self.entry_key(index);
        // Index 2^64 - 1 is never reached. Its successor would be the first key after all entries.
        let last = || self.key(&[ENTRY + 1]);
        let after = |index: u64| index.checked_add(1).map_or_else(last, key);
        let from = match range.start_bound() {
            Bound::Included(&index) => key(index),
            Bound::Excluded(&index) => after(index),
            Bound::Unbounded => self.key(&[ENTRY]),
        };
        let to = match range.end_bound() {
            Bound::Included(&index) => after(index),
            Bound::Excluded(&index) => key(index),
            Bound::Unbounded => last(),
        };
        (from, to)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        self.entries(&range).map_err(io::Error::other)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.entries_within(&(start..end), APPEND_BYTES_MAX)
            .map_err(io::Error::other)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.read(VOTE, "a group's vote").map_err(io::Error::other)
    }
}

impl RaftLogStorage<Types> for Log {
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
        self.disk.durable().await
    }

    /// Does not wait for the disk: what follows from a commit is published only once this marker is
    /// durable.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.write(COMMITTED, &committed)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.read(COMMITTED, "a group's commit marker")
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
            let key = self.entry_key(entry.log_id().index);
            let sealed = seal(&key, &entry).map_err(io::Error::other)?;
            batch.put(Space::Control, key, sealed);
        }
        self.disk.store.apply(batch).map_err(io::Error::other)?;
        if LOG_UNSYNCED.is_planted() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        self.disk.commit.commit_durably(Box::new(move |result| {
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
        let (key, record) = self.sealed(PURGED, &upto).map_err(io::Error::other)?;
        batch.put(Space::Control, key, record);
        self.delete(&(..=upto.index), batch)
            .map_err(io::Error::other)
    }
}
