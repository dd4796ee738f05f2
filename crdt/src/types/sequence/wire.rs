//! The sequence as bytes: the runs of the skeleton by dot, then the content of the live elements by
//! dot.
//!
//! A run is `(length - 1) << 4 | flags`, followed by what the flags announce: the gap to the run
//! before, the parent (relative to the run if it belongs to the same replica), and the right origin
//! unless it is the expected one. Two things are not written: which elements are alive, because the
//! set of live dots says it, and the order, because it follows from the rest.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::content::Content;
use super::piece::{Changed, EDGE, Id, PIECE, Piece};
use super::skeleton::{Origin, Run, Side, Span};
use super::state::Sequence;
use crate::codec::{DecodeError, Reader, Writer};
use crate::{Dot, ReplicaId};

const GAP: u64 = 1;
const LEFT: u64 = 2;
const FOREIGN: u64 = 4;
const RIGHT: u64 = 8;

/// An honest sender has no counters from here on.
const COUNTERS: u64 = 1 << 63;

/// A run in which dots name everything, so it reads the same at every replica.
type RunDots = (Dot, u64, Option<Dot>, Side, Option<Dot>);

impl<C: Content> Sequence<C> {
    /// The runs of all elements, including pending ones, ascending by dot and as long as possible.
    pub(super) fn skeleton(&self) -> Vec<(u32, Run)> {
        let mut all: Vec<(u32, Run)> = Vec::new();
        for replica in self.peers.all() {
            let start = all.len();
            all.extend(self.peers.runs(replica).iter().map(|run| (replica, *run)));
            let first = Id {
                replica,
                counter: 0,
            };
            let pending = self.pending.range(
                first..=Id {
                    counter: u64::MAX,
                    ..first
                },
            );
            all.extend(pending.map(|(id, span)| {
                (
                    replica,
                    Run {
                        first: id.counter,
                        len: u64::from(span.piece.len),
                        origin: span.origin,
                    },
                )
            }));
            all[start..].sort_by_key(|(_, run)| run.first);
        }
        all.dedup_by(|(replica, next), (of, before)| {
            let continues = replica == of && before.continues(*of, next);
            if continues {
                before.len += next.len;
            }
            continues
        });
        all
    }

    pub(super) fn run_dots(&self, replica: u32, run: &Run) -> RunDots {
        let dot = |id: Id| (id != EDGE).then(|| self.peers.dot(id));
        let Origin {
            parent,
            side,
            right,
        } = run.origin;
        (
            Dot::new(self.peers.replica(replica), run.first),
            run.len,
            dot(parent),
            side,
            dot(right),
        )
    }

    pub(super) fn live_content_is(&self, other: &Self) -> bool {
        self.live() == other.live()
    }

    /// The live elements as runs, and their content, both by dot.
    fn live(&self) -> (Vec<(Dot, u64)>, C) {
        let (mut runs, mut content): (Vec<(Dot, u64)>, C) = Default::default();
        for replica in self.peers.all() {
            for piece in self
                .pieces_of(replica, 0, u64::MAX)
                .filter(|piece| piece.alive)
            {
                content.push(self.slice_of(piece));
                let (first, len) = (self.peers.dot(piece.id()), u64::from(piece.len));
                match runs.last_mut() {
                    Some(last)
                        if last.0.replica == first.replica
                            && last.0.counter + last.1 == first.counter =>
                    {
                        last.1 += len;
                    }
                    _ => runs.push((first, len)),
                }
            }
        }
        (runs, content)
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        let runs = self.skeleton();
        let origins = runs
            .iter()
            .flat_map(|(_, run)| [run.origin.parent.replica, run.origin.right.replica]);
        let named: BTreeSet<u32> = runs
            .iter()
            .map(|(replica, _)| *replica)
            .chain(origins)
            .filter(|&replica| replica != EDGE.replica)
            .collect();
        let table: Vec<u32> = self
            .peers
            .all()
            .filter(|replica| named.contains(replica))
            .collect();
        let mut rank = alloc::vec![0_u64; self.peers.all().count()];
        out.number(table.len() as u64);
        for (at, &replica) in table.iter().enumerate() {
            out.value(&self.peers.replica(replica));
            rank[replica as usize] = at as u64;
        }
        let mut rest = runs.as_slice();
        for &replica in &table {
            let (own, others) = rest.split_at(
                rest.partition_point(|(of, _)| rank[*of as usize] <= rank[replica as usize]),
            );
            rest = others;
            out.number(own.len() as u64);
            let mut end = 1;
            for (at, (_, run)) in own.iter().enumerate() {
                write_run(
                    out,
                    &rank,
                    Id {
                        replica,
                        counter: end,
                    },
                    run,
                    |parent| right_of(&own[..at], parent, |(_, run)| *run),
                );
                end = run.first + run.len;
            }
        }
        self.live().1.write(out);
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut sequence = Self::default();
        let replicas = input.count()?;
        let mut before: Option<ReplicaId> = None;
        for _ in 0..replicas {
            let replica: ReplicaId = input.value()?;
            if before.is_some_and(|before| before >= replica) {
                return Err(DecodeError::Invalid("replicas that do not ascend"));
            }
            sequence.peers.intern(Dot::new(replica, 0));
            before = Some(replica);
        }
        let mut named = alloc::vec![false; replicas];
        let mut runs: Vec<(u32, Run)> = Vec::new();
        for replica in 0..replicas as u32 {
            let start = runs.len();
            for _ in 0..input.count()? {
                let run = read_run(input, replica, &runs[start..], &mut named)?;
                runs.push((replica, run));
            }
        }
        if named.contains(&false) {
            return Err(DecodeError::Invalid("a replica that is not needed"));
        }
        sequence.fill(input, &runs)?;
        Ok(sequence)
    }

