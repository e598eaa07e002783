//! ACL.

use crate::twins::Twins;

pub fn run(t: &mut Twins) {
    t.run_both(USERS);
    t.run_both(RULES);
    t.run_both(RIGHTS);
    t.run_both(LOG);
}

const USERS: &str = r#"
ACL WHOAMI
ACL WHOAMI x
acl whoami
ACL USERS
ACL LIST
ACL CAT
ACL CAT admin
ACL CAT ADMIN
ACL CAT connection
ACL CAT dangerous
ACL CAT pubsub
ACL CAT fast
ACL CAT slow
ACL CAT keyspace
ACL CAT foo
ACL CAT admin x
ACL GENPASS
ACL GENPASS 5
ACL GENPASS 128
ACL GENPASS 0
ACL GENPASS x
ACL GENPASS 4097
ACL GENPASS 5 x
ACL GETUSER default
ACL GETUSER nobody
ACL GETUSER
ACL SETUSER walter
ACL GETUSER walter
ACL LIST
ACL USERS
ACL SETUSER walter on >secret ~* &* +@all
ACL GETUSER walter
ACL LIST
bare-b> AUTH walter secret
bare-b> ACL WHOAMI
bare-b> CLIENT INFO
ACL SETUSER "a b" on
ACL SETUSER "a\x00b" on
ACL SETUSER
ACL DELUSER default
ACL DELUSER nobody
ACL DELUSER nobody walter
ACL DELUSER
close> bare-b
ACL USERS
ACL SAVE
ACL LOAD
ACL SAVE x
ACL HELP
ACL HELP x
"#;

const RULES: &str = r#"
ACL SETUSER w reset
ACL SETUSER w foo
ACL SETUSER w +foo
ACL SETUSER w +@foo
ACL SETUSER w -@foo
ACL SETUSER w +sentinel|foo
ACL SETUSER w +ping|foo
ACL SETUSER w +foo|bar
ACL SETUSER w +sentinel|masters|x
ACL SETUSER w #abc
ACL SETUSER w !abc
ACL SETUSER w <nothere
ACL SETUSER w "(+ping"
ACL SETUSER w "(foo)"
ACL SETUSER w &x
ACL GETUSER w
ACL SETUSER w resetchannels on nopass ~k* ~x +ping +sentinel +client|id -sentinel|reset
ACL GETUSER w
ACL LIST
ACL SETUSER w +@all -@dangerous +role
ACL GETUSER w
ACL SETUSER w -@all +@connection -client|kill
ACL GETUSER w
ACL SETUSER w allcommands allkeys allchannels
ACL GETUSER w
ACL SETUSER w &x
ACL SETUSER w ~x
ACL SETUSER w nocommands resetkeys resetchannels resetpass off
ACL GETUSER w
ACL SETUSER w %R~r* %W~w* %RW~rw*
ACL GETUSER w
ACL SETUSER w >one >two
ACL GETUSER w
ACL SETUSER w <one
ACL GETUSER w
ACL SETUSER w #aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
ACL SETUSER w !aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
ACL SETUSER w "(+ping &a)" "(+role ~b)"
ACL GETUSER w
ACL LIST
ACL SETUSER w clearselectors
ACL GETUSER w
ACL SETUSER w +PING -Ping +RoLe
ACL GETUSER w
ACL SETUSER w on +ping +foo
ACL GETUSER w
ACL SETUSER w ON ResetPass
ACL GETUSER w
ACL DELUSER w
"#;

const RIGHTS: &str = r#"
ACL SETUSER w reset on >secret +ping +client|id +subscribe +psubscribe +unsubscribe \
+acl|whoami &news* &all
bare-b> PING
bare-b> AUTH w secret
bare-b> AUTH w wrong
bare-b> ACL WHOAMI
bare-b> PING
bare-b> CLIENT ID
bare-b> CLIENT GETNAME
bare-b> CLIENT FOO
bare-b> SENTINEL MASTERS
bare-b> SENTINEL MASTER
bare-b> ROLE
bare-b> COMMAND
bare-b> HELLO
bare-b> SUBSCRIBE sports
bare-b> PSUBSCRIBE sports*
bare-b> PSUBSCRIBE news1
bare-b> PSUBSCRIBE news*
bare-b> PUNSUBSCRIBE
bare-b> SUBSCRIBE all
bare-b> SUBSCRIBE news1 sports
bare-b> UNSUBSCRIBE
bare-b> SUBSCRIBE all news1
bare-b> UNSUBSCRIBE all news1
ACL DRYRUN w ping
ACL DRYRUN w PING x
ACL DRYRUN w role
ACL DRYRUN w client id
ACL DRYRUN w client getname
ACL DRYRUN w subscribe sports
ACL DRYRUN w subscribe all
ACL DRYRUN w foo
ACL DRYRUN w ping a b c
ACL DRYRUN w role x
ACL DRYRUN nobody ping
ACL DRYRUN w
bare-b> SUBSCRIBE all
ACL SETUSER w resetchannels
close> bare-b
bare-c> AUTH w secret
bare-c> PING
ACL SETUSER w -ping
bare-c> PING extra
ACL SETUSER w off
bare-c> CLIENT ID
bare-d> AUTH w secret
ACL DELUSER w
close> bare-c
close> bare-d
"#;

const LOG: &str = r#"
ACL LOG RESET
ACL LOG
ACL LOG x
ACL LOG 0
ACL LOG -1
ACL LOG 1 x
bare-b> AUTH nobody x
ACL LOG
bare-b> AUTH nobody x
ACL LOG
ACL SETUSER w reset on nopass +ping +subscribe +acl|whoami &x
bare-b> AUTH w anything
bare-b> ROLE
bare-b> SENTINEL MASTERS
bare-b> SUBSCRIBE y
ACL LOG
ACL LOG 1
ACL LOG 100
ACL LOG reset
ACL LOG
ACL DELUSER w
close> bare-b
"#;
