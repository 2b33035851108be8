// End-to-end encryption as Element has it: cross-signing, secret storage, key backup, one-time keys and, when these are used up, the fallback key.

import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/CryptoEvent.js";
import { RustBackupManager } from "matrix-js-sdk/lib/rust-crypto/backup.js";

import { Person, run, tell } from "./person.mjs";

RustBackupManager.maxBackupLoopStartDelayMillis = 0; // spares a server with many clients; here it would only cost time

const [, prefix] = process.argv.slice(2);

/** Begin to sync on a device that encrypts. */
async function startEncrypted(person) {
    await person.client.initRustCrypto({ useIndexedDB: false });
    return person.start();
}

await run(async () => {
    const [alice, bob] = await Promise.all(["alice", "bob"].map((name) => Person.register(prefix + name)));
    await Promise.all([alice, bob].map(startEncrypted));

    // Alice makes an identity, which vouches for her devices.
    const crypto = alice.client.getCrypto();
    await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (request) => alice.prove(request) });

    const { room_id: roomId } = await alice.client.createRoom({
        invite: [bob.userId],
        initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    });
    await bob.room(roomId, "invite");
    await bob.client.joinRoom(roomId);
    const hers = await alice.room(roomId);
    await alice.until("Bob to be there", () => hers.getMember(bob.userId)?.membership === "join");
    await bob.room(roomId);

    const first = await bob.event(roomId, await alice.say(roomId, "the first secret"));
    tell("read", [first.isEncrypted(), first.getContent().body]);
    const answer = await alice.event(roomId, await bob.say(roomId, "understood"));
    tell("answer", answer.getContent().body);
    tell("identity is known", await bob.client.getCrypto().userHasCrossSigningKeys(alice.userId, true));

    // The keys of the messages so far go into a backup on the server, and what opens it into secret storage.
    let left = null;
    alice.client.on(CryptoEvent.KeyBackupSessionsRemaining, (remaining) => { left = remaining; });
    await crypto.bootstrapSecretStorage({
        createSecretStorageKey: () => crypto.createRecoveryKeyFromPassphrase(),
        setupNewSecretStorage: true,
        setupNewKeyBackup: true,
    });
    await alice.until("the backup", () => left === 0);
    tell("cross-signing", [await crypto.isCrossSigningReady(), await crypto.isSecretStorageReady()]);
    tell("backup", (await crypto.getKeyBackupInfo()).version);

    // Bob is away; his one-time keys are used up. A device that has none of them takes the fallback key, which stays.
    await bob.hold();
    const claimed = [];
    while (claimed.length < 200) {
        const { one_time_keys: keys } = await alice.client.claimOneTimeKeys([[bob.userId, bob.client.getDeviceId()]], "signed_curve25519");
        const [key] = Object.values(keys[bob.userId][bob.client.getDeviceId()]);
        claimed.push(key.fallback === true);
        if (key.fallback) break;
    }
    tell("claims", claimed);
    const phone = await Person.login(prefix + "alice");
    await startEncrypted(phone);
    const theirs = await phone.room(roomId);
    const fallback = await phone.say(roomId, "by the fallback key");
    bob.release();
    tell("by the fallback key", (await bob.event(roomId, fallback)).getContent().body);

    // The other device is given the identity and the keys by secret storage, and reads what was before it.
    phone.secretStorageKey = alice.secretStorageKey;
    const second = phone.client.getCrypto();
    await second.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (request) => phone.prove(request) });
    await second.loadSessionBackupPrivateKeyFromSecretStorage();
    await second.checkKeyBackupAndEnable();
    tell("device is vouched for", (await second.getDeviceVerificationStatus(phone.userId, phone.client.getDeviceId())).crossSigningVerified);
    const restored = await second.restoreKeyBackup();
    tell("restored", restored.imported > 0 && restored.imported === restored.total);
    while (theirs.getLiveTimeline().getPaginationToken("b") !== null) await phone.client.scrollback(theirs, 30);
    tell("old message", (await phone.event(roomId, first.getId())).getContent().body);
    for (const person of [alice, bob, phone]) person.stop();
});
