//! What is made equal before texts of different runs are compared.
//!
//! - Of INFO: the sections `Server` (run_id), `Persistence` (loading) and `Replication` (all lines
//!   but those about sizes of the transfer); other lines are left out.
//! - Ids of 40 digits: `id1`, `id2` and so on as they first come; zeros are written `0*40`.
//! - The addresses of nodes: `ip`, and `NAME.port`.
//! - `lag`: `<2` or `>1`. `master_last_io_seconds_ago`, `master_link_down_since_seconds`: `n`
//!   unless negative.
//!
//! Offsets are compared as they are: the nodes send each other no PINGs that would move them.
#![forbid(unsafe_code)]

use crate::support::value::Value;

/// Lines of INFO that are kept, beside those of `# Replication`.
const KEPT: [&str; 5] = ["# Server", "run_id", "# Persistence", "loading", "# Replication"];
/// Lines of `# Replication` that are kept, by their beginnings.
const REPLICATION: [&str; 8] = [
    "role",
    "slave",
    "connected_slaves",
    "master_",
    "second_repl_offset",
    "repl_backlog_",
    "replica_announced",
    "min_slaves_good_slaves",
];
/// Progress of a transfer that is under way; statistics.
const DROPPED: [&str; 2] = ["master_sync_", "slave_expires_"];
/// A number of seconds that differs from run to run.
const SECONDS: [&str; 2] = ["master_last_io_seconds_ago", "master_link_down_since_seconds"];

#[derive(Clone, Default)]
pub struct Plain {
    nodes: Vec<(String, String, String)>,
    ids: Vec<String>,
    /// The last `master_host`.
    master_ip: String,
}

impl Plain {
    pub fn add_node(&mut self, name: &str, ip: String, port: u16) {
        self.nodes.push((name.to_owned(), ip, port.to_string()));
    }

    /// Writes what came on a connection down.
    pub fn value(&mut self, conn: &str, value: &Value, said: &mut Vec<String>) {
        let text = value.text();
        if matches!(value, Value::Bulk(_)) && text.starts_with("# ") {
            let lines = text.lines().filter_map(|line| self.info_line(line));
            said.extend(lines.map(|line| format!("{conn} | {line}")));
        } else {
            said.push(format!("{conn} {}", self.short(value)));
        }
    }

    fn short(&mut self, value: &Value) -> String {
        match value {
            Value::Simple(text) => format!("+{text}"),
            Value::Error(text) => format!("-{}", self.ids_named(text)),
            Value::Int(number) => format!(":{number}"),
            Value::Nil => "nil".to_owned(),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.short(item)).collect();
                format!("[{}]", items.join(" "))
            }
            other => format!("{:?}", other.text()),
        }
    }

    /// A line of INFO as it is compared, if it is.
    pub fn info_line(&mut self, line: &str) -> Option<String> {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let replication = REPLICATION.iter().any(|kept| key.starts_with(kept));
        let dropped = DROPPED.iter().any(|dropped| key.starts_with(dropped))
            && key != "master_sync_in_progress";
        if !KEPT.contains(&key) && (!replication || dropped) {
            return None;
        }
        if SECONDS.contains(&key) && !value.starts_with('-') {
            return Some(format!("{key}:n"));
        }
        Some(match key {
            "master_port" => format!("{key}:{}", self.port_named(&self.master_ip, value)),
            "master_host" => {
                self.master_ip = value.to_owned();
                format!("{key}:ip")
            }
            _ if value.starts_with("ip=") => format!("{key}:{}", self.replica_line(value)),
            _ => self.ids_named(line),
        })
    }

    fn port_named(&self, ip: &str, port: &str) -> String {
        let is = |node: &&(String, String, String)| node.1 == ip && node.2 == port;
        match self.nodes.iter().find(is) {
            Some((name, _, _)) => format!("{name}.port"),
            None => format!("{ip}:{port}"),
        }
    }

    /// `ip=…,port=…,state=…,offset=…,lag=…`
    fn replica_line(&self, value: &str) -> String {
        let mut of_ip = "";
        let mut out = Vec::new();
        for field in value.split(',') {
            let (key, value) = field.split_once('=').expect("fields have values");
            out.push(match (key, value) {
                ("ip", ip) => {
                    of_ip = ip;
                    "ip=ip".to_owned()
                }
                ("port", port) => format!("port={}", self.port_named(of_ip, port)),
                ("lag", "0" | "1") => "lag=<2".to_owned(),
                ("lag", _) => "lag=>1".to_owned(),
                _ => format!("{key}={value}"),
            });
        }
        out.join(",")
    }

    /// The text with its 40-digit ids by their names.
    fn ids_named(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            if digits == 40 {
                out += &self.name_of(&rest[..40]);
                rest = &rest[40..];
            } else {
                let len = rest.chars().next().map_or(1, char::len_utf8).max(digits);
                out += &rest[..len];
                rest = &rest[len..];
            }
        }
        out
    }

    fn name_of(&mut self, id: &str) -> String {
        if id.bytes().all(|byte| byte == b'0') {
            return "0*40".to_owned();
        }
        let known = self.ids.iter().position(|known| known == id);
        let at = known.unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        format!("id{}", at + 1)
    }
}
