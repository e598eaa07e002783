//! Hello: how sentinels find each other and spread configurations (spec/protocol.md section 6).
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::Sentinel;
use super::action::Cx;
use super::event::{Event, Subject};
use super::failover::Failover;
use super::instance::{Addr, InstId, MasterId, PeerId};
use super::link::{Channel, HELLO_CHANNEL, LinkId, Sent};
use super::log_limit::LineKind;
use super::names::{HostState, Origin, parse_ip};
use super::pending_names::Waiter;
use crate::util::defect::{Defect, defect};
use crate::util::num::{parse_u64, parse_u64_saturating};
use crate::util::text::{append, contains};
use crate::util::time::Mono;

/// Most sentinels that are remembered per master.
pub const MAX_PEERS: usize = 256;

/// On so many links of a master our own addresses are looked for.
const OWN_ADDRESS_LINKS: usize = 64;

/// The eight fields of a hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    pub ip: &'a [u8],
    pub port: u16,
    pub runid: &'a [u8],
    /// As told, like the config epoch: whether it can be accepted is judged where it is used.
    pub current_epoch: u64,
    pub master_name: &'a [u8],
    pub master_ip: &'a [u8],
    pub master_port: u16,
    pub master_config_epoch: u64,
}

impl<'a> Hello<'a> {
    /// `ip,port,runid,current_epoch,master_name,master_ip,master_port,master_config_epoch`;
    /// anything else is no hello.
    pub fn parse(text: &'a [u8]) -> Option<Hello<'a>> {
        let mut fields = text.split(|byte| *byte == b',');
        let (ip, port, runid, epoch) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (name, master_ip, master_port, config_epoch) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        let as_port = |text| parse_u64(text).and_then(|port| u16::try_from(port).ok());
        let clean = |text: &[u8]| text.iter().all(u8::is_ascii_graphic) && text.len() <= 255;
        let run_id_ok = !runid.is_empty() && runid.len() <= 40 && clean(runid);
        if !run_id_ok || !clean(ip) || !clean(master_ip) {
            return None;
        }
        Some(Hello {
            ip,
            port: as_port(port)?,
            runid,
            current_epoch: parse_u64_saturating(epoch)?,
            master_name: name,
            master_ip,
            master_port: as_port(master_port)?,
            master_config_epoch: parse_u64_saturating(config_epoch)?,
        })
    }
}

impl Sentinel {
    /// Our own address as told over this instance's link.
    pub(super) fn own_address(&self, inst: InstId) -> Option<OwnIp<'_>> {
        if let Some(ip) = &self.global.announce_ip {
            return Some(OwnIp::Announced(ip));
        }
        let conn = self.links[self.base(inst).link].cmd.as_ref()?;
        conn.local.map(OwnIp::Local)
    }

    fn own_port(&self) -> u16 {
        match self.global.announce_port {
            0 => self.surroundings.port,
            port => port,
        }
    }

    /// Publishes our hello on an instance, unless it is not connected.
    pub(super) fn send_hello(&mut self, cx: &mut Cx, inst: InstId) {
        if !self.usable(self.base(inst).link) {
            return;
        }
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let told = self.write_hello(inst, &mut text);
        if told && !self.puts_off_hello(cx, inst) {
            self.publish(cx, inst, &text);
        }
        self.scratch = text;
    }

    /// The text of our hello for an instance; false while our own address is not known.
    fn write_hello(&self, inst: InstId, text: &mut Vec<u8>) -> bool {
        match self.own_address(inst) {
            Some(OwnIp::Announced(ip)) => text.extend_from_slice(ip),
            Some(OwnIp::Local(ip)) => append(text, ip),
            None => return false,
        }
        let master = &self.masters[self.master_of(inst)];
        append(text, format_args!(",{},", self.own_port()));
        text.extend_from_slice(&self.myid);
        append(text, format_args!(",{},", self.current_epoch));
        text.extend_from_slice(&master.base.name);
        text.push(b',');
        self.append_announced(text, &master.base.addr);
        append(text, format_args!(",{},{}", master.base.addr.port, master.config_epoch));
        true
    }

