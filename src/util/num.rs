//! Strict numbers: an optional minus sign and digits, nothing else, no leading zeros, no overflow.
#![forbid(unsafe_code)]

/// Parses a signed 64-bit number the way Redis parses arguments (`+1`, `01`, ` 1`, `-0` are
/// refused).
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => match parse_u64(digits)? {
            0 => None,
            magnitude => 0i64.checked_sub_unsigned(magnitude),
        },
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// Parses a number that must not be negative; up to the whole range of `u64`.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [] => None,
        [b'0'] => Some(0),
        [b'0', ..] => None,
        digits => digits.iter().try_fold(0u64, |n, byte| {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            n.checked_mul(10)?.checked_add(u64::from(digit))
        }),
    }
}

/// As [`parse_u64`], but a number that is too large for it is `u64::MAX`: for fields of which the
/// range is judged later.
pub fn parse_u64_saturating(text: &[u8]) -> Option<u64> {
    match text {
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => {
            Some(parse_u64(text).unwrap_or(u64::MAX))
        }
        _ => parse_u64(text),
    }
}

/// Appends a number in as few bytes as it needs: seven bits a byte, the highest tells that more
/// follow.
pub fn push_packed(bytes: &mut Vec<u8>, mut n: usize) {
    while n > 127 {
        bytes.push((n & 127) as u8 | 128);
        n >>= 7;
    }
    bytes.push(n as u8);
}

/// Takes a number off the front that [`push_packed`] wrote; `None` if there is none.
pub fn take_packed(rest: &mut &[u8]) -> Option<usize> {
    let (mut n, mut shift) = (0_usize, 0);
    loop {
        let byte = *rest.split_off_first()?;
        n |= usize::from(byte & 127).checked_shl(shift)?;
        shift += 7;
        if byte < 128 {
            return Some(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As INCRBY was seen to take or refuse them.
    #[test]
    fn signed_numbers_are_strict() {
        for n in [0, 1, 9, 10, -1, -10, 4096, i64::MAX, i64::MAX - 1, i64::MIN, i64::MIN + 1] {
            assert_eq!(parse_i64(n.to_string().as_bytes()), Some(n));
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "-01",
            "+1",
            " 1",
            "1 ",
            "1\n",
            "1\0",
            "--1",
            "1a",
            "0x1",
            "1.0",
            "1-",
            ":",
            "/",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "123456789012345678901234",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn unsigned_numbers_are_strict() {
        for n in [0, 1, 10, 65535, u64::MAX] {
            assert_eq!(parse_u64(n.to_string().as_bytes()), Some(n));
        }
        for text in ["", "-", "-1", "-0", "00", "007", "+1", "1 ", "a", "18446744073709551616"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_that_are_too_large_saturate_where_that_is_asked_for() {
        for n in [0, 1, 10, 65535, u64::MAX] {
            assert_eq!(parse_u64_saturating(n.to_string().as_bytes()), Some(n));
        }
        for text in ["18446744073709551616", "99999999999999999999", &"9".repeat(500)] {
            assert_eq!(parse_u64_saturating(text.as_bytes()), Some(u64::MAX), "{text:?}");
        }
        let zeros = "0".repeat(30);
        for text in ["", "-", "-1", "007", &zeros, "+1", "1 ", "99999999999999999999x"] {
            assert_eq!(parse_u64_saturating(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn packed_numbers_come_out_again_and_cut_ones_do_not() {
        for n in [0, 1, 127, 128, 300, 70_000, usize::MAX] {
            let mut bytes = Vec::new();
            push_packed(&mut bytes, n);
            assert_eq!(take_packed(&mut &bytes[..bytes.len() - 1]), None);
            bytes.push(9);
            let mut rest = &*bytes;
            assert_eq!((take_packed(&mut rest), rest), (Some(n), &[9][..]));
        }
        assert_eq!(take_packed(&mut &[255; 11][..]), None);
    }
}
