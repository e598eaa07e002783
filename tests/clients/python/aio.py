"""redis-py with asyncio: `aio.py redis`. ../README.md tells the variables and the lines."""

import asyncio
import importlib
import os
import sys

from client import credentials, errors, hosts, module, name, now_ms, protocol, say

sentinel_module = importlib.import_module(sys.argv[1] + ".asyncio.sentinel")


async def listen(client):
    pubsub = client.pubsub()
    await pubsub.psubscribe("*switch-master")
    async for message in pubsub.listen():
        if message["type"] == "psubscribe":
            say("subscribed")
        else:
            say("event", now_ms(), message["channel"].decode(), message["data"].decode())


async def main():
    say("version", module.__version__)
    sentinel = sentinel_module.Sentinel(
        hosts,
        sentinel_kwargs={"protocol": protocol, **credentials("SENTINEL")},
        socket_timeout=1,
        protocol=protocol,
        **credentials("DATA"),
    )
    host, port = await sentinel.discover_master(name)
    replicas = sorted(port for _, port in await sentinel.discover_slaves(name))
    peers = await sentinel.sentinels[0].sentinel_sentinels(name)
    say("discovered", f"{host}:{port}", ",".join(map(str, replicas)), len(peers))
    listener = asyncio.create_task(listen(sentinel.sentinels[0]))

    master = sentinel.master_for(name)
    while not os.path.exists(os.environ["STOP_FILE"]):
        try:
            say("ok", now_ms(), await master.incr("counter"))
        except (errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError) as error:
            say("error", now_ms(), repr(error))
        await asyncio.sleep(0.02)
    host, port = await sentinel.discover_master(name)
    say("after", f"{host}:{port}")
    listener.cancel()


asyncio.run(main())
