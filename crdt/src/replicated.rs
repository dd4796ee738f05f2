//! A replica of a value: who writes is bound once, and every change is a transaction that yields
//! one delta.

use core::fmt;
use core::ops::Deref;
use core::time::Duration;

use smallvec::SmallVec;

use crate::causal::{Causal, CausalContext, Delta, Place};
use crate::sync::{Stable, Standing, Summary};
use crate::{Crdt, Dot, Hlc, Now, Refused, ReplicaId, Schema, Stamp, bugs};

/// One replica of a `T`: any type here, or a struct with [`#[derive(Crdt)]`](macro@crate::Crdt).
///
/// ```
/// use quorate_crdt::{NodeId, OrSet, ReplicaId, Replicated};
///
/// let mut amy = Replicated::<OrSet<String>>::new(ReplicaId::new(NodeId(1), 0));
/// let mut ben = Replicated::<OrSet<String>>::new(ReplicaId::new(NodeId(2), 0));
/// let delta = amy.update(|set, tx| set.add(tx, "bread".to_owned()));
/// assert_eq!(ben.merge(&delta)?.added, ["bread"]);
/// assert!(ben.contains("bread"));
/// # Ok::<(), quorate_crdt::Refused>(())
/// ```
///
/// Reads go through [`Deref`] to the value. A replica that has lost events it has sent (a lost
/// disk, a restored backup) must go on under the next incarnation: [`resume`](Self::resume).
///
/// A clone is the same replica a second time. It may be read, compared and thrown away; before it
/// writes, take its [state](Self::into_state) and [`resume`](Self::resume) it under an id of its
/// own. If that is forgotten, [`merge`](Self::merge) notices it as soon as one of the two hears
/// what the other has written, and [`compare`](Self::compare) wherever their writes have met.
pub struct Replicated<T: Schema> {
    replica: ReplicaId,
    state: Causal<T::State>,
    /// The last stamp given here. Stamps that were merged are exceeded when they are overwritten.
    last_stamp: Hlc,
}

/// The last event that a replica may have issued when it resumes. What it issues from then on, in
/// any run of a program, decodes: that ends at 2^63.
const LAST_RESUMED: u64 = 1 << 62;

impl<T: Schema> Replicated<T> {
    /// A replica that has seen nothing. No other writer may ever use the same id.
    pub fn new(replica: ReplicaId) -> Self {
        Self {
            replica,
            state: Causal::new(),
            last_stamp: Hlc::default(),
        }
    }

    /// A replica that goes on with a value from a disk or from another replica. `replica` must be
    /// either the id under which this very state was saved last, or one that was never used.
    ///
    /// # Errors
    /// The state names events of this id that it has not seen, or leaves it none to issue: take
    /// another id.
    pub fn resume(replica: ReplicaId, state: Causal<T::State>) -> Result<Self, Refused> {
        let (issued, claimed) = (state.context.max(replica), state.value.named(replica));
        if claimed > issued {
            return Err(Refused::Unissued {
                replica,
                claimed,
                issued,
            });
        }
        if issued > LAST_RESUMED {
            return Err(Refused::Exhausted { replica });
        }
        Ok(Self {
            replica,
            state,
            last_stamp: Hlc::default(),
        })
    }

    /// Who writes here.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// The whole state: to save, to send to a new replica, to compare. As good as every delta so
    /// far in one.
    pub fn state(&self) -> &Causal<T::State> {
        &self.state
    }

    /// Takes the replica apart: what [`resume`](Self::resume) goes on with.
    pub fn into_state(self) -> Causal<T::State> {
        self.state
    }

    /// Changes the value and returns what to send to the others. Ignore it if full states or
    /// [`delta_since`](Self::delta_since) are exchanged instead.
    ///
    /// Last-writer-wins stamps count from what they overwrite: between concurrent writes the one
    /// with the longer history wins. With a wall clock, use [`update_at`](Self::update_at).
    pub fn update(
        &mut self,
        change: impl FnOnce(&mut <T::State as Crdt>::Edit<'_>, &mut Tx<'_>),
    ) -> Delta<T::State> {
        self.update_at(Now::default(), change)
    }

