//! Words and replies as text, both ways.
#![forbid(unsafe_code)]

use sentineld::resp::reply::{Reply, ReplyParser};

/// Splits an input line at blanks; double quotes hold words together.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut open) = (String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                open = true;
            }
            ' ' if !quoted => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            c => word.push(c),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

/// `key=value` of an input line.
pub fn pair(word: &str) -> (&str, &str) {
    word.split_once('=').unwrap_or_else(|| panic!("{word} is no key=value"))
}

pub fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// A request as bytes.
pub fn request(words: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

/// All complete requests or replies in `bytes`, each rendered, with what is left over.
pub fn parse_all<T>(bytes: &[u8], mut take: impl FnMut(&Reply) -> T) -> Vec<T> {
    let mut rest = bytes;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let parsed = ReplyParser::default().next(rest).expect("our own output is RESP");
        let Some((reply, used)) = parsed else { panic!("half a reply was written") };
        all.push(take(&reply));
        rest = &rest[used..];
    }
    all
}

/// What a save changes in a file: lines that come or go, but for a new value of a line only that.
pub fn changed_lines(old: &[u8], new: &[u8]) -> String {
    let lines = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(text).into_owned();
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        lines.map(|line| line.strip_prefix("sentinel ").unwrap_or(line).to_string()).collect()
    };
    let (old, new) = (lines(old), lines(new));
    let mut gone: Vec<&String> = old.iter().filter(|line| !new.contains(line)).collect();
    let mut changes = Vec::new();
    for line in new.iter().filter(|line| !old.contains(line)) {
        let before = gone.iter().position(|old| has_new_value(old, line));
        let sign = if before.map(|at| gone.remove(at)).is_some() { "" } else { "+ " };
        changes.push(format!("{sign}{line}"));
    }
    changes.extend(gone.into_iter().map(|line| format!("- {line}")));
    if changes.is_empty() { "no change".to_string() } else { changes.join(", ") }
}

/// Whether the second line says anew what the first one said. Lines of lists come and go.
fn has_new_value(old: &str, new: &str) -> bool {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split(' ').collect(), new.split(' ').collect());
    let same = |n: usize| old.get(..n).is_some_and(|words| new.get(..n) == Some(words));
    match old[0] {
        "known-replica" => false,
        "known-sentinel" => old.len() == new.len() && old.last() == new.last() && same(2),
        "rename-command" => same(3),
        _ => old.len() == new.len() && same(if old.len() > 2 { 2 } else { 1 }),
    }
}

/// The words of a request.
pub fn request_words(reply: &Reply) -> Vec<String> {
    let Reply::Array(items) = reply else { panic!("{reply:?} is no request") };
    let word = |item: &Reply| match item {
        Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("{other:?} in a request"),
    };
    items.iter().map(word).collect()
}

/// A reply for readers.
pub fn show(reply: &Reply) -> String {
    let lossy = |text: &[u8]| String::from_utf8_lossy(text).replace("\r\n", " | ");
    match reply {
        Reply::Simple(text) => lossy(text),
        Reply::Error(text) => format!("-{}", lossy(text)),
        Reply::Int(n) => n.to_string(),
        Reply::Null => "nil".to_string(),
        Reply::Bulk(text) => format!("\"{}\"", lossy(text)),
        Reply::Array(items) => {
            let items: Vec<String> = items.iter().map(show).collect();
            format!("[{}]", items.join(" "))
        }
    }
}
