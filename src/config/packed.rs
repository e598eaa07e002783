//! Rendered lines of one master in one piece: they are kept for every master, so that a save
//! renders only what changed, and thousands of masters must not pay for every word.
#![forbid(unsafe_code)]

use super::rewrite::{StateLine, When};
use crate::util::num::{push_packed, take_packed};

/// For each line: when it is written, how many words it has, and each word behind its length.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MasterLines {
    bytes: Box<[u8]>,
}

/// Lines of a master, as they are gathered: thousands may be rendered for one save.
#[derive(Debug, Default)]
pub struct Packer {
    bytes: Vec<u8>,
}

impl Packer {
    /// Adds a line behind the others.
    pub fn add(&mut self, when: When, words: &[&[u8]]) {
        let when = WHENS.iter().position(|known| *known == when);
        push_packed(&mut self.bytes, when.unwrap_or_default());
        push_packed(&mut self.bytes, words.len());
        for word in words {
            push_packed(&mut self.bytes, word.len());
            self.bytes.extend_from_slice(word);
        }
    }

    pub fn finish(self) -> MasterLines {
        MasterLines { bytes: self.bytes.into_boxed_slice() }
    }
}

const WHENS: [When; 3] = [When::Always, When::IfThere, When::OnlyIfEqual];

/// One of them. Two are equal when the lines are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PackedLine<'l>(&'l [u8]);

impl MasterLines {
    #[cfg(test)]
    pub fn pack(lines: &[StateLine]) -> MasterLines {
        let mut packer = Packer::default();
        for line in lines {
            let words: Vec<&[u8]> = line.words.iter().map(Vec::as_slice).collect();
            packer.add(line.when, &words);
        }
        packer.finish()
    }

    /// Those of the lines for which `wanted` is true.
    pub fn filter(&self, wanted: impl Fn(PackedLine<'_>) -> bool) -> MasterLines {
        let left = self.packed().filter(|line| wanted(*line));
        let bytes: Vec<u8> = left.flat_map(|line| line.0).copied().collect();
        MasterLines { bytes: bytes.into_boxed_slice() }
    }

    /// The lines as they are kept, in the order in which they were packed.
    pub fn packed(&self) -> impl Iterator<Item = PackedLine<'_>> {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || {
            let all = rest;
            take_packed(&mut rest)?;
            for _ in 0..take_packed(&mut rest)? {
                take_word(&mut rest)?;
            }
            Some(PackedLine(&all[..all.len() - rest.len()]))
        })
    }

    /// The lines, in the order in which they were packed.
    pub fn iter(&self) -> impl Iterator<Item = StateLine> {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || take_line(&mut rest))
    }

    /// The master they speak of: the third word of each, as in `sentinel monitor NAME …`.
    pub fn name(&self) -> Option<&[u8]> {
        let mut rest = &*self.bytes;
        take_packed(&mut rest)?;
        take_packed(&mut rest)?;
        take_word(&mut rest)?;
        take_word(&mut rest)?;
        take_word(&mut rest)
    }
}

impl PackedLine<'_> {
    /// How it reads in the file, without its end; `None` if it may be absent from there, or holds a
    /// word that has to be quoted.
    pub fn plain_text(&self) -> Option<Vec<u8>> {
        let mut rest = self.0;
        if WHENS.get(take_packed(&mut rest)?) != Some(&When::Always) {
            return None;
        }
        let mut text = Vec::with_capacity(self.0.len());
        for nth in 0..take_packed(&mut rest)? {
            let word = take_word(&mut rest)?;
            if word.is_empty() || !word.iter().all(|byte| is_plain(*byte)) {
                return None;
            }
            if nth > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
        Some(text)
    }
}

/// Whether a byte can stand in a word without quotes, and means itself there.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\')
}

fn take_word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_packed(rest)?;
    rest.split_off(..len)
}

fn take_line(rest: &mut &[u8]) -> Option<StateLine> {
    let when = *WHENS.get(take_packed(rest)?)?;
    let count = take_packed(rest)?;
    let words = (0..count).map(|_| take_word(rest).map(<[u8]>::to_vec)).collect::<Option<_>>()?;
    Some(StateLine { words, when })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_plain_lines() {
        let text = |when, words: &[&[u8]]| {
            let words = words.iter().map(|word| word.to_vec()).collect();
            let packed = MasterLines::pack(&[StateLine { words, when }]);
            packed.packed().next().unwrap().plain_text()
        };
        let plain = text(When::Always, &[b"sentinel", b"config-epoch", b"m", b"7"]);
        assert_eq!(plain, Some(b"sentinel config-epoch m 7".to_vec()));
        assert_eq!(text(When::IfThere, &[b"sentinel", b"config-epoch", b"m", b"7"]), None);
        for odd in [&b""[..], b"a b", b"a\"", b"a'", b"a\\", b"\xe9", b"a\t"] {
            assert_eq!(text(When::Always, &[b"sentinel", odd]), None, "{odd:?}");
        }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let line = |when, words: &[&[u8]]| StateLine {
            words: words.iter().map(|word| word.to_vec()).collect(),
            when,
        };
        let long = vec![b'x'; 70_000];
        let lines = [
            line(When::Always, &[b"sentinel", b"monitor", b"a b\0", b""]),
            line(When::IfThere, &[b"sentinel", b"auth-pass", b"a b\0", &long]),
            line(When::OnlyIfEqual, &[&long[..127], &long[..128]]),
            line(When::Always, &[]),
        ];
        let packed = MasterLines::pack(&lines);
        assert_eq!(packed.iter().collect::<Vec<_>>(), lines);
        assert_eq!(packed.name(), Some(&b"a b\0"[..]));
        assert_eq!(packed.filter(|_| true), packed);
        let third = packed.packed().nth(2).unwrap();
        let rest = [lines[0].clone(), lines[1].clone(), lines[3].clone()];
        assert_eq!(packed.filter(|line| line != third), MasterLines::pack(&rest));
        assert_eq!(MasterLines::default().iter().count(), 0);
        assert_eq!(MasterLines::default().name(), None);
        // Hardly more than the words themselves.
        let words = lines.iter().flat_map(|line| &line.words);
        let plain: usize = words.map(|word| word.len() + 3).sum();
        assert!(packed.bytes.len() <= plain + 2 * lines.len(), "{}", packed.bytes.len());
    }
}
