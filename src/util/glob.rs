//! Glob patterns as Redis matches them: `*`, `?`, `[abc]`, `[^a-z]`, `\x`.
//!
//! A pattern is a run of items that take one byte each, with `*` between them. So only the last
//! `*` that was met can be worth another try, and the work is at most text times pattern.
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
/// `]`. A class that is not closed ends with the pattern; an empty one holds nothing.
fn match_class(class: &[u8], byte: u8, fold_case: bool) -> (bool, usize) {
    let folded = fold(byte, fold_case);
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        let (low, high, len) = match &class[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                // With its case, even where case is ignored: so servers do.
                found |= *escaped == byte;
                at += 2;
                continue;
            }
            // Ordered before the case is folded: `[Z-a]` without case holds nothing.
            [first, b'-', last, ..] => (*first.min(last), *first.max(last), 3),
            [plain, ..] => (*plain, *plain, 1),
        };
        found |= (fold(low, fold_case)..=fold(high, fold_case)).contains(&folded);
        at += len;
    }
    (found != negated, at)
}

fn fold(byte: u8, fold_case: bool) -> u8 {
    if fold_case { byte.to_ascii_lowercase() } else { byte }
}

#[cfg(test)]
mod tests {
    use super::matches;

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
            }
            for text in *no {
                let got = matches(pattern.as_bytes(), text.as_bytes(), fold_case);
                assert!(!got, "{pattern:?} does not match {text:?}");
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
    fn many_stars_do_not_explode() {
        let pattern = b"a*".repeat(100);
        let text = b"a".repeat(10_000);
        assert!(matches(&pattern, &text, false));
        let pattern = [pattern, b"b".to_vec()].concat();
        assert!(!matches(&pattern, &text, false));
    }
}
