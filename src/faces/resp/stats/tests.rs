use super::*;
use crate::faces::resp::parse::Parser;

fn words(text: &str) -> Vec<Bytes> {
    let mut input = bytes::BytesMut::from(format!("{text}\r\n").as_bytes());
    let mut parser = Parser::default();
    parser.trust(true);
    let command = parser.next(&mut input).unwrap().unwrap();
    SlowLog::shortened(command.args(0))
}

fn entry(words: Vec<Bytes>) -> SlowEntry {
    SlowEntry {
        number: 0,
        at: 1,
        micros: 2,
        words,
        client: "127.0.0.1:1".parse().unwrap(),
        name: String::new(),
    }
}

#[test]
fn what_a_command_takes_in_the_log_is_bounded() {
    assert_eq!(words("SET k v"), ["SET", "k", "v"]);
    let long = words(&format!("SET k {}", "x".repeat(1000)));
    let shown = format!("{}... (872 more bytes)", "x".repeat(128));
    assert_eq!(long, ["SET", "k", &shown]);
    assert_eq!(words(&"a ".repeat(32)).len(), 32);
    let many = words(&"a ".repeat(100));
    assert_eq!(many.len(), 32);
    assert_eq!(many[31], "... (69 more arguments)");
}

#[test]
fn the_latest_stay_and_numbers_are_not_used_again() {
    let log = SlowLog::beyond(Duration::from_millis(10));
    log.set_most(3);
    for _ in 0..5 {
        log.add(entry(Vec::new()));
    }
    let numbers = |log: &SlowLog| {
        let latest = log.latest(10).into_iter();
        latest.map(|entry| entry.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&log), [4, 3, 2]);
    assert_eq!(log.latest(1).len(), 1);
    log.clear();
    log.add(entry(Vec::new()));
    assert_eq!(numbers(&log), [5]);
    log.set_most(0);
    assert_eq!(log.len(), 0);
    log.set_most(usize::MAX);
    assert_eq!(log.most(), SlowLog::ENTRIES_MAX);
}

#[test]
fn a_negative_bound_logs_nothing_and_zero_everything() {
    let log = SlowLog::beyond(Duration::from_millis(10));
    assert!(!log.takes(Duration::from_micros(9_999)) && log.takes(Duration::from_millis(10)));
    log.set_bound(-1);
    assert!(!log.takes(Duration::from_secs(100)));
    log.set_bound(0);
    assert!(log.takes(Duration::ZERO));
}

#[test]
fn a_second_counts_once_it_is_over() {
    let mut rate = Rate::new();
    for _ in 0..7 {
        rate.add();
    }
    assert_eq!(rate.last(), 0);
    rate.start -= Duration::from_secs(1);
    assert_eq!(rate.last(), 7);
    rate.add();
    assert_eq!(rate.last(), 7);
    rate.start -= Duration::from_secs(1);
    assert_eq!(rate.last(), 1);
    rate.start -= Duration::from_secs(5);
    assert_eq!(rate.last(), 0);
}
