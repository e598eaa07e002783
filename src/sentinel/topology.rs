//! Who belongs to whom: adding, removing, reset and the switch (spec/protocol.md section 10).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::Sentinel;
use super::action::Cx;
use super::conflict::Conflict;
use super::election::Election;
use super::event::Event;
use super::info_text::InfoText;
use super::instance::{
    Addr, Base, DataState, Down, InstId, Loading, Master, MasterId, Peer, PeerId, ReconfState,
    Replica, ReplicaId, Role,
};
use super::link::{Link, LinkId, Sent};
use super::refusal::Refusals;
use super::setup::{GlobalConfig, HostPort, MasterConfig, MasterOptions, PeerConfig};
use super::vote::{Vote, VoteBook};
use crate::util::backoff::Backoff;
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

const DEFAULT_PRIORITY: u32 = 100;

impl Base {
    fn new(name: Vec<u8>, addr: Addr, link: LinkId, down_after_ms: u64, now: Mono) -> Base {
        Base {
            name,
            runid: Vec::new(),
            addr,
            link,
            down_after_ms,
            sdown: Down::default(),
            doubt: None,
            last_publish: now,
            publish_in_flight: false,
            publish_retry: Backoff::default(),
            armed: None,
            fired: None,
        }
    }
}

impl DataState {
    fn new(role: Role, now: Mono) -> DataState {
        DataState {
            info_refresh: None,
            info_sent: None,
            info_in_flight: None,
            info_retry: Backoff::default(),
            info_ahead_ms: 0,
            info_text: InfoText::default(),
            stream_offset: 0,
            role_reported: role,
            role_reported_since: now,
            loading: Loading::No,
            script_kill_sent: false,
        }
    }
}

impl Sentinel {
    /// The state of `master` has changed: save it within a moment.
    pub(super) fn touch(&mut self, cx: &mut Cx, master: MasterId) {
        self.saves.touch_master(master);
        self.saves.soon(cx.now);
    }

    /// Adds a master without replicas and sentinels. Its name must not be taken.
    pub(super) fn add_master(
        &mut self,
        cx: &mut Cx,
        name: &[u8],
        addr: Addr,
        options: MasterOptions,
    ) -> MasterId {
        let now = cx.now;
        let down_after_ms = options.down_after_ms;
        let links = &mut self.links;
        let id = self.masters.insert_with(|id| {
            let holder = InstId::Master(id);
            let link = links.insert_with(|link| Link::new(link, holder, down_after_ms, now));
            Master {
                id,
                base: Base::new(name.to_vec(), addr, link, down_after_ms, now),
                data: DataState::new(Role::Master, now),
                options,
                odown: Down::default(),
                replicas: BTreeMap::new(),
                peers: BTreeMap::new(),
                config_epoch: 0,
                conflict: Conflict::default(),
                vote: VoteBook::default(),
                failover_start: None,
                election: Election::default(),
                failover: None,
                reconf: None,
                reboot_since: None,
                incomplete_looks: 0,
                delay_logged_for: None,
            }
        });
        self.by_name.insert(name.to_vec(), id);
        self.places.add(InstId::Master(id), id, &self.masters[id].base.addr);
        self.ping_budget.stale = true;
        self.arm(cx.now, InstId::Master(id));
        id
    }

    /// Adds a master as the configuration has it, with what it knows of others.
    pub fn load_master(&mut self, cx: &mut Cx, config: &MasterConfig) -> Option<MasterId> {
        let addr = self.make_addr(cx, &config.at.host, config.at.port)?;
        let id = self.add_master(cx, &config.name, addr, config.options.clone());
        let master = &mut self.masters[id];
        master.config_epoch = config.config_epoch;
        if !defect(Defect::ForgetVoteAtLoad) {
            master.vote.durable = Vote { leader: None, epoch: config.leader_epoch };
        }
        self.current_epoch = self.current_epoch.max(config.leader_epoch);
        for at in &config.replicas {
            if let Some(addr) = self.make_addr(cx, &at.host, at.port) {
                self.add_replica(cx, id, addr);
            }
        }
        for peer in &config.peers {
            if let Some(addr) = self.make_addr(cx, &peer.at.host, peer.at.port) {
                self.add_peer(cx, id, &peer.runid, addr);
            }
        }
        Some(id)
    }

    /// What is tied to no master, as the configuration keeps it.
    pub fn export_global(&self) -> GlobalConfig {
        let (myid, current_epoch) = (Some(self.myid.clone()), self.current_epoch);
        GlobalConfig { myid, current_epoch, ..self.global.clone() }
    }

