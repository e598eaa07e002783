//! Cached INFO texts: those of thousands of instances are alike, so each is kept as what sets it
//! apart from a model, which is one of them. INFO texts of Redis 7.0.15 take 0.5 KB instead of 5;
//! with 3000 masters and 6000 replicas a sentinel holds 24 MiB instead of 66 (counted in
//! tests/scale).
//!
//! A packed text is a row of steps, each three numbers and a piece: copy so many bytes of the
//! model, skip so many, then take the piece of so many bytes. What the model has and the steps do
//! not name is not part of the text.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::util::num::{push_packed, take_packed};

/// Servers of a few kinds and versions are watched at the same time, hardly of more.
const MODELS_MAX: usize = 4;
/// A text that comes out longer than this part of itself deserves a model of its own.
const GOOD_PART: usize = 2;
/// So many lines of the model are searched for the next one of a text.
const LINES_AHEAD: usize = 16;
/// The search as a whole looks at so many times the bytes of both: a node chooses its texts, and
/// must not choose how long we work on them. Real ones need less.
const SEARCH_FACTOR: usize = 4;
/// Equal bytes are counted in pieces of this size.
const CHUNK_BYTES: usize = 32;

/// One text.
#[derive(Clone, Debug, Default)]
pub struct InfoText {
    model: Arc<[u8]>,
    steps: Box<[u8]>,
}

/// The models of all texts. Texts keep theirs alive, so any of these may be given up.
#[derive(Clone, Debug, Default)]
pub struct Models {
    models: Vec<Arc<[u8]>>,
    /// Which is replaced next.
    oldest: usize,
    scratch: Vec<u8>,
}

impl InfoText {
    /// The text, byte for byte.
    pub fn text(&self) -> Vec<u8> {
        let (mut text, mut model, mut steps) = (Vec::new(), &*self.model, &*self.steps);
        while let Some(copied) = take_step(&mut steps, &mut model, &mut text) {
            debug_assert!(copied, "steps fit to their model");
        }
        text
    }

    /// How many bytes it takes beside its model.
    pub fn kept_bytes(&self) -> usize {
        self.steps.len()
    }
}

/// Carries out one step; `None` at the end, false if it does not fit to the model.
fn take_step(steps: &mut &[u8], model: &mut &[u8], text: &mut Vec<u8>) -> Option<bool> {
    let (copy, skip) = (take_packed(steps)?, take_packed(steps)?);
    let len = take_packed(steps)?;
    let part = model.split_off(..copy).unwrap_or_default();
    let skipped = model.split_off(..skip).is_some();
    let piece = steps.split_off(..len).unwrap_or_default();
    text.extend_from_slice(part);
    text.extend_from_slice(piece);
    Some(part.len() == copy && skipped && piece.len() == len)
}

impl Models {
    /// Keeps `text` in `kept`, which held an earlier text of the same instance.
    pub fn keep(&mut self, kept: &mut InfoText, text: &[u8]) {
        let mut steps = std::mem::take(&mut self.scratch);
        if !kept.model.is_empty() {
            pack(&kept.model, text, &mut steps);
        }
        if kept.model.is_empty() || steps.len() > text.len() / GOOD_PART {
            kept.model = self.find(text, &mut steps);
        }
        if kept.steps.len() == steps.len() {
            kept.steps.copy_from_slice(&steps);
        } else {
            kept.steps = Box::from(&*steps);
        }
        self.scratch = steps;
    }

    /// A model that fits to the text well, or the text itself as a new one.
    fn find(&mut self, text: &[u8], steps: &mut Vec<u8>) -> Arc<[u8]> {
        for model in &self.models {
            pack(model, text, steps);
            if steps.len() <= text.len() / GOOD_PART {
                return Arc::clone(model);
            }
        }
        let model: Arc<[u8]> = Arc::from(text);
        pack(&model, text, steps);
        if self.models.len() < MODELS_MAX {
            self.models.push(Arc::clone(&model));
        } else {
            self.models[self.oldest] = Arc::clone(&model);
            self.oldest = (self.oldest + 1) % MODELS_MAX;
        }
        model
    }
}

