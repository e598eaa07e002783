//! Which peers run sentineld: they announce it on their connections to us.
//!
//! A connection to a peer starts with `CLIENT SETINFO lib-name sentineld`, which Redis Sentinel
//! accepts or rejects without harm. The staggering of [`super::election`] only waits for peers that
//! follow it. A false claim gains nothing: it delays a candidacy by some milliseconds.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::util::ident::ConnId;

/// The value of `lib-name` by which sentineld is known.
pub const LIB_NAME: &[u8] = b"sentineld";
/// So many digits of its id a sentinel puts into the names of its connections.
pub const ID_START: usize = 8;

/// The connections of peers that are sentineld.
#[derive(Clone, Debug, Default)]
pub struct SentineldPeers {
    by_conn: BTreeMap<ConnId, Vec<u8>>,
    by_id: BTreeSet<(Vec<u8>, ConnId)>,
}

impl SentineldPeers {
    /// A peer whose id begins so says over this connection that it is sentineld.
    pub fn add(&mut self, conn: ConnId, id_start: &[u8]) {
        self.remove(conn);
        let id = id_start.to_ascii_lowercase();
        self.by_conn.insert(conn, id.clone());
        self.by_id.insert((id, conn));
    }

    /// The connection has ended, or says something else now.
    pub fn remove(&mut self, conn: ConnId) {
        if let Some(id) = self.by_conn.remove(&conn) {
            self.by_id.remove(&(id, conn));
        }
    }

    /// Whether the peer with this id is sentineld, as far as it has told.
    pub fn contains(&self, runid: &[u8]) -> bool {
        let start = runid[..runid.len().min(ID_START)].to_ascii_lowercase();
        let mut from = self.by_id.range((start.clone(), ConnId(0))..);
        from.next().is_some_and(|(id, _)| *id == start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_counts_for_as_long_as_one_of_its_connections_says_so() {
        let mut peers = SentineldPeers::default();
        let [a, b] = [1, 2].map(ConnId);
        let id = b"00c0ffee5555555555555555555555555555aaaa";
        assert!(!peers.contains(id));
        peers.add(a, b"00C0FFEE");
        peers.add(b, b"00c0ffee");
        peers.remove(a);
        assert!(peers.contains(id) && !peers.contains(b"00c0ffef") && !peers.contains(b"00c0ffe"));
        // It says another id now.
        peers.add(b, b"11111111");
        assert!(!peers.contains(id) && peers.contains(b"1111111122"));
        peers.remove(b);
        peers.remove(b);
        assert!(peers.by_id.is_empty() && peers.by_conn.is_empty());
    }
}
