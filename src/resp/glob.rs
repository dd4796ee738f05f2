//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, `\x`.

/// Whether the whole of `text` matches `pattern`. Takes at most `pattern × text` steps: on a mismatch only the last `*` is tried again.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        if let (Some(&symbol), true) = (text.get(t), p < pattern.len()) {
            let (hit, length) = one(&pattern[p..], symbol);
            if hit {
                p += length;
                t += 1;
                continue;
            }
        }
        match star {
            Some((after, from)) if from < text.len() => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// Whether the head of `pattern`, which is not `*`, takes `symbol`, and how long that head is.
fn one(pattern: &[u8], symbol: u8) -> (bool, usize) {
    match pattern {
        [b'?', ..] => (true, 1),
        [b'\\', escaped, ..] => (*escaped == symbol, 2),
        [b'[', class @ ..] => class_takes(class, symbol),
        [plain, ..] => (*plain == symbol, 1),
        [] => (false, 0),
    }
}

/// `class` begins after the bracket; a class without its closing bracket runs to the end of the pattern.
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

#[cfg(test)]
mod tests;
