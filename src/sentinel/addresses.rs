//! Addresses that change: the only place where an instance gets another address.
//!
//! Each change renews what is derived from the address: the index ([`super::places`]), the name of
//! a replica, and the file. A host name may come to mean an address that another instance of the
//! group has. Two entries must not stand for one process, as one would be told to replicate from
//! the other, so [`Sentinel::claim`] decides which of the two keeps the address.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::Sentinel;
use super::action::Cx;
use super::election::Retry;
use super::failover::State;
use super::instance::{Addr, InstId, MasterId, Replica, ReplicaId, Role};
use super::link::Conn;
use super::log_limit::LineKind;
use super::names::parse_ip;
use crate::util::defect::{Defect, defect};

/// What becomes of an instance that is about to take an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Claim {
    /// Nobody else has it, or not any more.
    Granted,
    /// Another instance has it: the old address stays.
    Refused,
    /// Another entry stands for the same process: this one was dropped.
    Dropped,
}

impl Addr {
    /// Whether both name the same place: equal ports, and equal IPs or equal hosts without case.
    pub fn same(&self, other: &Addr) -> bool {
        self.same_as(&other.host, other.ip, other.port)
    }

    /// [`Addr::same`] for an address in parts.
    pub fn same_as(&self, host: &[u8], ip: Option<IpAddr>, port: u16) -> bool {
        let same_ip = self.ip.is_some() && self.ip == ip;
        self.port == port && (same_ip || self.host.eq_ignore_ascii_case(host))
    }

    /// Whether this is the address that was reported as `host` and `port`.
    pub fn is_at(&self, host: &[u8], port: u16) -> bool {
        let same_ip = self.ip.is_some() && parse_ip(host) == self.ip;
        self.port == port && (same_ip || self.host.eq_ignore_ascii_case(host))
    }

    /// Whether the host is an IP literal, not a name.
    fn is_literal(&self) -> bool {
        parse_ip(&self.host).is_some()
    }

    /// `host:port` with the host as it is announced; IPv6 in brackets.
    pub(super) fn key(&self, announced_host: &[u8]) -> Vec<u8> {
        let v6 = matches!(self.ip, Some(IpAddr::V6(_))) && announced_host.contains(&b':');
        let port = self.port.to_string();
        match v6 {
            true => [b"[", announced_host, b"]:", port.as_bytes()].concat(),
            false => [announced_host, b":", port.as_bytes()].concat(),
        }
    }
}

impl Sentinel {
    /// Gives an instance another address and renews whatever is found or named by it. The caller
    /// has seen to it that no other replica of the master has that address, and to the file.
    pub(super) fn set_addr(&mut self, inst: InstId, addr: Addr) {
        let master = self.master_of(inst);
        self.places.remove(inst, master, &self.base(inst).addr.clone());
        self.places.add(inst, master, &addr);
        self.base_mut(inst).addr = addr;
        if let InstId::Replica(id) = inst {
            self.rename_replica(id);
        }
    }

    /// The name of a replica follows its address.
    fn rename_replica(&mut self, id: ReplicaId) {
        let replica = &self.replicas[id];
        let name = replica.base.addr.key(&self.announced(&replica.base.addr));
        if name == replica.base.name || defect(Defect::KeepReplicaKey) {
            return;
        }
        let replicas = &mut self.masters[replica.master].replicas;
        replicas.remove(&replica.base.name);
        replicas.insert(name.clone(), id);
        self.replicas[id].base.name = name;
    }

    /// Addresses are announced in another way from now on: hosts instead of IPs, or IPs.
    pub(super) fn rename_all_replicas(&mut self, cx: &mut Cx) {
        for id in self.masters.ids() {
            let replicas = std::mem::take(&mut self.masters[id].replicas);
            for replica in replicas.into_values() {
                let base = &self.replicas[replica].base;
                let name = base.addr.key(&self.announced(&base.addr));
                self.replicas[replica].base.name = name.clone();
                let twin = self.masters[id].replicas.insert(name, replica);
                // Two addresses of one host name, which was not what told them apart so far.
                if let Some(twin) = twin {
                    self.merge_namesakes(cx, twin, replica);
                }
            }
        }
    }

    /// Two replicas have the same name, under which `second` is found now.
    fn merge_namesakes(&mut self, cx: &mut Cx, first: ReplicaId, second: ReplicaId) {
        let (keep, gone) = match self.works(second) && !self.works(first) {
            true => (second, first),
            false => (first, second),
        };
        self.absorb(cx, keep, gone);
        let Replica { master, base, .. } = &self.replicas[keep];
        self.masters[*master].replicas.insert(base.name.clone(), keep);
    }

