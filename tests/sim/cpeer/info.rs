//! What INFO tells, and what is done about it.
#![forbid(unsafe_code)]

use super::CPeer;
use super::link::{INFO_PERIOD_MS, PUBLISH_PERIOD_MS};
use super::state::{Addr, Id, Kind, Reconf, Role, State, addr_of};

/// The lines of one INFO that matter.
#[derive(Default)]
struct Told {
    runid: String,
    role: Option<Role>,
    replicas: Vec<Addr>,
    master_host: String,
    master_port: String,
    link_up: bool,
    link_down_s: Option<i64>,
    offset: Option<u64>,
    priority: Option<u32>,
}

impl Told {
    fn read(text: &str) -> Told {
        let mut told = Told::default();
        for line in text.lines() {
            let Some((field, value)) = line.split_once(':') else { continue };
            match field {
                "run_id" => told.runid = value.to_owned(),
                "role" if value == "master" => told.role = Some(Role::Master),
                "role" if value == "slave" => told.role = Some(Role::Slave),
                "master_host" => told.master_host = value.to_owned(),
                "master_port" => told.master_port = value.to_owned(),
                "master_link_status" => told.link_up = value == "up",
                "master_link_down_since_seconds" => told.link_down_s = value.parse().ok(),
                "slave_repl_offset" => told.offset = value.parse().ok(),
                "slave_priority" => told.priority = value.parse().ok(),
                _ if is_slave_line(field) => told.replicas.extend(slave_addr(value)),
                _ => {}
            }
        }
        told
    }
}

fn is_slave_line(field: &str) -> bool {
    let number = field.strip_prefix("slave").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
}

fn slave_addr(value: &str) -> Option<Addr> {
    let part = |name: &str| {
        let parts = value.split(',').filter_map(|part| part.split_once('='));
        parts.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    addr_of(part("ip")?, part("port")?)
}

impl CPeer {
    pub fn info_arrived(&mut self, id: Id, text: &str) {
        let now = self.now();
        let told = Told::read(text);
        let inst = self.inst_mut(id);
        inst.info_refresh = now;
        let reboot = !inst.runid.is_empty() && inst.runid != told.runid;
        inst.runid = told.runid;
        inst.master_link_down_ms = told.link_down_s.map_or(0, |seconds| seconds * 1_000);
        if reboot {
            self.event("+reboot", id, "");
        }
        let Some(role) = told.role else { return };
        if role == Role::Slave {
            let inst = self.inst_mut(id);
            let master = addr_of(&told.master_host, &told.master_port);
            if master.is_some() && inst.reported_master != master {
                inst.reported_master = master;
                inst.conf_changed = now;
            }
            inst.master_link_up = told.link_up;
            inst.offset = told.offset.unwrap_or(inst.offset);
            inst.priority = told.priority.unwrap_or(inst.priority);
        }
        if self.insts[&id].kind == Kind::Master && role == Role::Master {
            for addr in told.replicas {
                if let Some(replica) = self.add_replica(id, addr) {
                    self.event("+slave", replica, "");
                    self.save();
                }
            }
        }
        self.note_role(id, role);
        if self.tilt_since.is_none() && self.insts[&id].kind == Kind::Replica {
            self.act_on_info(id, role);
        }
    }

    fn note_role(&mut self, id: Id, role: Role) {
        let now = self.now();
        let inst = self.inst_mut(id);
        if inst.role == role {
            return;
        }
        inst.role = role;
        inst.role_since = now;
        if role == Role::Slave {
            inst.conf_changed = now;
        }
        let held_for = if inst.kind == Kind::Master { Role::Master } else { Role::Slave };
        let name = if role == Role::Master { "master" } else { "slave" };
        let event = if role == held_for { "+role-change" } else { "-role-change" };
        self.event(event, id, &format!(" new reported role is {name}"));
    }

    fn act_on_info(&mut self, id: Id, role: Role) {
        let master = self.insts[&id].master;
        let watch = &self.watches[&master];
        let promoted = watch.promoted == Some(id);
        if role == Role::Master {
            if promoted && watch.state == State::WaitPromotion {
                self.promotion_seen(master, id);
            } else if !promoted {
                self.convert_to_slave(id);
            }
            return;
        }
        self.fix_slave_config(id);
        self.note_reconf(id);
    }

    fn looks_sane(&self, master: Id) -> bool {
        let (inst, watch) = (&self.insts[&master], &self.watches[&master]);
        inst.role == Role::Master
            && !inst.sdown
            && !watch.odown
            && self.now().saturating_sub(inst.info_refresh) < 2 * INFO_PERIOD_MS
    }

    fn convert_to_slave(&mut self, id: Id) {
        let inst = &self.insts[&id];
        let (master, now) = (inst.master, self.now());
        let wait_ms = 4 * PUBLISH_PERIOD_MS;
        let quiet = |at: u64| now.saturating_sub(at) > wait_ms;
        let to = self.insts[&master].addr;
        let ready = self.looks_sane(master) && quiet(inst.sdown_since) && quiet(inst.role_since);
        if ready && self.link_of(id).connected() && self.send_slaveof(id, Some(to)) {
            self.event("+convert-to-slave", id, "");
        }
    }

    fn fix_slave_config(&mut self, id: Id) {
        let inst = &self.insts[&id];
        let (master, now) = (inst.master, self.now());
        let watch = &self.watches[&master];
        let to = self.insts[&master].addr;
        let wait_ms = watch.failover_timeout_ms;
        let quiet = |at: u64| now.saturating_sub(at) > wait_ms;
        // Replicas that are being moved follow another address for good reason.
        let stray = inst.reported_master != Some(to) && inst.reconf == Reconf::None;
        let ready = stray
            && self.looks_sane(master)
            && watch.state == State::None
            && quiet(inst.sdown_since)
            && quiet(inst.conf_changed);
        if ready && self.link_of(id).connected() && self.send_slaveof(id, Some(to)) {
            self.event("+fix-slave-config", id, "");
        }
    }

    fn note_reconf(&mut self, id: Id) {
        let inst = &self.insts[&id];
        let Some(promoted) = self.watches[&inst.master].promoted else { return };
        let follows = inst.reported_master == Some(self.insts[&promoted].addr);
        if inst.reconf == Reconf::Sent && follows {
            self.inst_mut(id).reconf = Reconf::InProgress;
            self.event("+slave-reconf-inprog", id, "");
        }
        let inst = &self.insts[&id];
        if inst.reconf == Reconf::InProgress && inst.master_link_up {
            self.inst_mut(id).reconf = Reconf::Done;
            self.event("+slave-reconf-done", id, "");
        }
    }
}
