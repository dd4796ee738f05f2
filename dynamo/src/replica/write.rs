//! Writes: events that this replica issues itself.

use quorate_crdt::{CausalContext, Dot, NodeId};

use super::Replica;
use super::delta::Delta;
use super::range::Range;
use super::remains::ROWS_AT_ONCE;
use super::row::{Payload, RowKey};

/// Which of a row's visible entries a put replaces.
#[derive(Clone, Copy, Debug)]
pub enum Replaces<'a> {
    /// All of them.
    All,
    /// The counts that this replica wrote in its present life.
    OwnCount,
    /// All but counts.
    AllButCounts,
    /// The entries that this context has seen.
    Seen(&'a CausalContext),
}

/// Events that become visible together and travel as one delta. A put concerns one row. A wipe puts
/// nothing and drops everything visible in its range. (A single event that did both would lose its
/// drops wherever only its row is passed on.) Unlike the `Write` of `quorate_crdt`'s documents,
/// which is one change at a path, it may concern many rows.
#[derive(Debug)]
pub struct Write<'a> {
    replica: &'a mut Replica,
    touched: Vec<(Range, Vec<Dot>)>,
    last: Option<Dot>,
}

impl Replica {
    /// Starts a write. Its events take effect one by one; [`Write::finish`] returns the delta for
    /// the other replicas.
    pub fn write(&mut self) -> Write<'_> {
        Write {
            replica: self,
            touched: Vec::new(),
            last: None,
        }
    }

    /// Replaces every entry that `node` wrote here with a stamp after `unix_millis` by the same
    /// value with the lowest stamp. The node's clock was wrong, and what it stamped must not win
    /// over what others have written since. Returns the number of entries.
    pub fn withdraw_stamps(&mut self, node: NodeId, unix_millis: u64) -> usize {
        let ahead = |dot: &Dot, payload: &Payload| {
            dot.replica.node == node
                && payload
                    .stamp()
                    .is_some_and(|stamp| stamp.hlc.unix_millis() > unix_millis)
        };
        let mut found = Vec::new();
        for (key, rows) in self.rows.keys() {
            for (kind, field, row) in rows.iter() {
                let name = || RowKey {
                    key: key.clone(),
                    kind,
                    field: field.clone(),
                };
                let entries = row.iter().filter(|(dot, payload)| ahead(dot, payload));
                found.extend(entries.map(|(dot, payload)| (name(), dot, payload.unstamped())));
            }
        }
        let count = found.len();
        for (name, dot, payload) in found {
            let mut seen = CausalContext::new();
            seen.insert(dot);
            self.write().put(name, payload, Replaces::Seen(&seen));
        }
        count
    }

    fn next_dot(&mut self) -> Dot {
        let dot = Dot::new(self.id, self.context.max(self.id) + 1);
        self.context.insert(dot);
        dot
    }
}

impl Write<'_> {
    /// The replica as it is now, including the events of this write.
    pub fn replica(&self) -> &Replica {
        self.replica
    }

    /// Puts a payload into a row and drops the entries that it replaces. Returns whether the row
    /// was live before.
    pub fn put(&mut self, name: RowKey, payload: Payload, replaces: Replaces<'_>) -> bool {
        let own = self.replica.id;
        let dot = self.replica.next_dot();
        let mut dropped = Vec::new();
        let was_live = self.replica.change_row(&name, |row| {
            let was_live = !row.is_empty();
            row.retain(|held_dot, held| {
                let keep = match replaces {
                    Replaces::All => false,
                    Replaces::AllButCounts => held.counts(),
                    Replaces::OwnCount => {
                        held_dot.replica != own || !matches!(held, Payload::Count(_))
                    }
                    Replaces::Seen(context) => !context.contains(held_dot),
                };
                if !keep {
                    dropped.push(held_dot);
                }
                keep
            });
            row.insert(dot, payload);
            was_live
        });
        self.event(dot, Range::Row(name), dropped);
        was_live
    }

    /// Drops everything visible in the range.
    pub fn wipe(&mut self, range: Range) {
        let many = self.replica.wipe_many(&range);
        // With so many dropped dots, not all are listed. The other replicas learn of the rest as of
        // any event that they have missed.
        let mut dropped = if many {
            self.replica.recent.some_within(&range, ROWS_AT_ONCE)
        } else {
            Vec::new()
        };
        for name in self.replica.rows.names_in(&range) {
            self.replica
                .change_row(&name, |row| dropped.extend(row.drain().map(|(dot, _)| dot)));
        }
        let dot = self.replica.next_dot();
        self.event(dot, range, dropped);
    }

    fn event(&mut self, dot: Dot, range: Range, mut settled: Vec<Dot>) {
        // Events that have been forgotten were known to all holders.
        settled.retain(|dot| {
            self.replica.recent.get(dot).is_some() || !self.replica.context.contains(*dot)
        });
        self.replica.remember(dot, range.clone());
        settled.push(dot);
        // A row inside the last range travels with it and needs no part of its own: its live dot
        // settles it.
        match self
            .touched
            .last_mut()
            .filter(|(held, _)| held.clip(&range).as_ref() == Some(&range))
        {
            Some((_, held)) => held.extend(settled),
            None => self.touched.push((range, settled)),
        }
        self.last = Some(dot);
    }

    /// The delta for the other replicas and the last event; `None` if nothing was written.
    pub fn finish(self) -> Option<(Delta, Dot)> {
        let Self {
            replica,
            touched,
            last,
        } = self;
        last.map(|dot| (replica.capture(touched), dot))
    }
}