    /// Changes the value, stamping last-writer-wins writes with the wall clock, unless what they
    /// overwrite has a later stamp.
    ///
    /// Should `change` panic, throw the replica away or resume it from the last saved state under a
    /// new incarnation: part of the change has been made, and its delta is lost.
    pub fn update_at(
        &mut self,
        now: Now,
        change: impl FnOnce(&mut <T::State as Crdt>::Edit<'_>, &mut Tx<'_>),
    ) -> Delta<T::State> {
        let mut delta = Delta::<T::State>::default();
        let mut tx = Tx::begin(
            self.replica,
            &mut self.state.context,
            &mut self.last_stamp,
            now,
        );
        change(
            &mut T::State::edit(&mut self.state.value, &mut delta.value),
            &mut tx,
        );
        if delta.value.has_undotted() && !bugs::SILENT_CHANGE.is_planted() {
            // Every change is an event, so that whoever has seen the same events holds the same. It
            // is never alive, so nobody takes it for seen because what it made has ended.
            tx.issue();
        }
        tx.cover(&mut delta.context);
        delta
    }

    /// Merges a delta or a state of another replica and says what readers see differently.
    ///
    /// # Errors
    /// It tells of this replica what it has not written, so its id is in use elsewhere or was
    /// before a loss of memory.
    pub fn merge(
        &mut self,
        delta: &Delta<T::State>,
    ) -> Result<<T::State as Crdt>::Effects, Refused> {
        let replica = self.replica;
        let (claimed, issued) = (
            delta.context.max(replica).max(delta.value.named(replica)),
            self.state.context.max(replica),
        );
        if claimed > issued {
            return Err(Refused::Unissued {
                replica,
                claimed,
                issued,
            });
        }
        let tells_of_me = claimed > 0 || delta.value.has_undotted();
        if tells_of_me
            && self.state.value.contradicts(&delta.value, replica)
            && !bugs::UNNOTICED_CLONE.is_planted()
        {
            return Err(Refused::Reused { replica });
        }
        Ok(self.state.merge(delta))
    }

    /// [`merge`](Self::merge), unless a stamp is more than `bound` ahead of the wall clock: for
    /// data whose writers have wall clocks ([`update_at`](Self::update_at)). One wrong clock then
    /// cannot make its values win until their time has come.
    ///
    /// # Errors
    /// Those of [`merge`](Self::merge), and a stamp from the future.
    pub fn merge_at(
        &mut self,
        now: Now,
        bound: Duration,
        delta: &Delta<T::State>,
    ) -> Result<<T::State as Crdt>::Effects, Refused> {
        let mut latest: Option<Stamp> = None;
        delta
            .value
            .stamps(&mut |stamp| latest = latest.max(Some(stamp)));
        if let Some(stamp) = latest {
            let ahead =
                Duration::from_millis(stamp.hlc.unix_millis().saturating_sub(now.unix_millis));
            if ahead > bound && !bugs::ANY_STAMP.is_planted() {
                return Err(Refused::FromTheFuture {
                    stamp,
                    ahead,
                    bound,
                });
            }
        }
        self.merge(delta)
    }

    /// What this replica knows, briefly: what another one needs for
    /// [`delta_since`](Self::delta_since).
    pub fn summary(&self) -> Summary {
        self.state.summary()
    }

    /// The [`summary`](Self::summary) with the live dots of those ranges in which `theirs` differs:
    /// the answer to a summary, after which [`delta_since`](Self::delta_since) there is exact.
    pub fn summary_against(&self, theirs: &Summary) -> Summary {
        self.state.summary_against(theirs)
    }

    /// What whoever sent the summary lacks: what was added since, and what was removed. Needs no
    /// log: what is alive here and what has been seen here say all.
    pub fn delta_since(&self, theirs: &Summary) -> Delta<T::State> {
        self.state.delta_since(theirs)
    }

    /// Which events are [`Stable`], going by the [`summary`](Self::summary) of every other replica:
    /// those that all have seen, if each holds of what it has seen just what is alive here, and
    /// this one has seen all that they have. None otherwise; try again after the next exchange. A
    /// replica that joins later must start from a state that covers them.
    pub fn stable(&self, others: &[Summary]) -> Stable {
        self.state.stable(others)
    }

    /// Whether whoever sent the summary can hold something else than this replica although both
    /// have seen the same events: then an id is in use twice, or a disk has lied.
    pub fn compare(&self, theirs: &Summary) -> Standing {
        self.state.compare(theirs)
    }