    /// A master with its state, as the configuration keeps it.
    pub fn export_master(&self, id: MasterId) -> MasterConfig {
        let master = &self.masters[id];
        let vote = match defect(Defect::SaveOldVote) {
            true => &master.vote.durable,
            false => master.vote.latest(),
        };
        let told = |addr: &Addr| HostPort { host: self.announced(addr), port: addr.port };
        let peer_config =
            |peer: &Peer| PeerConfig { at: told(&peer.base.addr), runid: peer.base.runid.clone() };
        MasterConfig {
            name: master.base.name.clone(),
            at: told(&master.base.addr),
            options: master.options.clone(),
            config_epoch: master.config_epoch,
            leader_epoch: vote.epoch,
            replicas: self.replicas_of(id).map(|replica| told(&replica.base.addr)).collect(),
            peers: self.peers_of(id).map(peer_config).collect(),
        }
    }

    /// Adds a replica unless its address or its name is known already.
    pub(super) fn add_replica(
        &mut self,
        cx: &mut Cx,
        master: MasterId,
        addr: Addr,
    ) -> Option<ReplicaId> {
        let key = addr.key(&self.announced(&addr));
        let known = self.masters[master].replicas.contains_key(&key);
        let is_master = addr.same(&self.masters[master].base.addr);
        if is_master || known || self.replica_at(master, &addr).is_some() {
            return None;
        }
        let now = cx.now;
        let links = &mut self.links;
        let down_after_ms = self.masters[master].options.down_after_ms;
        let id = self.replicas.insert_with(|id| {
            let holder = InstId::Replica(id);
            let link = links.insert_with(|link| Link::new(link, holder, down_after_ms, now));
            let base = Base::new(key.clone(), addr, link, down_after_ms, now);
            Replica::new(id, master, base, DataState::new(Role::Slave, now), now)
        });
        self.masters[master].replicas.insert(key, id);
        self.places.add(InstId::Replica(id), master, &self.replicas[id].base.addr);
        self.ping_budget.stale = true;
        self.arm(cx.now, InstId::Replica(id));
        Some(id)
    }

    /// Adds a sentinel; its link is shared with entries of the same run id under other masters.
    pub(super) fn add_peer(
        &mut self,
        cx: &mut Cx,
        master: MasterId,
        runid: &[u8],
        addr: Addr,
    ) -> PeerId {
        let now = cx.now;
        let down_after_ms = self.masters[master].options.down_after_ms;
        let links = &mut self.links;
        let shared = self.peer_links.get(runid).copied();
        let id = self.peers.insert_with(|id| {
            let holder = InstId::Peer(id);
            let link = match shared {
                Some(id) => {
                    let link = &mut links[id];
                    link.holders.push(holder);
                    link.down_after_ms = link.down_after_ms.min(down_after_ms);
                    // Its clock of silence may be running already.
                    link.silence_told = None;
                    id
                }
                None => links.insert_with(|link| Link::new(link, holder, down_after_ms, now)),
            };
            let mut base = Base::new(runid.to_vec(), addr, link, down_after_ms, now);
            base.runid = runid.to_vec();
            // The first hello goes out at once, so that both know each other.
            base.last_publish = Mono(0);
            Peer::new(id, master, base, now)
        });
        let link = self.peers[id].base.link;
        self.places.add(InstId::Peer(id), master, &self.peers[id].base.addr);
        self.peer_links.insert(runid.to_vec(), link);
        self.masters[master].peers.insert(runid.to_vec(), id);
        self.ping_budget.stale = true;
        self.arm(cx.now, InstId::Peer(id));
        id
    }

    pub(super) fn remove_peer(&mut self, cx: &mut Cx, id: PeerId) {
        let Some(peer) = self.peers.remove(id) else { return };
        self.masters[peer.master].peers.remove(&peer.base.runid);
        self.places.remove(InstId::Peer(id), peer.master, &peer.base.addr);
        if self.release_link(cx, peer.base.link, InstId::Peer(id)) {
            self.peer_links.remove(&peer.base.runid);
        }
        self.ping_budget.stale = true;
    }

    pub(super) fn remove_replica(&mut self, cx: &mut Cx, id: ReplicaId) {
        let Some(replica) = self.replicas.remove(id) else { return };
        self.masters[replica.master].replicas.remove(&replica.base.name);
        self.places.remove(InstId::Replica(id), replica.master, &replica.base.addr);
        self.release_link(cx, replica.base.link, InstId::Replica(id));
        self.ping_budget.stale = true;
    }

