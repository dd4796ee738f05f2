//! Runs the cases of `tests/check`: hand-written histories, each with its verdict.

use std::path::Path;

use serde_json::Value;

use super::*;

/// A case starts with `== name | model option… => verdict`. Its lines are `begin-end process f key
/// value [LEVEL] [@node] [#session] [terms] [fail|info]`; without an end the operation stays open.
/// `at nemesis f node` is a fault.
struct Case<'t> {
    name: &'t str,
    model: Model,
    options: Options,
    verdict: &'t str,
    events: Vec<Event>,
}

fn cases(text: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(header) = line.strip_prefix("== ") {
            let (name, rest) = header
                .split_once(" | ")
                .unwrap_or_else(|| panic!("{line}: no model"));
            let (how, verdict) = rest
                .split_once(" => ")
                .unwrap_or_else(|| panic!("{line}: no verdict"));
            let mut words = how.split(' ');
            let model = words.next().unwrap();
            let model = Model::ALL
                .into_iter()
                .find(|known| known.to_string() == model)
                .unwrap_or_else(|| panic!("{line}: which model?"));
            let mut options = Options {
                least: Least::NOTHING,
                ..Options::default()
            };
            for option in words {
                match option
                    .split_once('=')
                    .map_or((option, 0), |(name, number)| {
                        (name, number.parse().unwrap())
                    }) {
                    ("linearizable", _) => options.linearizable = true,
                    ("skew", nanoseconds) => options.skew = nanoseconds as u64,
                    ("operations", least) => options.least.operations = least,
                    ("overlaps", least) => options.least.overlaps = least,
                    ("faults", least) => options.least.faults = least,
                    _ => panic!("{line}: {option}?"),
                }
            }
            cases.push(Case {
                name,
                model,
                options,
                verdict,
                events: Vec::new(),
            });
        } else {
            cases
                .last_mut()
                .expect("a header comes first")
                .events
                .extend(events(line));
        }
    }
    for case in &mut cases {
        case.events.sort_by_key(|event| event.time);
        (0..)
            .zip(&mut case.events)
            .for_each(|(index, event)| event.index = index);
    }
    cases
}

fn events(line: &str) -> Vec<Event> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (begin, end) = words[0].split_once('-').unwrap_or((words[0], ""));
    let mut history = History::default();
    if words[1] == "nemesis" {
        history.fault(
            words[2],
            words.get(3).copied(),
            Value::Null,
            begin.parse().unwrap(),
        );
        return history.events().to_vec();
    }
    let process = words[1].strip_prefix('p').unwrap().parse().unwrap();
    let value = if words[4] == "-" {
        Value::Null
    } else {
        serde_json::from_str(words[4]).unwrap_or_else(|error| panic!("{line}: {error}"))
    };
    let (key, field) = words[3]
        .split_once('/')
        .map_or((words[3], None), |(key, field)| (key, Some(field.into())));
    let f = Action::from(Box::from(words[2]));
    let answered = f.is_read() || f == Action::Acquire;
    let asked = if answered { Value::Null } else { value.clone() };
    let mut call = Call {
        field,
        ..Call::new(process, f, key, asked)
    };
    let (mut outcome, mut session) = ("ok", None);
    let mut answer = if answered {
        value.clone()
    } else {
        Value::Bool(true)
    };
    for word in &words[5..] {
        match (word.strip_prefix('@'), word.strip_prefix('#')) {
            (Some(node), _) => call.node = Some(node.into()),
            (_, Some(number)) => session = Some(number.parse().unwrap()),
            _ if word.starts_with('{') => call.value = serde_json::from_str(word).unwrap(),
            _ if *word == "lost" => (outcome, answer) = ("ok", Value::Bool(false)),
            _ if word.chars().all(char::is_uppercase) => call.level = Some((*word).into()),
            _ => outcome = word,
        }
    }
    history.invoke(call, begin.parse().unwrap());
    if let Ok(end) = end.parse() {
        match outcome {
            "ok" => history.ok(process, answer, end),
            "fail" => history.fail(process, "NOTQUORATE", end),
            _ => history.info(process, "TIMEOUT", end),
        }
    }
    let mut events = history.events().to_vec();
    for event in &mut events {
        event.session = session;
    }
    events
}

