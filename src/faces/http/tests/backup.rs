use std::collections::BTreeMap;

use quorate_control::topology::Role;
use quorate_dynamo::op::PartitionOp;
use quorate_dynamo::saved::{PageEnd, SavedKey, SavedName, SavedRegister, SavedRow};

use super::*;
use crate::doors::backup::{BackupPage, Inventory, encode_end};
use crate::password;

static LONG: [u8; 700_000] = [b'x'; 700_000];

fn row(name: SavedName, value: &'static [u8]) -> SavedRow {
    SavedRow {
        name,
        registers: vec![SavedRegister {
            hlc: quorate_crdt::Hlc::default(),
            value: Bytes::from_static(value),
            expires: None,
        }],
        count: None,
    }
}

fn page(rows: Vec<SavedRow>) -> BackupPage {
    let key = SavedKey {
        key: "k".into(),
        expiry: None,
        rows,
    };
    BackupPage {
        keys: vec![key],
        next: None,
    }
}

#[tokio::test]
async fn a_partition_is_saved_page_by_page() {
    let server = start(None, true).await;
    let path = "/v1/backup/default/1?timeout=7s";
    let first = server.call("POST", path, "", b"").await;
    assert_eq!(first.status, 200);
    let end = PageEnd {
        key: "k".into(),
        row: None,
    };
    let first = BackupPage::decode(&first.body).unwrap();
    assert_eq!((first.keys.len(), &first.next), (1, &Some(end.clone())));
    let path = "/v1/backup/default/1?consistency=ALL";
    let last = server.call("POST", path, "", &encode_end(&end)).await;
    assert_eq!(BackupPage::decode(&last.body).unwrap().next, None);
    let asked = server.fake.asked.lock().unwrap().clone();
    let levels: Vec<_> = asked.iter().map(|request| request.consistency).collect();
    assert_eq!(levels, [Some(Consistency::Quorum), Some(Consistency::All)]);
    assert_eq!(asked[0].timeout, Duration::from_secs(7));
    let after = |request: &Request| match &request.op {
        Op::Partition(partition, PartitionOp::Save { after, .. }) => (partition.0, after.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        asked.iter().map(after).collect::<Vec<_>>(),
        [(1, None), (1, Some(end))]
    );
}

#[tokio::test]
async fn what_is_no_page_and_no_place_is_refused_before_the_node_is_asked() {
    let server = start(None, true).await;
    let good = page(vec![row(SavedName::String, b"v")]).encode();
    let mut changed = good.clone();
    changed[12] ^= 1;
    let archive = "0".repeat(31) + "7";
    let restore = format!("/v1/restore/default?archive={archive}");
    for (path, body, status, code) in [
        ("/v1/backup/default/2", &b""[..], 400, "bad_parameter"),
        ("/v1/backup/default/-1", b"", 400, "bad_parameter"),
        (
            "/v1/backup/default/0",
            b"\xff\xff\xff\xff",
            400,
            "bad_parameter",
        ),
        ("/v1/backup/none/0", b"", 404, "no_keyspace"),
        (
            "/v1/backup/default/0?consistency=MOST",
            b"",
            400,
            "bad_parameter",
        ),
        ("/v1/restore/default", &good, 400, "bad_parameter"),
        (
            "/v1/restore/default?archive=zz",
            &good,
            400,
            "bad_parameter",
        ),
        ("/v1/restore/none?archive=7", &good, 404, "no_keyspace"),
        (&restore, &changed, 400, "bad_page"),
        (&restore, &good[..good.len() - 1], 400, "bad_page"),
        (&restore, b"", 400, "bad_page"),
        ("/v1/restore", b"{}", 400, "bad_document"),
        ("/v1/restore", b"\xff", 400, "bad_document"),
    ] {
        let answer = server.call("POST", path, "", body).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.document()["code"], code, "{path}");
        assert_eq!(answer.document()["may_be_applied"], false, "{path}");
    }
    assert!(server.fake.asked.lock().unwrap().is_empty());
    assert!(server.fake.done.lock().unwrap().is_empty());
}