    fn remove_all_replicas(&mut self, cx: &mut Cx, master: MasterId) {
        let replicas: Vec<_> = self.masters[master].replicas.values().copied().collect();
        for replica in replicas {
            self.remove_replica(cx, replica);
        }
    }

    fn remove_all_peers(&mut self, cx: &mut Cx, master: MasterId) {
        let peers: Vec<_> = self.masters[master].peers.values().copied().collect();
        for peer in peers {
            self.remove_peer(cx, peer);
        }
    }

    /// Forgets a master with all that belongs to it.
    pub(super) fn remove_master(&mut self, cx: &mut Cx, id: MasterId) {
        self.remove_all_replicas(cx, id);
        self.remove_all_peers(cx, id);
        self.names.waiters.forget(id);
        let Some(master) = self.masters.remove(id) else { return };
        self.by_name.remove(&master.base.name);
        self.places.remove(InstId::Master(id), id, &master.base.addr);
        self.release_link(cx, master.base.link, InstId::Master(id));
        self.pending_votes.remove(&id);
        self.saves.touch_master(id);
        self.saves.touch_global();
    }

    /// SENTINEL RESET of one master: everything learnt is dropped, epochs and settings stay.
    pub(super) fn reset_master(&mut self, cx: &mut Cx, id: MasterId) {
        self.names.waiters.forget(id);
        self.remove_all_replicas(cx, id);
        self.remove_all_peers(cx, id);
        let link = self.masters[id].base.link;
        self.drop_connections(cx, link, "reset");
        let link = &mut self.links[link];
        link.outstanding_since = Some(cx.now);
        link.last_available = cx.now;
        link.last_reply = cx.now;
        link.refused = false;
        link.start_over();
        let master = &mut self.masters[id];
        master.base.sdown.is = false;
        master.odown.is = false;
        master.base.runid.clear();
        master.data = DataState::new(Role::Master, cx.now);
        if defect(Defect::ForgetVoteOnReset) {
            master.vote = VoteBook::default();
        }
        if defect(Defect::ForgetConfigEpochOnReset) {
            master.config_epoch = 0;
        }
        self.clear_failover(id);
        // A restart must not bring back what was dropped.
        self.touch(cx, id);
        self.plain_event(cx, Event::warning("+reset-master"), InstId::Master(id));
        self.arm(cx.now, InstId::Master(id));
    }

    pub(super) fn clear_failover(&mut self, id: MasterId) {
        let master = &mut self.masters[id];
        master.failover = None;
        master.reconf = None;
        master.failover_start = None;
        master.reboot_since = None;
        master.incomplete_looks = 0;
        master.delay_logged_for = None;
        master.election = Election::default();
        master.vote.durable.leader = None;
    }

    /// Makes `new` the address of the master. The old address becomes a replica, whose entry is
    /// returned; connections stay with the addresses they lead to.
    pub(super) fn switch_to(&mut self, cx: &mut Cx, id: MasterId, new: Addr) -> Option<ReplicaId> {
        let now = cx.now;
        let promoted = self.replica_at(id, &new);
        let promoted = promoted.and_then(|replica| self.take_replica(id, replica));
        let own = InstId::Master(id);
        let (link, runid, data, doubt) = match promoted {
            Some((old_id, replica)) => {
                let link = replica.base.link;
                self.hand_over(link, InstId::Replica(old_id), own);
                (link, replica.base.runid, replica.data, replica.base.doubt)
            }
            None => {
                let link = self.new_link(now, own, self.masters[id].base.down_after_ms);
                (link, Vec::new(), DataState::new(Role::Master, now), None)
            }
        };
        let old_addr = self.masters[id].base.addr.clone();
        self.set_addr(own, new);
        let master = &mut self.masters[id];
        let old_link = std::mem::replace(&mut master.base.link, link);
        master.base.runid = runid;
        master.base.doubt = doubt;
        master.base.publish_in_flight = false;
        master.base.sdown = Down::default();
        master.odown = Down::default();
        master.data = data;
        master.data.role_reported = Role::Master;
        master.data.role_reported_since = now;
        master.data.script_kill_sent = false;
        if defect(Defect::ForgetVoteOnSwitch) {
            master.vote = VoteBook::default();
        }
        self.clear_failover(id);
        let same = old_addr.same(&self.masters[id].base.addr);
        let old_master = if same || defect(Defect::ForgetOldMaster) {
            self.release_link(cx, old_link, own);
            None
        } else {
            self.add_replica_with_link(cx, id, old_addr, old_link)
        };
        self.recall_orders(cx, id);
        self.refresh_replicas(cx, id);
        for peer in self.masters[id].peers.values() {
            let peer = &mut self.peers[*peer];
            peer.master_down = false;
            peer.answer = None;
            peer.first_answer = None;
            peer.denied = None;
        }
        if !defect(Defect::SwitchWithoutSave) {
            self.touch(cx, id);
        }
        self.arm(cx.now, own);
        old_master
    }

