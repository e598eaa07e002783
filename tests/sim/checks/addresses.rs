//! What hellos tell: epochs that never go back, and one address per config epoch.
#![forbid(unsafe_code)]

use super::{Checks, Event, SOME_ADDRESS, group_of};
use crate::net::{HostId, Net, Us};
use crate::property::{Property, ensure, violation};

impl Checks {
    pub(super) fn note_switch(&mut self, event: &Event, group: usize) {
        let view = self.view(event.sentinel, group);
        view.end_sdown(event.at);
        (view.sdown, view.odown) = (false, false);
        // Somebody else was first, if it was not at its end.
        if let Some(attempt) = &mut view.attempt {
            attempt.ended.get_or_insert(event.at);
        }
        view.agreed.clear();
        view.syncing.clear();
        view.down.clear();
        view.at = event.text.split(' ').nth(3).and_then(|ip| Net::host_of(ip.parse().ok()?));
    }

    /// A sentinel asks about a master at this host; where hosts have names, the name of the master
    /// may have come to lead there.
    pub fn master_is_at(&mut self, sentinel: usize, group: usize, host: HostId, named: bool) {
        if named {
            self.view(sentinel, group).at = Some(host);
        }
    }

    pub(super) fn check_hello(&mut self, now: Us, sentinel: usize, text: &str) {
        self.looked += 1;
        let mut fields = [""; 8];
        let mut count = 0;
        for (n, field) in text.split(',').enumerate() {
            count = n + 1;
            if let Some(place) = fields.get_mut(n) {
                *place = field;
            }
        }
        let (current, config) = (fields[3].parse::<u64>(), fields[7].parse::<u64>());
        let group = group_of(fields[4]);
        let (8, Ok(current), Ok(config)) = (count, current, config) else {
            violation!(Property::OutputIsWellFormed, "hello {text} of {sentinel}")
        };
        let watched = &mut self.sentinels[sentinel];
        let own = fields[2] == watched.run_id;
        ensure!(own, Property::OutputIsWellFormed, "hello {text} of {sentinel}");
        // A newer epoch may have been met after it was written, in the same turn.
        let (known, told) = (watched.current_epoch, watched.told_epoch);
        // Of what is written in one moment on many connections, the order is not known.
        let back = current < told && watched.told_at < now;
        let honest = current <= known && !back;
        let property = Property::EpochsNeverGoBack;
        ensure!(honest, property, "hello {text} of {sentinel}, which is at {known}, told {told}");
        if current > told {
            (watched.told_epoch, watched.told_at) = (current, now);
        }
        // Operators may let it watch others beside the groups of the world.
        if let Some(group) = group {
            self.check_address(sentinel, group, config, fields[5]);
        }
    }

    fn check_address(&mut self, sentinel: usize, group: usize, config: u64, ip: &str) {
        let view = self.view(sentinel, group);
        let (old, was) = (view.config_epoch, view.told.clone());
        let property = Property::EpochsNeverGoBack;
        ensure!(config >= old, property, "{sentinel} goes back to config {config} from {old}");
        if ip == SOME_ADDRESS {
            self.view(sentinel, group).config_epoch = config;
            return;
        }
        let moved = !was.is_empty() && was != ip;
        let property = Property::AddressesMoveForward;
        let forward = !moved || config > old;
        ensure!(forward, property, "{sentinel} moves to {ip} from {was} in config epoch {config}");
        view.config_epoch = config;
        if moved || was.is_empty() {
            ip.clone_into(&mut view.told);
        }
        let key = (group, config);
        let first = self.announced.entry(key).or_insert_with(|| ip.to_owned()).clone();
        let lost = self.waived.config_epochs && config == 0;
        if first != ip && (lost || !self.leaders_are_unique() || self.forced.contains(&key)) {
            self.conflicts.insert(key);
            return;
        }
        let property = Property::OneAddressPerConfigEpoch;
        ensure!(first == ip, property, "m{group} is {first} and {ip} in config epoch {config}");
    }
}
