use bytes::Bytes;

use super::*;

const INFO: &str = "# Keyspaces\r\nkeyspace0:name=default,partitions=64,read=LOCAL_QUORUM,write=LOCAL_QUORUM\r\n\
                    keyspace2:name=carts,partitions=4,read=ONE,write=R=1,W=2\r\n\
                    keyspace5:name=db1,partitions=64,read=TWO,write=ALL\r\n";

fn pair(read: &str, write: &str) -> Pair {
    Pair {
        read: read.into(),
        write: write.into(),
    }
}

#[test]
fn what_names_no_level_is_recorded_with_the_one_it_has() {
    assert_eq!(
        of_keyspace(INFO, None),
        Some(pair("LOCAL_QUORUM", "LOCAL_QUORUM"))
    );
    assert_eq!(of_keyspace(INFO, Some("0")), of_keyspace(INFO, None));
    assert_eq!(
        of_keyspace(INFO, Some("carts")),
        Some(pair("ONE", "R=1,W=2"))
    );
    assert_eq!(of_keyspace(INFO, Some("1")), Some(pair("TWO", "ALL")));
    for none in ["none", "2", "db2"] {
        assert_eq!(of_keyspace(INFO, Some(none)), None);
    }
    assert_eq!(
        of_keyspace("# Keyspace\r\ndb0:keys=1,expires=0\r\n", None),
        None,
        "another server's"
    );
    let reply = |specs: [&str; 2]| {
        let words = ["read", specs[0], "write", specs[1]];
        Value::Array(
            words
                .iter()
                .map(|word| Value::Bulk(Bytes::copy_from_slice(word.as_bytes())))
                .collect(),
        )
    };
    let keyspace = pair("LOCAL_QUORUM", "ALL");
    let session = of_session(
        &reply(["DEFAULT,TIMEOUT=2000ms", "R=2,W=1,TIMEOUT=50ms"]),
        &keyspace,
    )
    .unwrap();
    assert_eq!(session, pair("LOCAL_QUORUM", "R=2,W=1"));
    assert_eq!(of_session(&Value::Nil, &keyspace), None);

    let levels = Levels { session, keyspace };
    for (asked, read, write) in [
        (None, "LOCAL_QUORUM", "R=2,W=1"),
        (Some("TIMEOUT=1s"), "LOCAL_QUORUM", "R=2,W=1"),
        (Some("timeout=1s,default"), "LOCAL_QUORUM", "ALL"),
        (
            Some("TIMEOUT=1s,QUORUM"),
            "TIMEOUT=1s,QUORUM",
            "TIMEOUT=1s,QUORUM",
        ),
        (Some("ONE"), "ONE", "ONE"),
    ] {
        assert_eq!(
            (
                &*levels.effective(asked, true),
                &*levels.effective(asked, false)
            ),
            (read, write),
            "{asked:?}"
        );
    }
}