    /// The host of an instance is at `ip` now, unless another instance of its master is. What the
    /// file says of a place that it left must not be what the next start believes. The instance may
    /// be gone afterwards.
    pub(super) fn set_ip(&mut self, cx: &mut Cx, inst: InstId, ip: IpAddr) {
        let old = &self.base(inst).addr;
        if old.ip == Some(ip) {
            return;
        }
        let moved = old.ip.is_some();
        let port = old.port;
        match self.claim(cx, inst, ip, port) {
            Claim::Granted => {}
            Claim::Dropped => return,
            Claim::Refused => return self.tell_refusal(cx, inst, ip),
        }
        let addr = Addr { ip: Some(ip), ..self.base(inst).addr.clone() };
        self.set_addr(inst, addr);
        if let Some(data) = self.data_mut(inst)
            && !defect(Defect::BelieveOldPlace)
        {
            // It was told of another place: nobody is to follow or to be chosen for that.
            data.info_refresh = None;
        }
        let master = self.master_of(inst);
        if moved {
            self.choose_again(cx, inst);
            self.touch(cx, master);
        } else {
            // Where the file holds its name, the next start finds it by that.
            self.saves.touch_master(master);
        }
    }

    /// A replica that was chosen for the promotion has another address: who is there was not asked
    /// yet, and is not the process that was.
    fn choose_again(&mut self, cx: &mut Cx, inst: InstId) {
        if let InstId::Replica(id) = inst
            && self.is_promoted(id)
        {
            let master = self.replicas[id].master;
            self.abort_failover(cx, master, "-failover-abort-slave-timeout");
            self.schedule_retry(cx, master, Retry::Ranked(0));
        }
    }

    /// Decides whether an instance may have the address that its name has come to mean. An entry
    /// whose connection works keeps its address: a name server can be wrong, a reply cannot.
    fn claim(&mut self, cx: &mut Cx, inst: InstId, ip: IpAddr, port: u16) -> Claim {
        let first = self.base(inst).addr.ip.is_none();
        let master = self.master_of(inst);
        match inst {
            InstId::Peer(_) => Claim::Granted,
            InstId::Master(_) => match self.places.replica_at(master, ip, port) {
                None => Claim::Granted,
                Some(holder) => self.claim_for_master(cx, holder, first, ip),
            },
            InstId::Replica(id) if self.is_master_at(master, ip, port) => {
                match first || self.names.is_refused_for_long(&self.base(inst).addr.host, ip) {
                    true => {
                        self.drop_entry(cx, id, "its master");
                        Claim::Dropped
                    }
                    false => Claim::Refused,
                }
            }
            InstId::Replica(id) => match self.places.replica_at(master, ip, port) {
                None => Claim::Granted,
                Some(_) if defect(Defect::LeaveTwins) => Claim::Granted,
                Some(holder) => self.claim_for_replica(cx, id, holder, first, ip),
            },
        }
    }

    pub(super) fn is_master_at(&self, id: MasterId, ip: IpAddr, port: u16) -> bool {
        let addr = &self.masters[id].base.addr;
        addr.ip == Some(ip) && addr.port == port
    }

    /// The name of a master has come to mean the address of one of its replicas.
    fn claim_for_master(
        &mut self,
        cx: &mut Cx,
        holder: ReplicaId,
        first: bool,
        ip: IpAddr,
    ) -> Claim {
        let works = self.is_certain(InstId::Replica(holder));
        let says_slave = self.replicas[holder].data.role_reported == Role::Slave;
        if works && !first && says_slave {
            // It would be no replica any more, and nobody could be promoted.
            return Claim::Refused;
        }
        if works || !self.vacate(cx, holder, ip) {
            self.drop_entry(cx, holder, "its master");
        }
        Claim::Granted
    }

    /// The name of a replica has come to mean the address of another replica of the same master.
    fn claim_for_replica(
        &mut self,
        cx: &mut Cx,
        id: ReplicaId,
        holder: ReplicaId,
        first: bool,
        ip: IpAddr,
    ) -> Claim {
        let held = &self.replicas[holder].base.addr;
        let literal = held.is_literal();
        let twins =
            self.is_certain(InstId::Replica(holder)) || (!literal && self.leads_to(&held.host, ip));
        let host = &self.replicas[id].base.addr.host;
        let sure = first || self.names.is_refused_for_long(host, ip);
        match (twins, sure, literal) {
            (true, false, _) => Claim::Refused,
            (true, true, _) => {
                let name = self.replicas[id].base.addr.host.clone();
                self.absorb(cx, holder, id);
                if literal {
                    let addr = Addr { host: name, ..self.replicas[holder].base.addr.clone() };
                    self.set_addr(InstId::Replica(holder), addr);
                }
                Claim::Dropped
            }
            (false, _, true) => {
                self.absorb(cx, id, holder);
                Claim::Granted
            }
            (false, _, false) => {
                self.vacate(cx, holder, ip);
                Claim::Granted
            }
        }
    }

    /// A replica that does not answer leaves its address, if it has a name that may lead it
    /// elsewhere; false if it has none.
    fn vacate(&mut self, cx: &mut Cx, id: ReplicaId, ip: IpAddr) -> bool {
        let addr = self.replicas[id].base.addr.clone();
        if addr.is_literal() || self.leads_to(&addr.host, ip) {
            return false;
        }
        let link = self.replicas[id].base.link;
        self.set_addr(InstId::Replica(id), Addr { ip: None, ..addr });
        self.drop_connections(cx, link, "address-change");
        true
    }

