//! RESP2 as the models and the observers read and write it: small, and no code of the program.
#![forbid(unsafe_code)]

use std::fmt;

/// One request: the words of an array of bulk strings.
pub type Words = Vec<Vec<u8>>;

/// A reply, owned.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Value>),
}

/// For people, who read it in the lines of a replay.
impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(out, "+{}", text.escape_ascii()),
            Value::Error(text) => write!(out, "-{}", text.escape_ascii()),
            Value::Int(n) => write!(out, "{n}"),
            Value::Bulk(text) => write!(out, "\"{}\"", text.escape_ascii()),
            Value::Nil => write!(out, "nil"),
            Value::Array(values) => out.debug_list().entries(values).finish(),
        }
    }
}

impl Value {
    /// The bytes of a simple or bulk string.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text) | Value::Bulk(text) => Some(text),
            _ => None,
        }
    }
}

/// Where a word of a request is in its stream.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    from: usize,
    to: usize,
}

/// Bytes of a stream that do not make a whole piece yet.
#[derive(Clone, Default, Debug)]
pub struct Stream {
    bytes: Vec<u8>,
    used: usize,
}

impl Stream {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.used == self.bytes.len() {
            self.bytes.clear();
            self.used = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes exactly these bytes from the front, if that is what comes next.
    pub fn take_exact(&mut self, bytes: &[u8]) -> bool {
        let next = self.bytes[self.used..].starts_with(bytes);
        self.used += if next { bytes.len() } else { 0 };
        next
    }

    /// The next whole value, if it is there.
    pub fn next_value(&mut self) -> Option<Value> {
        let mut at = self.used;
        let value = value_at(&self.bytes, &mut at)?;
        self.used = at;
        Some(value)
    }

    /// How far it is read, for [`Stream::back_to`].
    pub fn mark(&self) -> usize {
        self.used
    }

    /// Gives back what was read since a mark.
    pub fn back_to(&mut self, mark: usize) {
        self.used = mark;
    }

    /// As [`Stream::next_request`], without copies: where its words are; `false`: not there yet.
    pub fn next_request_spans(&mut self, spans: &mut Vec<Span>) -> bool {
        spans.clear();
        let mut at = self.used;
        let Some(count) = header_at(&self.bytes, &mut at, b'*') else { return false };
        for _ in 0..count {
            let Some(len) = header_at(&self.bytes, &mut at, b'$') else { return false };
            if self.bytes.len() < at + len + 2 {
                return false;
            }
            spans.push(Span { from: at, to: at + len });
            at += len + 2;
        }
        self.used = at;
        true
    }

    /// The word at a span of the last request.
    pub fn word(&self, span: Span) -> &[u8] {
        &self.bytes[span.from..span.to]
    }

    /// The next whole request, if it is there.
    pub fn next_request(&mut self) -> Option<Words> {
        let value = self.next_value()?;
        let Value::Array(items) = value else { panic!("no request: {value:?}") };
        let word = |item: Value| match item {
            Value::Bulk(word) => word,
            other => panic!("a request holds {other:?}"),
        };
        Some(items.into_iter().map(word).collect())
    }
}

fn line_at<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = &bytes[*at..];
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    *at += end + 2;
    Some(&rest[..end])
}

/// The number behind a type, at the beginning of a line of a request.
fn header_at(bytes: &[u8], at: &mut usize, kind: u8) -> Option<usize> {
    let mut next = *at;
    let first = *bytes.get(next)?;
    assert_eq!(char::from(first), char::from(kind), "no request: {}", show(&bytes[*at..]));
    let mut number = 0;
    loop {
        next += 1;
        match *bytes.get(next)? {
            digit @ b'0'..=b'9' => number = number * 10 + usize::from(digit - b'0'),
            b'\r' => break,
            _ => panic!("no request: {}", show(&bytes[*at..])),
        }
    }
    bytes.get(next + 1)?;
    *at = next + 2;
    Some(number)
}

fn number(text: &[u8]) -> i64 {
    let text = std::str::from_utf8(text).expect("a number is ASCII");
    text.parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

fn value_at(bytes: &[u8], at: &mut usize) -> Option<Value> {
    let line = line_at(bytes, at)?;
    let (kind, rest) = line.split_first().expect("a reply begins with its type");
    let value = match kind {
        b'+' => Value::Simple(rest.to_vec()),
        b'-' => Value::Error(rest.to_vec()),
        b':' => Value::Int(number(rest)),
        b'$' => match usize::try_from(number(rest)) {
            Err(_) => Value::Nil,
            Ok(len) => {
                let text = bytes.get(*at..*at + len + 2)?;
                *at += len + 2;
                Value::Bulk(text[..len].to_vec())
            }
        },
        b'*' => match usize::try_from(number(rest)) {
            Err(_) => Value::Nil,
            Ok(len) => {
                let items: Option<Vec<Value>> = (0..len).map(|_| value_at(bytes, at)).collect();
                Value::Array(items?)
            }
        },
        other => panic!("unknown type {:?} in {:?}", *other as char, show(line)),
    };
    Some(value)
}

/// A request as bytes.
pub fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bulk(&mut out, word);
    }
    out
}

pub fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// Bytes for people.
pub fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A request for people.
pub fn show_words(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| show(word)).collect::<Vec<_>>().join(" ")
}

#[test]
fn torn_streams_give_whole_values() {
    let bytes = b"+OK\r\n*2\r\n$3\r\na\r\n\r\n:5\r\n-ERR x\r\n$-1\r\n";
    let mut stream = Stream::default();
    let mut values = Vec::new();
    for byte in bytes {
        stream.push(&[*byte]);
        values.extend(stream.next_value());
    }
    let array = Value::Array(vec![Value::Bulk(b"a\r\n".to_vec()), Value::Int(5)]);
    let expected =
        [Value::Simple(b"OK".to_vec()), array, Value::Error(b"ERR x".to_vec()), Value::Nil];
    assert_eq!(values, expected);
    assert_eq!(format!("{values:?}"), r#"[+OK, ["a\r\n", 5], -ERR x, nil]"#);
}