    fn take_replica(&mut self, id: MasterId, replica: ReplicaId) -> Option<(ReplicaId, Replica)> {
        let entry = self.replicas.remove(replica)?;
        self.masters[id].replicas.remove(&entry.base.name);
        self.places.remove(InstId::Replica(replica), id, &entry.base.addr);
        Some((replica, entry))
    }

    /// The old address as a replica, on the link it has.
    fn add_replica_with_link(
        &mut self,
        cx: &mut Cx,
        id: MasterId,
        addr: Addr,
        link: LinkId,
    ) -> Option<ReplicaId> {
        let Some(replica) = self.add_replica(cx, id, addr) else {
            self.release_link(cx, link, InstId::Master(id));
            return None;
        };
        let inst = InstId::Replica(replica);
        let unused = std::mem::replace(&mut self.replicas[replica].base.link, link);
        self.release_link(cx, unused, inst);
        self.hand_over(link, InstId::Master(id), inst);
        Some(replica)
    }

    /// A link changes its holder; what is in flight is for the new one.
    fn hand_over(&mut self, link: LinkId, from: InstId, to: InstId) {
        let link = &mut self.links[link];
        for holder in &mut link.holders {
            if *holder == from {
                *holder = to;
            }
        }
        for conn in [&mut link.cmd, &mut link.pubsub].into_iter().flatten() {
            for (_, sent) in &mut conn.sent {
                match sent {
                    Sent::Info(inst) | Sent::Publish(inst) | Sent::Order { inst, .. }
                        if *inst == from =>
                    {
                        *inst = to;
                    }
                    _ => {}
                }
            }
        }
    }

    /// After a switch all replicas are as new ones, but for their links and what INFO told.
    fn refresh_replicas(&mut self, cx: &mut Cx, id: MasterId) {
        let replicas: Vec<_> = self.masters[id].replicas.values().copied().collect();
        for replica in replicas {
            let entry = &mut self.replicas[replica];
            entry.base.sdown = Down::default();
            entry.base.armed = None;
            entry.data.role_reported = Role::Slave;
            entry.data.role_reported_since = cx.now;
            entry.data.script_kill_sent = false;
            entry.conf_changed = cx.now;
            entry.reconf = ReconfState::None;
            entry.reconf_sent = None;
            entry.refused_order = None;
            entry.refuses_promotion = false;
            self.plain_event(cx, Event::notice("+slave"), InstId::Replica(replica));
            self.arm(cx.now, InstId::Replica(replica));
        }
    }
}

impl Link {
    pub(super) fn new(id: LinkId, holder: InstId, down_after_ms: u64, now: Mono) -> Link {
        Link {
            id,
            holders: vec![holder],
            cmd: None,
            pubsub: None,
            outstanding_since: Some(now),
            last_ping_sent: Mono(0),
            refused: false,
            last_available: now,
            last_reply: now,
            last_reconnect: [None; 2],
            hangs: [0; 2],
            refusals: Refusals::default(),
            subscribe_refused: false,
            subscribe_retry: Backoff::default(),
            auth_retry: Backoff::default(),
            takes_no_transaction: false,
            auth_due: None,
            rtt_8th_ms: None,
            down_after_ms,
            holder_down: false,
            silence_told: None,
        }
    }
}

impl Replica {
    fn new(id: ReplicaId, master: MasterId, base: Base, data: DataState, now: Mono) -> Replica {
        Replica {
            id,
            master,
            base,
            data,
            priority: DEFAULT_PRIORITY,
            announced: true,
            repl_offset: 0,
            master_host: Vec::new(),
            master_port: 0,
            master_link_up: false,
            master_link_down_ms: 0,
            conf_changed: now,
            reconf: ReconfState::None,
            reconf_sent: None,
            refused_order: None,
            refuses_promotion: false,
        }
    }
}

impl Peer {
    fn new(id: PeerId, master: MasterId, base: Base, now: Mono) -> Peer {
        Peer {
            id,
            master,
            base,
            last_hello: now,
            claim: None,
            master_down: false,
            answer: None,
            first_answer: None,
            denied: None,
            last_ask_reply: now,
            last_asked: None,
            asks_in_flight: 0,
            ask_again: false,
            vote_reply_epoch: None,
            leader: None,
            leader_epoch: 0,
        }
    }
}
