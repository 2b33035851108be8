// Reading back: page by page to the beginning, around one event in both directions, and by search.

import { Direction } from "matrix-js-sdk";

import { Person, bodies, run, tell } from "./person.mjs";

const [, prefix] = process.argv.slice(2);

await run(async () => {
    const [host, early, reader] = await Promise.all(["host", "early", "reader"].map((name) => Person.register(prefix + name)));
    const { room_id: roomId } = await host.client.createRoom({ preset: "public_chat", name: "Archive" });
    await early.client.joinRoom(roomId);
    await early.say(roomId, "I was here");
    await early.client.leave(roomId);
    await reader.client.joinRoom(roomId);
    const sent = [];
    for (let number = 0; number < 40; number++) sent.push(await host.say(roomId, `line ${number}`));

    await reader.start({ initialSyncLimit: 5 });
    const room = await reader.room(roomId);
    tell("at first", bodies(room.getLiveTimeline().getEvents()));
    const pages = [];
    while (room.getLiveTimeline().getPaginationToken("b") !== null) {
        const before = room.getLiveTimeline().getEvents().length;
        await reader.client.scrollback(room, 15);
        pages.push(room.getLiveTimeline().getEvents().length - before);
    }
    const events = room.getLiveTimeline().getEvents();
    tell("pages", pages);
    tell("bodies", bodies(events));
    tell("ids", events.map((event) => event.getId()));
    tell("first", events[0].getType());
    tell("name of one who has left", events.find((event) => event.getContent().body === "I was here").sender?.rawDisplayName);
    tell("early", early.userId);

    // Around an event, in a timeline of its own, which grows on both sides.
    const set = room.addTimelineSet?.() ?? room.getUnfilteredTimelineSet();
    set.resetLiveTimeline();
    const around = await reader.client.getEventTimeline(set, sent[20]);
    tell("around has it", around.getEvents().some((event) => event.getId() === sent[20]));
    await reader.client.paginateEventTimeline(around, { backwards: true, limit: 5 });
    await reader.client.paginateEventTimeline(around, { backwards: false, limit: 5 });
    const numbers = bodies(around.getEvents()).map((body) => Number(body.split(" ")[1]));
    tell("around is whole", numbers.every((number, index) => index === 0 || number === numbers[index - 1] + 1));
    tell("around grew", [around.getPaginationToken(Direction.Backward) !== null, numbers.includes(10), numbers.includes(30)]);

    const found = await reader.client.searchRoomEvents({ term: "here" });
    tell("search", found.results.map((result) => result.context.getEvent().getContent().body));
    reader.stop();
});
