//! A reply of RESP2 or RESP3 as a tree, and how it is read from a stream.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

/// One reply. Every RESP type keeps its own variant, so that a test can tell them apart.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `+text`
    Simple(String),
    /// `-text`
    Error(String),
    /// `:n`
    Int(i64),
    /// `$n` with its bytes
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Nil,
    /// `*n`
    List(Vec<Value>),
    /// `%n`
    Map(Vec<(Value, Value)>),
    /// `~n`
    Set(Vec<Value>),
    /// `>n`
    Push(Vec<Value>),
    /// `,x`
    Double(String),
    /// `#t`, `#f`
    Bool(bool),
    /// `=n` with its bytes (the prefix `txt:` included)
    Verbatim(Vec<u8>),
}

impl Value {
    /// The text of a simple string, error, bulk or number; else the debug form.
    pub fn text(&self) -> String {
        match self {
            Value::Simple(text) | Value::Error(text) | Value::Double(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            Value::Bulk(bytes) | Value::Verbatim(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            other => format!("{other:?}"),
        }
    }

    /// True for `+OK`.
    pub fn is_ok(&self) -> bool {
        *self == Value::Simple("OK".into())
    }

    /// The text if this is an error reply.
    pub fn error(&self) -> Option<&str> {
        match self {
            Value::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array, set or push; empty for anything else.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::List(items) | Value::Set(items) | Value::Push(items) => items,
            _ => &[],
        }
    }

    /// The elements as texts.
    pub fn texts(&self) -> Vec<String> {
        self.items().iter().map(Value::text).collect()
    }

    /// A map, or a flat array of names and values, as a table of texts.
    pub fn table(&self) -> BTreeMap<String, String> {
        match self {
            Value::Map(pairs) => pairs.iter().map(|(k, v)| (k.text(), v.text())).collect(),
            _ => self
                .items()
                .chunks(2)
                .filter(|pair| pair.len() == 2)
                .map(|pair| (pair[0].text(), pair[1].text()))
                .collect(),
        }
    }

    /// Reads one reply. Errors: those of the stream, and `InvalidData` for what is no RESP.
    pub fn read(from: &mut impl BufRead) -> io::Result<Value> {
        let line = read_line(from)?;
        let Some((kind, rest)) = line.split_at_checked(1) else {
            return Err(bad("empty line"));
        };
        Ok(match kind {
            "+" => Value::Simple(rest.into()),
            "-" => Value::Error(rest.into()),
            ":" => Value::Int(number(rest)?),
            "," => Value::Double(rest.into()),
            "#" => Value::Bool(rest == "t"),
            "_" => Value::Nil,
            "$" | "=" => match number(rest)? {
                -1 => Value::Nil,
                length => {
                    let bytes = read_bulk(from, length)?;
                    if kind == "$" { Value::Bulk(bytes) } else { Value::Verbatim(bytes) }
                }
            },
            "*" if rest == "-1" => Value::Nil,
            "*" => Value::List(read_items(from, number(rest)?)?),
            "~" => Value::Set(read_items(from, number(rest)?)?),
            ">" => Value::Push(read_items(from, number(rest)?)?),
            "%" => {
                let mut pairs = Vec::new();
                for _ in 0..number(rest)? {
                    pairs.push((Value::read(from)?, Value::read(from)?));
                }
                Value::Map(pairs)
            }
            _ => return Err(bad(&line)),
        })
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {what:?}"))
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| bad(text))
}

/// One line without its CRLF.
pub fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(1 << 20).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn read_bulk(from: &mut impl Read, length: i64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| bad("negative length"))?;
    let mut bytes = vec![0; length + 2];
    from.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn read_items(from: &mut impl BufRead, count: i64) -> io::Result<Vec<Value>> {
    (0..count).map(|_| Value::read(from)).collect()
}
