"""The self-check for operators: what it says about good and broken servers."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from conduit.config.schema import Config, Listener, WellKnown
from conduit.protocol.signing import SigningKey
from conduit.service.outbound.check import check
from conduit.service.outbound.resolver import Delegation, Srv
from tests.service.outbound.loopback import Handler, site
from tests.support.certificates import Authority
from tests.support.clock import START_MS, ManualClock
from tests.support.homeserver import serve

KEY = SigningKey(bytes(32), "x")
DATE = {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}


def configured(authority: Authority, **changes: Any) -> Config:
    """Return the configuration of a server that trusts the authority and may call loopback."""
    settings: dict[str, Any] = {
        "allow_federation": True,
        "federation_ca_file": authority.file,
        "ip_range_denylist": (),
        **changes,
    }
    return Config.for_tests(**settings)


async def nobody(host: str) -> Delegation:
    """Delegate to nobody."""
    return Delegation(None, "status 404")


async def no_records(name: str) -> tuple[list[Srv], float]:
    """Know no record."""
    return [], 60.0


async def run(config: Config, server: str | None, **lookups: Any) -> tuple[bool, str]:
    """Return the verdict and all that was said."""
    lines: list[str] = []
    lookups = {"well_known": nobody, "srv": no_records, "clock": ManualClock(), **lookups}
    good = await check(config, server, say=lines.append, **lookups)
    return good, "\n".join(lines)


def matrix(name: list[str], **changes: Any) -> Handler:
    """Return what answers as a Matrix server does; `name` is filled in once it is known."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/_matrix/federation/v1/version":
            return web.json_response({"server": {"name": "Test", "version": "1"}}, headers=DATE)
        document = {
            "server_name": name[0],
            "verify_keys": {KEY.key_id: {"key": KEY.public_key}},
            "old_verify_keys": {},
            "valid_until_ts": START_MS + 24 * 3_600_000,
            **changes,
        }
        return web.json_response(KEY.sign_json(document, name[0]), headers=DATE)

    return handler


async def test_good_server_is_called_good(tmp_path: Path) -> None:
    """With every step that led to it."""
    authority, name = Authority.in_folder(tmp_path), [""]
    async with site(matrix(name), authority=authority) as there:
        name[0] = there.host
        good, said = await run(configured(authority), there.host)
    assert good, said
    for part in ("a name with a port", "connected, the certificate is valid", "ed25519:x", "it runs Test 1"):
        assert part in said
    assert said.endswith("everything is as it should be")


async def test_delegation_and_records_are_told(tmp_path: Path) -> None:
    """The name that the certificate must bear, and the host where it goes."""
    authority = Authority.in_folder(tmp_path)

    async def delegates(host: str) -> Delegation:
        return Delegation("matrix.test")

    async with site(matrix(["a.test"]), authority=authority, names=("matrix.test",)) as there:

        async def points(name: str) -> tuple[list[Srv], float]:
            return [Srv(0, 0, "localhost", there.port)], 60.0

        good, said = await run(configured(authority), "a.test", well_known=delegates, srv=points)
    assert good, said
    assert "delegates to matrix.test" in said
    assert "_matrix-fed._tcp.matrix.test" in said


async def test_delegation_that_says_nothing_is_a_problem(tmp_path: Path) -> None:
    """Though others go on without it; one that is not there is none."""
    authority, name = Authority.in_folder(tmp_path), [""]
    async with site(matrix(name), authority=authority, names=("a.test",), host="localhost") as there:
        name[0] = "a.test"

        async def points(name: str) -> tuple[list[Srv], float]:
            return [Srv(0, 0, "localhost", there.port)], 60.0

        async def broken(host: str) -> Delegation:
            return Delegation(None, "the file is no JSON", is_broken=True)

        good, said = await run(configured(authority), "a.test", srv=points)
        assert good, said
        good, said = await run(configured(authority), "a.test", well_known=broken, srv=points)
    assert not good
    assert "PROBLEM https://a.test/.well-known/matrix/server delegates to nobody: the file is no JSON" in said


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"server_name": "other.test"}, "its keys are not good: they are those of other.test, not of localhost:"),
        ({"server_name": ["x"]}, "its keys are not good: they are those of nobody, not of localhost:"),
        ({"valid_until_ts": START_MS + 60_000}, "valid for less than an hour"),
        ({"verify_keys": {}}, "its keys are not good: none of its current keys has signed it"),
    ],
)
async def test_bad_keys_are_a_problem(tmp_path: Path, changes: Any, problem: str) -> None:
    """Each with its own words."""
    authority, name = Authority.in_folder(tmp_path), [""]
    async with site(matrix(name, **changes), authority=authority) as there:
        name[0] = there.host
        good, said = await run(configured(authority), there.host)
    assert not good
    assert problem in said