/// A long key travels in several changes, in order; a row is never divided.
#[tokio::test]
async fn a_page_is_restored_in_changes_of_bounded_length() {
    let server = start(None, true).await;
    let name = |number: usize| SavedName::Field(Bytes::from(format!("f{number}")));
    let rows = (0..5).map(|number| row(name(number), &LONG)).collect();
    let body = page(rows).encode();
    let path = "/v1/restore/default?archive=7&consistency=LOCAL_QUORUM";
    let answer = server.call("POST", path, "", &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.document(),
        serde_json::json!({ "restored": 5, "kept": 0 })
    );
    let asked = server.fake.asked.lock().unwrap().clone();
    let fields = |request: &Request| match &request.op {
        Op::Mutate(
            key,
            Mutation::Restore {
                archive: 7, rows, ..
            },
        ) if key == "k" => rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let restored: Vec<_> = asked.iter().flat_map(fields).collect();
    assert_eq!(restored, (0..5).map(name).collect::<Vec<_>>());
    assert_eq!(asked.len(), 5, "two rows are more than a change has");
    let level = Some(Consistency::LocalQuorum);
    assert!(asked.iter().all(|request| request.consistency == level));
}

#[tokio::test]
async fn a_page_that_fails_halfway_may_be_applied() {
    let server = start(None, true).await;
    let mut page = page(vec![row(SavedName::String, b"v")]);
    let mut late = page.keys[0].clone();
    late.key = "late".into();
    page.keys.push(late);
    let path = "/v1/restore/default?archive=7";
    let answer = server.call("POST", path, "", &page.encode()).await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.document()["may_be_applied"], true);
}

#[tokio::test]
async fn keyspaces_and_users_that_are_not_there_are_made() {
    let server = start(None, true).await;
    let user = User {
        since: Epoch(1),
        password: password::hash(b"correct horse", [1; 16]).unwrap(),
        everywhere: Some(Role::Admin),
        keyspaces: BTreeMap::from([(KeyspaceId(0), Role::Read)]),
    };
    let users = || server.fake.users.lock().unwrap();
    users().insert("root".into(), user.clone());
    let path = "/v1/backup";
    let refused = server.get(path).await;
    assert_eq!(
        refused.status, 401,
        "an inventory has the hashes of passwords"
    );
    let admin = format!(
        "Authorization: Basic {}\r\n",
        STANDARD.encode("root:correct horse")
    );
    let answer = server.call("GET", path, &admin, b"").await;
    let mut inventory: Inventory = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        inventory.users[0].password.hash(),
        Some(user.password.clone())
    );
    assert_eq!(inventory.keyspaces[0].partitions, 2);
    inventory.keyspaces[0].name = "carts".to_owned();
    let mut reader = inventory.users[0].clone();
    reader.name = "reader".to_owned();
    reader.everywhere = None;
    let mut other = inventory.users[0].clone();
    other.name = "other".to_owned();
    inventory.users.insert(0, reader);
    inventory.users.push(other);
    users().insert(
        "other".into(),
        User {
            password: password::hash(b"another horse", [2; 16]).unwrap(),
            ..user
        },
    );
    let body = serde_json::to_vec(&inventory).unwrap();
    let answer = server.call("POST", "/v1/restore", &admin, &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.document(),
        serde_json::json!({
            "keyspaces_made": ["carts"],
            "keyspaces_auto": [],
            "keyspaces_kept": [],
            "users_made": ["reader"],
            "users_kept": ["root", "other"],
        })
    );
    let done = server.fake.done.lock().unwrap().join("\n");
    assert!(
        !done.contains("other"),
        "another password: another user\n{done}"
    );
    assert!(
        done.contains("reader Admit") && done.contains("reader Grant"),
        "{done}"
    );
    assert!(
        done.contains("root Grant"),
        "a restore may have been cut off\n{done}"
    );
}
