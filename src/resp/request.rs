//! The resumable parser of client requests: arrays of bulk strings, and inline commands.
#![forbid(unsafe_code)]

/// One request: the command name and its arguments, as bytes. Never empty.
pub type Request = Vec<Vec<u8>>;

/// What a client may send (spec/commands.md, first section).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most arguments of one request.
    pub args: usize,
    /// Longest single argument, in bytes.
    pub bulk_bytes: usize,
    /// Until it has authenticated, a client gets the errors that say so.
    pub authenticated: bool,
}

/// Why a connection is closed; the texts follow `-ERR Protocol error: `.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    InvalidMultibulkLength,
    ExpectedDollar(u8),
    InvalidBulkLength,
    UnauthenticatedMultibulkLength,
    UnauthenticatedBulkLength,
    TooBigInline,
    UnbalancedQuotes,
    TooBigMbulkCount,
    TooBigBulkCount,
}

/// Parser state of one connection; holds no bytes, only where it stands in the caller's buffer.
#[derive(Clone, Debug, Default)]
pub struct RequestParser {
    // filled by the implementation
}

impl RequestParser {
    /// Reads one request from the front of `buffer`.
    ///
    /// `Ok(None)`: more bytes are needed; call again with the same bytes and more behind them.
    /// `Ok(Some((request, used)))`: `used` bytes belong to it (and to skipped empty lines before it);
    /// the caller removes them. A request may be empty only when empty lines alone were skipped:
    /// then `Some((vec![], used))`.
    pub fn next(
        &mut self,
        _buffer: &[u8],
        _limits: Limits,
    ) -> Result<Option<(Request, usize)>, ProtocolError> {
        todo!()
    }
}