fn verdict(case: &Case<'_>) -> String {
    match check(&case.events, case.model, &case.options) {
        Ok(report) => match &report.counterexample {
            None => "ok".to_owned(),
            Some(found) => serde_json::to_value(found.rule)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned(),
        },
        Err(unusable) => unusable.to_string(),
    }
}

fn every_case(file: &str) {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/check")
            .join(file),
    )
    .unwrap();
    let cases = cases(&text);
    assert!(
        cases.iter().any(|case| case.verdict == "ok")
            && cases.iter().any(|case| case.verdict != "ok")
    );
    for case in cases {
        assert_eq!(verdict(&case), case.verdict, "{}", case.name);
        if let Ok(Report {
            counterexample: Some(found),
            ..
        }) = check(&case.events, case.model, &case.options)
        {
            // What is shown must be enough to see the violation: it is a counterexample by itself.
            let shown = if matches!(case.model, Model::Set | Model::Hash) {
                of_one_element(&found)
            } else {
                found.history.clone()
            };
            if (case.model, found.rule) == (Model::Counter, Rule::Turned) {
                // Two reads show it. To show that they were sums would take every term.
                continue;
            }
            let again = check(
                &shown,
                case.model,
                &Options {
                    least: Least::NOTHING,
                    ..case.options
                },
            );
            let again = again
                .unwrap()
                .counterexample
                .unwrap_or_else(|| panic!("{}: {found:?}", case.name));
            assert_eq!(again.rule, found.rule, "{}", case.name);
            assert!(
                found
                    .history
                    .windows(2)
                    .all(|two| two[0].index < two[1].index)
            );
        }
    }
}

/// Only what concerns the element of a set or the field of a hash in question: the reads show
/// others as well.
fn of_one_element(found: &Counterexample) -> Vec<Event> {
    let mut events = found.history.clone();
    let added: Vec<Value> = events
        .iter()
        .filter(|event| event.f == Action::Add)
        .map(|event| event.value.clone())
        .collect();
    let fields: Vec<Box<str>> = events
        .iter()
        .filter_map(|event| event.field.clone())
        .collect();
    for event in &mut events {
        if let Value::Object(whole) = &mut event.value
            && found.rule != Rule::Invented
        {
            whole.retain(|field, _| fields.iter().any(|named| **named == **field));
        }
        if let Value::Array(elements) = &mut event.value
            && found.rule != Rule::Invented
            && event.f.is_read()
        {
            elements.retain(|element| added.contains(element));
        }
    }
    events
}

#[test]
fn registers_are_judged() {
    every_case("register.txt");
}

#[test]
fn sets_are_judged() {
    every_case("set.txt");
}

#[test]
fn counters_are_judged() {
    every_case("counter.txt");
}

#[test]
fn hashes_are_judged() {
    every_case("hash.txt");
}

#[test]
fn sessions_are_judged() {
    every_case("session.txt");
}

#[test]
fn convergence_is_judged() {
    every_case("converge.txt");
}

#[test]
fn locks_are_judged() {
    every_case("lock.txt");
}

#[test]
fn linearizable_registers_are_judged() {
    every_case("linearizable.txt");
}

#[test]
fn what_shows_too_little_is_an_error() {
    every_case("too_little.txt");
}

#[test]
fn the_search_for_an_order_gives_up_instead_of_passing() {
    // Sixty writes that all overlap, and a read of none of them: every order of every subset would
    // have to be tried.
    let mut history = History::default();
    for process in 0..60 {
        history.invoke(Call::new(process, Action::Write, "k", process), process);
    }
    history.invoke(Call::new(60, Action::Read, "k", Value::Null), 60);
    history.ok(60, Value::from("another"), 61);
    let options = Options {
        linearizable: true,
        least: Least::NOTHING,
        ..Options::default()
    };
    assert_eq!(
        check(history.events(), Model::Register, &options),
        Err(Unusable::TooHard { key: "k".into() })
    );
}

