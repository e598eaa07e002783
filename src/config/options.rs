//! Command-line words to config lines.
#![forbid(unsafe_code)]

use crate::util::words::quote;

/// Turns command-line words (`--port 5`, `--sentinel monitor x 127.0.0.1 1 2`, `"--port 5"`) into
/// config lines.
///
/// `--name` starts a line once the one before has a value, so that a value may begin with dashes;
/// `--sentinel` and `--save` need none. Values are quoted; what stands in the same word as the
/// name is taken as it is.
pub fn option_lines(words: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut text: Vec<u8> = Vec::new();
    let mut may_end = true;
    for word in words {
        match word.strip_prefix(b"--") {
            Some(option) if may_end => {
                if !text.is_empty() {
                    text.push(b'\n');
                }
                text.extend_from_slice(option);
                may_end = has_value(option) || stands_alone(option);
            }
            _ => {
                if !text.is_empty() {
                    text.push(b' ');
                }
                text.extend(quote(word));
                may_end = true;
            }
        }
    }
    if text.is_empty() { Vec::new() } else { text.split(|c| *c == b'\n').map(Vec::from).collect() }
}

fn has_value(option: &[u8]) -> bool {
    option.trim_ascii().iter().any(u8::is_ascii_whitespace)
}

fn stands_alone(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"sentinel") || option.eq_ignore_ascii_case(b"save")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_lines() {
        // Each pair was seen in the error line, or the effect, of redis-sentinel 7.0.15.
        for (words, lines) in [
            (&["--port", "5"][..], &["port \"5\""][..]),
            (&["--port 5"], &["port 5"]),
            (&["--timeout 5", "6"], &["timeout 5 \"6\""]),
            (&["--timeout 5", "--tcp-keepalive 0"], &["timeout 5", "tcp-keepalive 0"]),
            (&["--protected-mode", "--port", "0"], &["protected-mode \"--port\" \"0\""]),
            (&["--timeout ", "--port", "1"], &["timeout  \"--port\" \"1\""]),
            (&["--requirepass", "--x", "--port", "7"], &["requirepass \"--x\"", "port \"7\""]),
            (&["--requirepass", ""], &["requirepass \"\""]),
            (&["--requirepass", "a\"b c"], &["requirepass \"a\\\"b c\""]),
            (&["--sentinel", "--port", "5"], &["sentinel", "port \"5\""]),
            (&["--port", "5", "--sentinel"], &["port \"5\"", "sentinel"]),
            (&["--save", "--port", "5"], &["save", "port \"5\""]),
            (&["timeout", "5"], &["\"timeout\" \"5\""]),
            (&["--requirepass a\ntimeout 6"], &["requirepass a", "timeout 6"]),
            (
                &["--sentinel", "monitor", "x", "127.0.0.1", "1", "2"],
                &["sentinel \"monitor\" \"x\" \"127.0.0.1\" \"1\" \"2\""],
            ),
            (&["--"], &[]),
            (&[], &[]),
        ] {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            let got = option_lines(&words);
            let got: Vec<_> = got.iter().map(|line| String::from_utf8_lossy(line)).collect();
            assert_eq!(got, lines, "{words:?}");
        }
    }
}
