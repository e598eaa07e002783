//! Writers: replies in the dialect of a client, and commands for links. All append to a `Vec<u8>`.
#![forbid(unsafe_code)]

/// The protocol version a client has chosen with HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dialect {
    #[default]
    Resp2,
    Resp3,
}

/// `+text`; CR and LF become blanks.
pub fn simple(_out: &mut Vec<u8>, _text: &[u8]) {
    todo!()
}
/// `-text`, where text begins with its code (`ERR …`); CR and LF become blanks.
pub fn error(_out: &mut Vec<u8>, _text: &[u8]) {
    todo!()
}
pub fn int(_out: &mut Vec<u8>, _n: i64) {
    todo!()
}
pub fn bulk(_out: &mut Vec<u8>, _bytes: &[u8]) {
    todo!()
}
/// A bulk holding a decimal number.
pub fn bulk_int(_out: &mut Vec<u8>, _n: i64) {
    todo!()
}
/// RESP2 `$-1`, RESP3 `_`.
pub fn null(_out: &mut Vec<u8>, _dialect: Dialect) {
    todo!()
}
/// RESP2 `*-1`, RESP3 `_`.
pub fn null_array(_out: &mut Vec<u8>, _dialect: Dialect) {
    todo!()
}
pub fn array(_out: &mut Vec<u8>, _len: usize) {
    todo!()
}
/// `pairs` key-value pairs: RESP2 a flat array, RESP3 a map.
pub fn map(_out: &mut Vec<u8>, _pairs: usize, _dialect: Dialect) {
    todo!()
}
/// RESP2 an array, RESP3 a set.
pub fn set(_out: &mut Vec<u8>, _len: usize, _dialect: Dialect) {
    todo!()
}
/// RESP2 an array, RESP3 a push.
pub fn push(_out: &mut Vec<u8>, _len: usize, _dialect: Dialect) {
    todo!()
}
/// RESP2 a bulk of `text`, RESP3 a verbatim string with format `txt`.
pub fn verbatim(_out: &mut Vec<u8>, _text: &[u8], _dialect: Dialect) {
    todo!()
}
/// A command: an array of bulks.
pub fn command(_out: &mut Vec<u8>, _words: &[&[u8]]) {
    todo!()
}
