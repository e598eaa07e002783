//! Formatting into bytes that are there already.
#![forbid(unsafe_code)]

use std::fmt;

/// Takes what `write!` formats to the end of a buffer, without a string in between.
pub struct Append<'a>(pub &'a mut Vec<u8>);

impl fmt::Write for Append<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends the text of a value.
pub fn append(out: &mut Vec<u8>, value: impl fmt::Display) {
    // A buffer in memory takes everything.
    let _ = fmt::write(&mut Append(out), format_args!("{value}"));
}

/// Whether `needle`, which is not empty, stands somewhere in `text`.
pub fn contains(text: &[u8], needle: &[u8]) -> bool {
    let Some(&first) = needle.first() else { return false };
    // Looking at one byte first costs nothing where it is not there, as mostly.
    text.windows(needle.len()).any(|window| window[0] == first && window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_to_the_end() {
        let mut out = b"a".to_vec();
        append(&mut out, 12);
        append(&mut out, std::net::Ipv6Addr::LOCALHOST);
        assert_eq!(out, b"a12::1");
    }

    #[test]
    fn parts_are_found_everywhere() {
        for (text, needle, found) in [
            (&b"abcabd"[..], &b"abd"[..], true),
            (b"abc", b"abc", true),
            (b"aab", b"ab", true),
            (b"abc", b"abd", false),
            (b"ab", b"abc", false),
            (b"", b"a", false),
            (b"a", b"", false),
        ] {
            assert_eq!(contains(text, needle), found, "{text:?} {needle:?}");
        }
    }
}
