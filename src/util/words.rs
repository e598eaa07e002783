//! Words of a config line or an inline command (spec/config.md, File syntax), and their quoting.
#![forbid(unsafe_code)]

/// A quote was not closed, or not followed by a blank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unbalanced;

/// Splits a line into words; quotes and escapes as in the config file.
pub fn split(_line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    todo!()
}

/// `word` in double quotes, with escapes; [`split`] gives the word back.
pub fn quote(_word: &[u8]) -> Vec<u8> {
    todo!()
}

/// `word` as it stands if [`split`] reads it back unchanged, else quoted.
pub fn quote_if_needed(_word: &[u8]) -> Vec<u8> {
    todo!()
}

/// Whether `text` holds a control character (below 0x20, or 0x7f).
pub fn has_control(_text: &[u8]) -> bool {
    todo!()
}
