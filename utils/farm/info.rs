//! INFO, of the size and form that a server gives.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use crate::nodes::{Link, Node, Nodes, Source};

const TEXT: &str = include_str!("info.txt");
const NO_ID: &str = "0000000000000000000000000000000000000000";

/// The parts of INFO that are the same for all nodes, in between what is not.
pub struct Info {
    before_run_id: String,
    before_replication: String,
    after: String,
}

impl Info {
    /// Cuts the text up once.
    pub fn new(port: u16) -> Info {
        let text = TEXT.replace("{port}", &port.to_string()).replace('\n', "\r\n");
        let (before_run_id, rest) = text.split_once("{run_id}").unwrap_or((&text, ""));
        let (before_replication, after) = rest.split_once("{replication}").unwrap_or((rest, ""));
        Info {
            before_run_id: before_run_id.to_string(),
            before_replication: before_replication.to_string(),
            after: after.to_string(),
        }
    }

    /// The text for a node; `section` is lower case, "" or "all" stands for everything.
    pub fn text(&self, nodes: &mut Nodes, index: usize, section: &str) -> String {
        let replication = replication(nodes, index);
        if section == "replication" {
            return replication;
        }
        let run_id = &nodes.list[index].run_id;
        let parts =
            [&self.before_run_id, run_id, &self.before_replication, &replication, &self.after];
        parts.map(String::as_str).concat()
    }
}

fn replication(nodes: &mut Nodes, index: usize) -> String {
    nodes.settle(index);
    let replicas = nodes.replicas(index);
    let node = &nodes.list[index];
    let mut text = String::with_capacity(1024);
    text.push_str("# Replication\r\n");
    match node.source {
        None => text.push_str("role:master\r\n"),
        Some(source) => replica_lines(&mut text, nodes, node, source),
    }
    let _ = write!(text, "connected_slaves:{}\r\n", replicas.len());
    for (number, at) in replicas.into_iter().enumerate() {
        let (ip, port, offset) = (nodes.address(at), nodes.port, nodes.list[at].offset);
        let _ = write!(
            text,
            "slave{number}:ip={ip},port={port},state=online,offset={offset},lag=0\r\n"
        );
    }
    let (former, second) = node.former.as_ref().map_or((NO_ID, -1), |(id, at)| (id, *at as i64));
    let (replid, offset) = (&node.replid, node.offset);
    let _ = write!(
        text,
        "master_failover_state:no-failover\r\nmaster_replid:{replid}\r\n\
         master_replid2:{former}\r\nmaster_repl_offset:{offset}\r\n\
         second_repl_offset:{second}\r\nrepl_backlog_active:1\r\nrepl_backlog_size:1048576\r\n\
         repl_backlog_first_byte_offset:1\r\nrepl_backlog_histlen:{offset}\r\n"
    );
    text
}

fn replica_lines(text: &mut String, nodes: &Nodes, node: &Node, source: Source) {
    let (host, port, silent) = match source {
        Source::Node(at) => {
            let hung = nodes.list[at].hung.map_or(0, |hung| hung.elapsed().as_secs() as i64);
            (nodes.address(at), nodes.port, hung)
        }
        Source::Stranger(address) => (*address.ip(), address.port(), -1),
    };
    let offset = node.offset;
    let _ = write!(text, "role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\n");
    let _ = match node.link {
        Link::Up => write!(
            text,
            "master_link_status:up\r\nmaster_last_io_seconds_ago:{silent}\r\n\
             master_sync_in_progress:0\r\nslave_read_repl_offset:{offset}\r\n\
             slave_repl_offset:{offset}\r\n"
        ),
        Link::Down { since } => write!(
            text,
            "master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n\
             master_sync_in_progress:0\r\nslave_read_repl_offset:{offset}\r\n\
             slave_repl_offset:{offset}\r\nmaster_link_down_since_seconds:{}\r\n",
            since.elapsed().as_secs()
        ),
    };
    text.push_str("slave_priority:100\r\nslave_read_only:1\r\nreplica_announced:1\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_real_size() {
        let mut nodes = Nodes::new(1, 2, 40, 7000);
        let info = Info::new(7000);
        let text = info.text(&mut nodes, 0, "");
        assert!((4_500..5_500).contains(&text.len()), "{}", text.len());
        assert!(!text.contains('{') && text.contains("tcp_port:7000\r\n"));
        assert!(text.contains("slave1:ip=127.40.0.3,port=7000,state=online"));
        assert!(info.text(&mut nodes, 1, "replication").contains("master_host:127.40.0.1\r\n"));
    }
}
