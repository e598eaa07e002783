//! Replies that wait: for saves, votes, lookups and checks of scripts.
#![forbid(unsafe_code)]

use super::Rig;

const CANDIDATE: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[test]
fn a_change_is_answered_when_it_is_saved_and_only_its_client_waits() {
    let mut rig = Rig::new();
    rig.monitor("m", "127.0.0.1", 1, 1);
    rig.play(
        "
        A> sentinel set m quorum 2
        A> ping
        A: held
        A<
        B> ping
        B< +PONG
        save ok
        A: free
        A< +OK +PONG
        A> sentinel flushconfig
        save failed
        A< -ERR Failed to save config file. Check server logs.
        wait 1000
        A> sentinel config set announce-port 5
        save ok
        A< +OK
        A> sentinel set m quorum 3
        wait 10000
        A<
        save failed
        A< -ERR Failed to save config file. Check server logs.
        ",
    );
}

#[test]
fn a_vote_waits_for_its_save_and_hellos_and_pings_pass() {
    let mut rig = Rig::new();
    rig.monitor("m", "127.0.0.1", 1, 1);
    rig.monitor("n", "127.0.0.1", 2, 1);
    rig.play(&format!(
        "
        A> sentinel is-master-down-by-addr 127.0.0.1 1 5 *
        A< *3 :0 $1 * :0
        A> sentinel is-master-down-by-addr 127.0.0.1 1 5 {CANDIDATE}
        A> ping
        A> sentinel is-master-down-by-addr 127.0.0.1 2 6 {CANDIDATE}
        A> publish __sentinel__:hello x
        A> foo
        A: free
        A> client id
        A: held
        A> ping x
        A<
        B> ping
        B< +PONG
        save ok
        A< *3 :0 $40 {CANDIDATE} :5 +PONG *3 :0 $40 {CANDIDATE} :6 :1 -ERR unknown command 'foo',
        .. with args beginning with:  :1 $1 x
        A: free
        A> sentinel is-master-down-by-addr 127.0.0.1 1 5 cccc
        A< *3 :0 $40 {CANDIDATE} :5
        A> sentinel is-master-down-by-addr 127.0.0.1 9 7 {CANDIDATE}
        A< *3 :0 $1 * :0
        "
    ));
    assert_eq!(rig.server.next_deadline(), None);
}

#[test]
fn a_vote_that_is_not_saved_is_not_told() {
    let mut rig = Rig::new();
    rig.monitor("m", "127.0.0.1", 1, 1);
    rig.play(&format!(
        "
        A> sentinel is-master-down-by-addr 127.0.0.1 1 5 {CANDIDATE}
        save failed
        A< *3 :0 $1 * :0
        wait 1000
        A> sentinel is-master-down-by-addr 127.0.0.1 1 6 {CANDIDATE}
        A> client getname
        wait 499
        A<
        wait 1
        A< *3 :0 $1 * :0 $-1
        save ok
        A<
        A> sentinel is-master-down-by-addr 127.0.0.1 1 6 {CANDIDATE}
        A< *3 :0 $40 {CANDIDATE} :6
        "
    ));
}

#[test]
fn waits_survive_clients_and_masters() {
    let mut rig = Rig::new();
    rig.monitor("m", "127.0.0.1", 1, 1);
    rig.play(&format!(
        "
        A> sentinel is-master-down-by-addr 127.0.0.1 1 5 {CANDIDATE}
        B> sentinel remove m
        C> sentinel monitor x 127.0.0.1 7 2
        D> sentinel flushconfig
        E> subscribe +monitor
        E< *3 $9 subscribe $8 +monitor :1
        "
    ));
    for letter in ['C', 'D'] {
        let conn = rig.client(letter);
        rig.enter(|server, _, cx| server.closed(cx, conn));
    }
    rig.play(
        "
        save ok
        A< *3 :0 $1 * :0
        B< +OK
        E< *3 $7 message $8 +monitor $29 master x 127.0.0.1 7 quorum 2
        ",
    );
}

#[test]
fn arguments_of_an_ask_are_checked() {
    let mut rig = Rig::new();
    rig.monitor("m", "127.0.0.1", 1, 1);
    let down = rig.sentinel.master_named(b"m").unwrap();
    rig.sentinel.masters[down].base.sdown.is = true;
    rig.play(
        "
        A> sentinel is-master-down-by-addr 127.0.0.1 x 0 *
        A< -ERR value is not an integer or out of range
        A> sentinel is-master-down-by-addr 127.0.0.1 1 x *
        A< -ERR value is not an integer or out of range
        A> sentinel is-master-down-by-addr 127.0.0.1 1 -1 *
        A< -ERR value is not an integer or out of range
        A> sentinel is-master-down-by-addr 127.0.0.1 99999 0 *
        A< *3 :0 $1 * :0
        A> sentinel is-primary-down-by-addr 127.0.0.1 1 0 *
        A< *3 :1 $1 * :0
        ",
    );
}

