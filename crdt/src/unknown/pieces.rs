//! The fields of a newer version, kept in the pieces in which they came.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::codec::{DecodeError, Reader, Tag, Writer};
use crate::{CausalContext, Changed, Contexts, Dot, Undotted};

/// More pieces of one field than this are too many.
const CROWD: usize = 64;

/// A field: its number and its type.
pub(super) type Field = (u64, Tag);

/// The fields of a newer version of a struct. A replica that does not know a field forwards what
/// others wrote to it, and removes from it what others removed.
///
/// What is alive in a field merges by the rule of [`DotSet`](crate::DotSet). The content stays in
/// the pieces in which it came. A piece with dots is dropped when everything alive in it is also in
/// other pieces, or gone. A piece without dots (counters, last-writer-wins registers, places of
/// characters) says which events it covers completely, and is dropped when another piece covers
/// more.
///
/// **Law:** the live dots merge as a semilattice, so a replica that knows the field reads the same
/// from all replicas that have seen the same events. The pieces depend on how they arrived.
/// Replicas that merge each other's full states end with the same pieces, and so with the same
/// bytes, unless the struct is a value of a map, which does not join values with the same live
/// dots.
///
/// What grows: one piece per write to a field without dots, until a whole state comes; the replica
/// [asks](crate::Crdt::wants_whole) for one when there are many. Otherwise at most one piece per
/// live dot.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Unknown {
    /// By number and type. If two newer versions disagree on what a number means, each gets back
    /// what it wrote.
    pub(super) fields: BTreeMap<Field, Pieces>,
}

impl Unknown {
    /// Whether every field is known.
    pub fn is_bottom(&self) -> bool {
        self.fields.is_empty()
    }

    /// See [`Crdt::join`](crate::Crdt::join).
    pub fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> Changed {
        let mut changed = false;
        let nothing = Pieces::default();
        let ids: BTreeSet<Field> = self
            .fields
            .keys()
            .chain(theirs.fields.keys())
            .cloned()
            .collect();
        for id in ids {
            let theirs = theirs.fields.get(&id).unwrap_or(&nothing);
            changed |= self.fields.entry(id).or_default().join(theirs, contexts);
        }
        self.fields.retain(|_, field| !field.pieces.is_empty());
        Changed(changed)
    }

    /// See [`Crdt::wants_whole`](crate::Crdt::wants_whole).
    pub fn is_crowded(&self) -> bool {
        self.fields.values().any(|field| field.pieces.len() > CROWD)
    }

    /// See [`Crdt::has_dot`](crate::Crdt::has_dot).
    pub fn has_dot(&self, dot: Dot) -> bool {
        self.fields.values().any(|field| field.live.contains(dot))
    }

    /// See [`Crdt::dots`](crate::Crdt::dots).
    pub fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        for (replica, run) in self.fields.values().flat_map(|field| field.live.runs()) {
            run.for_each(|counter| visit(Dot::new(replica, counter)));
        }
    }

    /// See [`Crdt::dot_count`](crate::Crdt::dot_count).
    pub fn dot_count(&self) -> usize {
        self.fields
            .values()
            .map(|field| usize::try_from(field.live.event_count()).unwrap_or(usize::MAX))
            .sum()
    }

    /// See [`Crdt::part`](crate::Crdt::part).
    #[must_use]
    pub fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self {
        let parts = self
            .fields
            .iter()
            .map(|(id, field)| (id.clone(), field.part(dots, undotted)));
        Self {
            fields: parts
                .filter(|(_, field)| !field.pieces.is_empty())
                .collect(),
        }
    }
}

/// What is kept of one field.
///
/// **Invariants:** the pieces ascend. Each live dot is in some piece, and each piece that has dots
/// is the greatest one for some live dot, so there are no pieces with dots once nothing is alive.
#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Pieces {
    pub(super) live: CausalContext,
    pub(super) pieces: Vec<Piece>,
}

