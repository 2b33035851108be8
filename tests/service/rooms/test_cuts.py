"""Tests of places between events, and of the tokens that name them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.database import layouts
from conduit.database.layouts import PduId
from conduit.protocol.errors import InvalidParam
from conduit.service.rooms import cuts
from conduit.service.rooms.cuts import Cut
from tests.support.rooms import ALICE, World

ROOM = 5
NUMBERS = st.integers(0, 6) | st.integers(0, 2**62)
PLACES = st.builds(PduId, st.just(ROOM), NUMBERS, NUMBERS).filter(lambda place: place.live or place.back)
CUTS = (
    PLACES.map(cuts.before)
    | PLACES.map(cuts.after)
    | st.integers(0, 2**60).map(cuts.at_count)
    | st.sampled_from([cuts.START, cuts.END])
)


@given(CUTS)
def test_token_means_its_cut_again(cut: Cut) -> None:
    """A cut survives the way through a token."""
    assert cuts.parse(cut.token()) == cut


@given(PLACES)
def test_event_lies_between_the_cuts_around_it(place: PduId) -> None:
    """An event has passed the cut after it and not the one before it."""
    assert cuts.before(place) < cuts.after(place)
    assert cuts.after(place).has_passed(place)
    assert not cuts.before(place).has_passed(place)


@given(CUTS, st.lists(PLACES, max_size=20))
def test_bounds_of_scans_agree_with_the_cut(cut: Cut, places: list[PduId]) -> None:
    """The bounds that scans get divide the encoded positions exactly as the cut does."""
    below, above = cuts._below(ROOM, cut), cuts._above(ROOM, cut)
    for place in places:
        key = layouts.PDU_ID.encode(place)
        assert (below is not None and key <= layouts.PDU_ID.encode(below)) == cut.has_passed(place)
        assert (key < layouts.PDU_ID.encode(above)) == cut.has_passed(place)


def test_sync_tokens_keep_their_numbers() -> None:
    """The third number stands there only when messages between devices lag behind."""
    for token in ("s5_2", "s5_2_3"):
        assert cuts.parse_sync(token).token() == token
    assert cuts.parse_sync("s5_2").devices == 5
    assert cuts.parse("s5_2") == cuts.at_count(5)


def test_sync_tokens_of_conduit_are_read() -> None:
    """As given by an earlier process, so that what that one kept in memory counts as lost."""
    assert cuts.parse_sync("123") == (123, 0, 123)
    for text in ("", "-1", "1_2", "9" * 19, "\u0661"):
        with pytest.raises(InvalidParam):
            cuts.parse_sync(text)


@pytest.mark.parametrize(
    "token", ["", "t", "s", "s1", "s1_", "t-", "t1~", "t1~2~3", "x1", "t1 ", "s1_1_1_1", "t" + "9" * 21]
)
def test_other_text_is_no_token(token: str) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidParam):
        cuts.parse(token)


def test_positions_between_cuts_in_both_directions() -> None:
    """Walking between two cuts gives the events between them, and none for an empty stretch or an unknown room."""
    world = World()
    room_id = world.create()
    for n in range(5):
        world.say(room_id, ALICE, f"m{n}")
    every = list(cuts.positions(world.db, room_id, cuts.START, cuts.END))
    assert list(cuts.positions(world.db, room_id, cuts.END, cuts.START, backwards=True)) == every[::-1]
    inner = list(cuts.positions(world.db, room_id, cuts.after(every[1]), cuts.before(every[4])))
    assert inner == every[2:4]
    assert list(cuts.positions(world.db, room_id, cuts.END, cuts.START)) == []
    assert list(cuts.positions(world.db, "!unknown:localhost", cuts.START, cuts.END)) == []  # type: ignore[arg-type]
