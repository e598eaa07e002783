//! Arguments of directives: what is taken, and the reason why something is not.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use crate::util::num;
use crate::util::words::has_control;

/// Why a line cannot be taken, in the words of spec/config.md.
pub(super) type Reason = String;

pub(super) const WRONG_COUNT: &str = "wrong number of arguments";
pub(super) const BAD_DIRECTIVE: &str = "Bad directive or wrong number of arguments";
pub(super) const NOT_INTEGER: &str = "argument couldn't be parsed into an integer";
pub(super) const HAS_CONTROL: &str = "control characters are not allowed";

/// The largest number that the integers of sentinel lines may have everywhere: what is larger
/// turns negative in other implementations, which refuse the file then.
pub(super) const MAX_INT: u64 = i32::MAX as u64;

/// An integer in `min..=max`.
pub(super) fn int(text: &[u8], min: i64, max: i64) -> Result<i64, Reason> {
    let n = num::parse_i64(text).ok_or(NOT_INTEGER)?;
    if (min..=max).contains(&n) {
        Ok(n)
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

/// A file mode, 0 to 777 in octal.
pub(super) fn octal_mode(text: &[u8]) -> Result<u32, Reason> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(|d| (b'0'..=b'7').contains(d)) {
        return Err("argument couldn't be parsed as an octal number".into());
    }
    let mode = digits
        .iter()
        .fold(0u32, |mode, d| mode.saturating_mul(8).saturating_add(u32::from(d - b'0')));
    if mode > 0o777 || (negative && mode != 0) {
        return Err("argument must be between 0 and 777 inclusive".into());
    }
    Ok(mode)
}

/// `yes` or `no`, in any case.
pub(super) fn flag(text: &[u8]) -> Result<bool, Reason> {
    yes_no(text).ok_or_else(|| "argument must be 'yes' or 'no'".into())
}

/// `yes` or `no` in any case, for those who have reasons of their own.
pub(super) fn yes_no(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"yes") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"no") {
        Some(false)
    } else {
        None
    }
}

/// The place of a word in a list, in any case.
pub(super) fn choice(text: &[u8], words: &[&str]) -> Result<usize, Reason> {
    words
        .iter()
        .position(|word| text.eq_ignore_ascii_case(word.as_bytes()))
        .ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", ")))
}

/// A text that may reach a file, a log line or a peer: no control characters.
pub(super) fn plain(text: &[u8]) -> Result<(), Reason> {
    if has_control(text) { Err(HAS_CONTROL.into()) } else { Ok(()) }
}

/// A number of bytes: digits and one of the units b, k, kb, m, mb, g, gb (k = 1000, kb = 1024).
pub(super) fn memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    lenient_u64(&text[..digits]).map(|n| n.saturating_mul(unit))
}

/// Digits, perhaps with a plus sign or leading zeros: what an operator may write for a number.
pub(super) fn lenient_u64(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |n, d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')))
}

/// As [`lenient_u64`], but a number that is too large is `u64::MAX`.
pub(super) fn lenient_u64_saturating(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| lenient_u64(text).unwrap_or(u64::MAX))
}

/// As [`lenient_u64`], but not larger than what every implementation reads.
pub(super) fn lenient_int(text: &[u8]) -> Option<u64> {
    lenient_u64(text).filter(|n| *n <= MAX_INT)
}

/// The IP address that a text stands for, if it is a literal.
pub(super) fn ip_literal(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        assert_eq!(octal_mode(b"0700"), Ok(0o700));
        assert_eq!(octal_mode(b"777"), Ok(0o777));
        assert!(octal_mode(b"1000").unwrap_err().contains("between 0 and 777"));
        assert!(octal_mode(b"-1").unwrap_err().contains("between 0 and 777"));
        assert!(octal_mode(b"0x1").unwrap_err().contains("octal number"));
        assert!(octal_mode(b"").is_err());
    }

    #[test]
    fn memory_has_units() {
        assert_eq!(memory(b"12"), Some(12));
        assert_eq!(memory(b"1k"), Some(1000));
        assert_eq!(memory(b"1Kb"), Some(1024));
        assert_eq!(memory(b"32mb"), Some(32 << 20));
        assert_eq!(memory(b"2G"), Some(2_000_000_000));
        assert_eq!(memory(b"1gB"), Some(1 << 30));
        for bad in [&b""[..], b"-1", b"1x", b"1.5", b"mb", b"1 mb"] {
            assert_eq!(memory(bad), None);
        }
    }

    #[test]
    fn lenient_numbers_are_numbers_still() {
        assert_eq!(lenient_u64(b"007"), Some(7));
        assert_eq!(lenient_u64(b"+7"), Some(7));
        assert_eq!(lenient_u64(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"+", b"7x", b"-7", b" 7", b"18446744073709551616"] {
            assert_eq!(lenient_u64(bad), None);
        }
        assert_eq!(lenient_u64_saturating(b"+007"), Some(7));
        assert_eq!(lenient_u64_saturating(b"18446744073709551616"), Some(u64::MAX));
        for bad in [&b""[..], b"+", b"7x", b"-7", b" 7", b"18446744073709551616x"] {
            assert_eq!(lenient_u64_saturating(bad), None);
        }
        assert_eq!(lenient_int(b"2147483647"), Some(MAX_INT));
        assert_eq!(lenient_int(b"2147483648"), None);
    }
}
