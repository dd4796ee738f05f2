//! Planted contradictions: a verdict that cannot find them would be worthless.

use Outcome::{Acknowledged, Refused, Unknown};

use super::*;

fn judged(ledger: &Ledger, held: &[(&str, Held)]) -> Vec<(Harm, String)> {
    let reading = held
        .iter()
        .map(|(key, held)| ((*key).to_owned(), held.clone()))
        .collect();
    ledger
        .judge(&reading)
        .into_iter()
        .map(|finding| (finding.harm, finding.slot.to_string()))
        .collect()
}

fn text(value: &str) -> Held {
    Held::Text(value.to_owned())
}

fn set(elements: &[&str]) -> Held {
    Held::Set(
        elements
            .iter()
            .map(|element| (*element).to_owned())
            .collect(),
    )
}

fn counter() -> Ledger {
    let mut ledger = Ledger::default();
    for outcome in [Acknowledged, Acknowledged, Acknowledged, Unknown, Refused] {
        ledger.counted("n", outcome);
    }
    ledger
}

#[test]
fn a_counter_lies_between_what_was_acknowledged_and_what_may_have_been_applied() {
    for (value, expected) in [
        ("2", Some(Harm::Lost)),
        ("3", None),
        ("4", None),
        ("5", Some(Harm::DoubleCounted)),
        ("x", Some(Harm::Lost)),
    ] {
        let found = judged(&counter(), &[("n", text(value))]);
        assert_eq!(
            found,
            expected
                .map(|harm| (harm, "n".to_owned()))
                .into_iter()
                .collect::<Vec<_>>(),
            "{value}"
        );
    }
    assert_eq!(
        judged(&counter(), &[("n", Held::Nothing)]),
        [(Harm::Lost, "n".to_owned())]
    );
}

#[test]
fn a_key_that_was_not_read_is_no_proof() {
    assert_eq!(judged(&counter(), &[]), [(Harm::Unread, "n".to_owned())]);
}

#[test]
fn elements_are_lost_resurrected_or_from_nowhere() {
    let mut ledger = Ledger::default();
    let slot = |part: &str| Slot::part("s", part);
    for (part, outcome) in [
        ("kept", Acknowledged),
        ("maybe", Unknown),
        ("no", Refused),
        ("gone", Acknowledged),
        ("tried", Acknowledged),
    ] {
        ledger.made(&slot(part), outcome);
    }
    ledger.removed(&slot("gone"), Acknowledged, true);
    ledger.removed(&slot("tried"), Acknowledged, false);
    assert_eq!(ledger.removals(), 1);
    assert_eq!(judged(&ledger, &[("s", set(&["kept"]))]), []);
    assert_eq!(
        judged(&ledger, &[("s", set(&["kept", "maybe", "tried"]))]),
        []
    );
    let planted = judged(&ledger, &[("s", set(&["gone", "no", "stranger"]))]);
    let expected = [
        (Harm::Lost, "s[kept]"),
        (Harm::Resurrected, "s[gone]"),
        (Harm::Phantom, "s[no]"),
        (Harm::Phantom, "s[stranger]"),
    ];
    assert_eq!(
        planted,
        expected.map(|(harm, slot)| (harm, slot.to_owned()))
    );
}

#[test]
fn a_removal_stays_acknowledged_whatever_a_later_one_brings() {
    let mut ledger = Ledger::default();
    let slot = Slot::key("k");
    ledger.made(&slot, Acknowledged);
    ledger.removed(&slot, Refused, false);
    assert_eq!(
        judged(&ledger, &[("k", Held::Nothing)]),
        [(Harm::Lost, "k".to_owned())],
        "a refused removal removes nothing"
    );
    ledger.removed(&slot, Unknown, false);
    assert_eq!(judged(&ledger, &[("k", Held::Nothing)]), []);
    ledger.removed(&slot, Acknowledged, true);
    ledger.removed(&slot, Acknowledged, false);
    assert_eq!(
        judged(&ledger, &[("k", text("v"))]),
        [(Harm::Resurrected, "k".to_owned())]
    );
}

#[test]
fn a_register_holds_the_last_value_of_some_client() {
    let mut ledger = Ledger::default();
    let slot = Slot::key("r");
    for (writer, value, outcome) in [
        (1, "a1", Acknowledged),
        (1, "a2", Acknowledged),
        (1, "a3", Unknown),
        (1, "a4", Refused),
        (2, "b1", Unknown),
        (2, "b2", Acknowledged),
    ] {
        ledger.overwritten(&slot, writer, value, outcome);
    }
    for (value, fine) in [
        ("a2", true),
        ("a3", true),
        ("b2", true),
        ("a1", false),
        ("a4", false),
        ("b1", false),
        ("zz", false),
    ] {
        assert_eq!(
            judged(&ledger, &[("r", text(value))]).is_empty(),
            fine,
            "{value}"
        );
    }
    assert_eq!(
        judged(&ledger, &[("r", Held::Nothing)]),
        [(Harm::Lost, "r".to_owned())]
    );
}

#[test]
fn a_field_is_a_register_of_its_own() {
    let mut ledger = Ledger::default();
    ledger.overwritten(&Slot::part("h", "f"), 1, "old", Acknowledged);
    ledger.overwritten(&Slot::part("h", "f"), 1, "new", Acknowledged);
    let hash = |value: &str| Held::Hash(BTreeMap::from([("f".to_owned(), value.to_owned())]));
    assert_eq!(judged(&ledger, &[("h", hash("new"))]), []);
    assert_eq!(
        judged(&ledger, &[("h", hash("old"))]),
        [(Harm::Lost, "h[f]".to_owned())]
    );
    assert_eq!(ledger.keys().collect::<Vec<_>>(), [("h", Kind::Hash)]);
}
