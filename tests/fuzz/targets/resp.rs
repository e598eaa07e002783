//! What RESP looks like, read in the plainest way and by nothing that the program uses: where the
//! first reply of some bytes ends.

/// The first reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// It takes so many bytes.
    Whole(usize),
    /// There may be one when more bytes come.
    Incomplete,
    /// This is no RESP.
    Bad,
}

/// Deepest nesting.
const DEPTH_MAX: usize = 8;

/// Looks at the first reply.
pub fn first(bytes: &[u8]) -> First {
    match end_of(bytes, 0, DEPTH_MAX) {
        Ok(end) => First::Whole(end),
        Err(why) => why,
    }
}

/// How many replies there are; panics if it is not a whole number of them.
pub fn count(bytes: &[u8]) -> usize {
    let (mut at, mut replies) = (0, 0);
    while at < bytes.len() {
        match first(&bytes[at..]) {
            First::Whole(len) => at += len,
            other => panic!("{other:?} at {at} of \"{}\"", bytes.escape_ascii()),
        }
        replies += 1;
    }
    replies
}

fn end_of(bytes: &[u8], at: usize, depth: usize) -> Result<usize, First> {
    let kind = *bytes.get(at).ok_or(First::Incomplete)?;
    if !b"+-:$*_,#(=!%~>".contains(&kind) {
        return Err(First::Bad);
    }
    let rest = &bytes[at + 1..];
    let len = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(First::Incomplete)?;
    let (line, end) = (&rest[..len], at + 1 + len + 2);
    let number = || -> Option<i64> { std::str::from_utf8(line).ok()?.parse().ok() };
    match kind {
        b'+' | b'-' | b',' | b'(' => Ok(end),
        b':' => number().map(|_| end).ok_or(First::Bad),
        b'_' => {
            if line.is_empty() {
                Ok(end)
            } else {
                Err(First::Bad)
            }
        }
        b'#' => {
            if matches!(line, b"t" | b"f") {
                Ok(end)
            } else {
                Err(First::Bad)
            }
        }
        b'$' | b'*' if line == b"-1" => Ok(end),
        b'$' | b'=' | b'!' => {
            let len = number().and_then(|n| usize::try_from(n).ok()).ok_or(First::Bad)?;
            match bytes.get(end + len..end + len + 2) {
                Some(b"\r\n") => Ok(end + len + 2),
                Some(_) => Err(First::Bad),
                None => Err(First::Incomplete),
            }
        }
        _ => {
            let len = number().and_then(|n| usize::try_from(n).ok()).ok_or(First::Bad)?;
            let len = if kind == b'%' { len * 2 } else { len };
            let depth = depth.checked_sub(1).ok_or(First::Bad)?;
            (0..len).try_fold(end, |at, _| end_of(bytes, at, depth))
        }
    }
}