    /// A peer that shares hundreds of masters with us may not keep up when all of them change at
    /// once: the rest of what is to be told follows in a moment, long before the link is full.
    fn puts_off_hello(&mut self, cx: &mut Cx, inst: InstId) -> bool {
        let link = self.base(inst).link;
        if !self.is_clogged(cx, link) {
            return false;
        }
        let waits_ms = if self.links[link].outstanding_since.is_none() { 5 } else { 250 };
        let retry = cx.now.after(waits_ms);
        let base = self.base_mut(inst);
        base.last_publish = Mono(0);
        base.publish_retry.wait_until(retry);
        self.arm_at(inst, retry);
        true
    }

    fn publish(&mut self, cx: &mut Cx, inst: InstId, text: &[u8]) {
        let words: [&[u8]; 3] = [b"PUBLISH", HELLO_CHANNEL, text];
        // Before sending: a connection that breaks in it clears the mark.
        self.base_mut(inst).publish_in_flight = true;
        self.send(cx, inst, Channel::Cmd, Sent::Publish(inst), &words);
    }

    /// Tells everybody about a new configuration at once, the peers first.
    pub(super) fn hello_to_all(&mut self, cx: &mut Cx, master: MasterId) {
        let peers: Vec<_> = self.masters[master].peers.values().copied().collect();
        for peer in peers {
            self.send_hello(cx, InstId::Peer(peer));
        }
        self.send_hello(cx, InstId::Master(master));
        let replicas: Vec<_> = self.masters[master].replicas.values().copied().collect();
        for replica in replicas {
            self.send_hello(cx, InstId::Replica(replica));
        }
    }

    /// A message of the hello channel of a data node; our own come back to us.
    pub(super) fn hello_from_subscription(&mut self, cx: &mut Cx, text: &[u8]) {
        let own = self.myid.as_slice();
        if own.is_empty() || contains(text, own) {
            return;
        }
        self.hello(cx, text);
    }

    /// A hello that a peer has sent directly, with PUBLISH.
    pub fn hello_by_publish(&mut self, cx: &mut Cx, text: &[u8]) {
        self.hello_from_subscription(cx, text);
    }