/// A write and a later read of the register at this level, where the read sees nothing.
fn at_levels(level: &str) -> Result<Option<Rule>, Unusable> {
    let mut history = History::default();
    for (process, f) in [(0, Action::Write), (1, Action::Read)] {
        let value = if process == 0 {
            Value::from(1)
        } else {
            Value::Null
        };
        history.invoke(
            Call {
                level: Some(level.into()),
                ..Call::new(process, f, "k", value)
            },
            10 * process,
        );
        history.ok(process, Value::Null, 10 * process + 1);
    }
    let report = check(
        history.events(),
        Model::Register,
        &Options {
            least: Least::NOTHING,
            ..Options::default()
        },
    )?;
    Ok(report.counterexample.map(|found| found.rule))
}

#[test]
fn levels_are_read_as_the_prefix_reads_them() {
    for level in [
        "QUORUM",
        "quorum",
        "QUORUM,TIMEOUT=1s",
        "TIMEOUT=1s,QUORUM",
        "timeout=1s, all",
        "EACH_QUORUM",
        "SERIAL",
    ] {
        assert_eq!(at_levels(level), Ok(Some(Rule::Lost)), "{level}");
    }
    for level in [
        "ONE",
        "LOCAL_QUORUM",
        "TIMEOUT=1s,LOCAL_QUORUM",
        "R=2,W=2",
        "TIMEOUT=1s,W=2,R=2",
        "ANY",
        "LOCAL_SERIAL",
    ] {
        assert_eq!(at_levels(level), Ok(None), "{level}");
    }
    for level in [
        "UNKNOWN",
        "DEFAULT",
        "TIMEOUT=1s",
        "",
        "QUORUM,ALL",
        "QUORUMS",
    ] {
        assert_eq!(
            at_levels(level),
            Err(Unusable::UnknownLevel {
                line: 1,
                level: level.into()
            }),
            "{level}"
        );
    }
}

#[test]
fn what_is_recorded_is_read_again() {
    let mut history = History::default();
    history.invoke(
        Call {
            level: Some("QUORUM".into()),
            ..Call::new(3, Action::Read, "k", Value::Null)
        },
        1,
    );
    history.fault("kill", Some("b"), Value::Null, 2);
    history.ok(3, Value::from("v"), 3);
    let mut file = Vec::new();
    history.write(&mut file).unwrap();
    assert_eq!(read(&file[..]).unwrap(), history.events());
    let text = String::from_utf8(file).unwrap();
    assert_eq!(
        text.lines().nth(1),
        Some(
            r#"{"process":"nemesis","type":"info","f":"kill","value":null,"time":2,"index":1,"node":"b"}"#
        )
    );
    assert!(matches!(
        read(&b"{}"[..]),
        Err(ReadError::Line { line: 1, .. })
    ));
}

#[test]
fn the_history_in_the_documents_is_what_the_documents_say() {
    let text = include_str!("../../docs/history-format.md");
    let example = text
        .split("```json\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("the first block is a history");
    let events = read(example.as_bytes()).unwrap();
    let options = Options {
        least: Least::NOTHING,
        ..Options::default()
    };
    let found = check(&events, Model::Register, &options)
        .unwrap()
        .counterexample
        .expect("the example shows a violation");
    assert_eq!(found.rule, Rule::Lost);
    assert!(text.contains(&found.says), "{}", found.says);
    for action in [
        Action::Read,
        Action::FinalRead,
        Action::Write,
        Action::Remove,
        Action::Add,
        Action::Increment,
        Action::Cas,
    ] {
        assert!(text.contains(&format!("`{action}`")), "{action}");
    }
}
