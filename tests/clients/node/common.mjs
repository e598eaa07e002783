// What the Node programs share. ../README.md tells the variables and the lines.

import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export const env = process.env;
export const name = env.MASTER;
export const protocol = Number(env.RESP);
export const sentinels = env.SENTINELS.split(',').map((address) => {
    const [host, port] = address.split(':');
    return { host, port: Number(port) };
});

export function say(...words) {
    process.stdout.write(words.join(' ') + '\n');
}

// The version of a package; not all let their package.json be imported.
export function version(packageName) {
    const path = new URL(`node_modules/${packageName}/package.json`, import.meta.url);
    return JSON.parse(readFileSync(path)).version;
}

// Increments the counter with a function until the stop file is there.
export async function write(increment) {
    while (!existsSync(env.STOP_FILE)) {
        try {
            const value = await increment();
            say('ok', Date.now(), value);
        } catch (error) {
            say('error', Date.now(), String(error).replaceAll('\n', ' '));
        }
        await sleep(20);
    }
}

// An assertion; Node's own prints many lines.
export function check(holds, what) {
    if (!holds) {
        throw new Error(`wrong: ${JSON.stringify(what)}`);
    }
}

process.on('unhandledRejection', (error) => {
    say('failed', error?.stack ?? error);
    process.exit(1);
});
