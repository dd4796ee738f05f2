//! Two devices edit a shopping cart offline and exchange bytes. This needs only `quorate-crdt`:
//! `cargo run --example embed_crdt`.

use quorate_crdt::{Crdt, Delta, NodeId, OrSet, PnCounter, ReplicaId, Replicated};

/// What both devices hold. Each field's type says how concurrent changes merge.
#[derive(Crdt)]
struct Cart {
    /// Adding an item wins over removing it.
    items: OrSet<String>,
    /// No spending is lost.
    budget: PnCounter,
    /// Concurrent notes stay side by side until somebody decides.
    #[crdt(mv)]
    note: String,
    /// Where the cursor is: each device has its own.
    #[crdt(skip)]
    selected: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut phone = Replicated::<Cart>::new(ReplicaId::new(NodeId(1), 0));
    let mut laptop = Replicated::<Cart>::new(ReplicaId::new(NodeId(2), 0));

    // A change returns what the other replicas need: a few bytes, to be sent over any transport.
    let first = phone.update(|cart, tx| {
        cart.items.add(tx, "bread".to_owned());
        cart.items.add(tx, "milk".to_owned());
        cart.budget.increment(tx, 50);
        *cart.selected = 1;
    });
    laptop.merge(&Delta::decode(&first.encode())?)?;

    // Both are offline. The laptop removes the bread while the phone adds it again; both write a
    // note and spend money.
    let from_laptop = laptop.update(|cart, tx| {
        cart.items.remove(tx, "bread");
        cart.note.set(tx, "organic, please".to_owned());
        cart.budget.decrement(tx, 12);
    });
    let from_phone = phone.update(|cart, tx| {
        cart.items.add(tx, "bread".to_owned());
        cart.note.set(tx, "only if on sale".to_owned());
        cart.budget.decrement(tx, 8);
    });

    // They meet. Order and repetition do not matter, and a merge says what changed.
    let changed = phone.merge(&Delta::decode(&from_laptop.encode())?)?;
    for _ in 0..2 {
        laptop.merge(&Delta::decode(&from_phone.encode())?)?;
    }
    assert_eq!(changed.paths(), ["budget", "note"]);
    assert!(phone == laptop, "both devices hold the same");

    // The removal had not seen the second addition, so the bread stays. Both notes are there;
    // whoever decides overwrites them.
    assert_eq!(laptop.items.sorted(), ["bread", "milk"]);
    assert_eq!((laptop.budget.value(), laptop.note.values().len()), (30, 2));
    phone.merge(&laptop.update(|cart, tx| cart.note.set(tx, "organic if on sale".to_owned())))?;
    assert_eq!(
        (phone.note.get().map(String::as_str), *phone.selected),
        (Some("organic if on sale"), 1)
    );
    println!(
        "{:?}, {} left, {}",
        phone.items.sorted(),
        phone.budget.value(),
        phone.note.get().map_or("", String::as_str)
    );
    Ok(())
}
