//! The resumable parser of client requests: arrays of bulk strings, and inline commands.
//!
//! A request is read in two passes: the first walks over its headers and remembers, from call to
//! call, how far it came; only when everything is there the second one copies the arguments. So
//! the work is linear however the bytes arrive, and a declared length allocates nothing.
#![forbid(unsafe_code)]

use crate::util::{num, words};

/// One request: the command name and its arguments, as bytes. Empty in one case only, which
/// [`RequestParser::next`] names.
pub type Request = Vec<Vec<u8>>;

/// Buffers of requests that are done with, for those that follow: short ones, a few of them.
#[derive(Debug, Default)]
pub struct Spare {
    requests: Vec<Request>,
    words: Vec<Vec<u8>>,
}

impl Spare {
    const WORDS_MAX: usize = 16;
    const WORD_MAX_BYTES: usize = 128;

    /// Takes a request apart.
    pub fn give_back(&mut self, mut request: Request) {
        if request.capacity() > Spare::WORDS_MAX {
            return;
        }
        for mut word in request.drain(..) {
            if self.words.len() < Spare::WORDS_MAX && word.capacity() <= Spare::WORD_MAX_BYTES {
                word.clear();
                self.words.push(word);
            }
        }
        if self.requests.is_empty() {
            self.requests.push(request);
        }
    }

    fn request(&mut self, words: usize) -> Request {
        let mut request = self.requests.pop().unwrap_or_default();
        request.reserve(words);
        request
    }

    fn word(&mut self, text: &[u8]) -> Vec<u8> {
        let mut word = self.words.pop().unwrap_or_default();
        word.extend_from_slice(text);
        word
    }
}

/// What a client may send (spec/commands.md, first section).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most arguments of one request.
    pub args: usize,
    /// Longest single argument, in bytes.
    pub bulk_bytes: usize,
    /// Until it has authenticated, a client gets the errors that say so, and no more than
    /// [`UNAUTHENTICATED_ARGS`] and [`UNAUTHENTICATED_BULK_BYTES`].
    pub authenticated: bool,
}

/// Most arguments of a request before authentication; inline commands may have more.
pub const UNAUTHENTICATED_ARGS: usize = 10;
/// Longest argument before authentication, in bytes; inline commands may have longer ones.
pub const UNAUTHENTICATED_BULK_BYTES: usize = 16 * 1024;
/// Longest inline line, and longest line of a count, in bytes without its line end.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// The most the protocol knows; what goes over it is no number for it.
const PROTOCOL_ARGS: usize = i32::MAX as usize;
const PROTOCOL_BULK_BYTES: usize = 512 * 1024 * 1024;

/// Why a connection is closed; the texts follow `-ERR Protocol error: `.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    InvalidMultibulkLength,
    ExpectedDollar(u8),
    InvalidBulkLength,
    UnauthenticatedMultibulkLength,
    UnauthenticatedBulkLength,
    TooBigInline,
    UnbalancedQuotes,
    TooBigMbulkCount,
    TooBigBulkCount,
}

impl ProtocolError {
    /// The text behind `-ERR Protocol error: `; it may hold a CR or LF, which the writer of errors
    /// makes a blank.
    pub fn text(&self) -> Vec<u8> {
        let text: &[u8] = match self {
            Self::InvalidMultibulkLength => b"invalid multibulk length",
            Self::ExpectedDollar(got) => {
                return [b"expected '$', got '", &[*got][..], b"'"].concat();
            }
            Self::InvalidBulkLength => b"invalid bulk length",
            Self::UnauthenticatedMultibulkLength => b"unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => b"unauthenticated bulk length",
            Self::TooBigInline => b"too big inline request",
            Self::UnbalancedQuotes => b"unbalanced quotes in request",
            Self::TooBigMbulkCount => b"too big mbulk count string",
            Self::TooBigBulkCount => b"too big bulk count string",
        };
        text.to_vec()
    }
}

