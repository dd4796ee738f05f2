use super::*;

fn voter(node: &str, term: u64, follows: Option<&str>) -> VoterView {
    VoterView {
        node: node.to_owned(),
        term,
        follows: follows.map(str::to_owned),
        last_log: 9,
        applied: 9,
        distrusted: false,
        differs: None,
    }
}

/// Three voters, of which the first `answer` answer and follow c.
fn view(answer: usize) -> QuorumView {
    let voters = ["a", "b", "c"].map(str::to_owned);
    let said = voters.iter().take(answer);
    let said = said.map(|node| voter(node, 7, Some("c"))).collect();
    QuorumView::new("topology".to_owned(), voters.to_vec(), said)
}

#[test]
fn a_majority_of_the_voters_is_needed_and_the_others_may_fail() {
    for (answer, quorate, spare) in [(3, true, 1), (2, true, 0), (1, false, 0), (0, false, 0)] {
        let view = view(answer);
        assert_eq!((view.quorate, view.spare), (quorate, spare), "{answer}");
        assert_eq!((view.needed, view.voters.len()), (2, 3));
    }
    // Of the two that are left, both are needed, and one of them does not answer.
    assert!(!view(2).without("a").quorate);
    assert!(view(2).without("c").quorate);
    assert!(
        !QuorumView::new(String::new(), vec![], vec![]).quorate,
        "nobody votes"
    );
}

#[test]
fn a_leader_that_was_cut_off_is_not_taken_for_one() {
    let voters = ["a", "b", "c"].map(str::to_owned).to_vec();
    let leader = |said| QuorumView::new("g".to_owned(), voters.clone(), said).leader;
    let (old, new) = (voter("a", 7, Some("a")), voter("b", 8, Some("b")));
    assert_eq!(leader(vec![old.clone()]), None, "alone it leads nobody");
    assert_eq!(leader(vec![old.clone(), new.clone()]), None, "one of three");
    let both = vec![old, new, voter("c", 8, Some("b"))];
    assert_eq!(leader(both), Some("b".to_owned()));
    let electing = vec![voter("b", 9, None), voter("c", 9, None)];
    assert_eq!(leader(electing), None);
}
