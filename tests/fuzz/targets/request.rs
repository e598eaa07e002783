//! Requests. However the bytes are cut, the same requests come out and the same error; they are
//! those that a parser sees which reads all at once in the plainest way; no request breaks the
//! limits; and written as an array, a request is read back.

use super::{cut, feed, signature};
use crate::engine::Target;
use sentineld::resp::request::{
    Limits, MAX_LINE_BYTES, ProtocolError, Request, RequestParser, Spare, UNAUTHENTICATED_ARGS,
    UNAUTHENTICATED_BULK_BYTES,
};
use sentineld::resp::write;
use sentineld::util::words;

pub const TARGET: Target = Target {
    name: "request",
    run,
    dictionary: &[
        "*1\r\n",
        "*2\r\n",
        "*10\r\n",
        "*11\r\n",
        "*0\r\n",
        "*-1\r\n",
        "$1\r\n",
        "$0\r\n\r\n",
        "$4\r\nPING\r\n",
        "$-1\r\n",
        "$16384\r\n",
        "$16385\r\n",
        "PING\r\n",
        "\r\n",
        "\n",
        "\r",
        "\"",
        "'",
        "\\x41",
        "\\",
        " ",
        "\t",
        "*",
        "$",
        "*1\r\n$4\r\nPING\r\n",
        "\0",
    ],
};

type Outcome = (Vec<Request>, Option<ProtocolError>);

fn run(input: &[u8]) -> u64 {
    let Some((mode, bytes)) = input.split_first() else { return 0 };
    let limits = Limits {
        args: if mode & 2 == 0 { 1 << 20 } else { 3 },
        bulk_bytes: if mode & 4 == 0 { 1 << 20 } else { 5 },
        authenticated: mode & 1 == 0,
    };
    let whole = feed(&[bytes], limits);
    assert_eq!(whole, reference(bytes, limits), "another outcome than by the plain reading");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(feed(&single, limits), whole, "in single bytes");
    assert_eq!(feed(&cut(bytes), limits), whole, "in pieces");
    for request in &whole.0 {
        check_round_trip(request);
    }
    let (requests, error) = whole;
    let kind = error.map_or(0, |error| crate::engine::hash(&error.text()));
    let words = requests.iter().map(Vec::len).max().unwrap_or(0) as u64;
    signature(&[u64::from(mode & 7), requests.len().min(6) as u64, words.min(12), kind])
}

fn feed(chunks: &[&[u8]], limits: Limits) -> Outcome {
    let (mut parser, mut spare) = (RequestParser::default(), Spare::default());
    let (mut requests, error) = feed::feed(chunks, |bytes| {
        let Some((request, used)) = parser.next_from(bytes, limits, &mut spare)? else {
            return Ok(None);
        };
        let copy = request.clone();
        if !request.is_empty() {
            spare.give_back(request);
        }
        Ok(Some((copy, used)))
    });
    requests.retain(|request| !request.is_empty());
    (requests, error)
}

/// All requests of the bytes, read from the front each time.
fn reference(mut rest: &[u8], limits: Limits) -> Outcome {
    let mut requests = Vec::new();
    loop {
        match plain(rest, limits) {
            Ok(None) => return (requests, None),
            Ok(Some((request, used))) => {
                requests.extend((!request.is_empty()).then_some(request));
                rest = &rest[used..];
            }
            Err(error) => return (requests, Some(error)),
        }
    }
}

fn plain(bytes: &[u8], limits: Limits) -> Result<Option<(Request, usize)>, ProtocolError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes[0] != b'*' {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            let too_big = bytes.len() > MAX_LINE_BYTES;
            return if too_big { Err(ProtocolError::TooBigInline) } else { Ok(None) };
        };
        let words = words::split(&bytes[..end]).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        return Ok(Some((words, end + 1)));
    }
    let Some((line, mut at)) = line_at(bytes, 0) else { return Ok(None) };
    let count = strict(&line[1..]).ok_or(ProtocolError::InvalidMultibulkLength)?;
    if count > i128::from(i32::MAX) {
        return Err(ProtocolError::InvalidMultibulkLength);
    }
    let count = count.max(0) as usize;
    if !limits.authenticated && count > UNAUTHENTICATED_ARGS.min(limits.args) {
        return Err(ProtocolError::UnauthenticatedMultibulkLength);
    }
    if count > limits.args {
        return Err(ProtocolError::InvalidMultibulkLength);
    }
    let mut request = Request::new();
    for _ in 0..count {
        let Some((line, start)) = line_at(bytes, at) else { return Ok(None) };
        let len = plain_length(line, limits)?;
        if bytes.len() < start + len + 2 {
            return Ok(None);
        }
        request.push(bytes[start..start + len].to_vec());
        at = start + len + 2;
    }
    Ok(Some((request, at)))
}

fn plain_length(line: &[u8], limits: Limits) -> Result<usize, ProtocolError> {
    if line.first() != Some(&b'$') {
        return Err(ProtocolError::ExpectedDollar(*line.first().unwrap_or(&b'\r')));
    }
    let len = strict(&line[1..]).filter(|len| (0..=512 << 20).contains(len));
    let len = len.ok_or(ProtocolError::InvalidBulkLength)? as usize;
    if !limits.authenticated && len > UNAUTHENTICATED_BULK_BYTES.min(limits.bulk_bytes) {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    if len > limits.bulk_bytes { Err(ProtocolError::InvalidBulkLength) } else { Ok(len) }
}

/// The line at `at` up to its CR, and where the next one begins.
fn line_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = at + bytes[at..].iter().position(|byte| *byte == b'\r')?;
    (end + 1 < bytes.len()).then(|| (&bytes[at..end], end + 2))
}

/// A number of 64 bits as it would be printed.
fn strict(text: &[u8]) -> Option<i128> {
    let number: i128 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let fits = i128::from(i64::MIN) <= number && number <= i128::from(u64::MAX);
    (fits && number.to_string().as_bytes() == text).then_some(number)
}

fn check_round_trip(request: &Request) {
    let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
    let mut bytes = Vec::new();
    write::command(&mut bytes, &words);
    let all = Limits { args: 1 << 20, bulk_bytes: 1 << 20, authenticated: true };
    let back = RequestParser::default().next(&bytes, all);
    assert_eq!(back, Ok(Some((request.clone(), bytes.len()))), "written and read back");
}
