//! Reading Rust roughly: comments and literals, items, functions and paths, but no full parse.

/// Blanks everything but line ends, so that positions and line numbers stay.
pub fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|b| **b != b'\n') {
        *byte = b' ';
    }
}

/// The text with comments, strings and character literals blanked.
pub fn blank_literals(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let mut at = 0;
    while at < out.len() {
        let end = literal_end(text.as_bytes(), at);
        if end > at {
            blank(&mut out[at..end]);
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(out).expect("blanking keeps it valid")
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// The end of the comment or literal that starts at `at`; `at` itself if none does.
fn literal_end(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    let find = |what: &[u8]| rest.windows(what.len()).position(|w| w == what);
    if rest.starts_with(b"//") {
        return find(b"\n").map_or(text.len(), |n| at + n);
    }
    if rest.starts_with(b"/*") {
        return at + block_comment_length(rest);
    }
    if rest[0] == b'"' {
        return at + quoted_length(rest);
    }
    let fresh = at == 0 || !is_word(text[at - 1]);
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    let after_b =
        fresh || (at == 1 || !is_word(text[at - 2])) && matches!(text[at - 1], b'b' | b'c');
    if rest[0] == b'r' && after_b && rest.get(1 + hashes) == Some(&b'"') {
        let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
        let body = &rest[hashes + 2..];
        let end = body.windows(close.len()).position(|w| w == close);
        return end.map_or(text.len(), |n| at + hashes + 2 + n + close.len());
    }
    if rest[0] == b'\'' { at + char_length(rest) } else { at }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_length(rest: &[u8]) -> usize {
    let quote = rest[0];
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character literal; 0 for a lifetime.
fn char_length(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return quoted_length(rest);
    }
    let width = match rest.get(1) {
        Some(first) if *first >= 0xf0 => 4,
        Some(first) if *first >= 0xe0 => 3,
        Some(first) if *first >= 0xc0 => 2,
        _ => 1,
    };
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

/// The end of the item at `at`: behind its matching `}`, or its `;` outside all brackets.
fn item_end(code: &[u8], at: usize) -> usize {
    let mut depth = 0usize;
    for (n, byte) in code[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + n + 1;
                }
            }
            b';' if depth == 0 => return at + n + 1,
            _ => {}
        }
    }
    code.len()
}

/// Start and end of every item under `#[cfg(test)]`.
pub fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for mark in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (start, _) in code.match_indices(mark) {
            if !found.iter().any(|(from, to)| (*from..*to).contains(&start)) {
                found.push((start, item_end(code.as_bytes(), start)));
            }
        }
    }
    found
}

/// Line, name and number of lines of every function with a body.
pub fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (start, _) in code.match_indices("fn ") {
        if start > 0 && is_word(bytes[start - 1]) {
            continue;
        }
        let name: String =
            code[start + 3..].chars().take_while(|c| *c == '_' || c.is_alphanumeric()).collect();
        let end = item_end(bytes, start);
        if !name.is_empty() && bytes.get(end - 1) == Some(&b'}') {
            let length = code[start..end].matches('\n').count() + 1;
            found.push((line_of(code, start), name, length));
        }
    }
    found
}

pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// A path as it is used, groups expanded: `use a::{b, c::d};` gives `a::b` and `a::c::d`.
pub struct Found {
    pub line: usize,
    pub path: String,
}

/// Every path in the code; a lone name counts as one.
pub fn paths(code: &str) -> Vec<Found> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if is_word(bytes[at]) {
            at = read_path(bytes, at, "", &mut found).max(at + 1);
        } else {
            at += 1;
        }
    }
    let mut line = 1;
    let mut counted = 0;
    for Found { line: position, .. } in &mut found {
        line += bytes[counted..*position].iter().filter(|b| **b == b'\n').count();
        (counted, *position) = (*position, line);
    }
    found
}

/// Reads one path at `at` behind `prefix`, a group at its end included; gives the position behind.
/// The positions go into `line` for the time being.
fn read_path(code: &[u8], mut at: usize, prefix: &str, into: &mut Vec<Found>) -> usize {
    let start = at;
    let mut path = prefix.to_string();
    loop {
        let word = code[at..].iter().take_while(|b| is_word(**b)).count();
        path.push_str(&String::from_utf8_lossy(&code[at..at + word]));
        at += word;
        let next = skip_blanks(code, at);
        if !code[next..].starts_with(b"::") {
            break;
        }
        path.push_str("::");
        at = skip_blanks(code, next + 2);
        if code.get(at) == Some(&b'{') {
            return read_group(code, at + 1, &path, into);
        }
        if !code.get(at).is_some_and(|b| is_word(*b)) {
            break;
        }
    }
    into.push(Found { line: start, path });
    at
}

fn read_group(code: &[u8], mut at: usize, prefix: &str, into: &mut Vec<Found>) -> usize {
    while at < code.len() && code[at] != b'}' {
        at = if is_word(code[at]) { read_path(code, at, prefix, into) } else { at + 1 };
    }
    at + 1
}

fn skip_blanks(code: &[u8], at: usize) -> usize {
    at + code[at..].iter().take_while(|b| b.is_ascii_whitespace()).count()
}
