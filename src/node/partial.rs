//! Replies on links of which only a part has arrived.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::resp::reply::ReplyParser;
use crate::util::ident::ConnId;

/// Most bytes of unfinished replies on all links together; a single reply has the limits of
/// [`crate::resp::reply`].
const TOTAL_MAX_BYTES: usize = 64 << 20;
/// A reply with less than this is always waited for.
const SMALL_BYTES: usize = 64 << 10;

/// What has arrived of a reply that is not complete yet.
#[derive(Debug, Default)]
pub struct Partial {
    pub parser: ReplyParser,
    pub bytes: Vec<u8>,
}

/// The unfinished replies of all links; a link without one takes no memory.
#[derive(Debug, Default)]
pub struct Partials {
    by_conn: BTreeMap<ConnId, Partial>,
    total_bytes: usize,
}

impl Partials {
    /// Takes what a connection has; empty if there is nothing.
    pub fn take(&mut self, conn: ConnId) -> Partial {
        let partial = self.by_conn.remove(&conn).unwrap_or_default();
        self.total_bytes -= partial.bytes.len();
        partial
    }

    /// Keeps what has arrived so far of a connection that has nothing here; false if all together
    /// would be too much.
    pub fn keep(&mut self, conn: ConnId, partial: Partial) -> bool {
        let len = partial.bytes.len();
        if len > SMALL_BYTES && self.total_bytes + len > TOTAL_MAX_BYTES {
            return false;
        }
        self.total_bytes += len;
        self.by_conn.insert(conn, partial);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(len: usize) -> Partial {
        Partial { bytes: vec![b'x'; len], ..Partial::default() }
    }

    #[test]
    fn large_replies_share_a_limit_and_small_ones_are_always_kept() {
        let mut partials = Partials::default();
        for conn in 0..4 {
            assert!(partials.keep(ConnId(conn), partial(TOTAL_MAX_BYTES / 4)));
        }
        assert!(!partials.keep(ConnId(4), partial(SMALL_BYTES + 1)));
        assert!(partials.keep(ConnId(5), partial(SMALL_BYTES)));
        assert_eq!(partials.take(ConnId(0)).bytes.len(), TOTAL_MAX_BYTES / 4);
        assert!(partials.keep(ConnId(4), partial(SMALL_BYTES + 1)));
        assert!(partials.take(ConnId(0)).bytes.is_empty());
    }
}
