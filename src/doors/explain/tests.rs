use super::*;

fn explanation() -> Explanation {
    let entry = HeldEntry {
        dot: "n1.2#7".into(),
        what: "value".into(),
        value: Some(Printable::of(b"\xff\x00")),
        value_bytes: Some(2),
        count: None,
        stamp: Some(1_700_000_000_000),
        token: None,
        expires: Some(1_800_000_000_000),
    };
    let held = HeldKey {
        id: "n1.2".into(),
        filling: true,
        quarantined: false,
        digest: "00".into(),
        expires: None,
        row_count: 1,
        rows: vec![HeldRow {
            kind: "hash".into(),
            field: Some(Printable::of("größe\n".as_bytes())),
            entries: vec![entry],
        }],
        context: vec![("n1.2".into(), "1..7".into())],
    };
    Explanation {
        keyspace: "default".into(),
        key: Printable::of(b"cart:7"),
        partition: 12,
        epoch: 5,
        moving_to: Vec::new(),
        replicas: vec![
            Holding {
                node: "a".into(),
                replica: Some(held),
                answered: true,
            },
            Holding {
                node: "b".into(),
                replica: None,
                answered: false,
            },
        ],
        equal: false,
    }
}

#[test]
fn people_read_where_the_key_lies_and_what_each_replica_holds() {
    assert_eq!(
        explanation().to_string(),
        "\
key        cart:7 in default
partition  12, placed at epoch 5
replicas   a, b
equal      no

a: replica n1.2, 1 rows, being filled
  ROW   FIELD    DOT     STAMP          WHAT   VALUE
  hash  größe\\n  n1.2#7  1700000000000  value  base64:/wA= (expires at 1800000000000)
  context  n1.2: 1..7

b: does not answer
"
    );
}

#[test]
fn programs_tell_text_from_bytes() {
    let document = serde_json::to_value(explanation()).unwrap();
    assert_eq!(document["key"]["text"], "cart:7");
    let row = &document["replicas"][0]["replica"]["rows"][0];
    assert_eq!(row["field"]["text"], "größe\n");
    assert_eq!(row["entries"][0]["value"]["base64"], "/wA=");
    let back: Explanation = serde_json::from_value(document).unwrap();
    assert_eq!(back, explanation());
}
