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
fn many_stars_take_no_exponential_time() {
    assert!(!matches("*a".repeat(200).as_bytes(), &[b'a'; 199]));
    assert!(!matches(format!("{}b", "a*".repeat(2000)).as_bytes(), &[b'a'; 5000]));
}

proptest! {
    #[test]
    fn same_as_the_definition(pattern in r"[ab*?\[\]^\\-]{0,8}", text in "[ab*]{0,8}") {
        prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), reference(pattern.as_bytes(), text.as_bytes()));
    }
}