async def test_what_is_no_matrix_server_is_told(tmp_path: Path) -> None:
    """A web site at the same place, and a server whose clock is wrong."""
    authority = Authority.in_folder(tmp_path)

    async def website(request: web.BaseRequest) -> web.StreamResponse:
        status = 404 if request.headers["Host"].startswith("localhost") else 200
        return web.Response(text="<html>", status=status, headers={"Date": "Tue, 14 Nov 2023 23:13:20 GMT"})

    async with site(website, authority=authority, names=("localhost", "127.0.0.1")) as there:
        _, said = await run(configured(authority), there.host)
        assert "answers 404: no Matrix server" in said
        assert "differ by 3600 seconds" in said
        good, said = await run(configured(authority), f"127.0.0.1:{there.port}")
        assert "no Matrix server" in said
        assert "no address leads to the server" in said
    assert not good


async def test_certificate_and_connection_are_told(tmp_path: Path) -> None:
    """Not trusted, for another name, or nobody there at all."""
    authority, name = Authority.in_folder(tmp_path), [""]
    async with site(matrix(name), authority=authority, names=("other.test",), host="localhost") as there:
        good, said = await run(configured(authority), there.host)
        assert (good, "certificate is not valid" in said) == (False, True)
        good, said = await run(configured(authority, federation_ca_file=None), there.host)
        assert (good, "certificate is not valid" in said) == (False, True)
    good, said = await run(configured(authority), there.host)
    assert (good, "no connection" in said) == (False, True)
    good, said = await run(configured(authority), "no-such-host.invalid:1")
    assert (good, "cannot be resolved" in said) == (False, True)
    good, said = await run(configured(authority), "no name")
    assert (good, "no server name" in said) == (False, True)


async def test_addresses_that_servers_do_not_call_are_told(tmp_path: Path) -> None:
    """For another server a problem, and nothing is sent."""
    authority, name = Authority.in_folder(tmp_path), [""]
    async with site(matrix(name), authority=authority) as there:
        name[0] = there.host
        good, said = await run(configured(authority, ip_range_denylist=("127.0.0.0/8", "::1/128")), there.host)
        assert there.seen == []
    assert not good
    assert "127.0.0.1 lies in a range that servers do not call" in said


async def test_this_server_is_checked_from_its_configuration(tmp_path: Path) -> None:
    """A real one, over TLS, found by its name."""
    authority = Authority.in_folder(tmp_path)
    certs, key = authority.issue("own", "localhost")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings: dict[str, Any] = {
        "allow_federation": True,
        "federation_ca_file": authority.file,
        "server_name": f"localhost:{port}",
    }
    listeners = (Listener(port=port, certs=certs, key=key), Listener(port=0))
    async with serve(listeners=listeners, **settings) as hs:
        good, said = await run(hs.config, None)
        # Only the real clock fits to the Date of a real answer.
        assert "this server" in said
        assert "lies in a range that servers do not call" in said
        assert "it runs Conduit-py" in said
    good, said = await run(configured(authority, allow_federation=False), None)
    assert not good
    assert "allow_federation is false" in said


async def test_well_known_that_leads_elsewhere_is_told(tmp_path: Path) -> None:
    """What is configured and what others find are two things."""
    authority = Authority.in_folder(tmp_path)

    async def elsewhere(host: str) -> Delegation:
        return Delegation("old.test:1")

    config = configured(authority, server_name="a.test", well_known=WellKnown(server="new.test:443"))
    good, said = await run(config, None, well_known=elsewhere)
    assert not good
    assert "well_known.server is new.test:443, but others are led to old.test:1" in said
