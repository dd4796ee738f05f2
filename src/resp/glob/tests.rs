use proptest::prelude::*;

use super::*;

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
        assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
    }
}

#[test]
fn a_pattern_costs_one_step_for_each_byte_of_the_text() {
    let (pattern, text) = (format!("*{}b", "a".repeat(PATTERN_BYTES_MAX - 2)), vec![b'a'; 64 * 1024]);
    let glob = Glob::new(pattern.as_bytes()).unwrap();
    assert!(!glob.matches(&text) && glob.matches(&[&text[..], b"b"].concat()));
    assert!(glob.steps(&text) <= text.len() * 17, "64 symbols in a word");
    assert!(matches("*a".repeat(512).as_bytes(), &[b'a'; 512]) && !matches("*a".repeat(512).as_bytes(), &[b'a'; 511]));
}

#[test]
fn a_pattern_beyond_the_bound_is_refused() {
    let refused = Glob::new(&[b'*'; PATTERN_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(refused, Refused::PatternTooLong { bytes: PATTERN_BYTES_MAX + 1, max: PATTERN_BYTES_MAX });
}

proptest! {
    #[test]
    fn same_as_the_definition(pattern in r"[ab*?\[\]^\\-]{0,8}", text in "[ab*]{0,8}") {
        prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), reference(pattern.as_bytes(), text.as_bytes()));
    }

    /// Where a place of the pattern lies in the second word and beyond.
    #[test]
    fn same_as_the_definition_over_word_bounds(head in 55usize..140, tail in "[ab*?]{0,6}", text in "[ab]{0,6}") {
        let (pattern, text) = (format!("{}{tail}", "a".repeat(head)), format!("{}{text}", "a".repeat(head)));
        prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), reference(pattern.as_bytes(), text.as_bytes()));
    }
}
