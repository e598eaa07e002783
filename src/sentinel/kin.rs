//! Which of the other sentinels are sentineld too: they say so over their connections to us.
//!
//! A connection to a peer begins with `CLIENT SETINFO lib-name sentineld`, which Redis Sentinel
//! accepts or refuses harmlessly. So sentineld knows whose candidacies follow the order of
//! [`super::election`], and whom it would be in vain to wait for. What anybody can claim here is
//! not worth a lie: it only decides who starts how many milliseconds later.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::util::ident::ConnId;

/// The value of `lib-name` by which sentineld is known.
pub const LIB_NAME: &[u8] = b"sentineld";
/// So many digits of its id a sentinel puts into the names of its connections.
pub const ID_START: usize = 8;

/// The connections of peers that are sentineld.
#[derive(Clone, Debug, Default)]
pub struct Kin {
    by_conn: BTreeMap<ConnId, Vec<u8>>,
    by_id: BTreeSet<(Vec<u8>, ConnId)>,
}

impl Kin {
    /// A peer whose id begins so says over this connection that it is sentineld.
    pub fn told(&mut self, conn: ConnId, id_start: &[u8]) {
        self.gone(conn);
        let id = id_start.to_ascii_lowercase();
        self.by_conn.insert(conn, id.clone());
        self.by_id.insert((id, conn));
    }

    /// The connection has ended, or says something else now.
    pub fn gone(&mut self, conn: ConnId) {
        if let Some(id) = self.by_conn.remove(&conn) {
            self.by_id.remove(&(id, conn));
        }
    }

    /// Whether the peer with this id is sentineld, as far as it has told.
    pub fn holds(&self, runid: &[u8]) -> bool {
        let start = runid[..runid.len().min(ID_START)].to_ascii_lowercase();
        let mut from = self.by_id.range((start.clone(), ConnId(0))..);
        from.next().is_some_and(|(id, _)| *id == start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_kin_for_as_long_as_one_of_its_connections_says_so() {
        let mut kin = Kin::default();
        let [a, b] = [1, 2].map(ConnId);
        let id = b"00c0ffee5555555555555555555555555555aaaa";
        assert!(!kin.holds(id));
        kin.told(a, b"00C0FFEE");
        kin.told(b, b"00c0ffee");
        kin.gone(a);
        assert!(kin.holds(id) && !kin.holds(b"00c0ffef") && !kin.holds(b"00c0ffe"));
        // It says another id now.
        kin.told(b, b"11111111");
        assert!(!kin.holds(id) && kin.holds(b"1111111122"));
        kin.gone(b);
        kin.gone(b);
        assert!(kin.by_id.is_empty() && kin.by_conn.is_empty());
    }
}