/// Parser state of one connection; holds no bytes, only where it stands in the caller's buffer.
#[derive(Clone, Debug, Default)]
pub struct RequestParser {
    /// Everything before this position is read: the count line and whole arguments.
    pos: usize,
    /// So many bytes behind `pos` are known to hold no line end.
    scanned: usize,
    /// Below this length of the buffer there is no need to look again.
    wanted: usize,
    /// Number of arguments, from the count line; 0 while that is not read.
    args: usize,
    /// How many of them are not read yet.
    missing: usize,
}

/// What the front of the buffer holds.
enum Front {
    Incomplete,
    /// An empty line, or a count below 1, of so many bytes.
    Nothing(usize),
    Whole(Request, usize),
}

impl RequestParser {
    /// Reads one request from the front of `buffer`.
    ///
    /// `Ok(None)`: more bytes are needed; call again with the same bytes and more behind them.
    /// `Ok(Some((request, used)))`: `used` bytes belong to it (and to skipped empty lines and empty
    /// arrays before it); the caller removes them. A request may be empty only when such were all
    /// that was skipped: then `Some((vec![], used))`, and the next call looks at what follows.
    /// `Err`: the connection is of no more use, nor is the parser.
    pub fn next(
        &mut self,
        buffer: &[u8],
        limits: Limits,
    ) -> Result<Option<(Request, usize)>, ProtocolError> {
        self.next_from(buffer, limits, &mut Spare::default())
    }

    /// As [`RequestParser::next`], with buffers to build the request from.
    pub fn next_from(
        &mut self,
        buffer: &[u8],
        limits: Limits,
        spare: &mut Spare,
    ) -> Result<Option<(Request, usize)>, ProtocolError> {
        let mut skipped = 0;
        loop {
            match self.read_front(&buffer[skipped..], limits, spare)? {
                Front::Whole(request, used) => {
                    *self = RequestParser::default();
                    return Ok(Some((request, skipped + used)));
                }
                Front::Nothing(used) => {
                    *self = RequestParser::default();
                    skipped += used;
                }
                Front::Incomplete if skipped == 0 => return Ok(None),
                Front::Incomplete => {
                    // Positions count from the front, where the skipped bytes will be gone.
                    *self = RequestParser::default();
                    return Ok(Some((Request::new(), skipped)));
                }
            }
        }
    }

    fn read_front(
        &mut self,
        buffer: &[u8],
        limits: Limits,
        spare: &mut Spare,
    ) -> Result<Front, ProtocolError> {
        if self.args == 0 {
            match buffer.first() {
                None => return Ok(Front::Incomplete),
                Some(b'*') => {}
                Some(_) => return self.read_inline(buffer),
            }
            match self.read_count(buffer, limits)? {
                None => return Ok(Front::Incomplete),
                Some(0) => return Ok(Front::Nothing(self.pos)),
                Some(args) => (self.args, self.missing) = (args, args),
            }
        }
        while self.missing > 0 {
            if !self.skip_argument(buffer, limits)? {
                return Ok(Front::Incomplete);
            }
            self.missing -= 1;
        }
        let request = copy_arguments(buffer, self.args, spare);
        Ok(Front::Whole(request.ok_or(ProtocolError::InvalidBulkLength)?, self.pos))
    }

    /// A line that ends in LF or CR LF.
    fn read_inline(&mut self, buffer: &[u8]) -> Result<Front, ProtocolError> {
        let Some(end) = self.find(buffer, b'\n', ProtocolError::TooBigInline)? else {
            return Ok(Front::Incomplete);
        };
        // A CR before the LF is a blank, so it needs no care.
        let words = words::split(&buffer[..end]).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        if words.is_empty() {
            Ok(Front::Nothing(end + 1))
        } else {
            Ok(Front::Whole(words, end + 1))
        }
    }

