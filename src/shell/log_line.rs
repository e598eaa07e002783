//! The shapes of a log line (spec/config.md, Log; `log-format`, `log-timestamp-format`).
#![forbid(unsafe_code)]

use std::fmt::Write;

use log::Level;

use crate::config::settings::{LogFormat, LogTimestamp};
use crate::util::time::Wall;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Most bytes of a line's text, as programs of the field have it.
const TEXT_MAX_BYTES: usize = 1024;
/// Room for the mark of a cut text, however much was cut.
const MARK_MAX_BYTES: usize = "... [18446744073709551615 more bytes]".len();

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Style {
    pub format: LogFormat,
    pub timestamp: LogTimestamp,
}

impl Style {
    /// One line with its end. The text is a [`clean`] one.
    pub fn line(self, pid: u32, wall: Wall, level: Level, text: &str) -> String {
        let stamp = self.stamp(wall);
        let word = word_of(level);
        match self.format {
            LogFormat::Legacy => format!("{pid}:X {stamp} {} {text}\n", sign_of(level)),
            LogFormat::Logfmt => format!(
                "pid={pid} role=sentinel timestamp=\"{stamp}\" level={word} message=\"{}\"\n",
                escaped(text)
            ),
            LogFormat::Json => format!(
                "{{\"pid\":{pid},\"role\":\"sentinel\",\"timestamp\":\"{stamp}\",\
                 \"level\":\"{word}\",\"message\":\"{}\"}}\n",
                escaped(text)
            ),
        }
    }

    fn stamp(self, wall: Wall) -> String {
        match self.timestamp {
            LogTimestamp::Legacy => wall.log_stamp(),
            LogTimestamp::Milliseconds => wall.unix_ms.to_string(),
            LogTimestamp::Iso8601 => iso8601(wall),
        }
    }
}

/// `2026-11-22T04:08:41.123+01:00`, made from `22 Nov 2026 04:08:41.123`.
fn iso8601(wall: Wall) -> String {
    let stamp = wall.log_stamp();
    let words: Vec<&str> = stamp.split(' ').collect();
    let [day, month, year, time] = words[..] else { return stamp };
    let month = MONTHS.iter().position(|name| *name == month).unwrap_or(0) + 1;
    let sign = if wall.utc_offset_s < 0 { '-' } else { '+' };
    let minutes = wall.utc_offset_s.abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("{year}-{month:02}-{day}T{time}{sign}{hours:02}:{minutes:02}")
}

fn sign_of(level: Level) -> char {
    match level {
        Level::Error | Level::Warn => '#',
        Level::Info => '*',
        Level::Debug => '-',
        Level::Trace => '.',
    }
}

fn word_of(level: Level) -> &'static str {
    match level {
        Level::Error | Level::Warn => "warning",
        Level::Info => "notice",
        Level::Debug => "verbose",
        Level::Trace => "debug",
    }
}

/// What a line may hold of `text`: everything that terminals, log readers or whoever splits a log
/// into lines could take for more than text is escaped as in the config file (`\n`, `\x1b`), and a
/// text over 1 KiB is cut, with a mark that counts the bytes left out. Any other text comes out as
/// it is, byte for byte, so cleaning twice changes nothing.
pub fn clean(text: &[u8]) -> String {
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte);
    if text.len() <= TEXT_MAX_BYTES && text.iter().all(is_plain) {
        // Nearly every line: thousands are written at once when as many masters fail over.
        return String::from_utf8_lossy(text).into_owned();
    }
    let mut cleaned = Cleaned::default();
    for chunk in text.utf8_chunks() {
        let fits = chunk.valid().chars().all(|c| cleaned.push_char(c))
            && cleaned.push(chunk.invalid().len(), |out| push_hex(out, chunk.invalid()));
        if !fits {
            break;
        }
    }
    cleaned.finish(text.len())
}

/// A text on its way to be cleaned.
#[derive(Default)]
struct Cleaned {
    out: String,
    /// So many bytes of the text were taken.
    taken: usize,
    /// `out` and `taken` as they were when a mark still fitted behind them.
    cut_at: (usize, usize),
}

impl Cleaned {
    /// Takes `len` bytes of the text, as `write` writes them; false if there is no room for them.
    fn push(&mut self, len: usize, write: impl FnOnce(&mut String)) -> bool {
        let before = self.out.len();
        write(&mut self.out);
        if self.out.len() > TEXT_MAX_BYTES {
            self.out.truncate(before);
            return false;
        }
        self.taken += len;
        if self.out.len() + MARK_MAX_BYTES <= TEXT_MAX_BYTES {
            self.cut_at = (self.out.len(), self.taken);
        }
        true
    }

    fn push_char(&mut self, c: char) -> bool {
        self.push(c.len_utf8(), |out| match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_deceptive(c) => push_hex(out, c.encode_utf8(&mut [0; 4]).as_bytes()),
            c => out.push(c),
        })
    }

    fn finish(mut self, len: usize) -> String {
        if self.taken < len {
            let (end, taken) = self.cut_at;
            self.out.truncate(end);
            let _ = write!(self.out, "... [{} more bytes]", len - taken);
        }
        self.out
    }
}

