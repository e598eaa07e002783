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

#[cfg(test)]
mod tests {
    use super::{parse_i64, parse_u64};

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
}
