//! Words of a config line or an inline command (spec/config.md, File syntax), and their quoting.
#![forbid(unsafe_code)]

/// A quote was not closed, or not followed by a blank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unbalanced;

/// Splits a line into words; quotes and escapes as in the config file.
///
/// Between words any white space is skipped, but a word ends only at space, tab, CR or LF: a
/// vertical tab or form feed inside a word belongs to it. A quote may open inside a word.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|byte| is_white_space(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, len) = take_word(rest)?;
        words.push(word);
        rest = &rest[len..];
    }
}

/// `word` in double quotes, with escapes; [`split`] gives the word back.
pub fn quote(word: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = Vec::with_capacity(word.len() + 2);
    out.push(b'"');
    for byte in word {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            _ => {
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                out.extend_from_slice(&[b'\\', b'x', HEX[high], HEX[low]]);
            }
        }
    }
    out.push(b'"');
    out
}

/// `word` as it stands if [`split`] reads it back unchanged, else quoted. Control characters are
/// always quoted, so that the word stays on its line.
pub fn quote_if_needed(word: &[u8]) -> Vec<u8> {
    let special = |byte: &u8| matches!(byte, b' ' | b'"' | b'\'');
    if word.is_empty() || word.iter().any(special) || has_control(word) {
        quote(word)
    } else {
        word.to_vec()
    }
}

/// Whether `text` holds a control character (below 0x20, or 0x7f).
pub fn has_control(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_control)
}

fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Reads the word at the front of `text`, which does not begin with white space; the word, and how
/// many bytes it takes.
fn take_word(text: &[u8]) -> Result<(Vec<u8>, usize), Unbalanced> {
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => break,
            b'"' | b'\'' => {
                at = take_quoted(text, at + 1, byte, &mut word)?;
                return match text.get(at) {
                    Some(next) if !is_white_space(*next) => Err(Unbalanced),
                    _ => Ok((word, at)),
                };
            }
            _ => {
                word.push(byte);
                at += 1;
            }
        }
    }
    Ok((word, at))
}

/// Appends what stands between the quote mark before `at` and its closing one; gives the position
/// behind that.
fn take_quoted(
    text: &[u8],
    mut at: usize,
    mark: u8,
    word: &mut Vec<u8>,
) -> Result<usize, Unbalanced> {
    loop {
        let (byte, len) = match (&text[at..], mark) {
            ([], _) => return Err(Unbalanced),
            ([first, ..], _) if *first == mark => return Ok(at + 1),
            ([b'\\', b'\'', ..], b'\'') => (b'\'', 2),
            ([b'\\', b'x', high, low, ..], b'"')
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex_value(*high) << 4 | hex_value(*low), 4)
            }
            ([b'\\', escaped, ..], b'"') => (unescape(*escaped), 2),
            ([plain, ..], _) => (*plain, 1),
        };
        word.push(byte);
        at += len;
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// The value of a hexadecimal digit.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::{Unbalanced, has_control, quote, quote_if_needed, split};
    use crate::util::rng::Rng;

    /// Lines as a sentinel was seen to take them from an inline command.
    #[test]
    fn splits_lines_into_words() {
        let table: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b" \t\r\n\x0b\x0c ", &[]),
            (b"PING", &[b"PING"]),
            (b" PING  y ", &[b"PING", b"y"]),
            (b"PING\rx", &[b"PING", b"x"]),
            (b"a\tb\nc", &[b"a", b"b", b"c"]),
            (b"a\x0bb\x0cc", &[b"a\x0bb\x0cc"]),
            (b"a \x0bb", &[b"a", b"b"]),
            (b"\"a\"\x0bb", &[b"a", b"b"]),
            (b"\x85x\xa0", &[b"\x85x\xa0"]),
            (b"a\0b", &[b"a\0b"]),
            (b"a\\nb", &[b"a\\nb"]),
            (b"\"\"", &[b""]),
            (b"x ''", &[b"x", b""]),
            (b"\"a b\"", &[b"a b"]),
            (b"a\"b c\"", &[b"ab c"]),
            (b"a'b'", &[b"ab"]),
            (b"\"\\x41\\n\\q\\xzz\"", &[b"A\nqxzz"]),
            (b"\"\\r\\t\\b\\a\\\\\\\"\"", &[b"\r\t\x08\x07\\\""]),
            (b"\"\\xfF\\x4\\x4g\"", &[b"\xffx4x4g"]),
            (b"'a\\'b\\n' c", &[b"a'b\\n", b"c"]),
            (b"'\"' \"'\"", &[b"\"", b"'"]),
        ];
        for (line, words) in table {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
            assert_eq!(split(line), Ok(words), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn refuses_unbalanced_quotes() {
        let table: &[&[u8]] = &[
            b"\"",
            b"'",
            b"x \"a",
            b"x 'a",
            b"\"a\"b",
            b"'a'b",
            b"a\"b\"c",
            b"\"a\\",
            b"\"a\\\"",
            b"'a\\'",
            b"'a\\\\'",
            b"\"\\x4",
            b"\"a\"\"b\"",
        ];
        for line in table {
            assert_eq!(split(line), Err(Unbalanced), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quotes_with_escapes() {
        let word = b"a \"\\'\n\r\t\x07\x08\x00\x1b\x7f\xe9~";
        let quoted = b"\"a \\\"\\\\'\\n\\r\\t\\a\\b\\x00\\x1b\\x7f\\xe9~\"";
        assert_eq!(quote(word), quoted);
        assert_eq!(quote(b""), b"\"\"");
    }

    #[test]
    fn quotes_only_what_needs_it() {
        for plain in [&b"a"[..], b"a\\b", b"#x", b"/var/lib/x", b"caf\xc3\xa9", b"$", b"\xff"] {
            assert_eq!(quote_if_needed(plain), plain);
        }
        for special in [&b""[..], b" ", b"a b", b"a\"", b"it's", b"a\x0b", b"\x0b", b"a\0", b"\x7f"]
        {
            assert_eq!(quote_if_needed(special), quote(special));
        }
    }

    #[test]
    fn quoting_round_trips() {
        let mut rng = Rng::new(7);
        for _ in 0..2000 {
            let word: Vec<u8> = (0..rng.below(12)).map(|_| rng.below(256) as u8).collect();
            for line in [quote(&word), quote_if_needed(&word)] {
                let line = [b"x ", &line[..], b" y"].concat();
                let words = vec![b"x".to_vec(), word.clone(), b"y".to_vec()];
                assert_eq!(split(&line), Ok(words), "{}", line.escape_ascii());
            }
        }
    }

    #[test]
    fn any_bytes_split_or_fail_without_panic() {
        let mut rng = Rng::new(11);
        let bytes = b"ab \"'\\xn4\t\0\xff";
        for _ in 0..5000 {
            let pick = |_| bytes[rng.below(bytes.len() as u64) as usize];
            let line: Vec<u8> = (0..16).map(pick).collect();
            if let Ok(words) = split(&line) {
                assert!(words.len() <= line.len());
            }
        }
    }

    #[test]
    fn knows_control_characters() {
        assert!(has_control(b"a\nb") && has_control(b"\0") && has_control(b"\x1f\x7f"));
        assert!(!has_control(b"") && !has_control(b" ~") && !has_control(b"\x80\xff"));
    }
}
