//! Trees whose nodes are created, moved, removed and described.

use quorate_crdt::laws::Op;
use quorate_crdt::{Edit, NodeKey, OrMap, Tree, Tx};

quorate_crdt::laws! {
    tree: Tree<u8>, |tree, tx, op| change_tree(tree, tx, op);
    map_of_trees: OrMap<u8, Tree<u8>>, |map, tx, op| if op.action % 8 == 7 {
        map.remove(tx, &(op.argument % 2));
    } else {
        map.update(tx, op.argument % 2, |tree, tx| change_tree(tree, tx, op));
    };
}

/// Picks nodes by number among those that are known, including removed ones.
fn change_tree(tree: &mut Edit<'_, Tree<u8>>, tx: &mut Tx<'_>, op: Op) {
    let nodes: Vec<NodeKey> = std::iter::once(NodeKey::ROOT).chain(tree.nodes()).collect();
    let pick = |number: u8| nodes[usize::from(number) % nodes.len()];
    match op.action % 8 {
        0..3 => {
            tree.create(tx, pick(op.argument), op.action);
        }
        3..6 => {
            tree.move_to(tx, pick(op.argument), pick(op.action / 8));
        }
        6 => {
            tree.remove(tx, pick(op.argument));
        }
        _ => {
            tree.set_meta(tx, pick(op.argument), op.action);
        }
    }
}