/// The steps that make `text` from `model`.
fn pack(model: &[u8], text: &[u8], steps: &mut Vec<u8>) {
    steps.clear();
    let mut step = Step::default();
    // How far both are used up.
    let (mut in_model, mut in_text) = (0, 0);
    let mut search_bytes = SEARCH_FACTOR * (model.len() + text.len());
    while in_text < text.len() {
        let mut same = common(&model[in_model..], &text[in_text..]);
        let line = start_of_line(&text[in_text..in_text + same]);
        // They part behind the name of a field: its value is another. Else the line is.
        let in_value = text[in_text + line..in_text + same].contains(&b':');
        if !in_value && in_text + same < text.len() {
            same = line;
        }
        step.copy(same, &text[..in_text], steps);
        (in_model, in_text) = (in_model + same, in_text + same);
        let (old, new) = (&model[in_model..], &text[in_text..]);
        let (skip, take) = match in_value {
            true => other_value(old, new),
            false => other_line(old, new, &mut search_bytes),
        };
        step.skip += skip;
        step.take += take;
        (in_model, in_text) = (in_model + skip, in_text + take);
    }
    step.finish(text, steps);
}

/// How much of the model is skipped and how much of the text is taken for a value. What both lines
/// end with stays, for the next copy to begin with.
fn other_value(model: &[u8], text: &[u8]) -> (usize, usize) {
    let (old, new) = (&model[..line_len(model)], &text[..line_len(text)]);
    let ends = old.iter().rev().zip(new.iter().rev());
    let same = ends.take_while(|(a, b)| a == b).count();
    look_at(same);
    (old.len() - same, new.len() - same)
}

/// The same for a line that is not the next of the model: it may be one further on there, as far as
/// `search_bytes` allow to look.
fn other_line(model: &[u8], text: &[u8], search_bytes: &mut usize) -> (usize, usize) {
    let line = &text[..line_len(text)];
    // A field by its name, a heading as it stands; an empty line says nothing about where we are.
    let name = line.iter().position(|byte| *byte == b':').map_or(line, |colon| &line[..=colon]);
    let mut rest = if name.len() > b"\r\n".len() { model } else { &[] };
    for _ in 0..LINES_AHEAD {
        if rest.is_empty() || *search_bytes < name.len() {
            break;
        }
        *search_bytes -= name.len();
        look_at(name.len().min(rest.len()));
        if rest.starts_with(name) {
            return (model.len() - rest.len(), 0);
        }
        // What is left may end within the line; then the search ends there too.
        let len = line_len(&rest[..rest.len().min(*search_bytes)]);
        *search_bytes -= len;
        rest = &rest[len..];
    }
    (0, line.len())
}

/// Length of the first line, its end included.
fn line_len(text: &[u8]) -> usize {
    let len = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
    look_at(len);
    len
}

/// Counts bytes that are looked at, in tests.
fn look_at(_bytes: usize) {
    #[cfg(test)]
    tests::LOOKED_AT.set(tests::LOOKED_AT.get() + _bytes);
}

/// Where the last line of `text` begins.
fn start_of_line(text: &[u8]) -> usize {
    look_at(text.len());
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// How many bytes are the same at the front.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (a, b) = (a.chunks(CHUNK_BYTES), b.chunks(CHUNK_BYTES));
    let mut same = 0;
    for (a, b) in a.zip(b) {
        if a != b {
            let some = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            look_at(some + 1);
            return same + some;
        }
        look_at(a.len());
        same += a.len();
    }
    same
}

/// A step that is not written yet.
#[derive(Default)]
struct Step {
    copy: usize,
    skip: usize,
    take: usize,
}

impl Step {
    /// Copies so many bytes more; a step that goes on with something else than copying is written.
    /// The bytes that it takes are the last of `text`.
    fn copy(&mut self, bytes: usize, text: &[u8], steps: &mut Vec<u8>) {
        if bytes > 0 && (self.skip > 0 || self.take > 0) {
            std::mem::take(self).finish(text, steps);
        }
        self.copy += bytes;
    }