/// Control characters (C0, DEL, C1), and what ends a line or turns its direction in Unicode.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// A text between double quotes, as JSON has it; logfmt readers understand the same.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, timestamp: LogTimestamp, text: &[u8]) -> String {
        let wall = Wall { unix_ms: 1_795_320_521_123, utc_offset_s: -(3 * 3600 + 1800) };
        Style { format, timestamp }.line(77, wall, Level::Info, &clean(text))
    }

    #[test]
    fn legacy_lines() {
        let expected = "77:X 22 Nov 2026 00:38:41.123 * a \u{e9} \\xff\n";
        assert_eq!(line(LogFormat::Legacy, LogTimestamp::Legacy, b"a \xc3\xa9 \xff"), expected);
        for (level, sign) in
            [(Level::Warn, '#'), (Level::Info, '*'), (Level::Debug, '-'), (Level::Trace, '.')]
        {
            let line = Style::default().line(1, Wall::default(), level, "x");
            assert_eq!(line, format!("1:X 01 Jan 1970 00:00:00.000 {sign} x\n"));
        }
    }

    #[test]
    fn stamps() {
        let iso = line(LogFormat::Legacy, LogTimestamp::Iso8601, b"x");
        assert_eq!(iso, "77:X 2026-11-22T00:38:41.123-03:30 * x\n");
        let ms = line(LogFormat::Legacy, LogTimestamp::Milliseconds, b"x");
        assert_eq!(ms, "77:X 1795320521123 * x\n");
    }

    #[test]
    fn logfmt_and_json_quote() {
        let logfmt = line(LogFormat::Logfmt, LogTimestamp::Milliseconds, b"a \"b\"\n");
        let expected = "pid=77 role=sentinel timestamp=\"1795320521123\" level=notice \
                        message=\"a \\\"b\\\"\\\\n\"\n";
        assert_eq!(logfmt, expected);
        let json = line(LogFormat::Json, LogTimestamp::Milliseconds, b"\\\x01\xff");
        let expected = "{\"pid\":77,\"role\":\"sentinel\",\"timestamp\":\"1795320521123\",\
                        \"level\":\"notice\",\"message\":\"\\\\\\\\x01\\\\xff\"}\n";
        assert_eq!(json, expected);
    }

    #[test]
    fn what_could_deceive_is_escaped() {
        for (text, shown) in [
            (&b""[..], ""),
            (b"+sdown master m 127.0.0.1 6379", "+sdown master m 127.0.0.1 6379"),
            (b"a\\n \" ' ~ \\x1b", "a\\n \" ' ~ \\x1b"),
            (b"a\nb\rc\td", "a\\nb\\rc\\td"),
            (b"\0\x07\x08\x0b\x0c\x1b[2J\x7f", "\\x00\\x07\\x08\\x0b\\x0c\\x1b[2J\\x7f"),
            // UTF-8 stays readable; C1 controls (NEL and CSI here) and bytes of no text do not.
            ("d\u{fc}rf\u{4e00}\u{1f600}".as_bytes(), "d\u{fc}rf\u{4e00}\u{1f600}"),
            ("a\u{85}b\u{9b}c\u{a0}".as_bytes(), "a\\xc2\\x85b\\xc2\\x9bc\u{a0}"),
            (b"\x80\x9b\xff\xc3", "\\x80\\x9b\\xff\\xc3"),
            (b"\xe2\x82(\xf0\x9f\x98", "\\xe2\\x82(\\xf0\\x9f\\x98"),
            // Other ends of lines, and what turns the direction of a text.
            ("\u{2028}\u{2029}".as_bytes(), "\\xe2\\x80\\xa8\\xe2\\x80\\xa9"),
            (
                "\u{202e}\u{2066}\u{200f}".as_bytes(),
                "\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xe2\\x80\\x8f",
            ),
        ] {
            let cleaned = clean(text);
            assert_eq!(cleaned, shown, "{text:?}");
            assert_eq!(clean(cleaned.as_bytes()), cleaned, "twice: {text:?}");
        }
    }

    #[test]
    fn long_texts_are_cut_with_a_mark() {
        let kept = "x".repeat(1024);
        assert_eq!(clean(kept.as_bytes()), kept);
        // Whatever the length: the text fits, and mark and text together tell how long it was.
        for (piece, shown_len) in [("x", 1), ("\n", 2), ("\x1b", 4), ("\u{e9}", 2), ("\u{85}", 8)] {
            for count in [513, 600, 1025, 1030, 1100, 100_000] {
                let text = piece.repeat(count);
                let cleaned = clean(text.as_bytes());
                if count * shown_len <= 1024 {
                    assert!(!cleaned.contains(" more bytes]"), "{cleaned}");
                    continue;
                }
                assert!(cleaned.len() <= 1024 && cleaned.len() > 900, "{}", cleaned.len());
                let (shown, mark) = cleaned.split_once("... [").unwrap();
                let cut: usize = mark.strip_suffix(" more bytes]").unwrap().parse().unwrap();
                assert_eq!(shown.len() % shown_len, 0, "{piece:?} cut in two");
                assert_eq!(shown.len() / shown_len * piece.len() + cut, text.len());
                assert_eq!(clean(cleaned.as_bytes()), cleaned, "twice");
            }
        }
    }
}
