//! One change of a document: addressed by its hash, and parsed only as far as a replica that just
//! stores it needs.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest, Sha256};

use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::{CausalContext, ReplicaId};

/// The first bytes of a chunk in automerge's format; the checksum follows.
const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// The kind of chunk that holds one uncompressed change.
const CHANGE: u8 = 1;
/// The column that has one value per operation.
const ACTIONS: u64 = 4 << 4 | 2;

/// The name of a change: the SHA-256 hash of its content. Ascending order breaks ties between
/// changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeHash(pub [u8; 32]);

impl fmt::Debug for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The author of changes, as automerge writes it.
///
/// **Invariant:** one replica is one actor, so a restart of the program adds no actor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Actor(pub(super) [u8; 16]);

impl From<ReplicaId> for Actor {
    fn from(replica: ReplicaId) -> Self {
        let mut actor = [0; 16];
        actor[..8].copy_from_slice(&replica.node.0.to_be_bytes());
        actor[8..12].copy_from_slice(&replica.incarnation.to_be_bytes());
        Self(actor)
    }
}

/// Changes by their hashes.
pub(super) type Changes = BTreeMap<ChangeHash, Arc<Change>>;

/// A change as it is stored and sent.
///
/// **Invariant:** the hash is that of the content, and the content claims no more operations than
/// were counted. Only a replica that applies the change learns whether the engine accepts the
/// operations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub(super) hash: ChangeHash,
    /// The changes that this one builds on.
    pub(super) dependencies: Vec<ChangeHash>,
    pub(super) actor: Actor,
    /// Its number among the changes of its actor, from 1.
    pub(super) number: u64,
    pub(super) operations: u64,
    /// The content behind the actor.
    pub(super) rest: Vec<u8>,
}

impl Change {
    /// The hash that names this change. O(1).
    pub fn hash(&self) -> ChangeHash {
        self.hash
    }

    /// How many operations it has, counted when it was read.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The change in automerge's format, as one uncompressed chunk.
    pub fn chunk(&self) -> Vec<u8> {
        let content = self.content();
        let mut out = Writer::new(&CausalContext::new());
        out.append(&MAGIC);
        out.append(&self.hash.0[..4]);
        out.byte(CHANGE);
        out.bytes(&content);
        out.finish()
    }

    /// Reads a chunk of automerge's format that holds one uncompressed change.
    pub(super) fn from_chunk(chunk: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(chunk, &CausalContext::new(), Limits::default())?;
        for expected in MAGIC {
            if input.byte()? != expected {
                return Err(DecodeError::Invalid("no chunk of a document"));
            }
        }
        let sum = [input.byte()?, input.byte()?, input.byte()?, input.byte()?];
        if input.byte()? != CHANGE {
            return Err(DecodeError::Invalid("no chunk of one change"));
        }
        let content = input.bytes()?;
        let limits = input.limits();
        input.finish()?;
        let mut content = Reader::new(content, &CausalContext::new(), limits)?;
        let mut dependencies = Vec::new();
        for _ in 0..content.count()? {
            dependencies.push(read_hash(&mut content)?);
        }
        let &actor = content
            .bytes()?
            .as_array()
            .ok_or(DecodeError::Invalid("an actor that is no replica"))?;
        let actor = Actor(actor);
        let change = Self::new(dependencies, actor, content.rest(), &mut content)?;
        if change.hash.0[..4] == sum {
            Ok(change)
        } else {
            Err(DecodeError::Invalid("a change with a wrong checksum"))
        }
    }

    /// Assembles a change and takes its operations from the allowance of `input`.
    pub(super) fn new(
        dependencies: Vec<ChangeHash>,
        actor: Actor,
        rest: &[u8],
        input: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let (number, operations) = inspect(rest, input)?;
        let mut change = Self {
            hash: ChangeHash([0; 32]),
            dependencies,
            actor,
            number,
            operations,
            rest: rest.to_vec(),
        };
        let content = change.content();
        let mut head = Writer::new(&CausalContext::new());
        head.byte(CHANGE);
        head.number(content.len() as u64);
        change.hash = ChangeHash(
            Sha256::new()
                .chain_update(head.finish())
                .chain_update(content)
                .finalize()
                .into(),
        );
        Ok(change)
    }

