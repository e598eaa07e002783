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

const WHENS: [When; 3] = [When::Always, When::IfThere, When::OnlyIfEqual];

impl MasterLines {
    pub fn pack(lines: &[StateLine]) -> MasterLines {
        let mut bytes = Vec::new();
        for line in lines {
            let when = WHENS.iter().position(|when| *when == line.when);
            push_packed(&mut bytes, when.unwrap_or_default());
            push_packed(&mut bytes, line.words.len());
            for word in &line.words {
                push_packed(&mut bytes, word.len());
                bytes.extend_from_slice(word);
            }
        }
        MasterLines { bytes: bytes.into_boxed_slice() }
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
        assert_eq!(MasterLines::default().iter().count(), 0);
        assert_eq!(MasterLines::default().name(), None);
        // Hardly more than the words themselves.
        let words = lines.iter().flat_map(|line| &line.words);
        let plain: usize = words.map(|word| word.len() + 3).sum();
        assert!(packed.bytes.len() <= plain + 2 * lines.len(), "{}", packed.bytes.len());
    }
}
