async def test_smoke(hs):
    alice = await hs.register("alice"); bob = await hs.register("bob")
    for v in [None, "1","2","3","6","10","11","12"]:
        opts = {"room_version": v} if v else {}
        room = await alice.create_room(preset="public_chat", name="x", topic="t", visibility="public", room_alias_name=f"a{v}", invite=[bob.user_id], **opts)
        await bob.join(f"#a{v}:localhost")
        e = await bob.send(room, "hi")
        assert await alice.redact(room, e)
        (await alice.get(f"/rooms/{room}/state"))
        (await alice.state(room, "m.room.power_levels"))
        r = await alice.post(f"/rooms/{room}/upgrade", {"new_version": "11" if v!="11" else "12"})
        pass
        (await alice.get("/publicRooms"))