    /// The line `*n`, and steps behind it; `Some(0)` for an `n` that is not positive.
    fn read_count(
        &mut self,
        buffer: &[u8],
        limits: Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.take_count_line(buffer, ProtocolError::TooBigMbulkCount)? else {
            return Ok(None);
        };
        let count = num::parse_i64(&line[1..]).ok_or(ProtocolError::InvalidMultibulkLength)?;
        let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
        if count > PROTOCOL_ARGS {
            Err(ProtocolError::InvalidMultibulkLength)
        } else if !limits.authenticated && count > limits.args.min(UNAUTHENTICATED_ARGS) {
            Err(ProtocolError::UnauthenticatedMultibulkLength)
        } else if count > limits.args {
            Err(ProtocolError::InvalidMultibulkLength)
        } else {
            Ok(Some(count))
        }
    }

    /// Steps behind the argument at `pos` and gives true if all of it is there.
    fn skip_argument(&mut self, buffer: &[u8], limits: Limits) -> Result<bool, ProtocolError> {
        if buffer.len() < self.wanted {
            return Ok(false);
        }
        let start = self.pos;
        let Some(line) = self.take_count_line(buffer, ProtocolError::TooBigBulkCount)? else {
            return Ok(false);
        };
        let len = bulk_len(line, limits)?;
        // Any two bytes pass for the line end behind an argument, as with the C sentinels.
        let end = self.pos + len + 2;
        if buffer.len() < end {
            (self.pos, self.wanted) = (start, end);
            return Ok(false);
        }
        self.pos = end;
        Ok(true)
    }

    /// The line at `pos` up to its CR, and steps behind the LF; any byte passes for the LF, as with
    /// the C sentinels.
    fn take_count_line<'a>(
        &mut self,
        buffer: &'a [u8],
        too_long: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let start = self.pos;
        let Some(end) = self.find(buffer, b'\r', too_long)? else { return Ok(None) };
        if buffer.len() < end + 2 {
            self.scanned = end - start;
            return Ok(None);
        }
        (self.pos, self.scanned) = (end + 2, 0);
        Ok(Some(&buffer[start..end]))
    }

    /// The position of the first `byte` at or behind `pos`, which ends a line.
    fn find(
        &mut self,
        buffer: &[u8],
        byte: u8,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let rest = buffer.get(self.pos..).unwrap_or_default();
        let fresh = rest.get(self.scanned..).unwrap_or_default();
        let found = fresh.iter().position(|candidate| *candidate == byte);
        let line_bytes = found.map_or(rest.len(), |at| self.scanned + at);
        if line_bytes > MAX_LINE_BYTES {
            return Err(too_long);
        }
        self.scanned = if found.is_some() { 0 } else { line_bytes };
        Ok(found.map(|_| self.pos + line_bytes))
    }
}

