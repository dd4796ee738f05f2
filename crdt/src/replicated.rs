//! A replica of a value: it knows who writes, and each change is a transaction with one delta.

use core::fmt;
use core::ops::Deref;
use core::time::Duration;

use smallvec::SmallVec;

use crate::causal::{Causal, CausalContext, Delta, Place};
use crate::sync::{Stable, Standing, Summary};
use crate::{Crdt, Dot, Hlc, Now, Refused, ReplicaId, Schema, Stamp, bugs};

/// One replica of a `T`: any type of this crate, or a struct with
/// [`#[derive(Crdt)]`](macro@crate::Crdt).
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
/// disk, a restored backup) must continue under the next incarnation: see [`resume`](Self::resume).
///
/// A clone is the same replica a second time. You may read it, compare it and drop it. Before it
/// writes, take its [state](Self::into_state) and [`resume`](Self::resume) it under an id of its
/// own. If you forget, [`merge`](Self::merge) notices as soon as one of the two hears what the
/// other has written, and [`compare`](Self::compare) notices wherever both have been merged.
pub struct Replicated<T: Schema> {
    replica: ReplicaId,
    state: Causal<T::State>,
    /// The last stamp given here. Merged stamps are not in it; a write exceeds those that it
    /// overwrites.
    last_stamp: Hlc,
}

/// The last event that a replica may have issued when it resumes. Encoded counters end at 2^63, so
/// everything it issues from then on decodes, in any run of a program.
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

    /// A replica that continues with a saved state, or with the state of another replica. `replica`
    /// must be the id under which this very state was last saved, or an id that was never used.
    ///
    /// # Errors
    /// The state names events of this id that it has not seen, or leaves the id no events to issue.
    /// Take another id.
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

    /// The id under which this replica writes.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// The whole state, to save, to send to a new replica, to compare. Merging it equals merging
    /// every delta so far.
    pub fn state(&self) -> &Causal<T::State> {
        &self.state
    }

    /// Takes the replica apart, for [`resume`](Self::resume).
    pub fn into_state(self) -> Causal<T::State> {
        self.state
    }

    /// Changes the value and returns the delta to send to the others. Ignore the delta if you
    /// exchange full states or [`delta_since`](Self::delta_since) instead.
    ///
    /// Without a wall clock, a last-writer-wins stamp counts on from what it overwrites, so of two
    /// concurrent writes the one with the longer history wins. To use a wall clock, call
    /// [`update_at`](Self::update_at).
    pub fn update(
        &mut self,
        change: impl FnOnce(&mut <T::State as Crdt>::Edit<'_>, &mut Tx<'_>),
    ) -> Delta<T::State> {
        self.update_at(Now::default(), change)
    }

    /// Changes the value and stamps last-writer-wins writes with the wall clock, or with a later
    /// stamp if they overwrite one.
    ///
    /// If `change` panics, part of the change has been made and its delta is lost. Drop the
    /// replica, or resume it from the last saved state under a new incarnation.
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
            // Every change is an event, so that replicas that have seen the same events hold the
            // same value. This event itself is never alive, so the end of what the change made does
            // not make anyone count it as seen.
            tx.issue();
        }
        tx.cover(&mut delta.context);
        delta
    }

    /// Merges a delta or a state of another replica and returns what readers see differently.
    ///
    /// # Errors
    /// It contains writes of this replica that this replica did not make: its id is in use
    /// elsewhere, or was before this replica lost its memory. Nothing has changed.
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

    /// Like [`merge`](Self::merge), but refuses a stamp that is more than `bound` ahead of the wall
    /// clock. Use it where writers have wall clocks ([`update_at`](Self::update_at)): a wrong clock
    /// then cannot make its values win until their time has come.
    ///
    /// # Errors
    /// As for [`merge`](Self::merge), or a stamp is from the future. Nothing has changed.
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

    /// A short description of what this replica knows, from which another one computes
    /// [`delta_since`](Self::delta_since).
    pub fn summary(&self) -> Summary {
        self.state.summary()
    }

    /// The [`summary`](Self::summary), with the live dots of those ranges in which `theirs`
    /// differs. It is the answer to a summary: with it, the asker computes an exact
    /// [`delta_since`](Self::delta_since).
    pub fn summary_against(&self, theirs: &Summary) -> Summary {
        self.state.summary_against(theirs)
    }

    /// What the sender of the summary lacks: everything added since, and everything removed. Needs
    /// no log: it follows from what is alive here and what has been seen here.
    pub fn delta_since(&self, theirs: &Summary) -> Delta<T::State> {
        self.state.delta_since(theirs)
    }

    /// The events that are [`Stable`], given the [`summary`](Self::summary) of every other replica:
    /// those that all replicas have seen, provided that each has alive exactly what is alive here
    /// and that this replica has seen everything they have. Otherwise there are none; try again
    /// after the next exchange. A replica that joins later must start from a state that covers
    /// these events.
    pub fn stable(&self, others: &[Summary]) -> Stable {
        self.state.stable(others)
    }

    /// How this replica relates to the sender of the summary. It can tell that both have seen the
    /// same events and hold different values, which means that an id is used twice or a disk has
    /// lied.
    pub fn compare(&self, theirs: &Summary) -> Standing {
        self.state.compare(theirs)
    }

    /// Changes what is not replicated: fields marked `#[crdt(skip)]`. Other fields are read-only
    /// here, because changing them takes a transaction.
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

/// Two replicas are equal if they hold the same value under the same context, whoever writes there.
impl<T: Schema> PartialEq for Replicated<T> {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

/// A change in progress. It issues the dots and stamps of the change and records what it
/// overwrites. Users only pass it to mutators; the methods are for those who implement mutators.
#[derive(Debug)]
pub struct Tx<'a> {
    replica: ReplicaId,
    context: &'a mut CausalContext,
    /// The place of the replica in the context.
    place: Place,
    last_stamp: &'a mut Hlc,
    now: Now,
    /// The first counter that this transaction may issue.
    first: u64,
    /// The last counter issued. The context learns of all of them when the transaction ends.
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

    /// The replica that writes.
    #[inline]
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Issues the next event.
    #[inline]
    pub fn issue(&mut self) -> Dot {
        self.issue_run(1)
    }

    /// Issues `count` consecutive events, at least one, and returns the first.
    #[inline]
    pub fn issue_run(&mut self, count: u64) -> Dot {
        let first = self.last + 1;
        self.last = self
            .last
            .checked_add(count)
            .expect("invariant: contexts are decoded with counters below 2^63");
        Dot::new(self.replica, first)
    }

    /// Records that the change overwrites or removes the event.
    #[inline]
    pub fn end(&mut self, dot: Dot) {
        self.ended.push(dot);
    }

    /// A stamp above all that were given here, above `overwritten`, and not before the time of the
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

    /// Ends the transaction: this replica has seen what it issued, and its delta covers that and
    /// what it ended.
    #[inline]
    fn cover(&mut self, covered: &mut CausalContext) {
        if self.last >= self.first {
            self.context
                .insert_run_at(self.place, self.replica, self.first, self.last);
            covered.insert_run(self.replica, self.first, self.last);
        }
        // In ascending order, each dot is appended at the end.
        self.ended.sort_unstable();
        for dot in &self.ended {
            covered.insert(*dot);
        }
    }
}