    /// Adds the runs with the content that follows; the live dots say which are alive.
    fn fill(&mut self, input: &mut Reader<'_>, runs: &[(u32, Run)]) -> Result<(), DecodeError> {
        let live = input.live_runs()?;
        let mut live = live
            .runs()
            .map(|(replica, run)| (replica, *run.start(), *run.end()))
            .peekable();
        let mut pieces: Vec<(u32, Run, bool)> = Vec::new();
        let mut alive_count = 0;
        for &(replica, run) in runs {
            let id = self.peers.replica(replica);
            let (mut at, end) = (run.first, run.first + run.len);
            while at < end {
                while live
                    .next_if(|&(of, _, last)| of == id && last < at)
                    .is_some()
                {}
                let (alive, until) = match live.peek() {
                    Some(&(of, first, last)) if of == id && first <= at => {
                        (true, end.min(last + 1))
                    }
                    Some(&(of, first, _)) if of == id => (false, end.min(first)),
                    _ => (false, end),
                };
                let part = Run {
                    first: at,
                    len: until - at,
                    origin: run.origin_of(replica, at),
                };
                let count = if alive {
                    usize::try_from(part.len).unwrap_or(usize::MAX)
                } else {
                    0
                };
                alive_count += count;
                // Each piece takes memory, whatever it holds; live elements also take their
                // content.
                input.take_elements(part.len.div_ceil(PIECE as u64))?;
                pieces.push((replica, part, alive));
                at = until;
            }
            // If live dots are left over at the end, no run covered them, and the check below
            // fails.
            while live
                .next_if(|&(of, _, last)| of == id && last < end)
                .is_some()
            {}
        }
        self.content = C::read(input, alive_count)?;
        let mut content_at = 0;
        for (replica, run, alive) in pieces {
            content_at = self.add_run(replica, &run, alive, content_at);
        }
        Ok(())
    }

    /// Adds a run whose content, if it is alive, starts at `at`; returns where the next content
    /// starts.
    fn add_run(&mut self, replica: u32, run: &Run, alive: bool, mut at: usize) -> usize {
        let end = run.first + run.len;
        let mut counter = run.first;
        while counter < end {
            let count = (end - counter).min(PIECE as u64);
            let mut piece = Piece::dead(Id { replica, counter }, count as usize);
            if alive {
                let size = C::offset(self.content.slice(at..self.content.size()), count as usize);
                (piece.at, piece.size, piece.alive) = (at, size as u32, true);
                at += size;
            }
            self.add_piece(
                Span {
                    piece,
                    origin: run.origin_of(replica, counter),
                },
                &mut Changed::new(),
            );
            counter += count;
        }
        at
    }
}

impl Run {
    /// The origin of the element with this counter, which is in the run.
    fn origin_of(&self, replica: u32, counter: u64) -> Origin {
        if counter == self.first {
            self.origin
        } else {
            self.origin.next_of(Id {
                replica,
                counter: counter - 1,
            })
        }
    }

