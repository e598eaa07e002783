//! Clients. Three of them send any bytes, line by line, cut in any way, while time passes and the
//! disk may fail: what each gets is a whole number of replies in good RESP, of bounded length;
//! what is saved loads; epochs never go back; and a fresh client is served afterwards.

use super::house::House;
use super::{cut, signature};
use crate::engine::{Target, hash};

pub const TARGET: Target = Target {
    name: "client",
    run,
    dictionary: &[
        "ACL",
        "AUTH",
        "CLIENT",
        "COMMAND",
        "HELLO",
        "INFO",
        "PING",
        "PSUBSCRIBE",
        "PUBLISH",
        "PUNSUBSCRIBE",
        "ROLE",
        "SENTINEL",
        "SHUTDOWN",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "QUIT",
        "RESET",
        " ",
        "\r\n",
        "\"\"",
        "MASTERS",
        "MASTER",
        "REPLICAS",
        "SENTINELS",
        "GET-MASTER-ADDR-BY-NAME",
        "IS-MASTER-DOWN-BY-ADDR",
        "MYID",
        "CKQUORUM",
        "FAILOVER",
        "REMOVE",
        "MONITOR",
        "SET",
        "CONFIG",
        "GET",
        "FLUSHCONFIG",
        "INFO-CACHE",
        "PENDING-SCRIPTS",
        "SIMULATE-FAILURE",
        "DEBUG",
        "HELP",
        "mymaster",
        "other",
        "127.0.0.1",
        "6379",
        "*",
        "WHOAMI",
        "LIST",
        "USERS",
        "GETUSER",
        "SETUSER",
        "DELUSER",
        "CAT",
        "GENPASS",
        "LOG",
        "DRYRUN",
        "default",
        "ID",
        "SETNAME",
        "SETINFO",
        "KILL",
        "PAUSE",
        "UNPAUSE",
        "REPLY",
        "NO-EVICT",
        "TRACKING",
        "CACHING",
        "GETREDIR",
        "TRACKINGINFO",
        "UNBLOCK",
        "DOCS",
        "GETKEYS",
        "COUNT",
        "FILTERBY",
        "ON",
        "OFF",
        "SKIP",
        "quorum",
        "auth-pass",
        "auth-user",
        "down-after-milliseconds",
        "failover-timeout",
        "parallel-syncs",
        "rename-command",
        "notification-script",
        "announce-ip",
        "announce-port",
        "sentinel-user",
        "loglevel",
        "__sentinel__:hello",
        "+switch-master",
        "3",
        "2",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "/x.sh",
        "alice",
        "on",
        "nopass",
        "+@all",
        "&*",
        "~*",
        "-@all",
        "reset",
        ">secret",
        "TYPE",
        "ADDR",
        "SKIPME",
        "no",
    ],
};

const CONFIG: &str = "sentinel monitor mymaster 127.0.0.1 6379 2\n\
    sentinel monitor other 127.0.0.3 6379 1\n\
    sentinel deny-scripts-reconfig no\n\
    sentinel known-replica mymaster 127.0.0.1 6380\n\
    sentinel known-sentinel mymaster 127.0.0.1 26380 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n";
const LINES_MAX: usize = 40;
/// Words after which a fresh client may have to wait, or has no rights.
const SHUTTING_WORDS: [&[u8]; 4] = [b"PAUSE", b"ACL", b"TIMEOUT", b"KILL"];

/// Each line begins with a letter: `a` to `c` for the client that sends it, `t` for time that
/// passes, `d` for a disk that fails or works again; any other goes to the first client whole.
fn run(input: &[u8]) -> u64 {
    let mut house = House::new(CONFIG);
    let mut clients = [house.connect(), house.connect(), house.connect()];
    let mut kinds = Vec::new();
    for line in input.split_inclusive(|byte| *byte == b'\n').take(LINES_MAX) {
        if house.exited {
            break;
        }
        match line {
            [b't', ..] => house.advance(40 * line.len() as u64),
            [b'd', ..] => house.disk_broken = !house.disk_broken,
            _ => {
                let (which, bytes) = match line {
                    [letter @ b'a'..=b'c', rest @ ..] => (usize::from(letter - b'a'), rest),
                    _ => (0, line),
                };
                if !house.is_open(clients[which]) {
                    clients[which] = house.connect();
                }
                house.send(clients[which], &cut(bytes));
                let output = house.take_output(clients[which]);
                kinds.extend(output.iter().take(6).filter(|byte| !byte.is_ascii_digit()));
            }
        }
    }
    if !house.exited {
        house.disk_broken = false;
        house.advance(2000);
        serve_a_fresh_one(&mut house, input);
        clients.iter().for_each(|client| house.close(*client));
        house.advance(100);
    }
    signature(&[hash(&kinds), house.saves.min(4) as u64])
}

fn serve_a_fresh_one(house: &mut House, input: &[u8]) {
    let upper = input.to_ascii_uppercase();
    if house.exited || SHUTTING_WORDS.iter().any(|w| upper.windows(w.len()).any(|x| x == *w)) {
        return;
    }
    let fresh = house.connect();
    house.send(fresh, &[b"PING\r\n"]);
    let output = house.take_output(fresh);
    assert_eq!(output.escape_ascii().to_string(), "+PONG\\r\\n");
    house.close(fresh);
}
