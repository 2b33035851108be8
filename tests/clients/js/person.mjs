// Somebody who uses matrix-js-sdk, and the two kinds of lines that a script prints for the test that runs it:
//   {"fact": NAME, "value": VALUE}                      something that the test looks at
//   {"answer": {method, path, status, body}}            an answer of the server as it came, to be held against the specification

import { writeSync } from "node:fs";

import { createClient } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

console.log = console.info = console.debug = console.error; // standard output is for the test
logger.setLevel("warn");

export const PASSWORD = "correct horse battery staple";
const PATIENCE_MS = 30_000;
const [url] = process.argv.slice(2);

function print(line) {
    writeSync(1, JSON.stringify(line) + "\n");
}

/** Tell the test something. */
export function tell(fact, value) {
    print({ fact, value: value ?? null });
}

/** Return the texts of the messages in a list of events, in their order. */
export function bodies(events) {
    return events.filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);
}

export class Person {
    #held = null;
    #asked = () => {};

    constructor(session) {
        this.session = session;
        this.userId = session.user_id;
        this.client = createClient({
            baseUrl: url,
            accessToken: session.access_token,
            userId: session.user_id,
            deviceId: session.device_id,
            timelineSupport: true,
            fetchFn: (resource, options) => this.#fetch(resource, options),
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], this.secretStorageKey],
                cacheSecretStorageKey: (_id, _info, key) => { this.secretStorageKey = key; },
            },
        });
        // Rooms, members and events tell all that happens to them through their client.
        const emit = this.client.emit.bind(this.client);
        this.client.emit = (...happening) => {
            const result = emit(...happening);
            this.#asked();
            return result;
        };
    }

    /** Make an account, and a client that does not sync yet. */
    static async register(name) {
        const client = createClient({ baseUrl: url });
        return new Person(await client.register(name, PASSWORD, null, { type: "m.login.dummy" }));
    }

    /** Log in on another device. */
    static async login(name) {
        const identifier = { type: "m.id.user", user: name };
        const client = createClient({ baseUrl: url });
        return new Person(await client.loginRequest({ type: "m.login.password", identifier, password: PASSWORD }));
    }

    /** Make a request for which the server wants the password as well. */
    async prove(makeRequest) {
        try {
            return await makeRequest(null);
        } catch (error) {
            if (error.httpStatus !== 401) throw error;
            const identifier = { type: "m.id.user", user: this.userId };
            return makeRequest({ type: "m.login.password", identifier, password: PASSWORD, session: error.data.session });
        }
    }

    /** Begin to sync; return when the first sync is done. */
    async start(options = {}) {
        await this.client.startClient({ lazyLoadMembers: true, threadSupport: true, ...options });
        await this.until("the first sync", () => this.client.isInitialSyncComplete());
        return this;
    }

    /** End. */
    stop() {
        this.client.stopClient();
    }

    /** Return what `found` returns once that is true; it is asked whenever something happens. */
    async until(what, found) {
        const { promise, resolve, reject } = Promise.withResolvers();
        const patience = setTimeout(() => reject(new Error(`${this.userId} waits in vain for ${what}`)), PATIENCE_MS);
        let asking = false;
        const ask = () => {
            // Later, and once: what happens is told in the midst of its happening.
            if (asking) return;
            asking = true;
            setImmediate(() => {
                asking = false;
                try {
                    const value = found();
                    if (value) resolve(value);
                } catch (error) {
                    reject(error);
                }
            });
        };
        this.#asked = ask;
        ask();
        try {
            return await promise;
        } finally {
            this.#asked = () => {};
            clearTimeout(patience);
        }
    }

    /** Return a room once this person is in it. */
    room(roomId, membership = "join") {
        return this.until(`to be in ${roomId}: ${membership}`, () => {
            const room = this.client.getRoom(roomId);
            return room?.getMyMembership() === membership && room;
        });
    }

    /** Return an event once it has come, decrypted if it was encrypted. */
    event(roomId, eventId) {
        return this.until(`the event ${eventId}`, () => {
            const event = this.client.getRoom(roomId)?.findEventById(eventId);
            return event && !event.isSending() && !event.isBeingDecrypted() && !event.shouldAttemptDecryption() && event;
        });
    }

    /** Send a text; return the event's id. */
    async say(roomId, body, more = {}) {
        return (await this.client.sendMessage(roomId, { msgtype: "m.text", body, ...more })).event_id;
    }

    /** Let the next /sync wait until `release` is called. Returns once there is one that waits. */
    async hold() {
        const held = Promise.withResolvers();
        this.#held = { begun: Promise.withResolvers(), ended: held.promise };
        this.release = () => {
            this.#held = null;
            held.resolve();
        };
        // The one under way ends with this. It may be told by that one, or only when all goes on.
        const ended = this.client.setAccountData("org.example.hold", { at: Math.random().toString() });
        await Promise.race([ended, this.#held.begun.promise]);
        await this.#held.begun.promise;
    }

    async #fetch(resource, options) {
        const { pathname } = new URL(resource);
        if (this.#held && pathname.endsWith("/sync")) {
            this.#held.begun.resolve();
            await this.#held.ended;
        }
        const response = await fetch(resource, options);
        if (response.headers.get("content-type") === "application/json") {
            const { status } = response;
            print({ answer: { method: options.method, path: pathname, status, body: await response.clone().json() } });
        }
        return response;
    }
}

/** Run a script's work, and end the process with it. */
export async function run(work) {
    setTimeout(() => {
        console.error("the script does not come to its end");
        process.exit(1);
    }, 2 * PATIENCE_MS);
    try {
        await work();
        process.exit(0);
    } catch (error) {
        console.error(error);
        process.exit(1);
    }
}
