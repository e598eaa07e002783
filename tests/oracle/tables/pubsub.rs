//! Pub/Sub.

use super::changes::wait_whole;
use crate::twins::{Proto, Twins};

pub fn run(t: &mut Twins) {
    t.run_both(SUBSCRIPTIONS);
    t.run_both(IN_SUBSCRIPTION);
    t.run_both(PUBLISH);
    for proto in [Proto::Resp2, Proto::Resp3] {
        t.pass(proto);
        t.run(HELLOS);
        wait_whole(t);
    }
}

const SUBSCRIPTIONS: &str = r#"
SUBSCRIBE
PSUBSCRIBE
UNSUBSCRIBE
PUNSUBSCRIBE
UNSUBSCRIBE x
PUNSUBSCRIBE x y
SUBSCRIBE x
SUBSCRIBE x
SUBSCRIBE y z y
PSUBSCRIBE p*
PSUBSCRIBE p* q? ""
UNSUBSCRIBE x
UNSUBSCRIBE x
UNSUBSCRIBE nothing
PUNSUBSCRIBE p*
PUNSUBSCRIBE nothing
UNSUBSCRIBE y
UNSUBSCRIBE
PUNSUBSCRIBE q?
PUNSUBSCRIBE
UNSUBSCRIBE
PING
subscribe X
unsubscribe
SUBSCRIBE "\x00\r\n"
UNSUBSCRIBE
b> SUBSCRIBE one
b> UNSUBSCRIBE
b> PSUBSCRIBE one
b> PUNSUBSCRIBE
b> CLIENT ID
inline> SUBSCRIBE +foo
inline> UNSUBSCRIBE
"#;

const IN_SUBSCRIPTION: &str = r#"
SUBSCRIBE x
PING
PING hello
PING a b
ping ""
CLIENT GETNAME
CLIENT FOO
CLIENT
SENTINEL MASTERS
SENTINEL MASTER
SENTINEL MYID
ROLE
ROLE x
HELLO x
AUTH x
AUTH a b c
COMMAND COUNT
INFO foo
PUBLISH a b
PUBLISH a
SHUTDOWN FOO
ACL WHOAMI
FOO
GET a
SUBSCRIBE
UNSUBSCRIBE
CLIENT GETNAME
p> PSUBSCRIBE x
p> ROLE
p> PUNSUBSCRIBE
p> ROLE
"#;

const PUBLISH: &str = r#"
PUBLISH foo bar
PUBLISH foo
PUBLISH foo bar baz
PUBLISH "" ""
PUBLISH __SENTINEL__:hello x
PUBLISH __sentinel__:hello ""
PUBLISH __sentinel__:hello x
PUBLISH __sentinel__:hello 1,2,3
PUBLISH __sentinel__:hello 127.0.0.1,1,x,0,nobody,127.0.0.1,1,0
PUBLISH __sentinel__:hello 127.0.0.1,1,x,0,nobody,127.0.0.1,1,0,9
PUBLISH __sentinel__:hello 127.0.0.1,x,<peerid>,0,mymaster,127.0.0.1,<mport>,0
b> SUBSCRIBE foo __sentinel__:hello
PUBLISH foo bar
publish __sentinel__:hello x
b> PING
"#;

/// A third sentinel says hello, says it from elsewhere, and is forgotten.
const HELLOS: &str = r#"
b> SUBSCRIBE +sentinel +sentinel-address-switch +reset-master +new-epoch
PUBLISH __sentinel__:hello 127.0.0.1,1,eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee,0,mymaster,\
127.0.0.1,<mport>,0
message> b
SENTINEL CKQUORUM mymaster
PUBLISH __sentinel__:hello 127.0.0.1,2,eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee,0,mymaster,\
127.0.0.1,<mport>,0
message> b
INFO sentinel
SENTINEL RESET mymaster
message> b
"#;
