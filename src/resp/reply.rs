//! The resumable parser of RESP2 (and RESP3) replies, borrowing from the caller's buffer.
#![forbid(unsafe_code)]

/// One reply; texts borrow from the read buffer.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Int(i64),
    Bulk(&'a [u8]),
    Null,
    /// Arrays, sets and pushes; maps as their flat list of keys and values.
    Array(Vec<Reply<'a>>),
}

/// The peer does not speak RESP, or goes over a limit; the connection is of no more use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

/// Parser state of one connection; holds no bytes.
#[derive(Clone, Debug, Default)]
pub struct ReplyParser {
    // filled by the implementation
}

/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 8;
/// Longest single bulk that is read from a link, in bytes (an INFO of a huge node is far below).
pub const MAX_BULK_BYTES: usize = 16 * 1024 * 1024;
/// Most elements of one array.
pub const MAX_ELEMENTS: usize = 1024 * 1024;

impl ReplyParser {
    /// Reads one reply from the front of `buffer`; `Ok(None)` asks for more bytes (call again with
    /// the same bytes and more behind them), `Some((reply, used))` tells how many to remove.
    pub fn next<'a>(&mut self, _buffer: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, Malformed> {
        todo!()
    }
}
