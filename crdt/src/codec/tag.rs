//! Tags: which type the bytes are of.

use alloc::vec::Vec;

use smallvec::SmallVec;

/// Which replicated type the bytes are of. A decoder reads it first, so that bytes of one type
/// never decode as another.
///
/// **Law:** no tag is a prefix of another, and no two types of this library have the same tag. The
/// tag of a container continues with the tags of what it contains. The tag of a struct does not:
/// each field brings its own, and a newer version may have more fields. A tag does not say what the
/// plain elements are (`u8` or `String`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tag(SmallVec<[u8; 6]>);

/// The types of this library. A number is never reused for another type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Struct = 1,
    DotSet,
    DotFun,
    DotMap,
    Entries,
    Ops,
    OrSet,
    RwSet,
    ClSet,
    GSet,
    TwoPhaseSet,
    GCounter,
    PnCounter,
    ResetCounter,
    BoundedCounter,
    LwwRegister,
    MvRegister,
    EwFlag,
    DwFlag,
    OrMap,
    LwwMap,
    SortedSet,
    List,
    Text,
    Tree,
    #[cfg_attr(
        not(feature = "document"),
        allow(
            dead_code,
            reason = "the tag is taken, whether or not documents are compiled"
        )
    )]
    Document,
    Max,
    Min,
    Bool,
    Pair,
    Lex,
    Option,
    HyperLogLog,
    Bloom,
    CountMin,
    TopK,
    Summary,
}

/// The first byte of the tags of types that this library does not know.
const OWN: u8 = 127;
/// A one-byte tag is written as it is; a longer one follows this plus its length.
const LONG: u8 = 128;
/// The longest tag, so that its length fits into the byte before it.
const LONGEST: usize = 127;

impl Tag {
    pub(crate) fn kind(&mut self, kind: Kind) {
        self.0.push(kind as u8);
    }

    /// Distinguishes sizes of one type.
    pub(crate) fn size(&mut self, size: usize) {
        self.0.extend_from_slice(&(size as u64).to_le_bytes());
    }

    /// Makes the tag of your own type, from a name that no other type uses. At most the first 100
    /// bytes of it count.
    pub fn own(&mut self, name: &str) {
        let name = &name.as_bytes()[..name.len().min(100)];
        self.0.push(OWN);
        self.0.push(name.len() as u8);
        self.0.extend_from_slice(name);
    }

    pub(crate) fn summary() -> Self {
        let mut tag = Self::default();
        tag.kind(Kind::Summary);
        tag
    }

    /// Makes the tag of a derived struct.
    #[doc(hidden)]
    pub fn structure(&mut self) {
        self.kind(Kind::Struct);
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let bytes = &self.0[..self.0.len().min(LONGEST)];
        if let [only] = bytes {
            out.push(*only);
        } else {
            out.push(LONG | bytes.len() as u8);
            out.extend_from_slice(bytes);
        }
    }

    /// Reads a tag and returns it with the bytes behind it; `None` if the bytes end within it.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, rest) = bytes.split_first()?;
        if first < LONG {
            return Some((Self(SmallVec::from_slice(&[first])), rest));
        }
        let (tag, rest) = rest.split_at_checked(usize::from(first - LONG))?;
        Some((Self(SmallVec::from_slice(tag)), rest))
    }
}
