//! How a line of the table becomes the words of a request.

/// Splits a line at blanks; `"…"` holds one word, with `\r \n \t \\ \" \xHH` in it.
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let end = match rest.strip_prefix('"') {
            Some(inner) => {
                let length = quoted_length(inner);
                words.push(unescape(&inner[..length]));
                length + 2
            }
            None => {
                let length = rest.find(' ').unwrap_or(rest.len());
                words.push(rest.as_bytes()[..length].to_vec());
                length
            }
        };
        rest = rest[end..].trim_start();
    }
    words
}

/// Where the closing quote is.
fn quoted_length(inner: &str) -> usize {
    let bytes = inner.as_bytes();
    let mut at = 0;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

/// Resolves the escapes of a text.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().expect("a character after the backslash") {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&hex, 16).expect("two hex digits")
            }
            other => other,
        });
    }
    out
}

/// A request as an array of bulks.
pub fn encode(words: &[Vec<u8>]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}

#[test]
fn words_are_split_as_in_a_shell() {
    let wanted: Vec<Vec<u8>> = vec![b"SET".into(), b"a b\r\n\x01".into(), b"".into(), b"c".into()];
    assert_eq!(split(r#"SET "a b\r\n\x01" "" c"#), wanted);
}
