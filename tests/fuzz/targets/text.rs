//! Words, patterns, numbers. Quoted words are read back; a pattern matches what a plain recursive
//! reading says; numbers are those that print as they were written.

use super::{parts, signature};
use crate::engine::Target;
use sentineld::sentinel::names::parse_ip;
use sentineld::util::{glob, num, words};

pub const TARGET: Target = Target {
    name: "text",
    run,
    dictionary: &[
        "*",
        "?",
        "[a-z]",
        "[^a]",
        "[",
        "]",
        "\\",
        "\n",
        "\"",
        "'",
        "\\x41",
        "\\n",
        " ",
        "\t",
        "-",
        "^",
        "a",
        "127.0.0.1",
        "::1",
        "::ffff:1.2.3.4",
        "fe80::1%eth0",
        "\0",
    ],
};

/// A plain reading of longer ones would take too long.
const GLOB_MAX_BYTES: usize = 14;

fn run(input: &[u8]) -> u64 {
    let parts = parts(input, b"\n");
    let (one, other) = (parts[0], parts.get(1).copied().unwrap_or_default());
    for part in &parts {
        check_words(part);
        check_numbers(part);
        let _ = parse_ip(part);
    }
    let pattern = &one[..one.len().min(GLOB_MAX_BYTES)];
    let text = &other[..other.len().min(GLOB_MAX_BYTES)];
    let mut matches = 0;
    for fold_case in [false, true] {
        let found = glob::matches(pattern, text, fold_case);
        let wanted = plain_match(pattern, text, fold_case);
        let shown = (pattern.escape_ascii().to_string(), text.escape_ascii().to_string());
        assert_eq!(found, wanted, "{shown:?}, without case: {fold_case}");
        matches = matches << 1 | u64::from(found);
    }
    let words = words::split(one).map_or(99, |words| words.len().min(8) as u64);
    let brackets = pattern.iter().filter(|byte| b"[]*?\\^-".contains(byte)).count() as u64;
    signature(&[matches, words, brackets, u64::from(parse_ip(one).is_some())])
}

fn check_words(line: &[u8]) {
    for quoted in [words::quote(line), words::quote_if_needed(line)] {
        assert!(!quoted.contains(&b'\n') && !quoted.contains(&0));
        let text = [b"a ", &quoted[..], b" b"].concat();
        let wanted = vec![b"a".to_vec(), line.to_vec(), b"b".to_vec()];
        assert_eq!(words::split(&text), Ok(wanted), "{}", text.escape_ascii());
    }
    let Ok(found) = words::split(line) else { return };
    let quoted: Vec<Vec<u8>> = found.iter().map(|word| words::quote_if_needed(word)).collect();
    assert_eq!(words::split(&quoted.join(&b' ')), Ok(found));
}

fn check_numbers(text: &[u8]) {
    let parsed = |text| std::str::from_utf8(text).ok();
    let signed = parsed(text).and_then(|t| t.parse::<i64>().ok());
    let signed = signed.filter(|n| n.to_string().as_bytes() == text);
    assert_eq!(num::parse_i64(text), signed, "{}", text.escape_ascii());
    let unsigned = parsed(text).and_then(|t| t.parse::<u64>().ok());
    let unsigned = unsigned.filter(|n| n.to_string().as_bytes() == text);
    assert_eq!(num::parse_u64(text), unsigned, "{}", text.escape_ascii());
}

/// Tries all ways.
fn plain_match(pattern: &[u8], text: &[u8], fold_case: bool) -> bool {
    let same = |a: u8, b: u8| a == b || fold_case && a.eq_ignore_ascii_case(&b);
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|at| plain_match(rest, &text[at..], fold_case)),
        _ => {
            let Some((&byte, behind)) = text.split_first() else { return false };
            let (hit, rest) = match pattern {
                [b'?', rest @ ..] => (true, rest),
                [b'\\', literal, rest @ ..] => (same(*literal, byte), rest),
                [b'[', rest @ ..] => plain_class(rest, byte, fold_case),
                [literal, rest @ ..] => (same(*literal, byte), rest),
                [] => return false,
            };
            hit && plain_match(rest, behind, fold_case)
        }
    }
}

/// Whether a byte is in the class behind its bracket, and what stands behind the class. A class
/// that never ends takes all of the pattern.
fn plain_class(pattern: &[u8], byte: u8, fold_case: bool) -> (bool, &[u8]) {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let fold = |b: u8| if fold_case { b.to_ascii_lowercase() } else { b };
    let folded = fold(byte);
    let mut hit = false;
    loop {
        rest = match rest {
            // Both as servers do: with its case, and ordered before the case is folded.
            [b'\\', literal, rest @ ..] => {
                hit |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (hit != negated, rest),
            [] => return (hit != negated, rest),
            [from, b'-', to, rest @ ..] => {
                hit |= (fold(*from.min(to))..=fold(*from.max(to))).contains(&folded);
                rest
            }
            [literal, rest @ ..] => {
                hit |= fold(*literal) == folded;
                rest
            }
        };
    }
}