    fn content(&self) -> Vec<u8> {
        let mut out = Writer::new(&CausalContext::new());
        out.number(self.dependencies.len() as u64);
        self.dependencies
            .iter()
            .for_each(|dependency| out.append(&dependency.0));
        out.bytes(&self.actor.0);
        out.append(&self.rest);
        out.finish()
    }

    /// Roughly how many bytes it takes in memory.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.dependencies.len() * size_of::<ChangeHash>() + self.rest.len()
    }
}

pub(super) fn read_hash(input: &mut Reader<'_>) -> Result<ChangeHash, DecodeError> {
    let mut hash = [0; 32];
    for byte in &mut hash {
        *byte = input.byte()?;
    }
    Ok(ChangeHash(hash))
}

/// The number of the change and its count of operations. A column can say in a few bytes that a
/// value repeats 2^60 times, and the engine would believe it, so this takes repetitions from the
/// allowance of `budget`.
fn inspect(rest: &[u8], budget: &mut Reader<'_>) -> Result<(u64, u64), DecodeError> {
    let mut input = Reader::new(rest, &CausalContext::new(), budget.limits())?;
    let number = input.number()?;
    input.number()?; // where its operations start
    signed(&mut input)?; // when it was made: never said here
    input.bytes()?; // a message
    for _ in 0..input.count()? {
        input.bytes()?; // other actors
    }
    let mut columns = Vec::new();
    for _ in 0..input.count()? {
        columns.push((input.number()?, input.number()?));
    }
    let mut data = input.rest();
    let mut operations = 0;
    for (kind, length) in columns {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (column, after) = data
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        data = after;
        let values = repetitions(
            kind,
            Reader::new(column, &CausalContext::new(), budget.limits())?,
        )?;
        budget.take_elements(values)?;
        if kind == ACTIONS {
            operations = values;
        }
    }
    Ok((number, operations))
}

/// How many values a column holds; a string weighs as much as its length.
fn repetitions(kind: u64, mut column: Reader<'_>) -> Result<u64, DecodeError> {
    const OVERFLOW: DecodeError = DecodeError::TooManyElements;
    let (mut total, kind) = (0_u64, kind & 0b1111);
    while !column.is_empty() {
        let more = match kind {
            // Booleans: lengths of runs, true and false in turn.
            4 => column.number()?,
            // Raw bytes.
            7 => return Ok(0),
            kind if kind & 0b1000 != 0 => return Err(DecodeError::Invalid("a compressed column")),
            kind => match signed(&mut column)? {
                0 => column.number()?,
                run if run > 0 => run
                    .unsigned_abs()
                    .checked_mul(value(kind, &mut column)?)
                    .ok_or(OVERFLOW)?,
                literal => {
                    let mut sum = 0_u64;
                    for _ in 0..literal.unsigned_abs() {
                        sum += value(kind, &mut column)?;
                    }
                    sum
                }
            },
        };
        total = total.checked_add(more).ok_or(OVERFLOW)?;
    }
    Ok(total)
}

/// Reads one value of a column and returns its weight.
fn value(kind: u64, column: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match kind {
        5 => Ok(1 + column.bytes()?.len() as u64 / 16),
        3 => signed(column).map(|_| 1),
        _ => column.number().map(|_| 1),
    }
}

/// A signed number in LEB128. Callers only skip it or compare it with zero.
fn signed(input: &mut Reader<'_>) -> Result<i64, DecodeError> {
    let mut number = 0_i64;
    for shift in (0..64).step_by(7) {
        let byte = input.byte()?;
        number |= i64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let negative = byte & 0x40 != 0 && shift + 7 < 64;
            return Ok(if negative {
                number | -1 << (shift + 7)
            } else {
                number
            });
        }
    }
    Err(DecodeError::Invalid("a number above 64 bits"))
}
