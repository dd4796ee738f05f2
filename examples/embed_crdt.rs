//! Two devices edit a shopping list, offline, and merge. No cluster, no I/O: only `quorate-crdt`.
//!
//! `cargo run --example embed_crdt`

use quorate_crdt::{Causal, Lattice, MvRegister, NodeId, OrSet, PnCounter, ReplicaId};

/// What each device holds. Every part is a lattice, so the whole merges part by part.
#[derive(Clone, Debug, Default, PartialEq)]
struct ShoppingList {
    items: Causal<OrSet<String>>,
    note: Causal<MvRegister<String>>,
    budget: PnCounter,
}

impl ShoppingList {
    fn merge(&mut self, other: &Self) {
        self.items.merge(&other.items);
        self.note.merge(&other.note);
        self.budget.merge(&other.budget);
    }
}

fn main() {
    let (phone, laptop) = (ReplicaId::new(NodeId(1), 0), ReplicaId::new(NodeId(2), 0));
    let mut on_phone = ShoppingList::default();
    on_phone.items.add(phone, "bread".to_owned());
    on_phone.items.add(phone, "milk".to_owned());
    on_phone.budget.increment(phone, 50);
    let mut on_laptop = on_phone.clone();

    // Both go offline. The laptop removes the bread, while the phone adds it once more; both write a note and spend money.
    on_laptop.items.remove(&"bread".to_owned());
    on_laptop.note.set(laptop, "organic, please".to_owned());
    on_laptop.budget.decrement(laptop, 12);
    on_phone.items.add(phone, "bread".to_owned());
    on_phone.note.set(phone, "only if on sale".to_owned());
    on_phone.budget.decrement(phone, 8);

    // They meet. The order of the merges does not matter, nor does doing them twice.
    let before = on_phone.clone();
    on_phone.merge(&on_laptop);
    on_laptop.merge(&before);
    on_laptop.merge(&before);
    assert_eq!(on_phone, on_laptop, "both devices hold the same");

    println!("items:  {}", on_phone.items.iter().cloned().collect::<Vec<_>>().join(", "));
    println!("budget: {}", on_phone.budget.value());
    println!("notes:  {}", on_phone.note.values().cloned().collect::<Vec<_>>().join(" | "));

    // The bread stays, because the removal had not seen the second addition; no spending is lost; both notes are there to choose from.
    assert!(on_phone.items.contains(&"bread".to_owned()) && on_phone.items.contains(&"milk".to_owned()));
    assert_eq!((on_phone.budget.value(), on_phone.note.values().len()), (30, 2));

    // Whoever decides overwrites what it has seen; both devices then show one note.
    let decision = on_phone.note.set(phone, "organic if on sale".to_owned());
    on_laptop.note.merge(&decision);
    assert_eq!(on_laptop.note.values().collect::<Vec<_>>(), ["organic if on sale"]);
}
