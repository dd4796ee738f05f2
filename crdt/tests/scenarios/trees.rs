//! Trees whose nodes are moved and removed concurrently.

use quorate_crdt::{NodeKey, Tree};

use crate::exchange::{at, exchange, pair};

#[test]
fn concurrent_moves_below_each_other_make_no_cycle() {
    let (mut a, mut b) = pair::<Tree<String>>();
    let (mut x, mut y) = (NodeKey::ROOT, NodeKey::ROOT);
    a.update(|tree, tx| {
        x = tree.create(tx, NodeKey::ROOT, "x".into());
        y = tree.create(tx, NodeKey::ROOT, "y".into());
    });
    exchange(&mut a, &mut b);
    a.update_at(at(1), |tree, tx| {
        assert!(tree.move_to(tx, x, y));
        assert!(!tree.move_to(tx, y, x), "it would be below itself");
    });
    let second = b.update_at(at(2), |tree, tx| assert!(tree.move_to(tx, y, x)));
    assert!(
        a.merge(&second).unwrap().moved.is_empty(),
        "the later move has no effect"
    );
    assert_eq!(
        b.merge(a.state()).unwrap().moved,
        [x, y],
        "and it is undone where it was made"
    );
    assert!(a == b && b.parent(x) == Some(y) && b.parent(y) == Some(NodeKey::ROOT));
}

#[test]
fn what_is_moved_into_a_removed_node_comes_back_with_it() {
    let (mut a, mut b) = pair::<Tree<String>>();
    let (mut x, mut y) = (NodeKey::ROOT, NodeKey::ROOT);
    a.update(|tree, tx| {
        x = tree.create(tx, NodeKey::ROOT, "x".into());
        y = tree.create(tx, NodeKey::ROOT, "y".into());
    });
    exchange(&mut a, &mut b);
    a.update(|tree, tx| assert!(tree.remove(tx, x) && !tree.remove(tx, x)));
    b.update(|tree, tx| {
        assert!(tree.move_to(tx, y, x) && tree.set_meta(tx, y, "z".into()));
        assert!(!tree.remove(tx, NodeKey::ROOT) && !tree.set_meta(tx, NodeKey::ROOT, "r".into()));
    });
    exchange(&mut a, &mut b);
    assert!(a.walk().is_empty() && !a.contains(y) && a.removed().eq([x]) && a.parent(x).is_none());
    let back = b.update(|tree, tx| assert!(tree.move_to(tx, x, NodeKey::ROOT)));
    assert_eq!(a.merge(&back).unwrap().moved, [x]);
    assert_eq!(
        (a.walk(), a.meta(y).map(String::as_str)),
        (vec![(1, x), (2, y)], Some("z"))
    );
}