    pub(super) fn hello(&mut self, cx: &mut Cx, text: &[u8]) {
        let Some(hello) = Hello::parse(text) else { return };
        // However it is spelled: nobody else has our id.
        if hello.runid.eq_ignore_ascii_case(&self.myid) {
            return;
        }
        let Some(master) = self.master_named(hello.master_name) else { return };
        let Some(peer) = self.sender(cx, master, &hello, text) else { return };
        self.adopt_epoch(cx, master, hello.current_epoch);
        let accepted = self.accepts_epoch(cx.now, hello.master_config_epoch);
        if !accepted {
            self.log_refused_epoch(cx, hello.master_config_epoch);
        }
        let held = self.masters[master].config_epoch;
        let older = hello.master_config_epoch < held && defect(Defect::BelieveOldHello);
        if accepted && (hello.master_config_epoch > held || older) {
            self.adopt_config(cx, master, peer, &hello, text);
        } else if accepted && hello.master_config_epoch == held {
            self.note_claim(cx, (master, peer), hello.master_ip, hello.master_port);
        } else if self.names.cached(hello.master_ip).is_none()
            && !self.masters[master].base.addr.is_at(hello.master_ip, hello.master_port)
        {
            // Peers that announce names ask us by them: the answer is there by then.
            self.host_state(cx, hello.master_ip, Origin::Told(master));
        }
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.last_hello = cx.now;
        }
    }

    /// The address of a host that a hello names. While it is looked up the hello waits.
    fn resolve_for_hello(
        &mut self,
        cx: &mut Cx,
        master: MasterId,
        host: &[u8],
        origin: Origin,
        text: &[u8],
    ) -> Option<IpAddr> {
        let found = self.resolve(cx, host, origin);
        if found == Err(HostState::Pending) {
            self.names.waiters.add(host, master, Waiter::Hello(text.to_vec()));
        }
        found.ok()
    }

    /// Step 1: the sender's entry, made or corrected where needed.
    fn sender(
        &mut self,
        cx: &mut Cx,
        master: MasterId,
        hello: &Hello,
        text: &[u8],
    ) -> Option<PeerId> {
        // A sender without address or port cannot be reached: its old entry is kept.
        if hello.ip.is_empty() || hello.port == 0 {
            return None;
        }
        let known = self.masters[master].peers.get(hello.runid).copied();
        if let Some(id) = known
            && self.is_reached_at(InstId::Peer(id), hello.ip, hello.port)
        {
            return Some(id);
        }
        let origin = if known.is_some() { Origin::Own } else { Origin::Told(master) };
        let ip = self.resolve_for_hello(cx, master, hello.ip, origin, text)?;
        if let Some(id) = known
            && self.peers[id].base.addr.same_as(hello.ip, Some(ip), hello.port)
        {
            return Some(id);
        }
        let addr = Addr { host: hello.ip.to_vec(), ip: Some(ip), port: hello.port };
        if self.is_own_address(master, &addr) && !defect(Defect::KnowOneself) {
            self.log_own_address(cx, hello);
            return known;
        }
        // Nobody is to be asked, and counted, under two ids.
        self.drop_peer_at(cx, master, &addr);
        match known {
            Some(id) => Some(self.peer_moved(cx, master, id, addr)),
            None => {
                if self.masters[master].peers.len() >= MAX_PEERS {
                    return None;
                }
                let id = self.add_peer(cx, master, hello.runid, addr);
                self.plain_event(cx, Event::notice("+sentinel"), InstId::Peer(id));
                self.touch(cx, master);
                Some(id)
            }
        }
    }

    /// Whether a peer at this address would be ourselves, who would then be asked for a second
    /// vote.
    fn is_own_address(&self, master: MasterId, addr: &Addr) -> bool {
        let announced = self
            .global
            .announce_ip
            .as_deref()
            .is_some_and(|own| addr.port == self.own_port() && addr.is_at(own, addr.port));
        let is_own_port = [self.own_port(), self.surroundings.port].contains(&addr.port);
        let local = |link: LinkId| self.links[link].cmd.as_ref().and_then(|conn| conn.local);
        let peers = self.peers_of(master).map(|peer| peer.base.link);
        let replicas = self.replicas_of(master).map(|replica| replica.base.link);
        let links = [self.masters[master].base.link].into_iter().chain(peers).chain(replicas);
        let mut ips = links.take(OWN_ADDRESS_LINKS).filter_map(local);
        announced || (is_own_port && ips.any(|ip| Some(ip) == addr.ip))
    }

    fn log_own_address(&self, cx: &mut Cx, hello: &Hello) {
        cx.log_limited(LineKind::OwnAddress, || {
            let [ip, id] = [hello.ip, hello.runid].map(String::from_utf8_lossy);
            let what = format!("Sentinel {id} announces this sentinel's own address {ip}");
            format!("{what}:{}: that is ignored", hello.port)
        });
    }

    /// Same run id, other address: the entry moves, and with it those of the other masters.
    fn peer_moved(&mut self, cx: &mut Cx, master: MasterId, id: PeerId, addr: Addr) -> PeerId {
        let runid = self.peers[id].base.runid.clone();
        let mut text = b"ip ".to_vec();
        text.extend_from_slice(&self.announced(&addr));
        text.extend_from_slice(format!(" port {} for ", addr.port).as_bytes());
        text.extend_from_slice(&runid);
        let about = Subject::Instance(InstId::Master(master));
        self.event(cx, Event::notice("+sentinel-address-switch"), about, &text);
        let link = self.peers[id].base.link;
        self.links[link].start_over();
        self.drop_connections(cx, link, "address-switch");
        self.remove_peer(cx, id);
        let new = self.add_peer(cx, master, &runid, addr.clone());
        let entries = self.peers_by_runid(&runid);
        let others: Vec<_> = entries.into_iter().filter(|other| *other != new).collect();
        for &other in &others {
            self.set_addr(InstId::Peer(other), addr.clone());
            self.saves.touch_master(self.peers[other].master);
            self.arm(cx.now, InstId::Peer(other));
        }
        if !others.is_empty() {
            let text = format!("{} additional matching instances", others.len());
            let about = Subject::Instance(InstId::Peer(new));
            self.event(cx, Event::notice("+sentinel-address-update"), about, text.as_bytes());
        }
        self.touch(cx, master);
        new
    }

    /// Another sentinel holds the address of one that is new there: it has lost its id, or moved
    /// away.
    fn drop_peer_at(&mut self, cx: &mut Cx, master: MasterId, addr: &Addr) {
        let entry = self.peers_of(master).find(|peer| peer.base.addr.same(addr)).map(|p| p.id);
        let Some(old) = entry else { return };
        self.plain_event(cx, Event::notice("+sentinel-invalid-addr"), InstId::Peer(old));
        let runid = self.peers[old].base.runid.clone();
        for peer in self.peers_by_runid(&runid) {
            let owner = self.peers[peer].master;
            self.remove_peer(cx, peer);
            self.touch(cx, owner);
        }
    }

    /// The entries of a sentinel under all masters: they share a link.
    fn peers_by_runid(&self, runid: &[u8]) -> Vec<PeerId> {
        let link = self.peer_links.get(runid).map(|link| &self.links[*link]);
        let holders = link.map_or(&[][..], |link| &link.holders);
        let peer = |holder: &InstId| match holder {
            InstId::Peer(id) => Some(*id),
            InstId::Master(_) | InstId::Replica(_) => None,
        };
        holders.iter().filter_map(peer).collect()
    }

    /// Step 3: a newer configuration wins, whatever we are doing.
    fn adopt_config(
        &mut self,
        cx: &mut Cx,
        id: MasterId,
        peer: PeerId,
        hello: &Hello,
        text: &[u8],
    ) {
        if hello.master_port == 0 || hello.master_ip.is_empty() {
            return;
        }
        let origin = Origin::Told(id);
        let Some(ip) = self.resolve_for_hello(cx, id, hello.master_ip, origin, text) else {
            return;
        };
        let new = Addr { host: hello.master_ip.to_vec(), ip: Some(ip), port: hello.master_port };
        self.conflict_settled(cx.now, id);
        // It was current for its leader, whatever the sender says.
        if hello.master_config_epoch > self.current_epoch {
            self.raise_epoch(cx, id, hello.master_config_epoch);
        }
        if !defect(Defect::TakeConfigWithoutEpoch) {
            self.masters[id].config_epoch = hello.master_config_epoch;
        }
        self.touch(cx, id);
        if self.masters[id].base.addr.same(&new) {
            self.take_name(id, &new);
            // A failover of ours that this configuration has overtaken would set the epoch back.
            let overtaken = |failover: Failover| failover.epoch <= hello.master_config_epoch;
            let overtaken = self.masters[id].failover.is_some_and(overtaken);
            if overtaken && !defect(Defect::IgnoreOvertaking) {
                self.abort_failover(cx, id, "-failover-abort-not-elected");
            }
            return;
        }
        self.plain_event(cx, Event::warning("+config-update-from"), InstId::Peer(peer));
        let from = self.told_address(id);
        let to = (hello.master_ip.to_vec(), hello.master_port);
        self.switch_event(cx, id, &from, &to);
        self.switch_to(cx, id, new);
        self.queue_reconfig_script(cx, id, b"observer", from, to);
    }

    /// A configuration names the place of a master, perhaps by another name: all tell that one.
    fn take_name(&mut self, id: MasterId, told: &Addr) {
        let own = &self.masters[id].base.addr;
        if defect(Defect::TellOwnName) {
            return;
        }
        if parse_ip(&told.host).is_none() && own.ip == told.ip && own.host != told.host {
            self.set_addr(InstId::Master(id), told.clone());
        }
    }

    /// The address of a master as others are told it.
    pub(super) fn told_address(&self, id: MasterId) -> (Vec<u8>, u16) {
        let addr = &self.masters[id].base.addr;
        (self.announced(addr), addr.port)
    }
}

/// Our own IP, as configured or as the socket says.
#[derive(Clone, Copy, Debug)]
pub enum OwnIp<'a> {
    Announced(&'a [u8]),
    Local(IpAddr),
}
