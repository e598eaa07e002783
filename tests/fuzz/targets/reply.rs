//! Replies. However the bytes are cut, the same replies come out; each ends where a plain reading
//! of RESP ends it; and what the writers write in either dialect is read as it was meant.

use super::resp::{self, First};
use super::{cut, feed, signature};
use crate::engine::{Target, hash};
use sentineld::resp::reply::{Malformed, Reply, ReplyParser};
use sentineld::resp::write::{self, Dialect};

pub const TARGET: Target = Target {
    name: "reply",
    run,
    dictionary: &[
        "+PONG\r\n",
        "-ERR x\r\n",
        ":1\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*1\r\n",
        "*2\r\n",
        "%1\r\n",
        "~1\r\n",
        ">3\r\n",
        "_\r\n",
        "#t\r\n",
        ",1.5\r\n",
        "(12\r\n",
        "!1\r\nx\r\n",
        "=5\r\ntxt:a\r\n",
        "$1\r\na\r\n",
        "\r\n",
        "\r",
        "\n",
        "$7\r\nmessage\r\n",
        "*1048577\r\n",
        "$16777217\r\n",
    ],
};

fn run(input: &[u8]) -> u64 {
    let whole = feed(&[input]);
    let single: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(feed(&single), whole, "in single bytes");
    assert_eq!(feed(&cut(input)), whole, "in pieces");
    check_ends(input);
    let kinds = check_writers(input);
    let (replies, error) = whole;
    let error = error.map_or(0, |error| hash(error.0.as_bytes()));
    let shapes: String = replies.iter().take(4).map(|reply| shape(reply)).collect();
    signature(&[hash(shapes.as_bytes()), error, kinds])
}

/// A reply without its texts.
fn shape(reply: &str) -> String {
    reply.chars().filter(|c| c.is_ascii_uppercase() || "[]".contains(*c)).take(24).collect()
}

fn feed(chunks: &[&[u8]]) -> (Vec<String>, Option<Malformed>) {
    let mut parser = ReplyParser::default();
    feed::feed(chunks, |bytes| {
        let next = parser.next(bytes)?;
        Ok(next.map(|(reply, used)| (format!("{reply:?}"), used)))
    })
}

/// Our parser may refuse more (it has limits), but what it takes must be RESP, and all of it.
fn check_ends(mut rest: &[u8]) {
    loop {
        let plain = resp::first(rest);
        match ReplyParser::default().next(rest) {
            Ok(Some((_, used))) => {
                assert_eq!(plain, First::Whole(used), "\"{}\"", rest.escape_ascii());
                rest = &rest[used..];
            }
            Ok(None) => {
                let waits = !matches!(plain, First::Whole(_));
                assert!(waits, "waits behind a whole reply: \"{}\"", rest.escape_ascii());
                return;
            }
            Err(_) => return,
        }
    }
}

/// Writes a reply made out of the input in both dialects and reads it back.
fn check_writers(input: &[u8]) -> u64 {
    let mut kinds = 0;
    for dialect in [Dialect::Resp2, Dialect::Resp3] {
        let mut bytes = Vec::new();
        let mut source = input;
        let (wanted, kind) = build(&mut source, &mut bytes, dialect, 5);
        kinds = kind;
        let end = bytes.len();
        assert_eq!(resp::first(&bytes), First::Whole(end), "{wanted} in {dialect:?}");
        let reply = ReplyParser::default().next(&bytes);
        let Ok(Some((reply, used))) = reply else { panic!("{wanted} is read as {reply:?}") };
        assert_eq!((show(&reply), used), (wanted, end));
    }
    kinds
}

/// Writes one reply as the first bytes of `source` say; how it should be read, and its kind.
fn build(source: &mut &[u8], out: &mut Vec<u8>, dialect: Dialect, depth: usize) -> (String, u64) {
    let take = |source: &mut &[u8]| match source.split_first() {
        Some((first, rest)) => {
            *source = rest;
            *first
        }
        None => 0,
    };
    let kind = take(source);
    let len = usize::from(take(source) % 8).min(source.len());
    let leaf = depth == 0;
    let text = |source: &mut &[u8]| {
        let (text, rest) = source.split_at(len);
        *source = rest;
        text.to_vec()
    };
    let number = i64::from(kind) * 1_000_003 - 77;
    let wanted = match kind % 11 {
        0 => {
            let text = text(source);
            write::simple(out, &text);
            format!("+{}", one_line(&text).escape_ascii())
        }
        1 => {
            let text = text(source);
            write::error(out, &text);
            format!("-{}", one_line(&text).escape_ascii())
        }
        2 => {
            write::int(out, number);
            format!(":{number}")
        }
        3 => {
            let text = text(source);
            write::verbatim(out, &text, dialect);
            format!("${}", text.escape_ascii())
        }
        4 => {
            write::bulk_int(out, number);
            format!("${number}")
        }
        5 => {
            write::null(out, dialect);
            "nil".to_string()
        }
        6 => {
            write::null_array(out, dialect);
            "nil".to_string()
        }
        7..=10 if !leaf => {
            let count = open_array(kind % 11, len, out, dialect);
            let items: Vec<String> =
                (0..count).map(|_| build(source, out, dialect, depth - 1).0).collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let text = text(source);
            write::bulk(out, &text);
            format!("${}", text.escape_ascii())
        }
    };
    (wanted, u64::from(kind % 11) << 8 | len as u64)
}

/// Writes the head of an array of this kind; how many elements have to follow.
fn open_array(kind: u8, len: usize, out: &mut Vec<u8>, dialect: Dialect) -> usize {
    match kind {
        7 => write::array(out, len),
        8 => write::set(out, len, dialect),
        9 => write::push(out, len, dialect),
        _ => {
            write::map(out, len / 2, dialect);
            return len / 2 * 2;
        }
    }
    len
}

/// A text as it stands in a line.
fn one_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if b"\r\n".contains(byte) { b' ' } else { *byte }).collect()
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => format!("+{}", text.escape_ascii()),
        Reply::Error(text) => format!("-{}", text.escape_ascii()),
        Reply::Int(number) => format!(":{number}"),
        Reply::Bulk(text) => format!("${}", text.escape_ascii()),
        Reply::Null => "nil".to_string(),
        Reply::Array(items) => {
            let items: Vec<String> = items.iter().map(show).collect();
            format!("[{}]", items.join(","))
        }
    }
}
