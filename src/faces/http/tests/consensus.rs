use super::*;
use crate::doors::{GroupView, LogEntryView, QuorumView};

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
