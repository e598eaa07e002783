//! Glob patterns as Redis matches them: `*`, `?`, `[abc]`, `[^a-z]`, `\x`.
#![forbid(unsafe_code)]

/// Whether `text` as a whole matches `pattern`; with `fold_case`, ASCII case is ignored.
pub fn matches(_pattern: &[u8], _text: &[u8], _fold_case: bool) -> bool {
    todo!()
}
