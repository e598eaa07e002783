// ioredis: `ioredis.mjs PACKAGE`, where the package is one of the versions in package.json.

import { check, env, name, protocol, say, sentinels, version, write } from './common.mjs';

const packageName = process.argv[2];
const { Redis } = await import(packageName);
say('version', version(packageName));

const credentials = {
    sentinelUsername: env.SENTINEL_USER || undefined,
    sentinelPassword: env.SENTINEL_PASSWORD || undefined,
    password: env.DATA_PASSWORD || undefined,
};
const options = { sentinels, name, protocol, ...credentials };

// One connection to a sentinel for questions, one for events.
const direct = {
    ...sentinels[0],
    protocol,
    username: env.SENTINEL_USER || undefined,
    password: env.SENTINEL_PASSWORD || undefined,
};
const sentinel = new Redis(direct);
const events = new Redis(direct);
events.on('message', (channel, text) => say('event', Date.now(), channel, text));

// Without failoverDetector, which is off by default too: an event of its own that comes while it
// reconnects makes it give up for good.
const master = new Redis({ ...options, maxRetriesPerRequest: null });
master.on('error', (error) => say('error', Date.now(), String(error)));
const replica = new Redis({ ...options, role: 'slave' });
replica.on('error', () => {});
check((await replica.info('replication')).includes('role:slave'), 'no replica');

function fields(reply) {
    if (!Array.isArray(reply)) {
        return reply;
    }
    return Object.fromEntries(reply.flatMap((word, at) => (at % 2 ? [] : [[word, reply[at + 1]]])));
}

const [host, port] = await sentinel.call('SENTINEL', 'get-master-addr-by-name', name);
const state = fields(await sentinel.call('SENTINEL', 'master', name));
check(state.flags === 'master' && state['num-slaves'] === '2', state);
const replicas = (await sentinel.call('SENTINEL', 'replicas', name)).map(fields);
const peers = await sentinel.call('SENTINEL', 'sentinels', name);
const ports = replicas.map((fields) => Number(fields.port)).sort((a, b) => a - b);
say('discovered', `${host}:${port}`, ports.join(','), peers.length);

await events.subscribe('+switch-master');
say('subscribed');
await write(() => master.incr('counter'));
const after = await sentinel.call('SENTINEL', 'get-master-addr-by-name', name);
say('after', after.join(':'));
for (const connection of [sentinel, events, master, replica]) {
    connection.disconnect();
}
process.exit(0);
