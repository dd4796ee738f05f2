use super::*;
use crate::config::parse_log_filter;

fn parse_line(line: &str) -> Result<Cli, clap::Error> {
    let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    parse(&words)
}

fn parsed(line: &str) -> Cli {
    parse_line(line).unwrap()
}

#[test]
fn the_command_line_is_consistent() {
    definition().debug_assert();
    let named = |command: &clap::Command| USED.iter().any(|(name, _)| *name == command.get_name());
    assert!(definition().get_subcommands().all(named));
    assert_eq!(definition().get_subcommands().count(), USED.len());
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
    }
}

#[test]
fn flags_without_a_meaning_are_named_and_hidden() {
    for (line, flag) in [
        ("quorate status --consistency ONE", "--consistency has"),
        ("quorate get k --http a:1", "--http has"),
        ("quorate bench --resp a:1", "--resp has"),
        ("quorate start --output json", "--output has"),
        ("quorate keyspace list --resp a:1", "--resp has"),
    ] {
        let refused = parse_line(line).unwrap_err().to_string();
        assert!(refused.contains(flag), "{refused}");
    }
    parsed("quorate put k v --consistency R=2,W=2 --timeout 50ms --output json");
    for (line, shown, hidden) in [
        ("quorate get --help", "--consistency", "--http"),
        ("quorate keyspace create --help", "--http", "--resp"),
        ("quorate check --help", "--output", "--password"),
    ] {
        let help = parse_line(line).unwrap_err().to_string();
        assert!(help.contains(shown) && !help.contains(hidden), "{help}");
    }
}

#[test]
fn variables_stand_in_for_flags() {
    let environment = |name: &str| {
        let value = match name {
            "QUORATE_HTTP" => "a:1",
            "QUORATE_RESP" => "",
            "QUORATE_CONSISTENCY" => "quorum",
            "QUORATE_TIMEOUT" => "2s",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let globals = |line: &str| parsed(line).globals.with_environment(environment).unwrap();
    let found = globals("quorate get k --consistency ONE");
    assert_eq!(found.http.as_deref(), Some("a:1"));
    assert_eq!(found.resp, None, "an empty one is none");
    assert_eq!(
        (found.consistency, found.timeout),
        (
            Some(quorate_dynamo::Consistency::One),
            Some(std::time::Duration::from_secs(2))
        )
    );
    for name in ["QUORATE_CONSISTENCY", "QUORATE_TIMEOUT"] {
        let wrong = |asked: &str| (asked == name).then(|| "many".to_owned());
        let refused = parsed("quorate get k").globals.with_environment(wrong);
        let refused = refused.unwrap_err();
        assert!(refused.explain().starts_with(name), "{}", refused.explain());
        assert_eq!(refused.exit_code(), ExitCode::from(2));
    }
}

#[test]
fn a_word_that_is_no_level_does_not_switch_the_log_off() {
    for text in ["info", "warn,quorate=debug", "OFF", "quorate=trace"] {
        assert!(parse_log_filter(text).is_some(), "{text}");
    }
    for text in ["verbose", "quorate", "quorate=loud"] {
        assert!(parse_log_filter(text).is_none(), "{text}");
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
