use super::*;

fn parsed(line: &str) -> Cli {
    Cli::try_parse_from(line.split_whitespace()).unwrap()
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn global_flags_stand_before_and_after_the_command() {
    for line in [
        "quorate --resp a:1 --output json get k",
        "quorate get k --output json --resp a:1",
    ] {
        let cli = parsed(line);
        assert_eq!(
            (cli.globals.resp.as_deref(), cli.globals.output),
            (Some("a:1"), Output::Json),
            "{line}"
        );
        assert_eq!(cli.misplaced(), None);
    }
}

#[test]
fn flags_without_a_meaning_are_named() {
    assert_eq!(
        parsed("quorate status --consistency ONE").misplaced(),
        Some("--consistency")
    );
    assert_eq!(
        parsed("quorate get k --http a:1").misplaced(),
        Some("--http")
    );
    assert_eq!(
        parsed("quorate bench --resp a:1").misplaced(),
        Some("--resp")
    );
    assert_eq!(
        parsed("quorate start --output json").misplaced(),
        Some("--output")
    );
    assert_eq!(
        parsed("quorate put k v --consistency R=2,W=2 --timeout 50ms --output json").misplaced(),
        None
    );
}

#[test]
fn a_word_that_is_no_level_does_not_switch_the_log_off() {
    for text in ["info", "warn,quorate=debug", "OFF", "quorate=trace"] {
        assert!(logs::targets(text).is_some(), "{text}");
    }
    for text in ["verbose", "quorate", "quorate=loud"] {
        assert!(logs::targets(text).is_none(), "{text}");
    }
}

#[test]
fn what_a_cause_only_repeats_is_said_once() {
    let refused =
        quorate_gossip::quic::JoinError::Refused(quorate_gossip::transport::JoinRefusal::NameTaken);
    let said = Failure::Start(refused.into()).explain();
    assert_eq!(
        said.matches("another member has this name").count(),
        1,
        "{said}"
    );
}

#[test]
fn one_unknown_outcome_among_many_is_an_unknown_outcome() {
    let refused = |text: &str| {
        Failure::Refused(crate::faces::resp::client::Refusal {
            text: text.to_owned(),
        })
    };
    let code = |failure: &Failure| failure.exit_code();
    let several = "OVERLOADED the node has too much to do; 11 of 41 keys were applied, 29 may have been applied, 1 was not";
    assert_eq!(code(&refused(several)), ExitCode::from(4));
    assert_eq!(
        code(&refused(
            "STOPPING the node is stopping; the write may have been applied"
        )),
        ExitCode::from(4)
    );
    assert_eq!(
        code(&refused(
            "OVERLOADED the node has too much to do; 2 of 3 keys were applied, 1 was not"
        )),
        ExitCode::from(1)
    );
    let second = Failure::OfSeveral {
        cause: Box::new(refused("NOTQUORATE ONE needs 1 replicas, 0 can be reached")),
        at: 2,
        keys: 3,
    };
    assert_eq!(code(&second), ExitCode::from(3));
    assert!(second.explain().ends_with(
        "; this was key 2 of 3: the keys before it were applied, the keys after it were not tried"
    ));
}
