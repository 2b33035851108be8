"""Profiles and the words of the user directory."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.errors import InvalidParam, KeyTooLarge, ProfileTooLarge
from conduit.protocol.ids import UserId
from conduit.service.users import profiles

ALICE = UserId("@alice.w:localhost")


def _words(db: Database) -> set[str]:
    return {word for word, user_id in trees.user_word.keys(db) if user_id == ALICE}


def test_words_follow_the_display_name(db: Database) -> None:
    """Those of the localpart always stay."""
    with db.batch() as batch:
        profiles.set_displayname(batch, ALICE, "Alice Müller-Lüdenscheidt")
    assert _words(db) == {"alice.w", "alice", "w", "müller", "lüdenscheidt"}
    with db.batch() as batch:
        profiles.set_displayname(batch, ALICE, "Queen of W")
    assert _words(db) == {"alice.w", "alice", "w", "queen", "of"}
    with db.batch() as batch:
        profiles.set_displayname(batch, ALICE, "")
    assert _words(db) == {"alice.w", "alice", "w"}
    assert profiles.displayname(db, ALICE) is None
    with db.batch() as batch:
        profiles.delete(batch, ALICE)
    assert _words(db) == set()


def test_words_are_bounded() -> None:
    """A name made of thousands of words fills no disk."""
    found = profiles.words("@a:x", " ".join(f"word{number}" for number in range(1000)))
    assert len(found) <= 20
    assert max(map(len, profiles.words("@a:x", "y" * 256))) <= 64


def test_profile_is_limited_as_a_whole(db: Database) -> None:
    """Many fields together count, and nothing of the last one stays."""
    with db.batch() as batch:
        for number in range(6):
            profiles.set_field(batch, ALICE, f"org.example.f{number}", "x" * 10_000)
    with pytest.raises(ProfileTooLarge), db.batch() as batch:
        profiles.set_field(batch, ALICE, "org.example.more", "x" * 10_000)
    assert len(profiles.get(db, ALICE)) == 6


def test_member_event_says_what_is_set(db: Database) -> None:
    """Absent fields are left out."""
    assert profiles.member_fields(db, ALICE) == {}
    with db.batch() as batch:
        profiles.set_field(batch, ALICE, "avatar_url", "mxc://localhost/a")
    assert profiles.member_fields(db, ALICE) == {"avatar_url": "mxc://localhost/a"}


def test_new_avatar_drops_the_blurhash_of_the_old(db: Database) -> None:
    """Conduit may have stored one."""
    with db.batch() as batch:
        trees.userid_blurhash.put(batch, ALICE, "LKO2?U%2Tw=w]~RBVZRi};RPxuwH")
    assert profiles.BLURHASH in profiles.get(db, ALICE)
    with db.batch() as batch:
        profiles.set_field(batch, ALICE, "avatar_url", "mxc://localhost/a")
    assert profiles.BLURHASH not in profiles.get(db, ALICE)


@pytest.mark.parametrize("name", ["displayname", "avatar_url", "m.tz", "org.example.job_title"])
def test_field_names_of_the_grammar_are_taken(name: str) -> None:
    """The defined ones, and namespaced ones."""
    profiles.check_field_name(name)


@pytest.mark.parametrize("name", ["", "tz", "m.", ".m", "a1._b", "M.tz", "m.tz\n", "m/tz", "m.t\x00z"])
def test_field_names_outside_the_grammar_are_refused(name: str) -> None:
    """Each part begins with a letter."""
    with pytest.raises(InvalidParam):
        profiles.check_field_name(name)


def test_endless_field_name_is_refused() -> None:
    """Counted in bytes."""
    with pytest.raises(KeyTooLarge):
        profiles.check_field_name("m." + "a" * 254)
