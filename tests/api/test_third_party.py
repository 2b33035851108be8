"""Bodies that name people by mail address: each fault has its error."""

from __future__ import annotations

import pytest

from conduit.api import third_party
from conduit.protocol.errors import BadJson, InvalidParam, MissingParam
from conduit.protocol.threepids import ThreePid
from conduit.service.actions.invite_by_threepid import Invitee

INVITE = {"medium": "email", "address": "A@b.c", "id_server": "x.y", "id_access_token": "z"}


def test_invite_is_told_from_one_by_user_id() -> None:
    """A user ID goes before everything else."""
    assert third_party.is_invite(INVITE)
    assert not third_party.is_invite({**INVITE, "user_id": "@a:b"})
    assert not third_party.is_invite({})


def test_invitee_is_read_with_care() -> None:
    """The address becomes canonical; missing, mistyped and impossible fields are told apart."""
    assert third_party.read_invitee(INVITE) == Invitee(ThreePid("email", "a@b.c"), "x.y", "z")
    for name in INVITE:
        with pytest.raises(MissingParam):
            third_party.read_invitee({key: value for key, value in INVITE.items() if key != name})
        with pytest.raises(BadJson):
            third_party.read_invitee({**INVITE, name: 5})
    for name, value in (("id_server", "x/y"), ("address", "nobody"), ("medium", "")):
        with pytest.raises(InvalidParam):
            third_party.read_invitee({**INVITE, name: value})
