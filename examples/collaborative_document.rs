//! Two people prepare a meeting on two devices, offline. Both edit one text and one document. Then
//! the devices exchange bytes, over any transport, and show the same. There is no cluster and no
//! I/O: only `quorate-crdt`.
//!
//! `cargo run --example collaborative_document`

use std::error::Error;

use quorate_crdt::Step::{Index, Key};
use quorate_crdt::{Causal, Document, NodeId, ReplicaId, Replicated, Text};
use serde_json::json;

/// What a device holds.
struct Device {
    minutes: Replicated<Text>,
    agenda: Replicated<Document>,
}

impl Device {
    /// Every device needs a number that no other device has. From then on it can write without
    /// asking anyone.
    fn new(number: u64) -> Self {
        let me = ReplicaId::new(NodeId(number), 0);
        Self {
            minutes: Replicated::new(me),
            agenda: Replicated::new(me),
        }
    }

    /// The whole state, to send to any other device.
    fn bytes(&self) -> [Vec<u8>; 2] {
        [self.minutes.state().encode(), self.agenda.state().encode()]
    }

    /// Merges what another device has sent. Doing it twice, or in another order, changes nothing.
    fn receive(&mut self, [minutes, agenda]: &[Vec<u8>; 2]) -> Result<(), Box<dyn Error>> {
        self.minutes.merge(&Causal::decode(minutes)?)?;
        self.agenda.merge(&Causal::decode(agenda)?)?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut phone, mut laptop) = (Device::new(1), Device::new(2));

    // One device creates what both will build on. A transaction is one change, whatever it
    // contains.
    let mut written = Ok(());
    phone.agenda.update(|doc, tx| {
        written = doc
            .put(tx, &["title"], "Spring meeting")
            .and_then(|()| doc.put(tx, &["topics"], json!([{"name": "Budget", "minutes": 20}])))
            .and_then(|()| doc.put_counter(tx, &["guests"], 0));
    });
    written?;
    phone.minutes.update(|text, tx| text.push(tx, "Welcome."));
    laptop.receive(&phone.bytes())?;

    // Both go offline and edit the same places.
    let (mut on_phone, mut on_laptop) = (Ok(()), Ok(()));
    phone.agenda.update(|doc, tx| {
        on_phone = doc
            .put(tx, &[Key("topics"), Index(0), Key("minutes")], 30)
            .and_then(|()| doc.push(tx, &["topics"], json!({"name": "Party"})))
            .and_then(|()| doc.increment(tx, &["guests"], 4));
    });
    laptop.agenda.update(|doc, tx| {
        on_laptop = doc
            .put(tx, &[Key("topics"), Index(0), Key("by")], "Amy")
            .and_then(|()| doc.increment(tx, &["guests"], 2));
    });
    on_phone.and(on_laptop)?;
    phone
        .minutes
        .update(|text, tx| text.push(tx, " Amy presents the budget."));
    laptop.minutes.update(|text, tx| {
        text.insert(tx, 0, "Spring meeting. ")
            .expect("0 is within any text");
    });

    // They meet. It does not matter which one sends first.
    let (from_phone, from_laptop) = (phone.bytes(), laptop.bytes());
    laptop.receive(&from_phone)?;
    phone.receive(&from_laptop)?;
    phone.receive(&from_laptop)?;

    println!("minutes: {}", *phone.minutes);
    println!("agenda:  {:#}", phone.agenda.to_json()?);
    assert!(
        phone.minutes == laptop.minutes && phone.agenda == laptop.agenda,
        "both devices hold the same"
    );
    assert_eq!(phone.bytes(), laptop.bytes(), "to the byte");
    assert_eq!(
        phone.minutes.to_string(),
        "Spring meeting. Welcome. Amy presents the budget."
    );
    let topics = json!([{"name": "Budget", "minutes": 30, "by": "Amy"}, {"name": "Party"}]);
    assert_eq!(
        phone.agenda.to_json()?,
        json!({"title": "Spring meeting", "topics": topics, "guests": 6})
    );
    Ok(())
}
