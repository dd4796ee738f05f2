//! Just enough of Rust's lexical grammar to tell code from comments and literals.

/// `text` with comments blanked out and the contents of literals overwritten by `"`.
///
/// Every byte keeps its place and every line break stays, so that a position in the result is a
/// position in `text`.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(bytes, at);
        match bytes[at] {
            b'/' if end > at + 1 => erase(&mut out[at..end], b' '),
            _ if end > at + 1 && is_literal(bytes, at) => erase(&mut out[at..end], b'"'),
            _ => {}
        }
        at = end;
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// `code` (from [`code_only`]) with every item under `#[cfg(test)]` blanked out, and the modules
/// among them that live in files.
pub(crate) fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut out = code.as_bytes().to_vec();
    let mut modules = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(") {
        let start = from + found;
        let condition_end = code[start..]
            .find(']')
            .map_or(code.len(), |n| start + n + 1);
        let condition = &code[start..condition_end];
        from = condition_end;
        if !condition.contains("(test)") && !condition.contains("(test,") {
            continue;
        }
        let end = item_end(code.as_bytes(), condition_end);
        let item = code[condition_end..end].trim();
        if let Some(name) = item
            .strip_suffix(';')
            .and_then(|item| item.rsplit_once("mod "))
        {
            modules.push(name.1.trim().to_owned());
        }
        erase(&mut out[start..end], b' ');
        from = end;
    }
    (
        String::from_utf8(out).unwrap_or_else(|_| code.to_owned()),
        modules,
    )
}

/// Where the block that opens at or after `from` closes (behind its brace), or the statement ends
/// (behind its semicolon).
pub(crate) fn item_end(code: &[u8], from: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth -= 1;
                if depth == 0 && *byte == b'}' {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

fn erase(bytes: &mut [u8], with: u8) {
    bytes
        .iter_mut()
        .filter(|byte| **byte != b'\n')
        .for_each(|byte| *byte = with);
}

fn is_literal(bytes: &[u8], at: usize) -> bool {
    matches!(bytes[at], b'"' | b'\'')
        || (matches!(bytes[at], b'r' | b'b' | b'c') && literal_start(bytes, at).is_some())
}

/// Behind the comment, literal, word or single byte that begins at `at`.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |n| at + n);
    }
    if rest.starts_with(b"/*") {
        return block_comment_end(bytes, at);
    }
    if let Some((quote, hashes, raw)) = literal_start(bytes, at) {
        return string_end(bytes, quote + 1, hashes, raw);
    }
    if rest[0] == b'\'' {
        return char_end(bytes, at);
    }
    if is_word(rest[0]) {
        return at
            + rest
                .iter()
                .position(|byte| !is_word(*byte))
                .unwrap_or(rest.len());
    }
    at + 1
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// If a string literal begins at `at`: the place of its quote, its number of hashes, and whether it
/// is raw.
fn literal_start(bytes: &[u8], at: usize) -> Option<(usize, usize, bool)> {
    let mut quote = at;
    let mut raw = false;
    while let Some(byte @ (b'r' | b'b' | b'c')) = bytes.get(quote) {
        raw |= *byte == b'r';
        quote += 1;
        if quote - at > 2 {
            return None;
        }
    }
    let hashes = if raw {
        bytes[quote..]
            .iter()
            .take_while(|byte| **byte == b'#')
            .count()
    } else {
        0
    };
    quote += hashes;
    (bytes.get(quote) == Some(&b'"')).then_some((quote, hashes, raw))
}

fn string_end(bytes: &[u8], mut at: usize, hashes: usize, raw: bool) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if !raw => at += 2,
            b'"' if bytes[at + 1..]
                .iter()
                .take_while(|byte| **byte == b'#')
                .count()
                >= hashes =>
            {
                return at + 1 + hashes;
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Behind a character literal; a lifetime's quote is a token of its own.
fn char_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        return bytes[at + 3..]
            .iter()
            .position(|byte| *byte == b'\'')
            .map_or(bytes.len(), |n| at + n + 4);
    }
    let width = bytes[at + 1..]
        .iter()
        .skip(1)
        .take_while(|byte| (0x80..0xC0).contains(*byte))
        .count()
        + 1;
    if bytes.get(at + 1 + width) == Some(&b'\'') {
        at + width + 2
    } else {
        at + 1
    }
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

#[test]
fn code_is_told_from_comments_and_literals() {
    let text = "let a = \"x.unwrap()\"; // todo!()\nlet b = r#\"\"q\" {\"#; /* { /* } */ */ let c: &'a str = '{'; '\\'' ; b\"\\\"}\" ; ferb!(1)";
    let code = code_only(text);
    assert_eq!(code.len(), text.len());
    for hidden in ["unwrap", "todo", "{", "}"] {
        assert!(!code.contains(hidden), "{hidden} in {code}");
    }
    for kept in ["let a = ", "let b = ", "let c: &'a str = ", "ferb!(1)"] {
        assert!(code.contains(kept), "{kept} not in {code}");
    }
}

#[test]
fn test_items_are_cut_and_test_files_are_named() {
    let (code, modules) = without_tests(
        "fn a() {}\n#[cfg(test)]\nmod tests;\n#[cfg(test)] mod b { fn c() {} }\n#[cfg(unix)] fn d() {}",
    );
    assert_eq!(modules, ["tests"]);
    assert!(code.contains("fn a") && code.contains("fn d"));
    assert!(!code.contains("mod") && !code.contains("fn c"));
}
