use proptest::prelude::*;

use super::*;

/// Whether the head of `pattern`, which is not `*`, takes `symbol`, and how long that head is: by
/// the definition.
fn one(pattern: &[u8], symbol: u8) -> (bool, usize) {
    match pattern {
        [b'?', ..] => (true, 1),
        [b'\\', escaped, ..] => (*escaped == symbol, 2),
        [b'[', class @ ..] => class_takes(class, symbol),
        [plain, ..] => (*plain == symbol, 1),
        [] => (false, 0),
    }
}

fn class_takes(class: &[u8], symbol: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut hit = false;
    loop {
        match &class[at..] {
            [] => return (hit != negated, at + 1),
            [b']', ..] => return (hit != negated, at + 2),
            [b'\\', escaped, ..] => {
                hit |= *escaped == symbol;
                at += 2;
            }
            [from, b'-', to, ..] if *to != b']' => {
                hit |= (*from.min(to)..=*from.max(to)).contains(&symbol);
                at += 3;
            }
            [plain, ..] => {
                hit |= *plain == symbol;
                at += 1;
            }
        }
    }
}

/// The definition, without any cleverness.
fn reference(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|skip| reference(rest, &text[skip..])),
        _ => match text {
            [] => false,
            [symbol, tail @ ..] => {
                let (hit, length) = one(pattern, *symbol);
                hit && reference(&pattern[length..], tail)
            }
        },
    }
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    Glob::new(pattern).unwrap().matches(text)
}

#[test]
fn redis_patterns() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("h?llo", "hello", true),
        ("h[ae]llo", "hallo", true),
        ("h[^e]llo", "hello", false),
        ("h[a-b]llo", "hbllo", true),
        ("h[b-a]llo", "hallo", true),
        ("user:*:x", "user:1:2:x", true),
        ("user:*:x", "user:1:2:y", false),
        (r"a\*", "a*", true),
        (r"a\*", "ab", false),
        ("a[", "a", false),
        ("[abc", "b", true),
        (r"[\]]", "]", true),
        ("a", "", false),
        ("", "a", false),
    ] {
        assert_eq!(
            matches(pattern.as_bytes(), text.as_bytes()),
            expected,
            "{pattern} {text}"
        );
    }
}

#[test]
fn a_pattern_costs_one_step_for_each_byte_of_the_text() {
    let (pattern, text) = (
        format!("*{}b", "a".repeat(PATTERN_BYTES_MAX - 2)),
        vec![b'a'; 64 * 1024],
    );
    let glob = Glob::new(pattern.as_bytes()).unwrap();
    assert!(!glob.matches(&text) && glob.matches(&[&text[..], b"b"].concat()));
    assert!(glob.steps(&text) <= text.len() * 17, "64 symbols in a word");
    assert!(
        matches("*a".repeat(512).as_bytes(), &[b'a'; 512])
            && !matches("*a".repeat(512).as_bytes(), &[b'a'; 511])
    );
}

#[test]
fn a_pattern_beyond_the_bound_is_refused() {
    let refused = Glob::new(&[b'*'; PATTERN_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(
        refused,
        Refused::PatternTooLong {
            bytes: PATTERN_BYTES_MAX + 1,
            max: PATTERN_BYTES_MAX
        }
    );
}

proptest! {
    /// Ranges over all bytes, across the words of the set.
    #[test]
    fn a_class_is_the_set_of_what_it_takes(
        class in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'-'), Just(b'^')],
            0..12,
        ),
    ) {
        let pattern = [b"[", &class[..]].concat();
        let (set, length) = head(&pattern);
        let mut takes = Vec::new();
        set.each(|byte| takes.push(byte));
        let taken = (0..=u8::MAX).filter(|byte| one(&pattern, *byte).0);
        let expected: Vec<usize> = taken.map(usize::from).collect();
        prop_assert_eq!((takes, length), (expected, one(&pattern, 0).1));
    }

    #[test]
    fn same_as_the_definition(pattern in r"[ab*?\[\]^\\-]{0,8}", text in "[ab*]{0,8}") {
        let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
        prop_assert_eq!(matches(pattern, text), reference(pattern, text));
    }

    /// Where a place of the pattern lies in the second word and beyond.
    #[test]
    fn same_as_the_definition_over_word_bounds(head in 55usize..140, tail in "[ab*?]{0,6}", text in "[ab]{0,6}") {
        let (pattern, text) = (format!("{}{tail}", "a".repeat(head)), format!("{}{text}", "a".repeat(head)));
        let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
        prop_assert_eq!(matches(pattern, text), reference(pattern, text));
    }
}
