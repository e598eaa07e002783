//! Strict numbers: an optional minus sign and digits, nothing else, no leading zeros, no overflow.
#![forbid(unsafe_code)]

/// Parses a signed 64-bit number the way Redis parses arguments (`+1`, `01`, ` 1` are refused).
pub fn parse_i64(_text: &[u8]) -> Option<i64> {
    todo!()
}

/// Parses a number that must not be negative.
pub fn parse_u64(_text: &[u8]) -> Option<u64> {
    todo!()
}
