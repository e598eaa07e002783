//! The shapes of a log line (spec/config.md, Log; `log-format`, `log-timestamp-format`).
#![forbid(unsafe_code)]

use std::fmt::Write;

use log::Level;

use crate::config::settings::{LogFormat, LogTimestamp};
use crate::util::time::Wall;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Style {
    pub format: LogFormat,
    pub timestamp: LogTimestamp,
}

impl Style {
    /// One line with its end. Only the legacy format takes bytes that are no UTF-8 as they are;
    /// the others are read by programs that want text.
    pub fn line(self, pid: u32, wall: Wall, level: Level, text: &[u8]) -> Vec<u8> {
        let stamp = self.stamp(wall);
        let shown = || String::from_utf8_lossy(text);
        let word = word_of(level);
        match self.format {
            LogFormat::Legacy => {
                let mut line = format!("{pid}:X {stamp} {} ", sign_of(level)).into_bytes();
                line.extend_from_slice(text);
                line.push(b'\n');
                line
            }
            LogFormat::Logfmt => format!(
                "pid={pid} role=sentinel timestamp=\"{stamp}\" level={word} message=\"{}\"\n",
                escaped(&shown())
            )
            .into_bytes(),
            LogFormat::Json => format!(
                "{{\"pid\":{pid},\"role\":\"sentinel\",\"timestamp\":\"{stamp}\",\
                 \"level\":\"{word}\",\"message\":\"{}\"}}\n",
                escaped(&shown())
            )
            .into_bytes(),
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

/// A text between double quotes, as JSON has it; logfmt readers understand the same.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            c if c < ' ' || c == '\x7f' => {
                let _ = write!(escaped, "\\u{:04x}", c as u32);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, timestamp: LogTimestamp, text: &[u8]) -> Vec<u8> {
        let wall = Wall { unix_ms: 1_795_320_521_123, utc_offset_s: -(3 * 3600 + 1800) };
        Style { format, timestamp }.line(77, wall, Level::Info, text)
    }

    #[test]
    fn legacy_lines_keep_their_bytes() {
        let expected = b"77:X 22 Nov 2026 00:38:41.123 * a\xffb\n";
        assert_eq!(line(LogFormat::Legacy, LogTimestamp::Legacy, b"a\xffb"), expected);
        for (level, sign) in
            [(Level::Warn, '#'), (Level::Info, '*'), (Level::Debug, '-'), (Level::Trace, '.')]
        {
            let line = Style::default().line(1, Wall::default(), level, b"x");
            let expected = format!("1:X 01 Jan 1970 00:00:00.000 {sign} x\n");
            assert_eq!(line, expected.as_bytes());
        }
    }

    #[test]
    fn stamps() {
        let iso = line(LogFormat::Legacy, LogTimestamp::Iso8601, b"x");
        assert_eq!(iso, b"77:X 2026-11-22T00:38:41.123-03:30 * x\n");
        let ms = line(LogFormat::Legacy, LogTimestamp::Milliseconds, b"x");
        assert_eq!(ms, b"77:X 1795320521123 * x\n");
    }

    #[test]
    fn logfmt_and_json_quote() {
        let logfmt = line(LogFormat::Logfmt, LogTimestamp::Milliseconds, b"a \"b\"\n");
        let expected = "pid=77 role=sentinel timestamp=\"1795320521123\" level=notice \
                        message=\"a \\\"b\\\"\\n\"\n";
        assert_eq!(String::from_utf8(logfmt).unwrap(), expected);
        let json = line(LogFormat::Json, LogTimestamp::Milliseconds, b"\\\x01\xff");
        let expected = "{\"pid\":77,\"role\":\"sentinel\",\"timestamp\":\"1795320521123\",\
                        \"level\":\"notice\",\"message\":\"\\\\\\u0001\u{fffd}\"}\n";
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }
}
