// Two people chat: echoes, edits, reactions, redactions, receipts, typing, threads, files.

import { EventStatus } from "matrix-js-sdk";

import { Person, bodies, run, tell } from "./person.mjs";

const [, prefix] = process.argv.slice(2);

await run(async () => {
    const [alice, bob] = await Promise.all(["alice", "bob"].map((name) => Person.register(prefix + name)));
    await Promise.all([alice.start(), bob.start()]);
    const { room_id: roomId } = await alice.client.createRoom({ name: "Garden", invite: [bob.userId] });
    await bob.room(roomId, "invite");
    await bob.client.joinRoom(roomId);
    const [hers, his] = await Promise.all([alice.room(roomId), bob.room(roomId)]);

    // The sender sees the message once: what was shown at once becomes what the server knows.
    const first = await alice.say(roomId, "helo");
    await alice.until("the echo", () => hers.findEventById(first)?.status === null);
    await bob.event(roomId, first);
    tell("echo", hers.getLiveTimeline().getEvents().filter((event) => event.getId() === first).length);
    tell("nothing pending", hers.getLiveTimeline().getEvents().every((event) => event.status !== EventStatus.SENT));

    await alice.say(roomId, "* hello", {
        "m.new_content": { msgtype: "m.text", body: "hello" },
        "m.relates_to": { rel_type: "m.replace", event_id: first },
    });
    await bob.until("the edit", () => his.findEventById(first).getContent().body === "hello");
    tell("edited", his.findEventById(first).replacingEvent().getSender() === alice.userId);

    await bob.client.sendEvent(roomId, "m.reaction", {
        "m.relates_to": { rel_type: "m.annotation", event_id: first, key: "👍" },
    });
    const reactions = () => hers.relations.getChildEventsForEvent(first, "m.annotation", "m.reaction");
    await alice.until("the reaction", () => reactions()?.getSortedAnnotationsByKey()?.length);
    tell("reactions", reactions().getSortedAnnotationsByKey().map(([key, events]) => [key, events.size]));

    const second = await bob.say(roomId, "never mind");
    await alice.event(roomId, second);
    await bob.client.redactEvent(roomId, second, undefined, { reason: "typo" });
    await alice.until("the redaction", () => hers.findEventById(second).isRedacted());
    tell("redacted", [hers.findEventById(second).getContent(), hers.findEventById(second).getRedactionEvent().content.reason]);

    await bob.client.sendTyping(roomId, true, 60_000);
    await alice.until("typing", () => hers.getMember(bob.userId)?.typing);
    await bob.client.sendTyping(roomId, false, 0);
    await alice.until("no typing", () => !hers.getMember(bob.userId).typing);

    const third = await alice.say(roomId, "are you there?");
    const read = await bob.event(roomId, third);
    await bob.until("one unread", () => his.getUnreadNotificationCount("total") > 0);
    await bob.client.sendReadReceipt(read);
    await alice.until("the receipt", () => hers.getUsersReadUpTo(hers.findEventById(third)).includes(bob.userId));
    await bob.until("none unread", () => his.getUnreadNotificationCount("total") === 0);
    tell("read by", hers.getUsersReadUpTo(hers.findEventById(third)));

    // A thread: its messages are not in the room's timeline; its unread messages are counted on their own.
    const inThread = { "m.relates_to": { rel_type: "m.thread", event_id: third } };
    const last = {};
    hers.createThread(third, hers.findEventById(third), [], false); // as a client does when its user begins one
    for (const body of ["in the thread 1", "in the thread 2"]) {
        last.id = await alice.say(roomId, body, inThread);
        // The SDK miscounts what comes while it still looks at what came before.
        for (const [person, room] of [[alice, hers], [bob, his]]) {
            await person.until(`"${body}"`, () => room.getThread(third)?.replyToEvent?.getId() === last.id);
            await person.until("a quiet thread", () => room.getThread(third).initialEventsFetched);
        }
    }
    const thread = his.getThread(third);
    tell("thread", [thread.rootEvent.getContent().body, bodies(thread.timeline).slice(-2), thread.hasCurrentUserParticipated]);
    tell("timeline", bodies(his.getLiveTimeline().getEvents()).filter((body) => body?.startsWith("in the thread")));
    await bob.until("unread in the thread", () => his.getThreadUnreadNotificationCount(third, "total") === 2);
    await bob.client.sendReadReceipt(thread.replyToEvent);
    await bob.until("the thread to be read", () => his.getThreadUnreadNotificationCount(third, "total") === 0);
    await alice.until("the receipt in the thread", () => hers.getThread(third)?.getReadReceiptForUserId(bob.userId)?.eventId === last.id);
    await bob.say(roomId, "in the thread 3", inThread);
    await bob.until("the own answer", () => thread.length === 3);
    const bundle = (await bob.client.fetchRoomEvent(roomId, third)).unsigned["m.relations"]["m.thread"];
    tell("bundle", [bundle.count, bundle.current_user_participated, bundle.latest_event.content.body]);
    await his.createThreadsTimelineSets();
    await his.fetchRoomThreads();
    tell("threads", his.threadsTimelineSets.map((set) => set.getLiveTimeline().getEvents().map((event) => event.getId() === third)));

    // Own settings reach the other devices; here the same one, by /sync.
    await bob.client.setRoomTag(roomId, "m.favourite", { order: 0.5 });
    await bob.until("the tag", () => his.tags["m.favourite"]?.order === 0.5);
    await bob.client.setAccountData("m.direct", { [alice.userId]: [roomId] });
    tell("direct", bob.client.getAccountData("m.direct").getContent());

    // A file.
    const { content_uri: uri } = await alice.client.uploadContent(Buffer.from("soil and seeds"), { type: "text/plain", name: "list.txt" });
    await bob.event(roomId, (await alice.client.sendMessage(roomId, { msgtype: "m.file", body: "list.txt", url: uri })).event_id);
    const address = bob.client.mxcUrlToHttp(uri, undefined, undefined, undefined, false, true, true);
    const got = await fetch(address, { headers: { Authorization: `Bearer ${bob.client.getAccessToken()}` } });
    tell("file", [got.status, await got.text(), got.headers.get("content-disposition")]);
    alice.stop();
    bob.stop();
});
