//! Checks every short history of three replicas instead of a random sample.
//!
//! The value of a replica is a function of the set of operations that it has seen. So a history is
//! fully described by which replica performs which operation and which earlier operations reach it
//! just before; deliveries elsewhere change nothing. Replicas are interchangeable, so the first to
//! act is the first replica and the next new one the second. The rest is enumerated depth first.
//! Deltas arrive alternately oldest first and newest first, and at the end of each history
//! everything known anywhere is merged in three ways.

#![expect(clippy::unwrap_used, reason = "test helpers may panic like the tests")]

mod specs;

use std::fmt::Debug;
use std::rc::Rc;

use quorate_crdt::laws::{Op, REPLICAS, SeenOp, replica};
use quorate_crdt::{
    Causal, Crdt, Delta, DwFlag, Edit, EwFlag, MvRegister, OrMap, OrSet, Replicated, ResetCounter,
    Tx,
};

/// Puts, takes and clears for [`specs::change`].
const PUT: u8 = 0;
const INNER_TAKE: u8 = 4;
const TAKE: u8 = 5;
const CLEAR: u8 = 7;

const fn op(action: u8, argument: u8) -> Op {
    Op { action, argument }
}

/// What is enumerated, and what it is checked against.
struct Scope<T: Crdt, V> {
    ops: &'static [Op],
    length: usize,
    change: fn(&mut Edit<'_, T>, &mut Tx<'_>, Op),
    spec: fn(&[Rc<SeenOp>]) -> V,
    view: fn(&T) -> V,
}

/// A node in the tree of histories; on the way back, it is restored.
struct Node<T: Crdt> {
    replicas: [Replicated<T>; REPLICAS],
    /// Which operations each replica has seen, one bit per operation.
    seen: [u32; REPLICAS],
    ops: Vec<Rc<SeenOp>>,
    deltas: Vec<Delta<T>>,
}

impl<T, V> Scope<T, V>
where
    T: for<'a> Crdt<Edit<'a> = Edit<'a, T>> + Debug + 'static,
    V: PartialEq + Debug,
{
    /// Visits all histories and returns how many there were.
    fn explore(&self) -> u64 {
        let mut start = Node {
            replicas: std::array::from_fn(|at| Replicated::new(replica(at))),
            seen: [0; REPLICAS],
            ops: Vec::new(),
            deltas: Vec::new(),
        };
        self.from(&mut start)
    }

    fn from(&self, node: &mut Node<T>) -> u64 {
        let mut histories = 1;
        self.meets(node);
        if node.ops.len() == self.length {
            return histories;
        }
        let acted = node.seen.iter().take_while(|seen| **seen != 0).count();
        for at in 0..REPLICAS.min(acted + 1) {
            let before = (node.replicas[at].clone(), node.seen[at]);
            let unseen = ((1_u32 << node.ops.len()) - 1) & !node.seen[at];
            let mut arriving = unseen;
            loop {
                self.deliver(node, at, arriving);
                let reached = (node.replicas[at].clone(), node.seen[at]);
                for &op in self.ops {
                    self.perform(node, at, op);
                    histories += self.from(node);
                    (node.replicas[at], node.seen[at]) = reached.clone();
                    node.ops.pop();
                    node.deltas.pop();
                }
                (node.replicas[at], node.seen[at]) = before.clone();
                if arriving == 0 {
                    break;
                }
                // The next smaller subset.
                arriving = (arriving - 1) & unseen;
            }
        }
        histories
    }

    fn deliver(&self, node: &mut Node<T>, at: usize, arriving: u32) {
        let mut order: Vec<usize> = (0..node.ops.len())
            .filter(|&n| arriving >> n & 1 == 1)
            .collect();
        if arriving.count_ones().is_multiple_of(2) {
            order.reverse();
        }
        for n in order {
            node.replicas[at].merge(&node.deltas[n]).unwrap();
        }
        node.seen[at] |= arriving;
        self.check(node, at);
    }

    fn perform(&self, node: &mut Node<T>, at: usize, op: Op) {
        let id = node.ops.len();
        let past = node
            .ops
            .iter()
            .filter(|op| node.seen[at] >> op.id & 1 == 1)
            .cloned()
            .collect();
        node.ops.push(Rc::new(SeenOp {
            op,
            by: at,
            id,
            past,
        }));
        let delta = node.replicas[at].update(|edit, tx| (self.change)(edit, tx, op));
        node.deltas.push(delta);
        node.seen[at] |= 1 << id;
        self.check(node, at);
    }

    fn check(&self, node: &Node<T>, at: usize) {
        let known: Vec<Rc<SeenOp>> = node
            .ops
            .iter()
            .filter(|op| node.seen[at] >> op.id & 1 == 1)
            .cloned()
            .collect();
        assert_eq!(
            (self.view)(&node.replicas[at]),
            (self.spec)(&known),
            "replica {at} has seen {known:#?}"
        );
    }

    /// All deltas, oldest first and newest first, and all states give the same value, and it is
    /// what all operations say.
    fn meets(&self, node: &Node<T>) {
        let mut by_states = Causal::<T>::new();
        for replica in &node.replicas {
            by_states.merge(replica.state());
        }
        let (mut oldest_first, mut newest_first) =
            (node.replicas[0].state().clone(), Causal::<T>::new());
        node.deltas
            .iter()
            .for_each(|delta| drop(oldest_first.merge(delta)));
        node.deltas
            .iter()
            .rev()
            .for_each(|delta| drop(newest_first.merge(delta)));
        assert_eq!(oldest_first, by_states, "{:#?}", node.ops);
        assert_eq!(newest_first, by_states, "{:#?}", node.ops);
        assert_eq!(
            (self.view)(&by_states),
            (self.spec)(&node.ops),
            "{:#?}",
            node.ops
        );
    }
}

