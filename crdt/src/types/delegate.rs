//! Macros for the parts of [`Crdt`](crate::Crdt) that many types implement alike.

/// The items of a type without dots that do not depend on its contents.
macro_rules! without_dots {
    (|$tag:ident| $write_tag:expr) => {
        fn tag($tag: &mut $crate::codec::Tag) {
            $write_tag;
        }

        type Edit<'a>
            = $crate::Edit<'a, Self>
        where
            Self: 'a;

        fn is_bottom(&self) -> bool {
            *self == Self::default()
        }

        fn dots(&self, _: &mut dyn FnMut($crate::Dot)) {}

        fn part(&self, _: &$crate::CausalContext, undotted: $crate::Undotted<'_>) -> Self {
            if undotted.stay() {
                self.clone()
            } else {
                Self::default()
            }
        }

        fn has_undotted(&self) -> bool {
            !$crate::Crdt::is_bottom(self)
        }

        fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> $crate::Edit<'a, Self> {
            $crate::Edit::new(state, delta)
        }
    };
}
pub(super) use without_dots;

/// All items but `Effects` and `join`, delegated to the only field of a newtype.
macro_rules! by_field {
    ($kind:ident) => {
        fn tag(tag: &mut $crate::codec::Tag) {
            tag.kind($crate::codec::Kind::$kind);
        }

        type Edit<'a>
            = $crate::Edit<'a, Self>
        where
            Self: 'a;

        fn is_bottom(&self) -> bool {
            $crate::Crdt::is_bottom(&self.0)
        }

        fn dots(&self, visit: &mut dyn FnMut($crate::Dot)) {
            $crate::Crdt::dots(&self.0, visit);
        }

        fn dot_count(&self) -> usize {
            $crate::Crdt::dot_count(&self.0)
        }

        fn part(&self, dots: &$crate::CausalContext, undotted: $crate::Undotted<'_>) -> Self {
            Self($crate::Crdt::part(&self.0, dots, undotted))
        }

        fn has_dot(&self, dot: $crate::Dot) -> bool {
            $crate::Crdt::has_dot(&self.0, dot)
        }

        fn contradicts(&self, theirs: &Self, replica: $crate::ReplicaId) -> bool {
            $crate::Crdt::contradicts(&self.0, &theirs.0, replica)
        }

        fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> $crate::Edit<'a, Self> {
            $crate::Edit::new(state, delta)
        }

        fn encode(&self, out: &mut $crate::codec::Writer) {
            $crate::Crdt::encode(&self.0, out);
        }

        fn decode(
            input: &mut $crate::codec::Reader<'_>,
        ) -> Result<Self, $crate::codec::DecodeError> {
            $crate::Crdt::decode(input).map(Self)
        }
    };
}
pub(super) use by_field;
