//! Hellos, sent and received.
#![forbid(unsafe_code)]

use super::CPeer;
use super::state::{Addr, Id, Sent, State, addr_of};
use crate::redis::HELLO;

impl CPeer {
    pub fn send_hello(&mut self, id: Id) {
        let master = self.insts[&id].master;
        let Some(local) = self.link_of(id).local else { return };
        let (ip, port) = self.told_addr(master);
        let text = format!(
            "{local},{},{},{},{},{ip},{port},{}",
            self.port,
            self.myid,
            self.current_epoch,
            self.insts[&master].name,
            self.watches[&master].config_epoch,
        );
        self.send(id, Sent::Publish(id), &[b"PUBLISH", HELLO, text.as_bytes()]);
    }

    pub fn hello_arrived(&mut self, text: &str) {
        let fields: Vec<&str> = text.split(',').collect();
        let [ip, port, runid, epoch, name, master_ip, master_port, config_epoch] = fields[..]
        else {
            return;
        };
        let Some(master) = self.master_named(name) else { return };
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        let (Some(addr), Some(master_addr)) = (addr_of(ip, port), addr_of(master_ip, master_port))
        else {
            return;
        };
        let peer = self.meet(master, runid, addr);
        if number(epoch) > self.current_epoch {
            self.adopt_epoch(number(epoch));
        }
        self.adopt_config(master, peer, master_addr, number(config_epoch));
        if let Some(inst) = self.insts.get_mut(&peer) {
            inst.last_hello = self.clock.wall.unix_ms;
        }
    }

    /// The sender as one of the master's sentinels.
    fn meet(&mut self, master: Id, runid: &str, addr: Addr) -> Id {
        let known = self.watches[&master].peers.get(runid).copied();
        if let Some(peer) = known
            && self.insts[&peer].addr == addr
        {
            return peer;
        }
        if let Some(peer) = known {
            self.drop_inst(peer);
            let tail = format!(" ip {} port {} for {runid}", addr.0, addr.1);
            self.event("+sentinel-address-switch", master, &tail);
        }
        let peer = self.add_peer(master, runid, addr);
        if known.is_none() {
            self.event("+sentinel", peer, "");
        }
        self.save();
        peer
    }

    fn adopt_config(&mut self, master: Id, peer: Id, to: Addr, config_epoch: u64) {
        if config_epoch <= self.watches[&master].config_epoch {
            return;
        }
        self.watch_mut(master).config_epoch = config_epoch;
        if to == self.insts[&master].addr && self.watches[&master].state < State::ReconfSlaves {
            return;
        }
        if to != self.insts[&master].addr {
            self.event("+config-update-from", peer, "");
            self.switch_event(master, to);
            self.switch(master, to);
        }
    }
}
