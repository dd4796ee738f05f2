//! `#[derive(Crdt)]`: structs whose fields share one context, and versions of them that know
//! different fields.
#![deny(warnings, missing_docs)]

use quorate_crdt::{
    Causal, Crdt, Delta, DotStore, Effects, EwFlag, Key, NodeId, OrMap, OrSet, PnCounter,
    ReplicaId, Replicated, ResetCounter, Schema,
};

#[derive(Crdt)]
struct Cart {
    items: OrSet<u8>,
    #[crdt(lww)]
    paid: bool,
    #[crdt(mv)]
    note: u8,
    #[crdt(max)]
    revision: u64,
    #[crdt(skip)]
    selected: usize,
    #[crdt(with = "PnCounter")]
    total: i64,
    lines: OrMap<u8, Line>,
    address: Address,
}

/// A struct that can be a value in a map.
#[derive(Crdt)]
#[crdt(causal)]
pub(crate) struct Line {
    /// The number of items.
    pub(crate) count: ResetCounter,
    #[crdt(mv)]
    comment: u8,
    #[crdt(skip)]
    unfolded: bool,
}

/// A struct within a struct, with parts that have dots and parts that do not.
#[derive(Crdt, Debug)]
pub struct Address {
    /// The street number.
    #[crdt(lww)]
    pub street: u8,
    /// Who lives there.
    pub names: OrSet<u8>,
}

/// A struct over any key.
#[derive(Crdt)]
#[crdt(causal)]
#[allow(missing_debug_implementations, reason = "it is never a value")]
pub struct Board<T: Key, V: Schema<State: DotStore> = EwFlag> {
    /// The cards.
    pub cards: OrSet<T>,
    /// The card that is held up, if there is one.
    #[crdt(mv)]
    pub held: T,
    /// Flags by card.
    pub flags: OrMap<T, V>,
    /// The position of the cursor.
    #[crdt(skip)]
    pub cursor: Option<T>,
}

fn change_cart(cart: &mut CartEdit<'_>, tx: &mut quorate_crdt::Tx<'_>, action: u8, argument: u8) {
    match action % 12 {
        0 | 1 => cart.items.add(tx, argument),
        2 => {
            cart.items.remove(tx, &argument);
        }
        3 => cart.paid.set(tx, argument.is_multiple_of(2)),
        4 => cart.note.set(tx, argument),
        5 => {
            cart.revision.raise(tx, u64::from(argument));
        }
        6 => cart.total.increment(tx, u64::from(argument)),
        7 => cart
            .lines
            .update(tx, argument % 4, |line, tx| line.count.add(tx, 1)),
        8 => cart
            .lines
            .update(tx, argument % 4, |line, tx| line.comment.set(tx, argument)),
        9 => {
            cart.lines.remove(tx, &(argument % 4));
        }
        10 => cart.address.street.set(tx, argument),
        _ => {
            cart.address.names.add(tx, argument);
            cart.address.names.remove(tx, &(argument ^ 1));
        }
    }
    *cart.selected += 1;
}

quorate_crdt::laws! {
    cart: Cart, |cart, tx, op| change_cart(cart, tx, op.action, op.argument);
    lines: OrMap<u8, Line>, |lines, tx, op| match op.action % 4 {
        0 => lines.update(tx, op.argument, |line, tx| line.count.add(tx, 1)),
        1 => lines.update(tx, op.argument, |line, tx| line.comment.set(tx, op.argument)),
        2 => lines.update(tx, op.argument, |line, tx| line.comment.clear(tx)),
        _ => { lines.remove(tx, &op.argument); }
    };
    board: Board<u8>, |board, tx, op| match op.action % 3 {
        0 => board.cards.add(tx, op.argument),
        1 => board.held.set(tx, op.argument),
        _ => board.flags.update(tx, op.argument, |flag, tx| {
            if op.action < 170 { flag.enable(tx) } else { flag.disable(tx) }
        }),
    };
}

fn replica(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 0)
}