/// A field as it was when a replica that knows it wrote it: its dots, all alive at the time, and
/// its bytes. It consists of dots alone, or has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) dots: CausalContext,
    /// For a piece without dots, the events that it covers completely. It may contain more.
    pub(super) of: CausalContext,
    pub(super) bytes: Vec<u8>,
}

impl Piece {
    /// Whether it contains everything that the other piece contains; both have no dots and are
    /// different.
    fn outdates(&self, other: &Self) -> bool {
        self.of != other.of && self.of.covers(&other.of)
    }

    /// Which of its dots are alive. Costs O(log) per run of the piece, whatever is alive.
    fn alive(&self, live: &CausalContext) -> CausalContext {
        self.dots.without(&self.dots.without(live))
    }

    /// Grows with the events of every replica and with the contents of the piece, so a later full
    /// state usually outweighs the pieces that it replaces.
    fn weight(&self) -> (u128, u64) {
        (
            self.dots
                .replicas()
                .map(|replica| u128::from(self.dots.max(replica)))
                .sum(),
            self.dots.event_count(),
        )
    }
}

/// Any fixed total order makes replicas choose the same pieces. Pieces without dots come first.
impl Ord for Piece {
    fn cmp(&self, other: &Self) -> Ordering {
        let runs = |dots: &'_ CausalContext| -> Vec<_> {
            dots.runs()
                .map(|(replica, run)| (replica, run.into_inner()))
                .collect()
        };
        let by_dots = || {
            self.weight()
                .cmp(&other.weight())
                .then_with(|| runs(&self.dots).cmp(&runs(&other.dots)))
        };
        let alike = || {
            self.bytes
                .cmp(&other.bytes)
                .then_with(|| runs(&self.of).cmp(&runs(&other.of)))
        };
        if self.dots == other.dots {
            alike()
        } else {
            by_dots()
        }
    }
}

impl PartialOrd for Piece {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Pieces {
    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> bool {
        let mut live = self.live.intersection(&theirs.live);
        live.union(&self.live.without(contexts.theirs));
        live.union(&theirs.live.without(contexts.mine));
        let mut changed = live != self.live;
        self.live = live;
        let news: Vec<&Piece> = theirs
            .pieces
            .iter()
            .filter(|piece| self.pieces.binary_search(piece).is_err())
            .collect();
        if !changed && news.is_empty() {
            return false;
        }
        self.pieces.extend(news.iter().copied().cloned());
        self.pieces.sort_unstable();
        let (mut needed, _) = needed(&self.pieces, &self.live, Undotted::Kept);
        let bare = self.pieces.partition_point(|piece| piece.dots.is_empty());
        let (bare, needed_bare) = (&self.pieces[..bare], &mut needed[..bare]);
        for (piece, needed) in bare.iter().zip(needed_bare) {
            *needed = !bare.iter().any(|other| other.outdates(piece));
        }
        let mut needed = needed.into_iter();
        self.pieces.retain(|_| needed.next().unwrap_or(false));
        changed |= news
            .iter()
            .any(|piece| self.pieces.binary_search(piece).is_ok());
        changed
    }

    fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self {
        let live = self.live.intersection(dots);
        let (needed, _) = needed(&self.pieces, &live, undotted);
        let pieces = self
            .pieces
            .iter()
            .zip(needed)
            .filter(|(_, needed)| *needed)
            .map(|(piece, _)| piece.clone());
        Self {
            pieces: pieces.collect(),
            live,
        }
    }

    /// Whether a replica that knows the field may have written exactly this, in a value with this
    /// context. If so, the piece has the plain form.
    fn is_plain(&self, context: &CausalContext) -> bool {
        let [only] = self.pieces.as_slice() else {
            return false;
        };
        only.dots == self.live && (!only.dots.is_empty() || only.of == *context)
    }

