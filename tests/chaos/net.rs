//! Hosts as network namespaces on a switch of our own.
//!
//! The namespaces have no names: each lives as long as an open file of this program or a process
//! in it, so that nothing is left behind however the program ends. Every host has one interface
//! whose other end is in the namespace of the switch, where a thread takes the frames and passes
//! them on as the conditions allow (see [`switch`](crate::switch)). Nothing leads elsewhere.

use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::sched::{CloneFlags, setns, unshare};

use crate::switch::{Condition, ConditionId, Conditions, Counts, Switch};

/// Number of a host on its network, from 0.
pub type HostId = usize;

/// Whether a host that is cut off is noticed by its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbours {
    /// They ask for its hardware address (ARP), and after some seconds without an answer there is
    /// no way to it, as on one Ethernet.
    Asked,
    /// They know its hardware address: what is sent to it vanishes, as behind a router.
    Known,
}

/// A network of hosts.
pub struct Net {
    /// `None` if the hosts are only addresses of the loopback. It stands first to end first: with
    /// a host its port goes, and frames for it could not be sent.
    switch: Option<Switch>,
    home: Arc<File>,
    hosts: Vec<Arc<File>>,
}

/// The way into a host's namespace, for other threads too.
#[derive(Clone)]
pub struct Door {
    home: Arc<File>,
    host: Option<Arc<File>>,
}

impl Door {
    /// Runs `act` inside: sockets opened and processes started there belong to the host.
    pub fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        let Some(host) = &self.host else { return act() };
        /// Leads back, also when a test panics.
        struct Back<'a>(&'a File);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                setns(self.0, CloneFlags::CLONE_NEWNET).expect("the way back is open");
            }
        }
        let _back = Back(&self.home);
        setns(&**host, CloneFlags::CLONE_NEWNET).expect("the namespace of a host");
        act()
    }
}

impl Net {
    /// A network of `count` hosts; `Err` says what is missing for that.
    pub fn new(count: usize, neighbours: Neighbours, seed: u64) -> Result<Net, String> {
        let home = Arc::new(own_namespace().map_err(|error| error.to_string())?);
        let middle = Door { home: home.clone(), host: Some(new_namespace()?) };
        let mut hosts = Vec::new();
        let mut links = String::new();
        for host in 0..count {
            let namespace = new_namespace()?;
            links.push_str(&format!(
                "link add {port} type veth peer name eth0 address {mac} netns {path}\n\
                 link set {port} up\n",
                port = port_name(host),
                mac = mac_text(host),
                path = path_of(&namespace),
            ));
            hosts.push(namespace);
        }
        middle.within(|| ip_commands(&links))?;
        for (host, namespace) in hosts.iter().enumerate() {
            let door = Door { home: home.clone(), host: Some(namespace.clone()) };
            // One packet at a time: the switch takes frames, and frames have a size.
            let mut commands = format!(
                "link set lo up\nlink set eth0 gso_max_segs 1\n\
                 address add {}/24 dev eth0\nlink set eth0 up\n",
                address(host)
            );
            if neighbours == Neighbours::Known {
                (0..count).filter(|other| *other != host).for_each(|other| {
                    let (ip, mac) = (address(other), mac_text(other));
                    let neighbour = format!("neigh add {ip} lladdr {mac} nud permanent dev eth0\n");
                    commands.push_str(&neighbour);
                });
            }
            door.within(|| ip_commands(&commands))?;
        }
        let switch = middle.within(|| Switch::start(count, seed))?;
        Ok(Net { home, hosts, switch: Some(switch) })
    }

    /// Hosts that are only addresses of the loopback, for what needs no faults of a network.
    pub fn flat() -> Net {
        let home = Arc::new(own_namespace().expect("/proc is mounted"));
        Net { home, hosts: Vec::new(), switch: None }
    }

    /// Whether conditions can be imposed.
    pub fn has_switch(&self) -> bool {
        self.switch.is_some()
    }

    /// The address of a host.
    pub fn address(&self, host: HostId) -> String {
        match self.switch {
            Some(_) => address(host).to_string(),
            None => Ipv4Addr::new(127, 0, 77, host as u8 + 1).to_string(),
        }
    }

    /// The way into a host.
    pub fn door(&self, host: HostId) -> Door {
        Door { home: self.home.clone(), host: self.hosts.get(host).cloned() }
    }

    /// Runs `act` on a host.
    pub fn within<T>(&self, host: HostId, act: impl FnOnce() -> T) -> T {
        self.door(host).within(act)
    }

    /// Lets a condition hold from now on.
    pub fn impose(&self, condition: Condition) -> ConditionId {
        self.change(|conditions| conditions.impose(condition))
    }

    /// Ends a condition.
    pub fn lift(&self, id: ConditionId) {
        self.change(|conditions| conditions.lift(id));
    }

    /// Ends all conditions.
    pub fn heal(&self) {
        self.change(Conditions::clear);
    }

    fn change<T>(&self, act: impl FnOnce(&mut Conditions) -> T) -> T {
        match &self.switch {
            Some(switch) => switch.change(act),
            None => act(&mut Conditions::default()),
        }
    }

    /// What the switch has done so far.
    pub fn counts(&self) -> Counts {
        self.switch.as_ref().map(Switch::counts).unwrap_or_default()
    }
}

/// A host that is linked to nothing: what runs there reaches nobody.
pub fn cell() -> Result<Door, String> {
    let home = Arc::new(own_namespace().map_err(|error| error.to_string())?);
    let door = Door { home, host: Some(new_namespace()?) };
    door.within(|| ip_commands("link set lo up\n"))?;
    Ok(door)
}

/// The switch's interface to a host.
pub fn port_name(host: HostId) -> String {
    format!("port{host}")
}

/// The last byte of a host's hardware address; the others are 2 and zeros.
pub fn mac_byte(host: HostId) -> u8 {
    host as u8 + 1
}

fn mac_text(host: HostId) -> String {
    format!("02:00:00:00:00:{:02x}", mac_byte(host))
}

fn address(host: HostId) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host as u8 + 1)
}

fn own_namespace() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// A namespace, made by a thread that ends in it.
fn new_namespace() -> Result<Arc<File>, String> {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("the right to make network namespaces ({error})"))?;
        // Nobody here speaks IPv6; where /proc may not be written, the switch drops it.
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        own_namespace().map_err(|error| error.to_string())
    });
    thread.join().map_err(|_| "a thread".to_string())?.map(Arc::new)
}

fn path_of(namespace: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
}

/// Lets `ip` work through commands in the namespace of this thread.
fn ip_commands(commands: &str) -> Result<(), String> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("ip of iproute2 ({error})"))?;
    let mut input = child.stdin.take().expect("the input is piped");
    let written = input.write_all(commands.as_bytes());
    drop(input);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&output.stderr).trim().to_string();
    match written {
        Ok(()) if output.status.success() => Ok(()),
        _ => Err(format!("an ip that can do this ({told})")),
    }
}
