//! A wrapper around the node's disk: when it fails for one part of the node, the whole node stops.
//!
//! After a failed write or synchronisation nothing that the node says can be relied on. If only the
//! part that noticed stopped, the node would answer for the other part for ever, and be silent for
//! this one.

use std::sync::Arc;

use bytes::Bytes;
use quorate_control::store::{Batch, Commit, Done, Space, Store, StoreError, StoreStats, Visitor};
use tokio::sync::watch;

use crate::planted::PLANE_FAILS_ALONE;

/// Holds the reason why the node must stop, once there is one.
pub(super) type Failure = watch::Sender<Option<Arc<StoreError>>>;

/// A disk that reports its failures.
pub(super) struct Guarded<T: ?Sized> {
    disk: Arc<T>,
    failure: Failure,
}

impl<T: ?Sized> Guarded<T> {
    pub(super) fn new(disk: Arc<T>, failure: &Failure) -> Arc<Self> {
        Arc::new(Self {
            disk,
            failure: failure.clone(),
        })
    }
}

/// Stops the node because of `error`. If there is a reason already, that one stays.
pub(super) fn report(failure: &Failure, error: &Arc<StoreError>) {
    let first = failure.send_if_modified(|held| {
        let first = held.is_none();
        held.get_or_insert_with(|| Arc::clone(error));
        first
    });
    if first {
        tracing::error!(%error, "the store failed; the node stops");
    }
}

fn reporting(failure: Failure, done: Done) -> Done {
    Box::new(move |result| {
        if let Err(error) = &result
            && !PLANE_FAILS_ALONE.is_planted()
        {
            report(&failure, error);
        }
        done(result);
    })
}

impl Commit for Guarded<dyn Commit> {
    fn commit(&self, done: Done) {
        self.disk.commit(reporting(self.failure.clone(), done));
    }

    fn commit_durably(&self, done: Done) {
        self.disk
            .commit_durably(reporting(self.failure.clone(), done));
    }
}

/// For the control group, whose engine ends after a failed write without saying why.
impl Store for Guarded<dyn Store> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.disk.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        self.disk.scan(space, from, to, visit)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.disk.apply(batch).map_err(|error| {
            let error = Arc::new(error);
            report(&self.failure, &error);
            StoreError::Stopped
        })
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.disk.persist()
    }

    fn stats(&self) -> StoreStats {
        self.disk.stats()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use quorate_control::store::MemoryStore;

    use super::*;

    /// A disk on which everything fails.
    struct Broken;

    impl Commit for Broken {
        fn commit(&self, done: Done) {
            done(Err(Arc::new(StoreError::Full)));
        }

        fn commit_durably(&self, done: Done) {
            self.commit(done);
        }
    }

    impl Store for Broken {
        fn get(&self, _: Space, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
            Ok(None)
        }

        fn scan(
            &self,
            _: Space,
            _: &[u8],
            _: Option<&[u8]>,
            _: &mut Visitor<'_>,
        ) -> Result<(), StoreError> {
            Ok(())
        }

        fn apply(&self, _: Batch) -> Result<(), StoreError> {
            Err(StoreError::Full)
        }

        fn persist(&self) -> Result<(), StoreError> {
            Err(StoreError::Full)
        }

        fn stats(&self) -> StoreStats {
            StoreStats::default()
        }
    }

    /// One way to ask for durability.
    type Asks = fn(&Guarded<dyn Commit>, Done);

    fn failed(failure: &Failure) -> bool {
        failure
            .borrow()
            .as_deref()
            .is_some_and(|error| matches!(error, StoreError::Full))
    }

    #[test]
    fn what_fails_on_the_disk_is_told_to_the_node_and_to_whoever_asked() {
        let asks: [Asks; 2] = [
            |disk, done| disk.commit(done),
            |disk, done| disk.commit_durably(done),
        ];
        for ask in asks {
            let (failure, told) = (Failure::new(None), Arc::new(Mutex::new(None)));
            let telling = Arc::clone(&told);
            let disk = Guarded::new(Arc::new(Broken) as Arc<dyn Commit>, &failure);
            ask(
                &disk,
                Box::new(move |result| {
                    *telling.lock().expect("one thread") = Some(result.is_err());
                }),
            );
            assert_eq!(*told.lock().expect("one thread"), Some(true));
            assert!(failed(&failure));
        }
        let failure = Failure::new(None);
        let disk = Guarded::new(Arc::new(Broken) as Arc<dyn Store>, &failure);
        assert!(disk.get(Space::Meta, b"k").is_ok() && !failed(&failure));
        assert!(disk.apply(Batch::default()).is_err() && failed(&failure));
        let sound = Failure::new(None);
        let disk = Guarded::new(Arc::new(MemoryStore::new()) as Arc<dyn Store>, &sound);
        assert!(disk.apply(Batch::default()).is_ok() && sound.borrow().is_none());
    }
}