    fn continues(&self, replica: u32, next: &Self) -> bool {
        let end = self.first + self.len;
        end == next.first
            && next.origin
                == self.origin.next_of(Id {
                    replica,
                    counter: end - 1,
                })
    }
}

/// The expected right origin of a right child of `parent`: that of the parent, if it is among these
/// runs.
fn right_of<T>(runs: &[T], parent: Id, run: impl Fn(&T) -> Run) -> Id {
    let at = runs.partition_point(|other| run(other).first <= parent.counter);
    let found = at
        .checked_sub(1)
        .map(|at| run(&runs[at]))
        .filter(|run| parent.counter - run.first < run.len);
    found.map_or(EDGE, |run| run.origin.right)
}

/// Writes a run of the replica of `end`, where the previous run ended.
fn write_run(out: &mut Writer, rank: &[u64], end: Id, run: &Run, right_of: impl Fn(Id) -> Id) {
    let Origin {
        parent,
        side,
        right,
    } = run.origin;
    let own = parent == EDGE || parent.replica == end.replica;
    let expected = if own { right_of(parent) } else { EDGE };
    let explicit = side == Side::Right && right != expected;
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    let flags = flag(run.first != end.counter, GAP)
        | flag(side == Side::Left, LEFT)
        | flag(!own, FOREIGN)
        | flag(explicit, RIGHT);
    out.number((run.len - 1) << 4 | flags);
    if flags & GAP != 0 {
        out.number(run.first - end.counter - 1);
    }
    if !own {
        out.number(rank[parent.replica as usize]);
        out.number(parent.counter);
    } else if parent == EDGE {
        out.number(0);
    } else {
        out.number(run.first - parent.counter);
    }
    if explicit {
        if right == EDGE {
            out.number(0);
        } else {
            out.number(rank[right.replica as usize] + 1);
            out.number(right.counter);
        }
    }
}

fn read_run(
    input: &mut Reader<'_>,
    replica: u32,
    before: &[(u32, Run)],
    named: &mut [bool],
) -> Result<Run, DecodeError> {
    const BROKEN: DecodeError = DecodeError::Invalid("a run of elements that no history has");
    let head = input.number()?;
    let end = before.last().map_or(1, |(_, run)| run.first + run.len);
    let gap = if head & GAP == 0 {
        0
    } else {
        input.number()?.checked_add(1).ok_or(BROKEN)?
    };
    let first = end.checked_add(gap).ok_or(BROKEN)?;
    let len = (head >> 4) + 1;
    first
        .checked_add(len)
        .filter(|&end| end <= COUNTERS)
        .ok_or(BROKEN)?;
    named[replica as usize] = true;
    let side = if head & LEFT == 0 {
        Side::Right
    } else {
        Side::Left
    };
    let parent = if head & FOREIGN != 0 {
        let of = input.number()?;
        read_id(input, of, named)?
    } else {
        match input.number()? {
            0 => EDGE,
            distance => Id {
                replica,
                counter: first
                    .checked_sub(distance)
                    .filter(|&counter| counter > 0)
                    .ok_or(BROKEN)?,
            },
        }
    };
    if (head & FOREIGN != 0 && parent.replica == replica)
        || (side == Side::Left && (parent == EDGE || head & RIGHT != 0))
    {
        return Err(BROKEN);
    }
    let expected = if head & FOREIGN == 0 {
        right_of(before, parent, |(_, run)| *run)
    } else {
        EDGE
    };
    let right = match (side, head & RIGHT != 0) {
        (Side::Left, _) => parent,
        (Side::Right, false) => expected,
        (Side::Right, true) => match input.number()? {
            0 => EDGE,
            of => read_id(input, of - 1, named)?,
        },
    };
    let run = Run {
        first,
        len,
        origin: Origin {
            parent,
            side,
            right,
        },
    };
    let longer = before
        .last()
        .is_some_and(|(_, before)| before.continues(replica, &run));
    if longer || (head & RIGHT != 0 && right == expected) {
        Err(BROKEN)
    } else {
        Ok(run)
    }
}

fn read_id(input: &mut Reader<'_>, of: u64, named: &mut [bool]) -> Result<Id, DecodeError> {
    let counter = input.number()?;
    let known = usize::try_from(of).ok().and_then(|of| named.get_mut(of));
    let (Some(known), 1..COUNTERS) = (known, counter) else {
        return Err(DecodeError::Invalid("an element that no history has"));
    };
    *known = true;
    Ok(Id {
        replica: of as u32,
        counter,
    })
}