/// The length in the line `$n`.
fn bulk_len(line: &[u8], limits: Limits) -> Result<usize, ProtocolError> {
    let digits = match line {
        [b'$', digits @ ..] => digits,
        // An empty line: what stands there is its CR.
        _ => return Err(ProtocolError::ExpectedDollar(*line.first().unwrap_or(&b'\r'))),
    };
    let len = num::parse_u64(digits).ok_or(ProtocolError::InvalidBulkLength)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > PROTOCOL_BULK_BYTES {
        return Err(ProtocolError::InvalidBulkLength);
    }
    if !limits.authenticated && len > limits.bulk_bytes.min(UNAUTHENTICATED_BULK_BYTES) {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    if len > limits.bulk_bytes { Err(ProtocolError::InvalidBulkLength) } else { Ok(len) }
}

/// Copies the arguments of a request that the first pass has found whole; None if the buffer is
/// not the one it has seen.
fn copy_arguments(buffer: &[u8], args: usize, spare: &mut Spare) -> Option<Request> {
    let mut rest = after_line(buffer)?.1;
    let mut request = spare.request(args);
    for _ in 0..args {
        let (line, behind) = after_line(rest)?;
        let len = usize::try_from(num::parse_u64(line.get(1..)?)?).ok()?;
        request.push(spare.word(behind.get(..len)?));
        rest = behind.get(len + 2..)?;
    }
    Some(request)
}

/// The count line at the front, and what stands behind it.
fn after_line(buffer: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = buffer.iter().position(|byte| *byte == b'\r')?;
    Some((&buffer[..end], buffer.get(end + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::ProtocolError::*;
    use super::*;
    use crate::resp::feed;
    use crate::util::rng::Rng;

    const LIMITS: Limits = Limits { args: 1 << 20, bulk_bytes: 1 << 20, authenticated: true };
    const STRANGER: Limits = Limits { authenticated: false, ..LIMITS };

    /// What a client gets out of a stream of bytes: its requests, then perhaps an error.
    type Outcome = (Vec<Request>, Option<ProtocolError>);

    fn feed(chunks: &[&[u8]], limits: Limits) -> Outcome {
        let mut parser = RequestParser::default();
        let (mut requests, error) = feed::feed(chunks, |bytes| parser.next(bytes, limits));
        requests.retain(|request| !request.is_empty());
        (requests, error)
    }

    fn request(words: &[&[u8]]) -> Request {
        words.iter().map(|word| word.to_vec()).collect()
    }

    /// Feeds `bytes` whole, torn at every boundary, and byte by byte.
    fn check(bytes: &[u8], limits: Limits, expected: &Outcome) {
        let label = bytes.escape_ascii();
        assert_eq!(feed(&[bytes], limits), *expected, "{label}");
        for at in 0..=bytes.len() {
            let chunks = [&bytes[..at], &bytes[at..]];
            assert_eq!(feed(&chunks, limits), *expected, "{label} torn at {at}");
        }
        let chunks: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(feed(&chunks, limits), *expected, "{label} in single bytes");
    }

    /// As [`check`], alone and between two other requests.
    fn check_requests(bytes: &[u8], requests: &[&[&[u8]]]) {
        let requests: Vec<Request> = requests.iter().map(|words| request(words)).collect();
        check(bytes, LIMITS, &(requests.clone(), None));
        for other in [&b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n"[..], b"PING \"\"\r\n"] {
            let ping = vec![request(&[b"PING", b""])];
            let all = [ping.clone(), requests.clone(), ping].concat();
            check(&[other, bytes, other].concat(), LIMITS, &(all, None));
        }
    }

    #[test]
    fn reads_arrays_of_bulks() {
        let table: &[(&[u8], &[&[u8]])] = &[
            (b"*1\r\n$4\r\nPING\r\n", &[b"PING"]),
            (b"*1\r\n$0\r\n\r\n", &[b""]),
            (b"*3\r\n$1\r\na\r\n$0\r\n\r\n$4\r\n\r\n*1\r\n", &[b"a", b"", b"\r\n*1"]),
            (b"*1\r\n$12\r\n\0\xff$1\r\n*2\r\n\"'\r\n", &[b"\0\xff$1\r\n*2\r\n\"'"]),
            // Not looked at: what stands for the LF of a count, and for the end of an argument.
            (b"*1\rx$4\rxPINGxx", &[b"PING"]),
        ];
        for (bytes, words) in table {
            check_requests(bytes, &[words]);
        }
    }

    #[test]
    fn reads_inline_commands() {
        let table: &[(&[u8], &[&[u8]])] = &[
            (b"PING\r\n", &[b"PING"]),
            (b"PING\n", &[b"PING"]),
            (b"PING\r\r\n", &[b"PING"]),
            (b" PING\t y  \n", &[b"PING", b"y"]),
            (b"PING\rx\r\n", &[b"PING", b"x"]),
            (b"PING \"a b\\n\" 'c d'\r\n", &[b"PING", b"a b\n", b"c d"]),
            (b"\"\"\r\n", &[b""]),
            (b"$4\r\n", &[b"$4"]),
            (b"POST / HTTP/1.1\r\n", &[b"POST", b"/", b"HTTP/1.1"]),
        ];
        for (bytes, words) in table {
            check_requests(bytes, &[words]);
        }
    }

    #[test]
    fn skips_what_asks_for_nothing() {
        for bytes in [
            &b"\r\n"[..],
            b"\n",
            b"\n\r\n\n",
            b"  \t\r\n",
            b"\r\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            b"*-5\r\n",
            b"*-9223372036854775808\r\n",
            b"*0\r\n\r\n*-1\r\n\n",
        ] {
            check_requests(bytes, &[]);
        }
        let (mut parser, bytes) = (RequestParser::default(), b"\r\n*0\r\n*1\r\n$4\r\nPI");
        assert_eq!(parser.next(bytes, LIMITS), Ok(Some((Request::new(), 6))));
        assert_eq!(parser.next(&bytes[6..], LIMITS), Ok(None));
        assert_eq!(parser.next(b"", LIMITS), Ok(None));
    }

    #[test]
    fn says_what_is_wrong() {
        let table: &[(&[u8], ProtocolError)] = &[
            (b"*\r\n", InvalidMultibulkLength),
            (b"*-0\r\n", InvalidMultibulkLength),
            (b"*+1\r\n", InvalidMultibulkLength),
            (b"*01\r\n", InvalidMultibulkLength),
            (b"* 1\r\n", InvalidMultibulkLength),
            (b"*1 \r\n", InvalidMultibulkLength),
            (b"*1\n$4\r\n", InvalidMultibulkLength),
            (b"*1048577\r\n", InvalidMultibulkLength),
            (b"*2147483648\r\n", InvalidMultibulkLength),
            (b"*-9223372036854775809\r\n", InvalidMultibulkLength),
            (b"*1\r\n:4\r\n", ExpectedDollar(b':')),
            (b"*1\r\n\xff\r\n", ExpectedDollar(0xff)),
            (b"*1\r\n\r\n", ExpectedDollar(b'\r')),
            (b"*1\r$4\r\nPING\r\n", ExpectedDollar(b'4')),
            (b"*1\r\n$\r\n", InvalidBulkLength),
            (b"*1\r\n$-1\r\n", InvalidBulkLength),
            (b"*1\r\n$-0\r\n", InvalidBulkLength),
            (b"*1\r\n$04\r\n", InvalidBulkLength),
            (b"*2\r\n$1\r\na\r\n$a\r\n", InvalidBulkLength),
            (b"*1\r\n$1048577\r\n", InvalidBulkLength),
            (b"*1\r\n$536870913\r\n", InvalidBulkLength),
            (b"*1\r\n$18446744073709551615\r\n", InvalidBulkLength),
            (b"PING \"a\r\n", UnbalancedQuotes),
            (b"PING 'a'b\n", UnbalancedQuotes),
        ];
        for (bytes, error) in table {
            check(bytes, LIMITS, &(vec![], Some(error.clone())));
            let bytes = [b"\r\n*1\r\n$4\r\nPING\r\n", *bytes].concat();
            check(&bytes, LIMITS, &(vec![request(&[b"PING"])], Some(error.clone())));
        }
    }

    #[test]
    fn incomplete_requests_wait() {
        for bytes in [
            &b"*"[..],
            b"*1",
            b"*1\r",
            b"*1\n",
            b"*1\r\n",
            b"*1\r\n$",
            b"*1\r\n\n",
            b"*1\r\nx",
            b"*1\r\n\r",
            b"*1\r\n$4\r",
            b"*1\r\n$4\r\nPING\r",
            b"*1048576\r\n",
            b"*1\r\n$1048576\r\nabc",
            b"PING",
            b"PING \"a",
            b"\r",
        ] {
            check(bytes, LIMITS, &(vec![], None));
            check(bytes, STRANGER, &feed(&[bytes], STRANGER));
        }
    }

    #[test]
    fn strangers_get_less() {
        let table: &[(&[u8], Option<ProtocolError>)] = &[
            (b"*10\r\n", None),
            (b"*11\r\n", Some(UnauthenticatedMultibulkLength)),
            (b"*2147483647\r\n", Some(UnauthenticatedMultibulkLength)),
            (b"*2147483648\r\n", Some(InvalidMultibulkLength)),
            (b"*1\r\n$16384\r\n", None),
            (b"*1\r\n$16385\r\n", Some(UnauthenticatedBulkLength)),
            (b"*1\r\n$536870912\r\n", Some(UnauthenticatedBulkLength)),
            (b"*1\r\n$536870913\r\n", Some(InvalidBulkLength)),
            (b"*1\r\n$-1\r\n", Some(InvalidBulkLength)),
        ];
        for (bytes, error) in table {
            check(bytes, STRANGER, &(vec![], error.clone()));
        }
        let words: Vec<Vec<u8>> = b"abcdefghijklmno".iter().map(|byte| vec![*byte]).collect();
        check(b"a b c d e f g h i j k l m n o\r\n", STRANGER, &(vec![words], None));
    }

    #[test]
    fn lower_limits_hold_for_all() {
        let limits = Limits { args: 2, bulk_bytes: 3, authenticated: true };
        check(b"*3\r\n", limits, &(vec![], Some(InvalidMultibulkLength)));
        check(b"*1\r\n$4\r\n", limits, &(vec![], Some(InvalidBulkLength)));
        check(b"*1\r\n$3\r\nabc\r\n", limits, &(vec![request(&[b"abc"])], None));
        let limits = Limits { authenticated: false, ..limits };
        check(b"*3\r\n", limits, &(vec![], Some(UnauthenticatedMultibulkLength)));
        check(b"*1\r\n$4\r\n", limits, &(vec![], Some(UnauthenticatedBulkLength)));
    }

    #[test]
    fn lines_are_limited() {
        let table: [(&[u8], u8, &[u8], ProtocolError); 4] = [
            (b"", b'a', b"\n", TooBigInline),
            (b"*", b'1', b"\r\n", TooBigMbulkCount),
            (b"*1\r\n$", b'1', b"\r\n", TooBigBulkCount),
            (b"*1\r\n", b'\n', b"\r\n", TooBigBulkCount),
        ];
        for (front, filler, end, error) in table {
            let before = if front.len() > 3 { 4 } else { 0 };
            let fill = MAX_LINE_BYTES - (front.len() - before);
            let longest = [front, &vec![filler; fill]].concat();
            assert_eq!(feed(&[&longest], LIMITS), (vec![], None));
            let expected = (vec![], Some(error));
            let longer = [&longest[..], &[filler]].concat();
            assert_eq!(feed(&[&longer], LIMITS), expected);
            assert_eq!(feed(&[&longer[..9], &longer[9..]], LIMITS), expected);
            assert_eq!(feed(&[&longer, end], LIMITS), expected);
            assert_eq!(feed(&[&[&longer, end].concat()], LIMITS), expected);
            assert_ne!(feed(&[&longest, end], LIMITS), expected);
            assert_ne!(feed(&[&[&longest, end].concat()], LIMITS), expected);
        }
    }

    #[test]
    fn texts_are_those_of_the_field() {
        assert_eq!(ExpectedDollar(b':').text(), b"expected '$', got ':'");
        assert_eq!(ExpectedDollar(b'\r').text(), b"expected '$', got '\r'");
        let table = [
            (InvalidMultibulkLength, "invalid multibulk length"),
            (InvalidBulkLength, "invalid bulk length"),
            (UnauthenticatedMultibulkLength, "unauthenticated multibulk length"),
            (UnauthenticatedBulkLength, "unauthenticated bulk length"),
            (TooBigInline, "too big inline request"),
            (UnbalancedQuotes, "unbalanced quotes in request"),
            (TooBigMbulkCount, "too big mbulk count string"),
            (TooBigBulkCount, "too big bulk count string"),
        ];
        for (error, text) in table {
            assert_eq!(error.text(), text.as_bytes());
        }
    }

    /// Were any of these read again from the front with each byte, this would take an hour.
    #[test]
    fn torn_into_single_bytes_the_work_stays_linear() {
        let bulk = [b"*1\r\n$1048576\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
        let small = [&b"*150000\r\n"[..], &b"$1\r\na\r\n".repeat(150_000)].concat();
        let empty = [&b"*170000\r\n"[..], &b"$0\r\n\r\n".repeat(170_000)].concat();
        for (bytes, args) in [(bulk, 1), (small, 150_000), (empty, 170_000)] {
            let mut parser = RequestParser::default();
            for len in 0..bytes.len() {
                assert_eq!(parser.next(&bytes[..len], LIMITS), Ok(None));
            }
            let (request, used) = parser.next(&bytes, LIMITS).unwrap().unwrap();
            assert_eq!((request.len(), used), (args, bytes.len()));
        }
    }

    #[test]
    fn random_bytes_do_no_harm() {
        let alphabet = b"**$$\r\r\n\n0112-9 \"'a\0\xff";
        let mut rng = Rng::new(20);
        for round in 0..20_000 {
            let mut bytes = Vec::new();
            while bytes.len() < 24 {
                match rng.below(4) {
                    0 => bytes.extend_from_slice(b"*1\r\n"),
                    1 => bytes.extend_from_slice(b"$1\r\n"),
                    _ => bytes.push(alphabet[rng.below(alphabet.len() as u64) as usize]),
                }
            }
            let limits = if round % 2 == 0 { LIMITS } else { STRANGER };
            let whole = feed(&[&bytes], limits);
            let at = rng.below(bytes.len() as u64) as usize;
            assert_eq!(feed(&[&bytes[..at], &bytes[at..]], limits), whole);
            let chunks: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(feed(&chunks, limits), whole, "{}", bytes.escape_ascii());
        }
    }

    /// A caller that breaks the contract gets an error or nonsense, but no panic.
    #[test]
    fn changing_buffers_do_no_harm() {
        let mut rng = Rng::new(21);
        let bytes = b"*2\r\n$3\r\nabc\r\n$2\r\nde\r\n";
        for _ in 0..20_000 {
            let mut parser = RequestParser::default();
            for _ in 0..3 {
                let from = rng.below(bytes.len() as u64) as usize;
                let _ = parser.next(&bytes[from..], LIMITS);
                let _ = parser.next(&bytes[..from], LIMITS);
            }
        }
    }

    #[test]
    fn spare_buffers_leave_nothing_behind() {
        let (mut parser, mut spare) = (RequestParser::default(), Spare::default());
        let long = [&b"*2\r\n$300\r\n"[..], &[b'x'; 300], b"\r\n$1\r\ny\r\n"].concat();
        let many = [&b"*40\r\n"[..], &b"$1\r\nz\r\n".repeat(40)].concat();
        let short = &b"*2\r\n$4\r\nPING\r\n$2\r\nab\r\n"[..];
        for bytes in [short, &long, &many, short, short, &long] {
            let fresh = RequestParser::default().next(bytes, LIMITS);
            let (request, used) = parser.next_from(bytes, LIMITS, &mut spare).unwrap().unwrap();
            assert_eq!(Ok(Some((request.clone(), used))), fresh);
            spare.give_back(request);
            assert!(spare.requests.len() <= 1 && spare.words.len() <= Spare::WORDS_MAX);
            assert!(spare.words.iter().all(|w| w.is_empty() && w.capacity() <= 128));
        }
    }
}
