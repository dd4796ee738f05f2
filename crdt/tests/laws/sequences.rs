//! Lists and texts, edited at random positions.

use quorate_crdt::laws::Op;
use quorate_crdt::{Edit, List, Text, Tx};

fn change_text(text: &mut Edit<'_, Text>, tx: &mut Tx<'_>, op: Op) {
    let at = usize::from(op.argument) % (text.len() + 1);
    let end = text.len().min(at + usize::from(op.action / 16));
    let changed = match op.action % 8 {
        0..3 => text.insert(
            tx,
            at,
            ["a", "bcd", "öß🦀", "efghi"][usize::from(op.action / 8 % 4)],
        ),
        3 => text.splice(tx, at..end, "xyz"),
        4 => {
            text.push(tx, "jk");
            let len = text.len();
            text.delete(tx, len - 1..len)
        }
        5..7 => text.delete(tx, at..end),
        _ if op.action > 128 => {
            text.clear(tx);
            Ok(())
        }
        _ => text
            .insert(tx, at, "l")
            .and_then(|()| text.insert(tx, at, "m")),
    };
    changed.expect("the positions are within the text");
}

fn change_list(list: &mut Edit<'_, List<u8>>, tx: &mut Tx<'_>, op: Op) {
    let at = usize::from(op.argument) % (list.len() + 1);
    let end = list.len().min(at + 1 + usize::from(op.action / 64));
    let changed = match op.action % 4 {
        0 => list.insert(tx, at, op.action),
        1 => list.insert_all(tx, at, &[op.action, 1, 2]),
        2 => list.delete(tx, at..end),
        _ => {
            list.push(tx, op.argument);
            Ok(())
        }
    };
    changed.expect("the positions are within the list");
}

quorate_crdt::laws! {
    text: Text, |text, tx, op| change_text(text, tx, op);
    list: List<u8>, |list, tx, op| change_list(list, tx, op);
}
