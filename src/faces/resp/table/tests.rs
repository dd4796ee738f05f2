use std::collections::BTreeSet;

use super::spec::NAME_BYTES_MAX;
use super::*;

#[test]
fn names_are_unique_lower_case_and_found_in_any_case() {
    let names: Vec<&str> = commands()
        .all()
        .map(|(_, spec)| spec.name)
        .chain(NEEDS_SERIAL.iter().map(|(name, _)| *name))
        .chain(NOT_OFFERED.iter().map(|(name, _)| *name))
        .collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for (_, spec) in commands().all() {
        assert_eq!(spec.name, spec.name.to_lowercase());
        assert!(spec.name.len() <= NAME_BYTES_MAX);
        assert!(std::ptr::eq(
            commands()
                .find(spec.name.to_uppercase().as_bytes())
                .unwrap(),
            spec
        ));
        assert!(
            !spec.summary.is_empty() && spec.summary.ends_with('.'),
            "{}",
            spec.name
        );
    }
    assert!(
        commands().find(b"").is_none()
            && commands().find(&[b'a'; 100]).is_none()
            && commands().find(b"GETT").is_none()
    );
}

#[test]
fn every_command_and_subcommand_has_a_number_of_its_own() {
    let names: Vec<String> = commands().names().collect();
    for (number, name) in names.iter().enumerate() {
        let mut input = bytes::BytesMut::from(format!("{}\r\n", name.replace('|', " ")).as_bytes());
        let mut parser = crate::faces::resp::parse::Parser::default();
        parser.trust(true);
        let command = parser.next(&mut input).unwrap().unwrap();
        let (found, spec) = commands().resolve(command.args(0)).unwrap();
        assert_eq!(found, number, "{name}");
        assert!(name.ends_with(spec.name), "{name}");
    }
}

#[test]
fn arity_and_keys_follow_redis() {
    let spec = |name: &str| commands().find(name.as_bytes()).unwrap();
    assert!(spec("get").takes(2) && !spec("get").takes(3));
    assert!(spec("mget").takes(2) && spec("mget").takes(9) && !spec("mget").takes(1));
    let keys = |name: &str, length| spec(name).key_positions(length).collect::<Vec<_>>();
    assert_eq!(keys("get", 2), [1]);
    assert_eq!(keys("mset", 7), [1, 3, 5]);
    assert_eq!(keys("del", 4), [1, 2, 3]);
    assert!(keys("ping", 2).is_empty());
}

#[test]
fn every_command_on_data_reads_or_writes() {
    for (_, spec) in commands()
        .all()
        .filter(|(_, spec)| matches!(spec.run, Run::Data(_)))
    {
        assert_ne!(
            spec.flags.has(Flags::WRITE),
            spec.flags.has(Flags::READONLY),
            "{}",
            spec.name
        );
        assert!(
            !spec.flags.has(Flags::LOADING) && !spec.flags.has(Flags::NO_AUTH),
            "{}",
            spec.name
        );
    }
}

#[test]
fn the_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
    let page = page::render();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/commands.md is not what the table says; run with UPDATE=1"
    );
}