/// One test per scope. The number of histories depends only on the alphabet and the length.
macro_rules! scopes {
    ($(
        $name:ident: $type:ty, $ops:expr, $length:expr,
        $change:path, $spec:path, $view:path, $histories:expr;
    )+) => {$(
        #[test]
        fn $name() {
            let scope = Scope::<$type, _> {
                ops: $ops,
                length: $length,
                change: $change,
                spec: $spec,
                view: $view,
            };
            let histories = scope.explore();
            println!("{}: {histories} histories", stringify!($name));
            assert_eq!(histories, $histories, "the enumeration has lost or gained histories");
        }
    )+};
}

const TWO: &[Op] = &[op(PUT, 3), op(CLEAR, 3)];
const ELEMENTS: &[Op] = &[op(PUT, 0), op(PUT, 1), op(TAKE, 0), op(CLEAR, 0)];
/// Keys 0 and 1 with different values, and an operation below the key.
const KEYS: &[Op] = &[op(PUT, 0), op(PUT, 2), op(INNER_TAKE, 0), op(TAKE, 0)];

scopes! {
    or_sets_of_one_element: OrSet<u8>, TWO, 5,
        specs::change_set, specs::set, specs::view_set, 114_351;
    or_sets_of_two_elements: OrSet<u8>, ELEMENTS, 4,
        specs::change_set, specs::set, specs::view_set, 58_165;
    registers: MvRegister<u8>, TWO, 5,
        specs::change_register, specs::register, specs::view_register, 114_351;
    flags_that_rise: EwFlag, TWO, 5,
        specs::change_ew_flag, specs::ew_flag, specs::view_ew_flag, 114_351;
    flags_that_fall: DwFlag, TWO, 5,
        specs::change_dw_flag, specs::dw_flag, specs::view_dw_flag, 114_351;
    counters: ResetCounter, TWO, 5,
        specs::change_reset_counter, specs::reset_counter, specs::view_reset_counter, 114_351;
    maps_of_flags_under_two_keys: OrMap<u8, EwFlag>, ELEMENTS, 4,
        specs::change_map_of_flags, specs::map_of_flags, specs::view_map_of_flags, 58_165;
    maps_of_counters: OrMap<u8, ResetCounter>, KEYS, 4,
        specs::change_map_of_counters, specs::map_of_counters, specs::view_map_of_counters, 58_165;
    maps_of_registers: OrMap<u8, MvRegister<u8>>, KEYS, 4,
        specs::change_map_of_registers, specs::map_of_registers, specs::view_map_of_registers,
        58_165;
}