    /// Two entries turned out to be one replica: `gone` is dropped, and what it was chosen for
    /// falls to `keep`.
    fn absorb(&mut self, cx: &mut Cx, keep: ReplicaId, gone: ReplicaId) {
        let master = &mut self.masters[self.replicas[gone].master];
        if let Some(failover) = &mut master.failover {
            match &mut failover.state {
                State::SendSlaveofNoOne { replica } | State::WaitPromotion { replica, .. }
                    if *replica == gone =>
                {
                    *replica = keep;
                }
                _ => {}
            }
        }
        if let Some(reconf) = &mut master.reconf
            && reconf.old_master == Some(gone)
        {
            reconf.old_master = Some(keep);
        }
        let kept = String::from_utf8_lossy(&self.replicas[keep].base.name).into_owned();
        self.drop_entry(cx, gone, &format!("the replica {kept}"));
    }

    /// Drops a replica that has turned out to be somebody else.
    fn drop_entry(&mut self, cx: &mut Cx, id: ReplicaId, who: &str) {
        let replica = &self.replicas[id];
        let master = replica.master;
        cx.log_limited(LineKind::SameInstance, || {
            let name = String::from_utf8_lossy(&replica.base.name);
            format!("The replica {name} is the same instance as {who}: entry dropped")
        });
        if self.is_promoted(id) {
            self.abort_failover(cx, master, "-failover-abort-slave-timeout");
            self.schedule_retry(cx, master, Retry::Ranked(0));
        }
        self.remove_replica(cx, id);
        self.touch(cx, master);
    }

    fn tell_refusal(&mut self, cx: &mut Cx, inst: InstId, ip: IpAddr) {
        let host = self.base(inst).addr.host.clone();
        if self.names.is_new_refusal(cx.now, &host, ip) {
            cx.log_limited(LineKind::AddressTaken, || {
                let host = String::from_utf8_lossy(&host);
                let name = String::from_utf8_lossy(&self.base(inst).name);
                format!(
                    "{name}: host name {host} resolves to {ip}, which is another instance of the \
                     same master: the old address stays"
                )
            });
        }
    }

    /// Instances of that name move to the new address, unless they are certainly where they are.
    pub(super) fn adopt_ip(&mut self, cx: &mut Cx, host: &[u8], ip: IpAddr) {
        for inst in self.places.named(host).collect::<Vec<_>>() {
            // An earlier one may have turned out to be the same.
            if !self.alive(inst) {
                continue;
            }
            let base = self.base(inst);
            if base.addr.ip == Some(ip) || self.is_certain(inst) {
                continue;
            }
            self.set_ip(cx, inst, ip);
            if !self.alive(inst) || self.base(inst).addr.ip != Some(ip) {
                continue;
            }
            let link = self.base(inst).link;
            self.links[link].start_over();
            self.drop_connections(cx, link, "address-change");
            self.arm(cx.now, inst);
        }
    }

    /// Whether the command connection has ever brought an answer.
    pub(super) fn cmd_alive(&self, link: super::link::LinkId) -> bool {
        self.links[link].cmd.as_ref().is_some_and(Conn::has_answered)
    }

    /// Whether an instance answers over its command connection.
    pub(super) fn works(&self, id: ReplicaId) -> bool {
        self.cmd_alive(self.replicas[id].base.link)
    }

    /// Whether a replica of a master answers at a host that is a name and this port.
    pub(super) fn reaches_replica(&self, master: MasterId, host: &[u8], port: u16) -> bool {
        let mut named = self.places.replicas_named(host, port);
        named.any(|id| self.replicas[id].master == master && self.works(id))
    }

    /// Whether an instance answers at this very host and port, so that the name need not be
    /// looked up.
    pub(super) fn is_reached_at(&self, inst: InstId, host: &[u8], port: u16) -> bool {
        let base = self.base(inst);
        base.addr.port == port
            && base.addr.host.eq_ignore_ascii_case(host)
            && self.cmd_alive(base.link)
    }

    /// Whether an instance may be told to replicate from `target`: never from itself, by whatever
    /// address or name.
    pub(super) fn may_follow(&self, inst: InstId, target: &Addr) -> bool {
        if defect(Defect::FollowOneself) {
            return true;
        }
        let own = self.base(inst);
        let master = &self.masters[self.master_of(inst)].base;
        let same_process = master.addr == *target
            && inst != InstId::Master(self.master_of(inst))
            && !own.runid.is_empty()
            && own.runid == master.runid;
        // The name of a host may have moved from one to the other: then it tells nothing, unless
        // it is the name that would be sent.
        let by_name = self.global.announce_hostnames;
        let apart = match (own.addr.ip, target.ip) {
            (Some(own_ip), Some(ip)) => own_ip != ip && !by_name,
            _ => false,
        };
        // The name that is sent leads back to it, or one name leads to both addresses.
        let leads_back = own.addr.ip.is_some_and(|ip| by_name && self.leads_to(&target.host, ip));
        let one_host = leads_back || self.names.lead_to_both(&own.addr, target);
        let one_place = one_host && own.addr.port == target.port;
        !same_process && !one_place && (apart || !target.same(&own.addr))
    }
}
