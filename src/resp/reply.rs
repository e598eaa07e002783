//! The resumable parser of RESP2 (and RESP3) replies, borrowing from the caller's buffer.
//!
//! A reply that is no array is read at once. An array is first walked over, from call to call, to
//! find where it ends, and built when it is there: so the work is linear however the bytes arrive.
#![forbid(unsafe_code)]

use crate::util::num;

/// One reply; texts borrow from the read buffer.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply<'a> {
    /// A line; also doubles and big numbers, as their text.
    Simple(&'a [u8]),
    Error(&'a [u8]),
    /// A number; also booleans, as 1 and 0.
    Int(i64),
    /// Any bytes; also verbatim strings, without their format.
    Bulk(&'a [u8]),
    Null,
    /// Arrays, sets and pushes; maps as their flat list of keys and values.
    Array(Vec<Reply<'a>>),
}

/// The peer does not speak RESP, or goes over a limit; the connection is of no more use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 8;
/// Longest single bulk that is read from a link, in bytes (an INFO of a huge node is far below).
pub const MAX_BULK_BYTES: usize = 16 * 1024 * 1024;
/// Most elements of one reply, counted through all its arrays.
pub const MAX_ELEMENTS: usize = 1024 * 1024;
/// Longest simple string, error or other line, in bytes without its CR LF.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// Longest reply as a whole, in bytes.
pub const MAX_REPLY_BYTES: usize = 2 * MAX_BULK_BYTES;

/// Longest line of a length: no number that fits is longer.
const MAX_LENGTH_BYTES: usize = 20;

/// Parser state of one connection; holds no bytes.
#[derive(Clone, Debug, Default)]
pub struct ReplyParser {
    /// Everything before this position belongs to elements that are walked over.
    pos: usize,
    /// Below this length of the buffer there is no need to look again.
    wanted: usize,
    /// So many bytes of the line at `pos` are known to hold no line end.
    scanned: usize,
    /// For each open array, from the outermost: how many elements are still to come, at least 1.
    open: [u32; MAX_DEPTH],
    depth: usize,
    /// Elements of all arrays so far, as announced.
    elements: usize,
}

/// What stands at one position of the buffer.
enum Piece<'a> {
    /// More bytes are needed: at least until the buffer is so long; `scanned` as in the parser.
    Incomplete { wanted: usize, scanned: usize },
    /// A reply that is no array, and where the next one begins.
    Leaf(Reply<'a>, usize),
    /// So many elements follow, from this position on.
    Array(usize, usize),
}

impl ReplyParser {
    /// Reads one reply from the front of `buffer`; `Ok(None)` asks for more bytes (call again with
    /// the same bytes and more behind them), `Some((reply, used))` tells how many to remove. After
    /// an error neither the connection nor the parser is of use.
    pub fn next<'a>(&mut self, buffer: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, Malformed> {
        if buffer.len() <= self.pos || buffer.len() < self.wanted {
            return Ok(None);
        }
        loop {
            match read_piece(buffer, self.pos, self.scanned)? {
                Piece::Incomplete { wanted, scanned } => {
                    check_total(wanted)?;
                    (self.wanted, self.scanned) = (wanted, scanned);
                    return Ok(None);
                }
                Piece::Leaf(reply, end) if self.depth == 0 => {
                    *self = ReplyParser::default();
                    return Ok(Some((reply, end)));
                }
                Piece::Leaf(_, end) => self.step_over(end),
                Piece::Array(len, end) => self.enter(len, end)?,
            }
            check_total(self.pos)?;
            if self.depth == 0 {
                *self = ReplyParser::default();
                return build(buffer, 0, MAX_DEPTH).map(Some);
            }
        }
    }

    /// Steps behind an element that ends at `end`, and out of every array that it completes.
    fn step_over(&mut self, end: usize) {
        (self.pos, self.scanned) = (end, 0);
        while self.depth > 0 {
            let missing = &mut self.open[self.depth - 1];
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            self.depth -= 1;
        }
    }

    /// Steps into an array of `len` elements, the first of which stands at `start`.
    fn enter(&mut self, len: usize, start: usize) -> Result<(), Malformed> {
        self.elements = self.elements.saturating_add(len);
        if self.elements > MAX_ELEMENTS {
            return Err(Malformed("too many elements"));
        }
        if self.depth == MAX_DEPTH {
            return Err(Malformed("nested too deep"));
        }
        if len == 0 {
            self.step_over(start);
            return Ok(());
        }
        (self.pos, self.scanned) = (start, 0);
        self.open[self.depth] = u32::try_from(len).expect("len is at most MAX_ELEMENTS");
        self.depth += 1;
        Ok(())
    }
}

/// A whole Pub/Sub message at the front of `buffer`: its channel, its text, and how many bytes it
/// takes. Most of what links bring is one of these; anything else is for the parser, which reads
/// the same (an array of three) out of it.
pub fn message(buffer: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    const HEAD: &[u8] = b"*3\r\n$7\r\nmessage\r\n";
    if !buffer.starts_with(HEAD) {
        return None;
    }
    let bulk = |pos| match read_piece(buffer, pos, 0) {
        Ok(Piece::Leaf(Reply::Bulk(text), end)) if buffer.get(pos) == Some(&b'$') => {
            Some((text, end))
        }
        _ => None,
    };
    let (channel, end) = bulk(HEAD.len())?;
    let (text, end) = bulk(end)?;
    (end <= MAX_REPLY_BYTES).then_some((channel, text, end))
}

fn check_total(bytes: usize) -> Result<(), Malformed> {
    if bytes > MAX_REPLY_BYTES { Err(Malformed("reply too long")) } else { Ok(()) }
}

/// Builds the reply at `pos`, which was walked over, with arrays at most `depth` deep; gives the
/// position behind it too.
fn build(buffer: &[u8], pos: usize, depth: usize) -> Result<(Reply<'_>, usize), Malformed> {
    match read_piece(buffer, pos, 0)? {
        Piece::Leaf(reply, end) => Ok((reply, end)),
        Piece::Array(len, start) if depth > 0 => {
            let mut elements = Vec::with_capacity(len);
            let mut pos = start;
            for _ in 0..len {
                let (element, end) = build(buffer, pos, depth - 1)?;
                elements.push(element);
                pos = end;
            }
            Ok((Reply::Array(elements), pos))
        }
        Piece::Array(..) | Piece::Incomplete { .. } => Err(Malformed("buffer changed")),
    }
}

/// Reads what stands at `pos`, the first `scanned` bytes of which hold no line end.
fn read_piece(buffer: &[u8], pos: usize, scanned: usize) -> Result<Piece<'_>, Malformed> {
    let Some((&kind, rest)) = buffer.get(pos..).and_then(<[u8]>::split_first) else {
        return Ok(Piece::Incomplete { wanted: pos + 1, scanned: 0 });
    };
    let max_len = match kind {
        b'+' | b'-' | b',' | b'(' => MAX_LINE_BYTES,
        b':' | b'$' | b'*' | b'_' | b'%' | b'~' | b'>' | b'#' | b'=' | b'!' => MAX_LENGTH_BYTES,
        _ => return Err(Malformed("unknown type of reply")),
    };
    let len = match find_line_end(rest, scanned, max_len)? {
        Ok(len) => len,
        Err(scanned) => return Ok(Piece::Incomplete { wanted: buffer.len() + 1, scanned }),
    };
    let (line, end) = (&rest[..len], pos + 1 + len + 2);
    let leaf = match kind {
        b'+' | b',' | b'(' => Reply::Simple(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Int(num::parse_i64(line).ok_or(Malformed("invalid number"))?),
        b'_' if line.is_empty() => Reply::Null,
        b'#' if line == b"t" => Reply::Int(1),
        b'#' if line == b"f" => Reply::Int(0),
        b'_' | b'#' => return Err(Malformed("invalid null or boolean")),
        b'$' | b'*' if line == b"-1" => Reply::Null,
        b'$' | b'=' | b'!' => return read_bulk(buffer, kind, parse_len(line)?, end),
        b'%' => return Ok(Piece::Array(parse_len(line)?.saturating_mul(2), end)),
        _ => return Ok(Piece::Array(parse_len(line)?, end)),
    };
    Ok(Piece::Leaf(leaf, end))
}

/// The length of the line at the front of `rest` without its CR LF; if that is not there yet, how
/// many bytes cannot be its beginning.
fn find_line_end(
    rest: &[u8],
    scanned: usize,
    max_len: usize,
) -> Result<Result<usize, usize>, Malformed> {
    // With a limit of its own, so that it does not matter how much of the rest is there.
    let window = &rest[..rest.len().min(max_len + 2)];
    let fresh = window.get(scanned..).unwrap_or_default();
    match fresh.windows(2).position(|pair| pair == b"\r\n") {
        Some(at) => Ok(Ok(scanned + at)),
        None if window.len() == max_len + 2 => Err(Malformed("line too long")),
        None => Ok(Err(window.len().saturating_sub(1))),
    }
}

fn parse_len(line: &[u8]) -> Result<usize, Malformed> {
    let len = num::parse_u64(line).ok_or(Malformed("invalid length"))?;
    Ok(usize::try_from(len).unwrap_or(usize::MAX))
}

/// The `len` bytes at `start`, of a bulk of this kind.
fn read_bulk(buffer: &[u8], kind: u8, len: usize, start: usize) -> Result<Piece<'_>, Malformed> {
    if len > MAX_BULK_BYTES {
        return Err(Malformed("bulk too long"));
    }
    let end = start + len + 2;
    let Some(bytes) = buffer.get(start..end) else {
        return Ok(Piece::Incomplete { wanted: end, scanned: 0 });
    };
    let (text, line_end) = bytes.split_at(len);
    if line_end != b"\r\n" {
        return Err(Malformed("no line end behind a bulk"));
    }
    let reply = match (kind, text) {
        (b'=', [_, _, _, b':', text @ ..]) => Reply::Bulk(text),
        (b'=', _) => return Err(Malformed("verbatim string without a format")),
        (b'!', text) => Reply::Error(text),
        (_, text) => Reply::Bulk(text),
    };
    Ok(Piece::Leaf(reply, end))
}

#[cfg(test)]
mod tests {
    use super::Reply::*;
    use super::*;
    use crate::resp::feed;
    use crate::util::rng::Rng;

    /// Feeds the chunks one after the other; what was read, as text, and the error if there is one.
    fn feed(chunks: &[&[u8]]) -> (Vec<String>, Option<Malformed>) {
        let mut parser = ReplyParser::default();
        feed::feed(chunks, |bytes| {
            let next = parser.next(bytes)?;
            Ok(next.map(|(reply, used)| (format!("{reply:?}"), used)))
        })
    }

    /// Feeds `bytes` whole, torn at every boundary, and byte by byte.
    fn check(bytes: &[u8], replies: &[Reply], error: Option<&'static str>) {
        let label = bytes.escape_ascii();
        let replies = replies.iter().map(|reply| format!("{reply:?}")).collect();
        let expected = (replies, error.map(Malformed));
        assert_eq!(feed(&[bytes]), expected, "{label}");
        for at in 0..=bytes.len() {
            assert_eq!(feed(&[&bytes[..at], &bytes[at..]]), expected, "{label} torn at {at}");
        }
        let chunks: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(feed(&chunks), expected, "{label} in single bytes");
    }

    /// As [`check`], alone and between other replies.
    fn check_reply(bytes: &[u8], reply: &Reply) {
        check(bytes, std::slice::from_ref(reply), None);
        for (other, parsed) in [
            (&b"+PONG\r\n"[..], Simple(b"PONG")),
            (b"$2\r\n\r\n\r\n", Bulk(b"\r\n")),
            (b"*1\r\n*0\r\n", Array(vec![Array(vec![])])),
        ] {
            let bytes = [other, bytes, other].concat();
            check(&bytes, &[parsed.clone(), reply.clone(), parsed], None);
        }
    }

    #[test]
    fn reads_resp2() {
        for (bytes, reply) in [
            (&b"+PONG\r\n"[..], Simple(b"PONG")),
            (b"+\r\n", Simple(b"")),
            (b"+a\rb\nc\r\r\n", Simple(b"a\rb\nc\r")),
            (b"-LOADING x\r\n", Error(b"LOADING x")),
            (b":0\r\n", Int(0)),
            (b":-9223372036854775808\r\n", Int(i64::MIN)),
            (b"$0\r\n\r\n", Bulk(b"")),
            (b"$7\r\na\r\n\0\xff$1\r\n", Bulk(b"a\r\n\0\xff$1")),
            (b"$-1\r\n", Null),
            (b"*-1\r\n", Null),
            (b"*0\r\n", Array(vec![])),
            (b"*2\r\n:1\r\n$1\r\na\r\n", Array(vec![Int(1), Bulk(b"a")])),
            (
                b"*3\r\n*2\r\n*0\r\n+a\r\n*-1\r\n*1\r\n$-1\r\n",
                Array(vec![Array(vec![Array(vec![]), Simple(b"a")]), Null, Array(vec![Null])]),
            ),
        ] {
            check_reply(bytes, &reply);
        }
    }

    #[test]
    fn reads_resp3() {
        for (bytes, reply) in [
            (&b"_\r\n"[..], Null),
            (b"#t\r\n", Int(1)),
            (b"#f\r\n", Int(0)),
            (b",1.5e3\r\n", Simple(b"1.5e3")),
            (b"(123456789012345678901234567890\r\n", Simple(b"123456789012345678901234567890")),
            (b"=8\r\ntxt:a=1\n\r\n", Bulk(b"a=1\n")),
            (b"!5\r\nERR x\r\n", Error(b"ERR x")),
            (b"~1\r\n+a\r\n", Array(vec![Simple(b"a")])),
            (b">2\r\n+a\r\n_\r\n", Array(vec![Simple(b"a"), Null])),
            (b"%1\r\n+a\r\n%0\r\n", Array(vec![Simple(b"a"), Array(vec![])])),
        ] {
            check_reply(bytes, &reply);
        }
    }

    #[test]
    fn messages_are_read_as_the_parser_reads_them() {
        let head = b"*3\r\n$7\r\nmessage\r\n";
        for tail in [
            &b"$1\r\nc\r\n$2\r\nab\r\n+more"[..],
            b"$1\r\nc\r\n$0\r\n\r\n",
            b"$1\r\nc\r\n$2\r\nab\r",
            b"$1\r\nc\r\n+ab\r\n",
            b"$1\r\nc\r\n=5\r\ntxt:a\r\n",
            b"$1\r\nc\r\n$-1\r\n",
            b"$1\r\nc\r\n$99999999\r\n",
            b"$x\r\n",
            b"",
        ] {
            let bytes = [&head[..], tail].concat();
            let Some((channel, text, used)) = message(&bytes) else { continue };
            let reply = Array(vec![Bulk(b"message"), Bulk(channel), Bulk(text)]);
            assert_eq!(ReplyParser::default().next(&bytes), Ok(Some((reply, used))));
        }
        let whole = [&head[..], b"$1\r\nc\r\n$2\r\nab\r\n+more"].concat();
        assert_eq!(message(&whole), Some((&b"c"[..], &b"ab"[..], whole.len() - 5)));
        for other in [&b"+OK\r\n"[..], b"*3\r\n$9\r\nsubscribe\r\n", &whole[..30]] {
            assert_eq!(message(other), None);
        }
    }

    #[test]
    fn refuses_what_is_no_reply() {
        for (bytes, error) in [
            (&b"PONG\r\n"[..], "unknown type of reply"),
            (b"\r\n", "unknown type of reply"),
            (b"|1\r\n", "unknown type of reply"),
            (b":\r\n", "invalid number"),
            (b":+1\r\n", "invalid number"),
            (b":1 \r\n", "invalid number"),
            (b":9223372036854775808\r\n", "invalid number"),
            (b":1234567890123456789012", "line too long"),
            (b"_x\r\n", "invalid null or boolean"),
            (b"#\r\n", "invalid null or boolean"),
            (b"$\r\n", "invalid length"),
            (b"$?\r\n", "invalid length"),
            (b"$-2\r\n", "invalid length"),
            (b"*-2\r\n", "invalid length"),
            (b"%-1\r\n", "invalid length"),
            (b"*99999999999999999999\r\n", "invalid length"),
            (b"*000000000000000000001\r\n", "line too long"),
            (b"$16777217\r\n", "bulk too long"),
            (b"$18446744073709551615\r\n", "bulk too long"),
            (b"*1048577\r\n", "too many elements"),
            (b"%9223372036854775808\r\n", "too many elements"),
            (b"*1048575\r\n*1\r\n*1\r\n", "too many elements"),
            (b"$1\r\nab\r\n", "no line end behind a bulk"),
            (b"=3\r\ntxt\r\n", "verbatim string without a format"),
            (b"*2\r\n+a\r\n?", "unknown type of reply"),
        ] {
            check(bytes, &[], Some(error));
            check(&[b"*0\r\n", bytes].concat(), &[Array(vec![])], Some(error));
        }
    }

    #[test]
    fn incomplete_replies_wait() {
        for bytes in [
            &b""[..],
            b"+",
            b"+OK",
            b"+OK\r",
            b"+OK\n",
            b"$",
            b"$3\r\nabc\r",
            b"*",
            b"*1\r\n",
            b"*2\r\n+a\r\n",
            b"*1048576\r\n",
            b"$16777216\r\na",
            b":12345678901234567890",
            b"*1\r\n%2\r\n+a\r\n",
        ] {
            check(bytes, &[], None);
        }
    }

    #[test]
    fn nesting_is_limited() {
        let deep = [&b"*1\r\n".repeat(MAX_DEPTH - 1)[..], b"*0\r\n"].concat();
        let reply = (1..MAX_DEPTH).fold(Array(vec![]), |inner, _| Array(vec![inner]));
        check_reply(&deep, &reply);
        check(&[b"*1\r\n", &deep[..]].concat(), &[], Some("nested too deep"));
        check(&b"*1\r\n".repeat(1000), &[], Some("nested too deep"));
    }

    #[test]
    fn lines_are_limited() {
        let longest = [b"+", &vec![b'a'; MAX_LINE_BYTES][..], b"\r\n"].concat();
        let expected = vec![format!("{:?}", Simple(&longest[1..=MAX_LINE_BYTES]))];
        assert_eq!(feed(&[&longest]), (expected, None));
        let longer = [b"+", &longest[..]].concat();
        assert_eq!(feed(&[&longer]).1, Some(Malformed("line too long")));
        assert_eq!(feed(&[&longer[..9], &longer[9..]]).1, Some(Malformed("line too long")));
    }

    #[test]
    fn the_whole_reply_is_limited() {
        let mut bytes = b"*4\r\n".to_vec();
        for _ in 0..3 {
            bytes.extend_from_slice(b"$12582912\r\n");
            bytes.resize(bytes.len() + 12_582_912, b'x');
            bytes.extend_from_slice(b"\r\n");
        }
        let too_long = Err(Malformed("reply too long"));
        assert_eq!(ReplyParser::default().next(&bytes), too_long);
        let mut parser = ReplyParser::default();
        assert_eq!(parser.next(&bytes[..26_000_000]), too_long);
    }

    /// Were any of these read again from the front with each byte, this would take an hour.
    #[test]
    fn torn_into_single_bytes_the_work_stays_linear() {
        let bulk = [b"$1048576\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
        let inner = [b"*2\r\n+OK\r\n", &bulk[..]].concat();
        let small = [&b"*150000\r\n"[..], &b"$1\r\na\r\n".repeat(150_000)].concat();
        let nested = [&b"*100000\r\n"[..], &b"*1\r\n:1\r\n".repeat(100_000)].concat();
        let lines =
            [&b"*10\r\n"[..], &[b"+", &[b'a'; 60_000][..], b"\r\n"].concat().repeat(10)].concat();
        for bytes in [bulk, inner, small, nested, lines] {
            let mut parser = ReplyParser::default();
            for len in 0..bytes.len() {
                assert_eq!(parser.next(&bytes[..len]), Ok(None));
            }
            let (_, used) = parser.next(&bytes).unwrap().unwrap();
            assert_eq!(used, bytes.len());
        }
    }

    #[test]
    fn random_bytes_do_no_harm() {
        let alphabet = b"+-:$*_%~>,#(=!\r\r\n\n0123-tf:a\0\xff";
        let pieces: [&[u8]; 7] =
            [b"*2\r\n", b"%1\r\n", b"$1\r\na\r\n", b"$-1\r\n", b":1\r\n", b"+a\r\n", b"*1\r\n"];
        let mut rng = Rng::new(30);
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            while bytes.len() < 32 {
                match rng.below(8) {
                    0 => bytes.push(alphabet[rng.below(alphabet.len() as u64) as usize]),
                    n => bytes.extend_from_slice(pieces[n as usize - 1]),
                }
            }
            let whole = feed(&[&bytes]);
            let at = rng.below(bytes.len() as u64) as usize;
            assert_eq!(feed(&[&bytes[..at], &bytes[at..]]), whole);
            let chunks: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(feed(&chunks), whole, "{}", bytes.escape_ascii());
        }
    }

    /// A caller that breaks the contract gets an error or nonsense, but no panic.
    #[test]
    fn changing_buffers_do_no_harm() {
        let mut rng = Rng::new(31);
        let bytes = b"*2\r\n$3\r\nabc\r\n*2\r\n:1\r\n%1\r\n+a\r\n$2\r\nde\r\n";
        for _ in 0..20_000 {
            let mut parser = ReplyParser::default();
            for _ in 0..3 {
                let from = rng.below(bytes.len() as u64) as usize;
                let _ = parser.next(&bytes[from..]);
                let _ = parser.next(&bytes[..from]);
            }
        }
    }
}
