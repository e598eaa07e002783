#!/bin/sh
# redis-cli, as operators use it in scripts: every question is a new process. ../README.md tells
# the variables and the lines.
set -u

rest=${SENTINELS#*,}
first=${SENTINELS%%,*}
second=${rest%%,*}
option=-2
[ "$RESP" = 3 ] && option=-3

say() { printf '%s\n' "$*"; }
now_ms() { date +%s%3N; }

# Asks the sentinel at address $1.
sentinel() {
    address=$1
    shift
    redis-cli $option --no-auth-warning --raw ${SENTINEL_USER:+--user "$SENTINEL_USER"} \
        ${SENTINEL_PASSWORD:+--pass "$SENTINEL_PASSWORD"} -h "${address%:*}" -p "${address#*:}" "$@"
}

master_address() {
    sentinel "$1" SENTINEL get-master-addr-by-name "$MASTER" | tr '\n' ':' | sed 's/:$//'
}

# The values of a field in a list of maps, in order.
values() { sed -n "/^$1\$/{n;p}; s/^$1 //p" | sort -n | tr '\n' ',' | sed 's/,$//'; }

say version "$(redis-cli --version | cut -d ' ' -f 2)"
address=$(master_address "$first")
replicas=$(sentinel "$first" SENTINEL replicas "$MASTER" | values port)
peers=$(sentinel "$second" SENTINEL sentinels "$MASTER" | values runid | tr ',' '\n' | grep -c .)
sentinel "$first" SENTINEL masters | values name | grep -qx "$MASTER" || exit 3
sentinel "$first" SENTINEL ckquorum "$MASTER" | grep -q '^OK 3 usable' || exit 4
sentinel "$first" INFO sentinel | grep -q "^master0:name=$MASTER,status=ok" || exit 5
say discovered "$address" "$replicas" "$((peers))"

sentinel "$first" SUBSCRIBE +switch-master | while read -r line; do
    case $line in
    subscribe*) say subscribed ;;
    "$MASTER "*) say event "$(now_ms)" +switch-master "$line" ;;
    esac
done &
listener=$!

while [ ! -e "$STOP_FILE" ]; do
    value=$(redis-cli --no-auth-warning ${DATA_PASSWORD:+--pass "$DATA_PASSWORD"} \
        -h "${address%:*}" -p "${address#*:}" INCR counter 2>&1)
    case $value in
    *[!0-9]* | '')
        say error "$(now_ms)" "$value"
        new=$(master_address "$second")
        [ -n "$new" ] && address=$new
        sleep 0.05
        ;;
    *) say ok "$(now_ms)" "$value" ;;
    esac
done
say after "$(master_address "$second")"
kill "$listener" 2>/dev/null
exit 0
