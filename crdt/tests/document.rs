//! The laws for documents. A case takes a few hundred times as long as for other types, because
//! states start engines.

#![cfg(feature = "document")]

use quorate_crdt::Document;

quorate_crdt::laws! {
    document: Document, |doc, tx, op| {
        let key = ["a", "b"][usize::from(op.argument % 2)];
        // An operation on something missing or of another type is refused, which is an outcome like
        // any other.
        let _outcome = match op.action % 8 {
            0 | 1 => doc.put(tx, &[key], op.argument),
            2 => doc.put_text(tx, &[key], "text"),
            3 => doc.splice(tx, &[key], 1, 1, "ab"),
            4 => doc.put(tx, &[key], serde_json::json!([op.argument])),
            5 => doc.push(tx, &[key], op.action),
            6 => doc.put_counter(tx, &[key], 1).and_then(|()| doc.increment(tx, &[key], 2)),
            _ => doc.delete(tx, &[key]),
        };
    };
}