fn pair<T: Schema>() -> [Replicated<T>; 2] {
    [1, 2].map(|node| Replicated::new(replica(node)))
}

#[test]
fn a_transaction_over_several_fields_is_one_delta() {
    let [mut amy, mut ben] = pair::<Cart>();
    let delta = amy.update(|cart, tx| {
        cart.items.add(tx, 7);
        cart.paid.set(tx, true);
        cart.revision.raise(tx, 3);
        cart.address.street.set(tx, 9);
    });
    let effects = ben.merge(&Delta::decode(&delta.encode()).unwrap()).unwrap();
    assert_eq!(effects.paths(), ["items", "paid", "revision", "address"]);
    assert_eq!(effects.address.paths(), ["street"]);
    assert!(
        ben.items.contains(&7) && ben.paid.get() == Some(&true) && ben.revision.get() == Some(&3)
    );
    assert_eq!(ben.address.street.get(), Some(&9));
    assert!(amy == ben);
    let again = ben.merge(&delta).unwrap();
    assert!(again.is_empty() && again.paths().is_empty());
}

#[test]
fn what_is_skipped_stays_where_it_is() {
    let [mut amy, mut ben] = pair::<Cart>();
    ben.local_mut(|edit| *edit.selected = 5);
    let delta = amy.update(|cart, tx| {
        *cart.selected = 2;
        cart.paid.set(tx, false);
    });
    ben.merge(&delta).unwrap();
    assert_eq!((*amy.selected, *ben.selected), (2, 5));
    assert!(
        amy == ben,
        "local fields make no difference between replicas"
    );
    assert_eq!(
        *amy.delta_since(&Causal::<CartState>::new().summary())
            .selected,
        0,
        "it is not sent"
    );
    assert_eq!(
        *Causal::<CartState>::decode(&amy.state().encode())
            .unwrap()
            .selected,
        0
    );
}

#[test]
fn removing_a_key_resets_the_struct_under_it_and_spares_what_it_had_not_seen() {
    let [mut amy, mut ben] = pair::<OrMap<u8, Line>>();
    let first = amy.update(|lines, tx| lines.update(tx, 1, |line, tx| line.count.add(tx, 10)));
    ben.merge(&first).unwrap();
    let comment = ben.update(|lines, tx| lines.update(tx, 1, |line, tx| line.comment.set(tx, 4)));
    let removal = amy.update(|lines, tx| {
        lines.remove(tx, &1);
    });
    amy.merge(&comment).unwrap();
    ben.merge(&removal).unwrap();
    assert!(amy == ben);
    let line = amy.get(&1).unwrap();
    assert_eq!((line.count.value(), line.comment.get()), (0, Some(&4)));
    amy.update(|lines, tx| lines.update(tx, 1, |line, tx| line.comment.clear(tx)));
    assert!(
        !amy.contains_key(&1),
        "a struct with nothing alive is not a value"
    );
}

#[test]
fn a_struct_costs_little_more_than_its_fields() {
    let [mut amy, _] = pair::<Cart>();
    amy.update(|cart, tx| cart.items.add(tx, 7));
    let mut set = Replicated::<OrSet<u8>>::new(replica(1));
    set.update(|set, tx| set.add(tx, 7));
    let (cart, set) = (amy.state().encode(), set.state().encode());
    assert_eq!(
        cart.len() - set.len(),
        5,
        "how many fields; the number of the field, its type, its dots, its length"
    );
}

/// The debug output of a state names its fields, but not the unknown ones or its own machinery.
#[test]
fn states_print_by_field() {
    let mut board = Replicated::<Board<u8>>::new(replica(1));
    board.update(|board, tx| {
        board.cards.add(tx, 3);
        *board.cursor = Some(3);
    });
    let printed = format!("{:?}", *board);
    assert!(
        printed.starts_with("BoardState { cards: {3}, held: ")
            && printed.contains("cursor: Local(Some(3))"),
        "{printed}"
    );
}