    fn finish(self, text: &[u8], steps: &mut Vec<u8>) {
        for number in [self.copy, self.skip, self.take] {
            push_packed(steps, number);
        }
        steps.extend_from_slice(&text[text.len() - self.take..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;
    use std::cell::Cell;

    thread_local! {
        /// Bytes that packing has looked at on this thread.
        pub(super) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    fn packed(model: &[u8], text: &[u8]) -> InfoText {
        let mut steps = Vec::new();
        pack(model, text, &mut steps);
        let kept = InfoText { model: Arc::from(model), steps: Box::from(&*steps) };
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        assert_eq!(kept.text(), text, "{:?} from {:?}", shown(text), shown(model));
        kept
    }

    #[test]
    fn only_what_differs_is_kept() {
        let model = b"# A\r\nid:aaaa\r\nport:1\r\n\r\n# B\r\nrole:master\r\nslaves:0\r\nend:1\r\n";
        assert_eq!(packed(model, model).kept_bytes(), 3);
        // Another value: two steps, and the piece.
        let text = b"# A\r\nid:bbbb\r\nport:1\r\n\r\n# B\r\nrole:master\r\nslaves:0\r\nend:1\r\n";
        assert_eq!(packed(model, text).kept_bytes(), 3 + 4 + 3);
        // Lines that are new, and one that is missing.
        let text = b"# A\r\nid:aaaa\r\n\r\n# B\r\nrole:slave\r\nhost:x\r\nslaves:0\r\nend:1\r\n";
        assert!(packed(model, text).kept_bytes() < 40);
        for text in [&b""[..], b"\n", b"x", b"id:aaaa", b"# A\r\nid:aaaab", &model[..20], b"::\n:"]
        {
            packed(model, text);
            packed(text, model);
        }
    }

    #[test]
    fn any_text_comes_out_as_it_went_in() {
        let mut rng = Rng::new(7);
        let mut models = Models::default();
        let mut kept = InfoText::default();
        let words: [&[u8]; 9] =
            [b"a:", b"b:1", b"\n", b"\r\n", b"a:1\r\n", b"bb:2\r\n", b"# C\r\n", b":", b"\0\xff"];
        for _ in 0..20_000 {
            let count = rng.below(12) as usize;
            let text: Vec<u8> =
                (0..count).flat_map(|_| words[rng.below(9) as usize]).copied().collect();
            let (before, model) = (kept.text(), Arc::clone(&kept.model));
            packed(&before, &text);
            packed(&model, &text);
            models.keep(&mut kept, &text);
            assert_eq!(kept.text(), text);
        }
    }

    /// Whatever a node says, and whatever it said before.
    #[test]
    fn the_work_is_linear_in_both_texts() {
        let lines = |count: usize, line: &str| format!("{line}\n").repeat(count).into_bytes();
        let long = |count: usize, len: usize| lines(count, &"a".repeat(len));
        let odd = |n: usize| {
            let line = |i: usize| format!("{}{i}:{i}\r\n", "k".repeat(i * n % 50));
            (0..2_000).map(line).collect::<String>().into_bytes()
        };
        let texts = [
            long(15, 8 << 10),
            lines(32_000, "x"),
            lines(32_000, ":"),
            lines(40_000, "aaa"),
            long(8, 16 << 10),
            [lines(1, &"a".repeat(60_000)), lines(20_000, "b:")].concat(),
            lines(1_000, &format!("{}:1", "a".repeat(100))),
            lines(1_000, &format!("{}:2", "a".repeat(100))),
            lines(4_000, "slave0:ip=10.0.0.1,port=1"),
            odd(7),
            odd(11),
            vec![b'\n'; 100_000],
            vec![b':'; 100_000],
        ];
        for (m, model) in texts.iter().enumerate() {
            for (t, text) in texts.iter().enumerate() {
                LOOKED_AT.set(0);
                packed(model, text);
                let (looked, bytes) = (LOOKED_AT.get(), model.len() + text.len());
                assert!(
                    looked <= SEARCH_FACTOR * bytes + 4 * bytes,
                    "{looked} for {bytes}, model {m}, text {t}"
                );
            }
        }
    }

    #[test]
    fn texts_of_many_kinds_share_few_models() {
        let text = |kind: u32, n: u32| -> Vec<u8> {
            let fields = (0..50).map(|i| format!("field_{kind}_{}:{kind}\r\n", i * kind + 7));
            fields.chain([format!("id:{n}\r\n")]).collect::<String>().into_bytes()
        };
        let mut models = Models::default();
        let mut kept = vec![InfoText::default(); 1_000];
        for round in 0..3 {
            for (n, kept) in kept.iter_mut().enumerate() {
                let text = text(n as u32 % 3 + 1, n as u32 * 10 + round);
                models.keep(kept, &text);
                assert_eq!(kept.text(), text);
                assert!(kept.kept_bytes() < 20);
            }
        }
        assert_eq!(models.models.len(), 3);
        // A node that becomes another one leaves its model, and no number of kinds adds up.
        for kind in 4..100 {
            models.keep(&mut kept[0], &text(kind, 1));
            assert_eq!(kept[0].text(), text(kind, 1));
            assert!(kept[0].kept_bytes() < 20 && models.models.len() <= MODELS_MAX);
        }
    }
}
