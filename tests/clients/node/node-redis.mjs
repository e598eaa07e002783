// node-redis: its own sentinel client, and a plain client beside it for events.

import { createClient, createSentinel } from 'redis';
import { check, env, name, protocol, say, sentinels, version, write } from './common.mjs';

say('version', version('redis'));

const forSentinels = {
    username: env.SENTINEL_USER || undefined,
    password: env.SENTINEL_PASSWORD || undefined,
};
const forData = { password: env.DATA_PASSWORD || undefined };

const client = createSentinel({
    name,
    RESP: protocol,
    sentinelRootNodes: sentinels,
    sentinelClientOptions: forSentinels,
    nodeClientOptions: forData,
    replicaPoolSize: 1,
    passthroughClientErrorEvents: true,
});
const replicas = new Set();
let master;
client.on('error', (error) => say('error', Date.now(), String(error)));
client.on('client-error', () => {});
client.on('topology-change', (change) => {
    say('topology', Date.now(), JSON.stringify(change));
    if (change.type === 'MASTER_CHANGE') {
        master = change.node;
    } else if (change.type === 'REPLICA_ADD') {
        replicas.add(change.node.port);
    }
});
await client.connect();
check(master, 'no topology');

const plain = createClient({ socket: sentinels[0], RESP: protocol, ...forSentinels });
plain.on('error', (error) => say('error', Date.now(), String(error)));
await plain.connect();
const peers = await plain.sendCommand(['SENTINEL', 'sentinels', name]);
const [host, port] = await plain.sendCommand(['SENTINEL', 'get-master-addr-by-name', name]);
check(host === master.host && Number(port) === master.port, { host, port, master });
const ports = [...replicas].map(Number).sort((a, b) => a - b);
say('discovered', `${master.host}:${master.port}`, ports.join(','), peers.length);

const events = plain.duplicate();
events.on('error', (error) => say('error', Date.now(), String(error)));
await events.connect();
const listener = (text, channel) => say('event', Date.now(), channel, text);
await events.subscribe('+switch-master', listener);
await events.pSubscribe(['-*', '+sdown'], () => {});
say('subscribed');

await write(() => client.incr('counter'));
say('after', `${master.host}:${master.port}`);
for (const connection of [client, plain, events]) {
    connection.destroy();
}
process.exit(0);
