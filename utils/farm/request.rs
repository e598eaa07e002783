//! Requests as clients send them: arrays of bulk strings.
#![forbid(unsafe_code)]

use std::ops::Range;

const MAX_WORDS: usize = 64;
const MAX_WORD_BYTES: usize = 64 * 1024;

/// What is at the beginning of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A request that ends at this place.
    Complete(usize),
    /// The rest is still to come.
    Incomplete,
    /// No request.
    Wrong,
}

/// Finds the words of the first request; `words` is filled with their places.
pub fn parse(bytes: &[u8], words: &mut Vec<Range<usize>>) -> Parsed {
    words.clear();
    let (count, mut at) = match number(bytes, 0, b'*') {
        Ok(Some(found)) => found,
        Ok(None) => return Parsed::Incomplete,
        Err(()) => return Parsed::Wrong,
    };
    if count > MAX_WORDS {
        return Parsed::Wrong;
    }
    for _ in 0..count {
        let (length, start) = match number(bytes, at, b'$') {
            Ok(Some(found)) => found,
            Ok(None) => return Parsed::Incomplete,
            Err(()) => return Parsed::Wrong,
        };
        if length > MAX_WORD_BYTES {
            return Parsed::Wrong;
        }
        let end = start + length;
        if bytes.len() < end + 2 {
            return Parsed::Incomplete;
        }
        words.push(start..end);
        at = end + 2;
    }
    Parsed::Complete(at)
}

/// The number of a line `<mark><number>\r\n` that begins at `at`, and where the line ends.
fn number(bytes: &[u8], at: usize, mark: u8) -> Result<Option<(usize, usize)>, ()> {
    let Some((first, rest)) = bytes.get(at..).and_then(|b| b.split_first()) else {
        return Ok(None);
    };
    if *first != mark {
        return Err(());
    }
    let mut value: usize = 0;
    for (index, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' if index < 9 => value = value * 10 + usize::from(byte - b'0'),
            b'\r' if index > 0 => {
                let end = at + index + 3;
                return Ok((bytes.len() >= end).then_some((value, end)));
            }
            _ => return Err(()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_pieces() {
        let whole = b"*2\r\n$4\r\nINFO\r\n$0\r\n\r\n";
        let mut words = Vec::new();
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end], &mut words), Parsed::Incomplete, "{end}");
        }
        let more = [whole.as_slice(), b"*1\r\n"].concat();
        assert_eq!(parse(&more, &mut words), Parsed::Complete(whole.len()));
        assert_eq!(words, [8..12, 18..18]);
        for wrong in ["PING\r\n", "*x\r\n", "*1\r\n+a\r\n", "*\r\n", "*9999999999\r\n", "*65\r\n"] {
            assert_eq!(parse(wrong.as_bytes(), &mut words), Parsed::Wrong, "{wrong}");
        }
    }
}