    pub(super) fn encode(&self, id: u64, tag: &Tag, out: &mut Writer) {
        let context = out.context();
        if self.is_plain(&context) {
            out.number(id * 2);
            out.tag(tag);
            out.dots(&self.live);
            out.bytes(&self.pieces[0].bytes);
        } else {
            out.number(id * 2 + 1);
            out.tag(tag);
            out.scoped(&self.live, |out| {
                out.number(self.pieces.len() as u64);
                for piece in &self.pieces {
                    out.dots(&piece.alive(&self.live));
                    out.value(&piece.dots.without(&self.live));
                    if piece.dots.is_empty() {
                        out.byte(u8::from(piece.of != *context));
                        if piece.of != *context {
                            out.value(&piece.of);
                        }
                    }
                    out.bytes(&piece.bytes);
                }
            });
        }
    }

    /// Reads a field in plain form.
    pub(super) fn decode_plain(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let live = input.dots()?;
        let bytes = input.bytes()?.to_vec();
        let of = if live.is_empty() {
            (*input.context()).clone()
        } else {
            CausalContext::new()
        };
        Ok(Self {
            pieces: alloc::vec![Piece {
                dots: live.clone(),
                of,
                bytes
            }],
            live,
        })
    }

    /// Reads pieces; `live` are the live dots that `input` was made for.
    pub(super) fn decode(
        input: &mut Reader<'_>,
        live: &CausalContext,
    ) -> Result<Self, DecodeError> {
        let mut pieces: Vec<Piece> = Vec::new();
        for _ in 0..input.count()? {
            let mut dots = input.dots()?;
            let ended: CausalContext = input.value()?;
            if ended.without(live) != ended {
                return Err(DecodeError::Invalid("a dot that is alive and is not"));
            }
            dots.union(&ended);
            let of = match dots.is_empty().then(|| input.byte()).transpose()? {
                None => CausalContext::new(),
                Some(0) => (*input.context()).clone(),
                Some(1) => input.value()?,
                Some(_) => return Err(DecodeError::NotCanonical),
            };
            let piece = Piece {
                dots,
                of,
                bytes: input.bytes()?.to_vec(),
            };
            if pieces.last().is_some_and(|before| *before >= piece) {
                return Err(DecodeError::Invalid("pieces that do not ascend"));
            }
            pieces.push(piece);
        }
        let field = Self {
            live: live.clone(),
            pieces,
        };
        let (needed, complete) = needed(&field.pieces, live, Undotted::Kept);
        let bare = &field.pieces[..field.pieces.partition_point(|piece| piece.dots.is_empty())];
        if bare
            .iter()
            .any(|piece| bare.iter().any(|other| other.outdates(piece)))
        {
            return Err(DecodeError::Invalid("a piece that another one outdates"));
        }
        if field.pieces.is_empty()
            || field.is_plain(&input.context())
            || needed.contains(&false)
            || !complete
        {
            return Err(DecodeError::Invalid("pieces that are too few or too many"));
        }
        Ok(field)
    }
}

/// Which of the ascending `pieces` must be kept for what is `live`: from the greatest down, those
/// that hold something that no greater one holds, and those without dots, if these are kept at all.
/// The second result is whether the pieces hold everything that is live. O(log) per run and live
/// dot of a piece, so forged pieces cost no more than their bytes.
fn needed(pieces: &[Piece], live: &CausalContext, undotted: Undotted<'_>) -> (Vec<bool>, bool) {
    let dots: Vec<Dot> = live.missing(&CausalContext::new()).collect();
    let mut held = alloc::vec![false; dots.len()];
    let of = |piece: &Piece| match undotted {
        Undotted::Kept | Undotted::Within(_) => true,
        Undotted::Dropped | Undotted::Beyond(_) => false,
        Undotted::Since(seen) => !seen.covers(&piece.of),
    };
    let mut needed: Vec<bool> = pieces.iter().map(of).collect();
    for (piece, needed) in pieces
        .iter()
        .zip(&mut needed)
        .rev()
        .filter(|(piece, _)| !piece.dots.is_empty())
    {
        *needed = false;
        for (replica, run) in piece.alive(live).runs() {
            let first = dots.partition_point(|dot| *dot < Dot::new(replica, *run.start()));
            for held in &mut held[first..][..(run.end() - run.start() + 1) as usize] {
                *needed |= !*held;
                *held = true;
            }
        }
    }
    (needed, !held.contains(&false))
}