#[test]
fn monitor_waits_for_a_name() {
    let mut rig = Rig::new();
    rig.sentinel.global.resolve_hostnames = true;
    rig.play(
        "
        A> sentinel monitor x Redis.example 7 2
        A: held
        B> ping
        B< +PONG
        host redis.example 127.0.0.9
        A<
        save ok
        A< +OK
        A: free
        A> sentinel get-master-addr-by-name x
        A< *2 $9 127.0.0.9 $1 7
        A> sentinel monitor y other.example 7 2
        host other.example -
        A< -ERR Invalid IP address or hostname specified
        A> sentinel monitor y third.example 7 2
        A: held
        wait 4999
        A<
        wait 1
        A< -ERR Invalid IP address or hostname specified
        A: free
        ",
    );
}

#[test]
fn scripts_are_looked_at_before_they_are_taken() {
    let mut rig = Rig::new();
    let m = rig.monitor("m", "127.0.0.1", 1, 1);
    rig.play(
        "
        A> sentinel set m quorum 2 notification-script /bin/x quorum 3
        A< -ERR Reconfiguration of scripts path is denied for security reasons. Check the
        .. deny-scripts-reconfig configuration directive in your Sentinel configuration
        ",
    );
    assert_eq!(rig.sentinel.masters[m].options.quorum, 2);
    rig.sentinel.global.deny_scripts_reconfig = false;
    rig.play(
        "
        E> subscribe +set
        E< *3 $9 subscribe $4 +set :1
        A> sentinel set m quorum 4 notification-script /bin/x parallel-syncs 5
        A: held
        E< *3 $7 message $4 +set $29 master m 127.0.0.1 1 quorum 4
        script yes
        E< *3 $7 message $4 +set $47 master m 127.0.0.1 1 notification-script /bin/x *3 $7 message
        .. $4 +set $37 master m 127.0.0.1 1 parallel-syncs 5
        A<
        save ok
        A< +OK
        A> sentinel set m client-reconfig-script /bin/y quorum 6
        script no
        A< -ERR Client reconfiguration script seems non existing or non executable
        A> sentinel set m notification-script /bin/z
        wait 5000
        A< -ERR Notification script seems non existing or non executable
        A> sentinel set m notification-script \"\"
        save ok
        A< +OK
        ",
    );
    let options = &rig.sentinel.masters[m].options;
    assert_eq!((options.quorum, options.parallel_syncs), (4, 5));
    assert_eq!((&options.notification_script, &options.client_reconfig_script), (&None, &None));
}

#[test]
fn a_set_that_waits_survives_its_client_and_its_master() {
    let mut rig = Rig::new();
    let m = rig.monitor("m", "127.0.0.1", 1, 1);
    rig.sentinel.global.deny_scripts_reconfig = false;
    rig.play("A> sentinel set m notification-script /bin/x quorum 7");
    let conn = rig.client('A');
    rig.enter(|server, _, cx| server.closed(cx, conn));
    rig.play("script yes");
    assert_eq!(rig.sentinel.masters[m].options.quorum, 7);
    rig.play(
        "
        B> sentinel set m notification-script /bin/x quorum 7
        C> sentinel remove m
        script yes
        B< -ERR No such master with that name
        ",
    );
}

#[test]
fn an_ask_by_host_name_is_answered_when_the_name_is_known() {
    let mut rig = Rig::new();
    rig.play("Z> sentinel config set resolve-hostnames yes\nsave ok\nZ< +OK");
    rig.monitor("m", "127.0.0.1", 1, 1);
    let ask = "sentinel is-master-down-by-addr";
    rig.play(&format!(
        "
        A> {ask} db.local 1 5 *
        A> {ask} DB.local 1 5 {CANDIDATE}
        A> ping
        A> {ask} other.local 1 5 *
        B> {ask} db.local 1 0 *
        A<
        host db.local 127.0.0.1
        B< *3 :0 $1 * :0
        A< *3 :0 $1 * :0
        save ok
        A< *3 :0 $40 {CANDIDATE} :5 +PONG
        host other.local -
        A< *3 :0 $1 * :0
        "
    ));
    // Not for longer than a vote waits for the disk; the next one finds the answer, if it has come.
    rig.play(&format!(
        "
        A> {ask} slow.local 1 5 *
        wait 400
        A> {ask} slow.local 1 6 {CANDIDATE}
        wait 99
        A<
        wait 1
        A< *3 :0 $1 * :0
        host slow.local 127.0.0.1
        save ok
        A< *3 :0 $40 {CANDIDATE} :6
        C> {ask} late.local 1 7 {CANDIDATE}
        C!
        host late.local 127.0.0.1
        A> {ask} 127.0.0.1 1 0 {CANDIDATE}
        A< *3 :0 $40 {CANDIDATE} :6
        "
    ));
    assert!(rig.server.waits.is_idle());
}
