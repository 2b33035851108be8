"""Third-party invites are refused, in the right words for each fault."""

from __future__ import annotations

import pytest

from conduit.api import third_party
from conduit.protocol.errors import BadJson, MissingParam, ThreepidDenied

INVITE = {"medium": "email", "address": "a@b.c", "id_server": "x.y", "id_access_token": "z"}


def test_invite_is_told_from_one_by_user_id() -> None:
    """A user ID goes before everything else."""
    assert third_party.is_invite(INVITE)
    assert not third_party.is_invite({**INVITE, "user_id": "@a:b"})
    assert not third_party.is_invite({})


def test_invite_is_refused_for_what_is_wrong_with_it() -> None:
    """Missing and mistyped fields come before the refusal itself."""
    for name in INVITE:
        with pytest.raises(MissingParam):
            third_party.refuse_invite({key: value for key, value in INVITE.items() if key != name})
        with pytest.raises(BadJson):
            third_party.refuse_invite({**INVITE, name: 5})
    with pytest.raises(ThreepidDenied):
        third_party.refuse_invite(INVITE)