    /// Changes what is not replicated: fields marked `#[crdt(skip)]`. Others can only be read,
    /// because every change of them takes a transaction.
    pub fn local_mut<R>(
        &mut self,
        change: impl FnOnce(&mut <T::State as Crdt>::Edit<'_>) -> R,
    ) -> R {
        change(&mut T::State::edit(
            &mut self.state.value,
            &mut T::State::default(),
        ))
    }
}

/// The same replica a second time: see [`Replicated`] for what it must not do.
impl<T: Schema> Clone for Replicated<T> {
    fn clone(&self) -> Self {
        Self {
            replica: self.replica,
            state: self.state.clone(),
            last_stamp: self.last_stamp,
        }
    }
}

impl<T: Schema<State: fmt::Debug>> fmt::Debug for Replicated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicated")
            .field("replica", &self.replica)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<T: Schema> Deref for Replicated<T> {
    type Target = T::State;

    fn deref(&self) -> &T::State {
        &self.state.value
    }
}

/// Two replicas are equal if they hold the same, whoever writes there.
impl<T: Schema> PartialEq for Replicated<T> {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

/// A change in progress: issues its dots and stamps, and notes what it overwrites. For users a
/// token that mutators take; implementors of mutators find the rest here.
#[derive(Debug)]
pub struct Tx<'a> {
    replica: ReplicaId,
    context: &'a mut CausalContext,
    /// Where the replica stands in the context.
    place: Place,
    last_stamp: &'a mut Hlc,
    now: Now,
    /// The first counter that this transaction may issue.
    first: u64,
    /// The last that it has issued: the context learns of them all at its end.
    last: u64,
    ended: SmallVec<[Dot; 4]>,
}

/// A point within a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    issued: u64,
    ended: usize,
}

impl<'a> Tx<'a> {
    #[inline]
    fn begin(
        replica: ReplicaId,
        context: &'a mut CausalContext,
        last_stamp: &'a mut Hlc,
        now: Now,
    ) -> Self {
        let place = context.place(replica);
        let last = context.max_at(place);
        Self {
            replica,
            place,
            context,
            last_stamp,
            now,
            first: last + 1,
            last,
            ended: SmallVec::new(),
        }
    }

    /// Who writes.
    #[inline]
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Issues the next event.
    #[inline]
    pub fn issue(&mut self) -> Dot {
        self.issue_run(1)
    }

    /// Issues so many events in a row, at least one, and returns the first.
    #[inline]
    pub fn issue_run(&mut self, count: u64) -> Dot {
        let first = self.last + 1;
        self.last = self
            .last
            .checked_add(count)
            .expect("invariant: contexts are decoded with counters below 2^63");
        Dot::new(self.replica, first)
    }

    /// Says that the change overwrites or removes the event.
    #[inline]
    pub fn end(&mut self, dot: Dot) {
        self.ended.push(dot);
    }

    /// A stamp above all that were given here, above `overwritten`, and at or above the time of the
    /// transaction.
    pub fn stamp_after(&mut self, overwritten: Option<Stamp>) -> Stamp {
        let wall = Hlc::from_parts(self.now.unix_millis, 0).unwrap_or_default();
        let known = overwritten.map_or(*self.last_stamp, |stamp| stamp.hlc.max(*self.last_stamp));
        *self.last_stamp = if wall > known { wall } else { known.next() };
        Stamp {
            hlc: *self.last_stamp,
            replica: self.replica,
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            issued: self.last,
            ended: self.ended.len(),
        }
    }

    pub(crate) fn ended_since(&self, mark: Mark) -> &[Dot] {
        &self.ended[mark.ended..]
    }

    pub(crate) fn issued_since(&self, mark: Mark) -> impl Iterator<Item = Dot> {
        let replica = self.replica;
        (mark.issued + 1..=self.last).map(move |counter| Dot::new(replica, counter))
    }

    /// Ends the transaction: what it issued has been seen here, and its delta covers that and what
    /// it ended.
    #[inline]
    fn cover(&mut self, covered: &mut CausalContext) {
        if self.last >= self.first {
            self.context
                .insert_run_at(self.place, self.replica, self.first, self.last);
            covered.insert_run(self.replica, self.first, self.last);
        }
        // Ascending, each goes to the end of what is there.
        self.ended.sort_unstable();
        for dot in &self.ended {
            covered.insert(*dot);
        }
    }
}
