//! A reply of RESP2 or RESP3 as a tree, read without any mercy: every deviation from the protocol
//! is an error, and every type keeps its own variant, the three nulls too.

use std::io::{self, BufRead, Read};

/// Longest line and longest bulk that a reply may have.
const MAX_BYTES: u64 = 1 << 20;

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`
    Error(Vec<u8>),
    /// `:n`
    Int(i64),
    /// `$n`
    Bulk(Vec<u8>),
    /// `=n`, the prefix `txt:` included
    Verbatim(Vec<u8>),
    /// `,x`
    Double(Vec<u8>),
    /// `#t`, `#f`
    Bool(bool),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `*n`
    Array(Vec<Reply>),
    /// `~n`
    Set(Vec<Reply>),
    /// `>n`
    Push(Vec<Reply>),
    /// `%n`
    Map(Vec<(Reply, Reply)>),
    /// The connection was closed instead of, or after, a reply.
    Closed,
}

impl Reply {
    /// The type as findings show it.
    pub fn kind(&self) -> &'static str {
        match self {
            Reply::Simple(_) => "simple",
            Reply::Error(_) => "error",
            Reply::Int(_) => "int",
            Reply::Bulk(_) => "bulk",
            Reply::Verbatim(_) => "verbatim",
            Reply::Double(_) => "double",
            Reply::Bool(_) => "bool",
            Reply::NullBulk => "null bulk",
            Reply::NullArray => "null array",
            Reply::Null => "null",
            Reply::Array(_) => "array",
            Reply::Set(_) => "set",
            Reply::Push(_) => "push",
            Reply::Map(_) => "map",
            Reply::Closed => "closed",
        }
    }

    /// The bytes of a leaf; empty for aggregates and nulls.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Reply::Simple(b) | Reply::Error(b) | Reply::Bulk(b) => b.clone(),
            Reply::Verbatim(b) | Reply::Double(b) => b.clone(),
            Reply::Int(n) => n.to_string().into_bytes(),
            Reply::Bool(b) => b.to_string().into_bytes(),
            _ => Vec::new(),
        }
    }

    /// The bytes of a leaf as text, what is not printable escaped.
    pub fn text(&self) -> String {
        printable(&self.bytes())
    }

    /// The elements of an array, set or push; empty for anything else.
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items,
            _ => &[],
        }
    }

    /// The value of a field of a map, or of an array of names and values in turn.
    pub fn field(&self, name: &str) -> Option<&Reply> {
        match self {
            Reply::Map(pairs) => pairs.iter().find(|(k, _)| k.text() == name).map(|(_, v)| v),
            _ => self.items().chunks(2).find(|p| p[0].text() == name).and_then(|p| p.get(1)),
        }
    }

    /// Reads one reply; [`Reply::Closed`] if the other side closed before its first byte.
    /// Errors: those of the stream, and `InvalidData` for what is no RESP.
    pub fn read(from: &mut impl BufRead) -> io::Result<Reply> {
        match from.fill_buf() {
            Ok([]) => return Ok(Reply::Closed),
            Ok(_) => {}
            Err(error) if is_close(&error) => return Ok(Reply::Closed),
            Err(error) => return Err(error),
        }
        let line = line(from)?;
        let rest = &line[1..];
        Ok(match line[0] {
            b'+' => Reply::Simple(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Int(number(rest)?),
            b',' => Reply::Double(rest.to_vec()),
            b'#' if rest == b"t" || rest == b"f" => Reply::Bool(rest == b"t"),
            b'_' if rest.is_empty() => Reply::Null,
            b'$' if rest == b"-1" => Reply::NullBulk,
            b'*' if rest == b"-1" => Reply::NullArray,
            b'$' => Reply::Bulk(bulk(from, rest)?),
            b'=' => Reply::Verbatim(bulk(from, rest)?),
            b'*' => Reply::Array(items(from, count(rest)?)?),
            b'~' => Reply::Set(items(from, count(rest)?)?),
            b'>' => Reply::Push(items(from, count(rest)?)?),
            b'%' => {
                let flat = items(from, 2 * count(rest)?)?;
                let pairs = flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
                Reply::Map(pairs.collect())
            }
            _ => return Err(bad(&line)),
        })
    }
}

/// Bytes as text, what is not printable escaped; quotes stay as they are.
pub fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

/// Whether an error means that the other side is gone.
fn is_close(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn bad(what: &[u8]) -> io::Error {
    let text = format!("not RESP: {}", what.escape_ascii());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// A number as servers write them: no plus sign, no leading zero.
fn number(digits: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(digits).map_err(|_| bad(digits))?;
    let number: i64 = text.parse().map_err(|_| bad(digits))?;
    if number.to_string() == text { Ok(number) } else { Err(bad(digits)) }
}

fn count(digits: &[u8]) -> io::Result<usize> {
    usize::try_from(number(digits)?).map_err(|_| bad(digits))
}

/// A line that ends in CRLF, without it, and has at least one byte and no other CR.
fn line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(MAX_BYTES).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(rest) if !rest.is_empty() && !rest.contains(&b'\r') => Ok(rest.to_vec()),
        _ => Err(bad(&line)),
    }
}

fn bulk(from: &mut impl BufRead, digits: &[u8]) -> io::Result<Vec<u8>> {
    let length = count(digits)?;
    if length as u64 > MAX_BYTES {
        return Err(bad(digits));
    }
    let mut bytes = vec![0; length + 2];
    from.read_exact(&mut bytes)?;
    match bytes.strip_suffix(b"\r\n") {
        Some(rest) => Ok(rest.to_vec()),
        None => Err(bad(&bytes)),
    }
}

fn items(from: &mut impl BufRead, count: usize) -> io::Result<Vec<Reply>> {
    let mut items = Vec::new();
    for _ in 0..count {
        match Reply::read(from)? {
            Reply::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
            item => items.push(item),
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> io::Result<Reply> {
        Reply::read(&mut bytes)
    }

    #[test]
    fn the_nulls_are_three() {
        assert_eq!(read(b"$-1\r\n").unwrap(), Reply::NullBulk);
        assert_eq!(read(b"*-1\r\n").unwrap(), Reply::NullArray);
        assert_eq!(read(b"_\r\n").unwrap(), Reply::Null);
        assert_eq!(read(b"").unwrap(), Reply::Closed);
    }

    #[test]
    fn what_is_no_resp_is_refused() {
        for wrong in
            ["+OK\n", ":1 \r\n", ":+1\r\n", "$3\r\nab\r\n", "*2\r\n:1\r\n", "hi\r\n", "#x\r\n"]
        {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
