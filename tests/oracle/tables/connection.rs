//! PING, AUTH, HELLO, ROLE, INFO, SHUTDOWN, and what is unknown.

use crate::twins::Twins;

pub fn run(t: &mut Twins) {
    t.run_both(GREETINGS);
    t.run_both(INFO);
    t.run_both(UNKNOWN);
    t.run_both(ENDS);
    let long = "x".repeat(200);
    t.run_both(&format!(
        "FOO {long}\n{long} a b\nGET a {long} c\nGET {long} {long}\nSENTINEL {long}\n\
         HELLO {long}\nHELLO 2 {long}\nAUTH {long} {long}"
    ));
}

const GREETINGS: &str = r#"
PING
PING hello
PING ""
PING "\x00\xff\r\n"
PING a b
pInG hello
inline> PING
inline> ping hello
inline> PING "a b"
inline> PiNg 'it\'s'
ROLE
ROLE x
HELLO
HELLO x
HELLO 1
HELLO 4
HELLO -1
HELLO 99999999999999999999
HELLO ""
HELLO 2 FOO
HELLO 2 AUTH
HELLO 2 AUTH default
HELLO 2 AUTH nobody x
HELLO 2 SETNAME
HELLO 2 SETNAME "a b"
b> HELLO 2 SETNAME x FOO
b> CLIENT GETNAME
CLIENT GETNAME
hello> HELLO 3
hello> HELLO
hello> PING
hello> HELLO 2
hello> HELLO 3 SETNAME walter
hello> CLIENT GETNAME
hello> HELLO 2 AUTH default x SETNAME otto
hello> CLIENT GETNAME
hello> hElLo 3 aUtH default x sEtNaMe ""
hello> CLIENT GETNAME
hello> HELLO 3 AUTH default x AUTH nobody y
AUTH x
AUTH default x
AUTH default ""
AUTH nobody x
AUTH "" ""
AUTH a b c
auth x
"#;

const INFO: &str = r#"
INFO
INFO default
INFO all
INFO everything
INFO server
INFO clients
INFO stats
INFO cpu
INFO sentinel
INFO SENTINEL
INFO Sentinel Server
INFO sentinel clients
INFO memory
INFO persistence
INFO replication
INFO cluster
INFO keyspace
INFO commandstats
INFO errorstats
INFO latencystats
INFO modules
INFO foo
INFO foo sentinel
INFO sentinel sentinel
INFO ""
"#;

const UNKNOWN: &str = r#"
GET
GET a
get a b
SET a b
FOO
foo "a\r\nb" c
FOO 'a' "b\x00c"
"" a
"A B" c
"F\x00O"
EVAL x 0
CONFIG GET *
DEBUG SLEEP 0
MULTI
EXEC
SELECT 0
MONITOR
SLAVEOF no one
REPLICAOF no one
FAILOVER
SAVE
TIME
ECHO x
SUBSCRIB x
SSUBSCRIBE x
PUBSUB CHANNELS
SPUBLISH a b
SENTINELS
SENTINEL
SENTINEL FOO
SENTINEL foo bar baz
SENTINEL "a\r\nb"
SENTINEL ""
SENTINEL MASTERX
SENTINEL EXPLAINS x
CLIENT
CLIENT FOO
CLIENT ""
COMMAND FOO
ACL
ACL FOO
ping|x
client|id
sentinel|masters
"#;

const ENDS: &str = r#"
SHUTDOWN FOO
SHUTDOWN SAVE NOSAVE
SHUTDOWN NOSAVE SAVE
SHUTDOWN ABORT
shutdown abort
SHUTDOWN ABORT NOW
SHUTDOWN NOW ABORT
SHUTDOWN ABORT ABORT
SHUTDOWN NOSAVE FOO
QUIT
quit> QUIT now
quit> RESET
reset> RESET x
"#;
