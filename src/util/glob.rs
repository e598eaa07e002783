//! Glob patterns as Redis matches them: `*`, `?`, `[abc]`, `[^a-z]`, `\x`.
//!
//! A pattern is a run of items that take one byte each, with `*` between them. So only the last
//! `*` that was met can be worth another try, and the work is at most text times pattern. Who
//! matches one pattern with many texts takes it apart first: a [`Pattern`] costs its length once,
//! and then no more than its texts do.
#![forbid(unsafe_code)]

/// Whether `text` as a whole matches `pattern`; with `fold_case`, ASCII case is ignored.
pub fn matches(pattern: &[u8], text: &[u8], fold_case: bool) -> bool {
    let (mut at, mut read) = (0, 0);
    // Behind the last `*`: the pattern's position, and how much of the text the `*` has taken.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            star = Some((at, read));
            continue;
        }
        match match_item(&pattern[at..], text[read], fold_case) {
            Some(len) => {
                at += len;
                read += 1;
            }
            None => {
                let Some((behind, taken)) = star else { return false };
                star = Some((behind, taken + 1));
                at = behind;
                read = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The length of the item at the front of `pattern` if it takes `byte`; an empty pattern does not.
fn match_item(pattern: &[u8], byte: u8, fold_case: bool) -> Option<usize> {
    let (wanted, len) = match pattern {
        [] => return None,
        [b'?', ..] => return Some(1),
        [b'[', class @ ..] => {
            let (holds, len) = match_class(class, byte, fold_case);
            return holds.then_some(len + 1);
        }
        [b'\\', escaped, ..] => (*escaped, 2),
        [plain, ..] => (*plain, 1),
    };
    (fold(wanted, fold_case) == fold(byte, fold_case)).then_some(len)
}

/// Whether the class whose `[` stands before `class` takes `byte`, and the class's length with its
/// `]`.
fn match_class(class: &[u8], byte: u8, fold_case: bool) -> (bool, usize) {
    let folded = fold(byte, fold_case);
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    while let (Some(part), len) = next_part(&class[at..]) {
        found |= match part {
            Part::Exact(wanted) => wanted == byte,
            Part::Range(low, high) => {
                (fold(low, fold_case)..=fold(high, fold_case)).contains(&folded)
            }
        };
        at += len;
    }
    (found != negated, at + end_len(&class[at..]))
}

/// What a class holds.
enum Part {
    /// This byte with its case, even where case is ignored: so servers do.
    Exact(u8),
    Range(u8, u8),
}

/// The next part of a class and its length; no part at the end of the class. One that is not closed
/// ends with the pattern; an empty one holds nothing.
fn next_part(class: &[u8]) -> (Option<Part>, usize) {
    match class {
        [] | [b']', ..] => (None, 0),
        [b'\\', escaped, ..] => (Some(Part::Exact(*escaped)), 2),
        // Ordered before the case is folded: `[Z-a]` without case holds nothing.
        [first, b'-', last, ..] => (Some(Part::Range(*first.min(last), *first.max(last))), 3),
        [plain, ..] => (Some(Part::Range(*plain, *plain)), 1),
    }
}

/// The length of the `]` that ends a class.
fn end_len(rest: &[u8]) -> usize {
    usize::from(!rest.is_empty())
}

/// A pattern that was taken apart, for texts of a bounded length.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// `None`: it needs more bytes than any of its texts has.
    items: Option<Vec<Item>>,
    fold_case: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Item {
    Star,
    Any,
    Byte(u8),
    /// A bit for each byte that it takes.
    Class([u64; 4]),
}

impl Pattern {
    /// Takes `pattern` apart, as far as it matters for texts of at most `longest` bytes.
    pub fn new(pattern: &[u8], fold_case: bool, longest: usize) -> Pattern {
        let mut items = Vec::new();
        let mut bytes = 0;
        let mut rest = pattern;
        while let Some(first) = rest.first() {
            let (item, len) = match (first, rest) {
                (b'*', _) => (Item::Star, 1),
                (b'?', _) => (Item::Any, 1),
                (b'[', [_, class @ ..]) => {
                    let (set, len) = class_set(class, fold_case);
                    (Item::Class(set), len + 1)
                }
                (b'\\', [_, escaped, ..]) => (Item::Byte(fold(*escaped, fold_case)), 2),
                _ => (Item::Byte(fold(*first, fold_case)), 1),
            };
            rest = &rest[len..];
            bytes += usize::from(item != Item::Star);
            if bytes > longest {
                return Pattern { items: None, fold_case };
            }
            if item != Item::Star || items.last() != Some(&Item::Star) {
                items.push(item);
            }
        }
        Pattern { items: Some(items), fold_case }
    }

    /// Whether `text` as a whole matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some(items) = &self.items else { return false };
        let (mut at, mut read) = (0, 0);
        // Behind the last star: the next item, and how much of the text the star has taken.
        let mut star: Option<(usize, usize)> = None;
        while read < text.len() {
            match items.get(at) {
                Some(Item::Star) => {
                    at += 1;
                    star = Some((at, read));
                    continue;
                }
                Some(item) if item.takes(fold(text[read], self.fold_case), text[read]) => {
                    at += 1;
                    read += 1;
                    continue;
                }
                _ => {}
            }
            let Some((behind, taken)) = star else { return false };
            if behind == items.len() {
                return true;
            }
            star = Some((behind, taken + 1));
            (at, read) = (behind, taken + 1);
        }
        items[at..].iter().all(|item| *item == Item::Star)
    }

    /// Whether it matches every text.
    pub fn takes_all(&self) -> bool {
        self.items.as_deref() == Some(&[Item::Star])
    }
}

impl Item {
    fn takes(&self, folded: u8, byte: u8) -> bool {
        match self {
            Item::Star | Item::Any => true,
            Item::Byte(wanted) => *wanted == folded,
            Item::Class(set) => set[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0,
        }
    }
}

/// The bytes that a class takes, and its length with its `]`.
fn class_set(class: &[u8], fold_case: bool) -> ([u64; 4], usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let (mut exact, mut folded) = ([0u64; 4], [0u64; 4]);
    while let (Some(part), len) = next_part(&class[at..]) {
        match part {
            Part::Exact(byte) => exact[usize::from(byte >> 6)] |= 1 << (byte & 63),
            Part::Range(low, high) => {
                add_range(&mut folded, fold(low, fold_case), fold(high, fold_case));
            }
        }
        at += len;
    }
    let mut set = [0u64; 4];
    for byte in 0..=255u8 {
        let has = |set: &[u64; 4], byte: u8| set[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0;
        let found = has(&exact, byte) || has(&folded, fold(byte, fold_case));
        set[usize::from(byte >> 6)] |= u64::from(found != negated) << (byte & 63);
    }
    (set, at + end_len(&class[at..]))
}

/// Sets the bits from `low` to `high`; none if they are in the wrong order.
fn add_range(set: &mut [u64; 4], low: u8, high: u8) {
    for (index, word) in set.iter_mut().enumerate() {
        let first = index as u32 * 64;
        let from = u32::from(low).max(first);
        let to = u32::from(high).min(first + 63);
        if low <= high && from <= to {
            *word |= (u64::MAX >> (63 - (to - from))) << (from - first);
        }
    }
}

fn fold(byte: u8, fold_case: bool) -> u8 {
    if fold_case { byte.to_ascii_lowercase() } else { byte }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, matches};
    use crate::util::rng::Rng;

    /// Pattern, texts that match, texts that do not; each as a server was seen to answer KEYS.
    type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

    const PLAIN: &[Row] = &[
        ("", &[""], &["a"]),
        ("*", &["", "a", "a*b"], &[]),
        ("**", &["", "a", "ab"], &[]),
        ("a", &["a"], &["", "b", "ab", "A"]),
        ("?", &["a", "?", "\\", "["], &["", "ab"]),
        ("?*", &["a", "ab"], &[""]),
        ("*?", &["a", "ab"], &[""]),
        ("a*", &["a", "ab", "a*b"], &["", "ba"]),
        ("*a", &["a", "ba", "\\a"], &["", "ab"]),
        ("a*b", &["ab", "axb", "aab", "a*b"], &["a", "ba", "abc"]),
        ("a**b", &["ab", "axb"], &["a", "ba"]),
        ("*[ab]*", &["a", "ab", "a\\", "]b"], &["", "c"]),
        ("\\*", &["*"], &["a", "\\*", "\\"]),
        ("\\a", &["a"], &["\\a"]),
        ("\\\\a", &["\\a"], &["a"]),
        ("a\\*b", &["a*b"], &["axb"]),
        ("\\", &["\\"], &["", "a"]),
        ("a\\", &["a\\"], &["a"]),
        ("*\\", &["\\", "a\\"], &["a"]),
    ];

    const CLASSES: &[Row] = &[
        ("[abc]", &["a", "b", "c"], &["", "d", "ab"]),
        ("[^abc]", &["d", "]", "^", "\\"], &["", "a", "c", "dd"]),
        ("[!a]", &["!", "a"], &["b"]),
        ("[a-c]", &["a", "b", "c"], &["d", "-"]),
        ("[c-a]", &["a", "b", "c"], &["d", "-"]),
        ("[^c-a]", &["d", "-"], &["a", "b", "c"]),
        ("[a-c-e]", &["a", "b", "c", "-", "e"], &["d"]),
        ("[-a]", &["-", "a"], &["b"]),
        ("[a-]", &["a", "]", "^", "_"], &["-", "b"]),
        ("[a-]]", &["a", "]", "^", "_"], &["a]", "-"]),
        ("[a-]b", &["a", "b", "]", "^"], &["ab", "-"]),
        ("[a]b", &["ab"], &["a", "b"]),
        ("[\\a-c]", &["a", "-", "c"], &["b", "\\"]),
        ("[a\\-c]", &["a", "-", "c"], &["b", "\\"]),
        ("[a-\\c]", &["a", "c", "]", "^", "\\", "_"], &["b", "-"]),
        ("[a\\]b]", &["a", "b", "]"], &["\\", "a]"]),
        ("[^\\]]", &["a", "["], &["]"]),
        ("[[]", &["["], &["]", "[]"]),
        ("[]", &[], &["", "[", "]", "[]"]),
        ("[]a]", &[], &["a", "]", "]a", "]a]"]),
        ("[^]", &["a", "]", "^"], &["", "ab"]),
        ("[^]a]", &[], &["a", "]", "xa"]),
        ("[*]", &["*"], &["a"]),
        ("[?]", &["?"], &["a"]),
    ];

    const UNTERMINATED: &[Row] = &[
        ("[", &[], &["", "[", "a"]),
        ("*[", &[], &["", "[", "a["]),
        ("[^", &["a", "[", "^"], &["", "ab"]),
        ("[abc", &["a", "b", "c"], &["d", "[", "abc"]),
        ("[^abc", &["d", "["], &["a", ""]),
        ("[a-", &["a", "-"], &["b"]),
        ("[z-", &["z", "-"], &["b"]),
        ("[^a-", &["b", "]"], &["a", "-"]),
        ("[a-c", &["a", "b", "c"], &["-"]),
        ("[\\", &["\\"], &["[", "["]),
        ("a[b", &["ab"], &["a", "a[b"]),
    ];

    /// As CONFIG GET was seen to answer.
    const FOLDED: &[Row] = &[
        ("PO\\RT", &["port", "PORT", "pOrT"], &["por"]),
        ("[P]ort", &["port", "Port"], &["sort"]),
        ("[\\P]ort", &["Port"], &["port", "sort"]),
        ("[^\\P]ort", &["port", "sort"], &["Port"]),
        ("[\\P-P]ort", &["port", "-ort"], &["sort"]),
        ("[A-Z]ort", &["port", "PORT"], &["-ort"]),
        ("[Z-A]ort", &["port"], &["_ort"]),
        ("[Z-a]ort", &[], &["port", "zort", "aort"]),
        ("[^P]ort", &["sort"], &["port", "PORT"]),
        ("P*[T]", &["port", "pt"], &["p"]),
    ];

    fn check(rows: &[Row], fold_case: bool) {
        for (pattern, yes, no) in rows {
            for text in *yes {
                let got = matches(pattern.as_bytes(), text.as_bytes(), fold_case);
                assert!(got, "{pattern:?} matches {text:?}");
                let apart = Pattern::new(pattern.as_bytes(), fold_case, text.len());
                assert!(apart.matches(text.as_bytes()), "{pattern:?} apart matches {text:?}");
            }
            for text in *no {
                let got = matches(pattern.as_bytes(), text.as_bytes(), fold_case);
                assert!(!got, "{pattern:?} does not match {text:?}");
                let apart = Pattern::new(pattern.as_bytes(), fold_case, text.len());
                assert!(!apart.matches(text.as_bytes()), "{pattern:?} apart does not {text:?}");
            }
        }
    }

    #[test]
    fn matches_as_servers_do() {
        check(PLAIN, false);
        check(CLASSES, false);
        check(UNTERMINATED, false);
    }

    #[test]
    fn folds_ascii_case_when_asked() {
        check(FOLDED, true);
        assert!(!matches(b"PORT", b"port", false));
        assert!(!matches("É".as_bytes(), "é".as_bytes(), true));
    }

    #[test]
    fn takes_any_bytes() {
        assert!(matches(b"\xff?\x00*", b"\xff\x80\x00\n", false));
        assert!(matches(b"[\x80-\xff]", b"\xaa", false));
    }

    #[test]
    fn a_pattern_apart_matches_as_the_whole_one() {
        let mut rng = Rng::new(5);
        let mut hits = 0;
        for round in 0..200_000 {
            let pick = |rng: &mut Rng, from: &[u8], most: u64| -> Vec<u8> {
                (0..rng.below(most)).map(|_| from[rng.below(from.len() as u64) as usize]).collect()
            };
            let pattern = pick(&mut rng, b"abA*?[]^-\\[]\xe9", 10);
            let text = pick(&mut rng, b"abAB]-^\xe9", 6);
            let fold_case = round % 2 == 0;
            let apart = Pattern::new(&pattern, fold_case, text.len() + round % 3);
            let whole = matches(&pattern, &text, fold_case);
            let (p, t) = (pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(apart.matches(&text), whole, "{p} {t} {fold_case}");
            hits += usize::from(whole);
        }
        assert!(hits > 5_000, "{hits}");
    }

    #[test]
    fn a_pattern_keeps_no_more_than_its_texts_need() {
        let long = Pattern::new(&b"a".repeat(1000), false, 20);
        assert!(long.items.is_none() && !long.matches(b"aaaaaaaaaaaaaaaaaaaa"));
        let stars = Pattern::new(&b"*".repeat(1000), false, 20);
        assert_eq!(stars.items.as_ref().map(Vec::len), Some(1));
        assert!(stars.takes_all() && stars.matches(b""));
        for less in ["", "a", "*a", "?*", "*[a]"] {
            assert!(!Pattern::new(less.as_bytes(), false, 20).takes_all(), "{less}");
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = b"a*".repeat(100);
        let text = b"a".repeat(10_000);
        assert!(matches(&pattern, &text, false));
        let pattern = [pattern, b"b".to_vec()].concat();
        assert!(!matches(&pattern, &text, false));
    }
}
