// Initial and incremental sync, with members loaded when they are needed, and with a gap.

import { Person, bodies, run, tell } from "./person.mjs";

const [, prefix] = process.argv.slice(2);

await run(async () => {
    const names = ["host", "reader", ...Array.from({ length: 7 }, (_, number) => `guest${number}`)];
    const [host, reader, ...guests] = await Promise.all(names.map((name) => Person.register(prefix + name)));
    tell("users", [host, reader, ...guests].map((person) => person.userId));

    const { room_id: roomId } = await host.client.createRoom({ preset: "public_chat", name: "Hall", topic: "first" });
    for (const person of [...guests, reader]) await person.client.joinRoom(roomId);
    await guests[0].say(roomId, "one");
    await guests[1].say(roomId, "two");
    await host.say(roomId, "three");

    // Initial: the timeline, and of the members only those who are needed to show it.
    await reader.start({ initialSyncLimit: 2 });
    const room = await reader.room(roomId);
    tell("name", room.name);
    tell("topic", room.currentState.getStateEvents("m.room.topic", "").getContent().topic);
    tell("timeline", bodies(room.getLiveTimeline().getEvents()));
    tell("joined members", room.getJoinedMemberCount());
    tell("members known at first", room.getJoinedMembers().map((member) => member.userId).sort());

    // Incremental: somebody who is not known yet speaks, and comes with a name.
    const unknown = guests.find((guest) => room.getMember(guest.userId) === null);
    await reader.event(roomId, await unknown.say(roomId, "four"));
    tell("speaker", [unknown.userId, room.getMember(unknown.userId)?.userId, room.getMember(unknown.userId)?.rawDisplayName]);
    await room.loadMembersIfNeeded();
    tell("members known at last", room.getJoinedMembers().map((member) => member.userId).sort());

    await guests[2].client.setDisplayName("Zoe");
    await reader.until("the new name", () => room.getMember(guests[2].userId).rawDisplayName === "Zoe");
    tell("unread", room.getUnreadNotificationCount("total"));

    // A gap: more happens at a time than one sync tells, the change of the topic at its beginning.
    await reader.hold();
    await host.client.setRoomTopic(roomId, "second");
    for (let number = 0; number < 24; number++) await host.say(roomId, `gap ${number}`);
    reader.release();
    await reader.until("the last message", () => bodies(room.getLiveTimeline().getEvents()).at(-1) === "gap 23");
    tell("timeline after the gap", bodies(room.getLiveTimeline().getEvents()));
    tell("topic after the gap", room.currentState.getStateEvents("m.room.topic", "").getContent().topic);
    while (room.getLiveTimeline().getPaginationToken("b") !== null) await reader.client.scrollback(room, 10);
    // The SDK has joined what it had before to what it has now, when it met an event that it knew.
    const whole = [];
    for (let part = room.getLiveTimeline(); part; part = part.getNeighbouringTimeline("b")) whole.unshift(...part.getEvents());
    tell("timeline when the gap is filled", bodies(whole));

    // Another room while syncing: invited, joined, thrown out.
    const { room_id: other } = await host.client.createRoom({ name: "Cellar", invite: [reader.userId], is_direct: true });
    const invited = await reader.room(other, "invite");
    tell("invite", [invited.name, invited.getDMInviter()]);
    await reader.client.joinRoom(other);
    await reader.room(other);
    await host.client.kick(other, reader.userId, "enough");
    const left = await reader.room(other, "leave");
    const own = left.currentState.getStateEvents("m.room.member", reader.userId);
    tell("kick", [own.getSender(), own.getContent().reason]);
    reader.stop();
});
