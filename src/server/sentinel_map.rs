//! The instance maps of SENTINEL MASTERS, REPLICAS and SENTINELS: fields in their fixed order
//! (spec/commands.md, Instance map).
#![forbid(unsafe_code)]

use crate::resp::write::{self, Dialect};
use crate::sentinel::Sentinel;
use crate::sentinel::instance::{
    Base, DataState, Down, InstId, Master, MasterId, Peer, Replica, Role,
};
use crate::util::time::Mono;

/// The fields of one map, counted while they are written.
struct Fields {
    bytes: Vec<u8>,
    pairs: usize,
}

impl Fields {
    fn text(&mut self, name: &str, value: &[u8]) {
        write::bulk(&mut self.bytes, name.as_bytes());
        write::bulk(&mut self.bytes, value);
        self.pairs += 1;
    }

    fn number(&mut self, name: &str, value: i64) {
        write::bulk(&mut self.bytes, name.as_bytes());
        write::bulk_int(&mut self.bytes, value);
        self.pairs += 1;
    }

    fn count(&mut self, name: &str, value: u64) {
        self.number(name, i64::try_from(value).unwrap_or(i64::MAX));
    }
}

/// Writes instance maps of one sentinel as seen at one moment.
pub struct Maps<'s> {
    sentinel: &'s Sentinel,
    now: Mono,
    fields: Fields,
}

impl<'s> Maps<'s> {
    pub fn new(sentinel: &'s Sentinel, now: Mono) -> Maps<'s> {
        Maps { sentinel, now, fields: Fields { bytes: Vec::with_capacity(1024), pairs: 0 } }
    }

    pub fn master(&mut self, out: &mut Vec<u8>, dialect: Dialect, master: &Master) {
        let state = self.sentinel.failover_state_word(master.id);
        self.base(&master.base, InstId::Master(master.id), state, &master.odown);
        self.data(&master.data);
        let options = &master.options;
        let f = &mut self.fields;
        f.count("config-epoch", master.config_epoch);
        f.count("num-slaves", master.replicas.len() as u64);
        f.count("num-other-sentinels", master.peers.len() as u64);
        f.count("quorum", options.quorum.into());
        f.count("failover-timeout", options.failover_timeout_ms);
        f.count("parallel-syncs", options.parallel_syncs.into());
        if let Some(path) = &options.notification_script {
            f.text("notification-script", path);
        }
        if let Some(path) = &options.client_reconfig_script {
            f.text("client-reconfig-script", path);
        }
        self.finish(out, dialect);
    }

    pub fn replica(&mut self, out: &mut Vec<u8>, dialect: Dialect, replica: &Replica) {
        self.base(&replica.base, InstId::Replica(replica.id), None, &Down::default());
        self.data(&replica.data);
        let f = &mut self.fields;
        f.number("master-link-down-time", replica.master_link_down_ms);
        f.text("master-link-status", if replica.master_link_up { b"ok" } else { b"err" });
        let host = if replica.master_host.is_empty() { b"?" } else { &replica.master_host[..] };
        f.text("master-host", host);
        f.count("master-port", replica.master_port.into());
        f.count("slave-priority", replica.priority.into());
        f.count("slave-repl-offset", replica.repl_offset);
        f.count("replica-announced", replica.announced.into());
        self.finish(out, dialect);
    }

    pub fn peer(&mut self, out: &mut Vec<u8>, dialect: Dialect, peer: &Peer) {
        self.base(&peer.base, InstId::Peer(peer.id), None, &Down::default());
        let f = &mut self.fields;
        f.count("last-hello-message", self.now.since(peer.last_hello));
        f.text("voted-leader", peer.leader.as_deref().unwrap_or(b"?"));
        f.count("voted-leader-epoch", peer.leader_epoch);
        self.finish(out, dialect);
    }

    /// What every instance has, up to down-after-milliseconds.
    fn base(&mut self, base: &Base, inst: InstId, state: Option<&str>, odown: &Down) {
        let (now, sentinel) = (self.now, self.sentinel);
        let link = &sentinel.links[base.link];
        let f = &mut self.fields;
        f.text("name", &base.name);
        f.text("ip", &sentinel.announced(&base.addr));
        f.count("port", base.addr.port.into());
        f.text("runid", &base.runid);
        f.text("flags", sentinel.flags(inst).as_bytes());
        f.count("link-pending-commands", link.cmd.as_ref().map_or(0, |c| c.sent.len()) as u64);
        f.count("link-refcount", link.holders.len() as u64);
        if let Some(word) = state {
            f.text("failover-state", word.as_bytes());
        }
        f.count("last-ping-sent", link.outstanding_since.map_or(0, |since| now.since(since)));
        f.count("last-ok-ping-reply", now.since(link.last_available));
        f.count("last-ping-reply", now.since(link.last_reply));
        for (name, down) in [("s-down-time", &base.sdown), ("o-down-time", odown)] {
            if down.is {
                f.count(name, down.since.map_or(0, |since| now.since(since)));
            }
        }
        f.count("down-after-milliseconds", base.down_after_ms);
    }

    fn data(&mut self, data: &DataState) {
        let now = self.now;
        let role = match data.role_reported {
            Role::Master => b"master".as_slice(),
            Role::Slave => b"slave",
        };
        let f = &mut self.fields;
        f.count("info-refresh", data.info_refresh.map_or(0, |at| now.since(at)));
        f.text("role-reported", role);
        f.count("role-reported-time", now.since(data.role_reported_since));
    }

    fn finish(&mut self, out: &mut Vec<u8>, dialect: Dialect) {
        write::map(out, self.fields.pairs, dialect);
        out.extend_from_slice(&self.fields.bytes);
        self.fields.bytes.clear();
        self.fields.pairs = 0;
    }
}

/// The replicas of a master that are announced, by name.
pub fn announced_replicas(sentinel: &Sentinel, master: MasterId) -> Vec<&Replica> {
    let all = sentinel.masters[master].replicas.values().map(|id| &sentinel.replicas[*id]);
    all.filter(|replica| replica.announced).collect()
}
