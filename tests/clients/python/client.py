"""redis-py and valkey-py, blocking: `client.py redis|valkey`. The parent's README.md tells the
variables it is given and the lines it prints."""

import importlib
import os
import sys
import threading
import time

module = importlib.import_module(sys.argv[1])
errors = importlib.import_module(sys.argv[1] + ".exceptions")
sentinel_module = importlib.import_module(sys.argv[1] + ".sentinel")

name = os.environ["MASTER"]
hosts = [tuple(h.rsplit(":", 1)) for h in os.environ["SENTINELS"].split(",")]
hosts = [(host, int(port)) for host, port in hosts]
protocol = int(os.environ["RESP"])


def say(*words):
    # In one piece: two threads write.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def now_ms():
    return int(time.time() * 1000)


def credentials(prefix):
    given = {}
    if os.environ.get(prefix + "_USER"):
        given["username"] = os.environ[prefix + "_USER"]
    if os.environ.get(prefix + "_PASSWORD"):
        given["password"] = os.environ[prefix + "_PASSWORD"]
    return given


def listen(client):
    pubsub = client.pubsub(ignore_subscribe_messages=False)
    pubsub.subscribe("+switch-master")
    while True:
        message = pubsub.get_message(timeout=1)
        if message is None:
            continue
        if message["type"] == "subscribe":
            say("subscribed")
        else:
            channel, data = message["channel"].decode(), message["data"].decode()
            say("event", now_ms(), channel, data)


def main():
    say("version", module.__version__)
    sentinel = sentinel_module.Sentinel(
        hosts,
        sentinel_kwargs={"protocol": protocol, "socket_timeout": 2, **credentials("SENTINEL")},
        socket_timeout=1,
        protocol=protocol,
        **credentials("DATA"),
    )
    host, port = sentinel.discover_master(name)
    replicas = sorted(port for _, port in sentinel.discover_slaves(name))
    first = sentinel.sentinels[0]
    peers = first.sentinel_sentinels(name)
    state = first.sentinel_masters()[name]
    assert state["is_master"] and not state["is_sdown"], state
    assert state["num-slaves"] == 2, state
    assert first.sentinel_master(name)["quorum"] == 2
    # The library takes only a bare OK for true, which no sentinel says; an error would be raised.
    first.sentinel_ckquorum(name)
    assert first.sentinel_get_master_addr_by_name(name)[1] == port
    assert first.ping()
    say("discovered", f"{host}:{port}", ",".join(map(str, replicas)), len(peers))

    threading.Thread(target=listen, args=(first,), daemon=True).start()
    master = sentinel.master_for(name)
    replica = sentinel.slave_for(name)
    assert replica.info("replication")["role"] == "slave"
    while not os.path.exists(os.environ["STOP_FILE"]):
        try:
            value = master.incr("counter")
            say("ok", now_ms(), value)
        except (errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError) as error:
            say("error", now_ms(), repr(error))
        time.sleep(0.02)
    host, port = sentinel.discover_master(name)
    say("after", f"{host}:{port}")


if __name__ == "__main__":
    main()
