use super::*;
use crate::doors::{GroupView, LogEntryView, QuorumView, StateView};

/// A group that nobody but `b` may lead, with a snapshot up to entry 9.
pub(super) struct FakeGroup;

impl GroupDoor for FakeGroup {
    fn view(&self) -> GroupView {
        GroupView {
            group: "topology".to_owned(),
            term: 7,
            ..GroupView::default()
        }
    }

    fn state(&self) -> StateView {
        StateView {
            applied: 9,
            ..StateView::default()
        }
    }

    fn quorum(&self) -> Pending<QuorumView> {
        now(QuorumView::new(
            "topology".to_owned(),
            vec!["b".to_owned()],
            vec![],
        ))
    }

    fn log(&self, entries: u64) -> Result<Vec<LogEntryView>, AdminError> {
        let entry = |index| LogEntryView {
            index,
            term: 7,
            what: "a leader takes office".to_owned(),
        };
        Ok((1..=entries).map(entry).collect())
    }

    fn hand_over(&self, to: Option<&str>, _: Duration) -> Pending<Result<String, AdminError>> {
        now(match to {
            None | Some("b") => Ok("b".to_owned()),
            Some(other) => Err(AdminError::NotAVoter(other.into())),
        })
    }

    fn elect(&self, _: Duration) -> Pending<Result<String, AdminError>> {
        now(Err(AdminError::NoQuorum))
    }

    fn snapshot(&self, _: Duration) -> Pending<Result<u64, AdminError>> {
        now(Ok(9))
    }

    fn compact(&self, before: u64, _: Duration) -> Pending<Result<u64, AdminError>> {
        now(if before <= 10 {
            Ok(before)
        } else {
            Err(AdminError::NotInSnapshot {
                before,
                reaches: 10,
            })
        })
    }
}

#[tokio::test]
async fn a_group_is_looked_at_and_told_what_to_do() {
    let server = start(None, true).await;
    let asked = async |method: &str, path: &str, body: &str| {
        let path = format!("/v1/consensus/{path}");
        let answer = server.call(method, &path, "", body.as_bytes()).await;
        (answer.status, answer.document())
    };
    let (status, view) = asked("GET", "topology", "").await;
    assert_eq!((status, &view["term"]), (200, &7.into()));
    let (status, quorum) = asked("GET", "topology/quorum", "").await;
    assert_eq!((status, &quorum["quorate"]), (200, &false.into()));
    let (status, state) = asked("GET", "topology/state", "").await;
    assert_eq!((status, &state["applied"]), (200, &9.into()));
    let (_, log) = asked("GET", "topology/log?tail=3", "").await;
    assert_eq!(log["entries"].as_array().unwrap().len(), 3);
    for (path, body, status, word) in [
        ("topology/leader", r#"{"to":"b"}"#, 200, r#""leader":"b""#),
        ("topology/leader", "", 200, r#""leader":"b""#),
        ("topology/leader", r#"{"to":"c"}"#, 409, "not_a_voter"),
        ("topology/leader", r#"{"from":"c"}"#, 400, "bad_document"),
        ("topology/election?reason=test", "", 503, "not_quorate"),
        ("topology/snapshot", "", 200, r#""snapshot":9"#),
        (
            "topology/compact",
            r#"{"before":10}"#,
            200,
            r#""first_log":10"#,
        ),
        (
            "topology/compact",
            r#"{"before":11}"#,
            409,
            "not_in_snapshot",
        ),
        ("topology/compact", "", 400, "bad_document"),
        ("none/snapshot", "", 404, "no_group"),
    ] {
        let (found, document) = asked("POST", path, body).await;
        assert_eq!(found, status, "{path} {body}");
        assert!(
            document.to_string().contains(word),
            "{path} {body}: {document}"
        );
    }
    assert_eq!(asked("GET", "topology/log?tail=x", "").await.0, 400);
    assert_eq!(asked("GET", "none", "").await.0, 404);
}

#[tokio::test]
async fn the_coordination_group_is_saved_and_restored() {
    let server = start(None, true).await;
    let path = "/v1/consensus/coordination/archive";
    let call =
        async |method: &str, path: &str, body: &[u8]| server.call(method, path, "", body).await;
    let lock = br#"{"ttl_ms":60000,"holder":"ann"}"#;
    assert_eq!(call("POST", "/v1/locks/k", lock).await.status, 200);
    let saved = call("GET", path, b"").await;
    assert_eq!(saved.status, 200);
    let value = call("PUT", "/v1/metadata/m", b"later").await;
    let later = value.document()["revision"].as_u64().unwrap();
    let restored = call("POST", path, &saved.body).await;
    assert_eq!(restored.status, 200, "{}", restored.document());
    assert!(restored.document()["tokens_above"].as_u64().unwrap() > later);
    assert_eq!(call("GET", "/v1/metadata/m", b"").await.status, 404);
    let locks = server.get("/v1/locks?held_by=ann").await.document();
    assert_eq!(locks["locks"][0]["key"], "k");
    let mut foreign = saved.body.clone();
    foreign.truncate(foreign.len() - 16);
    foreign[5] ^= 1;
    let sum = xxhash_rust::xxh3::xxh3_128(&foreign);
    foreign.extend_from_slice(&sum.to_le_bytes());
    for (path, body, status, code) in [
        (path, &saved.body[..40], 400, "bad_archive"),
        (path, &b""[..], 400, "bad_archive"),
        (path, &foreign[..], 400, "foreign_archive"),
        (
            "/v1/consensus/topology/archive",
            &b""[..],
            409,
            "not_archived",
        ),
        ("/v1/consensus/none/archive", &b""[..], 404, "no_group"),
    ] {
        let refused = call("POST", path, body).await;
        assert_eq!(
            (refused.status, &refused.document()["code"]),
            (status, &code.into())
        );
    }
    let taken = format!("{path}?foreign=true");
    assert_eq!(call("POST", &taken, &foreign).await.status, 200);
}
