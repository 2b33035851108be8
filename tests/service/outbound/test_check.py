"""The self-check for operators: what it says about good and broken servers."""

from __future__ import annotations

import socket
from datetime import timedelta
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

KEY, OTHER = SigningKey(bytes(32), "x"), SigningKey(bytes(31) + b"1", "x")
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
    """Though others go on without it, as with one whose certificate is not good; one that is not there is none."""
    authority, name = Authority.in_folder(tmp_path), [""]
    async with site(matrix(name), authority=authority, names=("a.test",), host="localhost") as there:
        name[0] = "a.test"

        async def points(name: str) -> tuple[list[Srv], float]:
            return [Srv(0, 0, "localhost", there.port)], 60.0

        async def broken(host: str) -> Delegation:
            return Delegation(None, "the file is a web page", is_broken=True)

        async def expired(host: str) -> Delegation:
            return Delegation(None, "its certificate is not valid", answered=False, certificate_fault=10)

        good, said = await run(configured(authority), "a.test", srv=points)
        assert good, said
        good, said = await run(configured(authority), "a.test", well_known=broken, srv=points)
        assert not good
        assert "PROBLEM https://a.test/.well-known/matrix/server delegates to nobody: the file is a web page" in said
        assert "to do: let the web server of a.test pass /.well-known/matrix/ on to this server" in said
        good, said = await run(configured(authority), "a.test", well_known=expired, srv=points)
        assert not good
        assert "to do: renew it" in said


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"server_name": "other.test"}, "its keys are not good: they are those of other.test, not of localhost:"),
        ({"server_name": ["x"]}, "its keys are not good: they are those of nobody, not of localhost:"),
        ({"valid_until_ts": START_MS + 60_000}, "valid for less than an hour"),
        ({"verify_keys": {}}, "its keys are not good: none of its current keys has signed it"),
        (
            {"verify_keys": {KEY.key_id: {"key": OTHER.public_key}}},
            "its keys are not good: the signature by ed25519:x is wrong",
        ),
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


@pytest.mark.parametrize(
    ("certificate", "trusted", "problem", "remedy"),
    [
        ({"ended": timedelta(hours=1)}, True, "certificate has expired", "renew it"),
        ({"ended": timedelta(days=-30)}, True, "certificate is not yet valid", "compare the clocks"),
        (
            {"names": ("other.test",)},
            True,
            "certificate is not valid for 'localhost'",
            "get a certificate for localhost",
        ),
        (
            {"names": ("other.test", "127.0.0.2")},
            True,
            "not valid for 'localhost'",
            "delegate to a name that this one has",
        ),
        ({"self_signed": True}, True, "self-signed certificate", "from a public authority"),
        ({}, False, "unable to get local issuer certificate", "send the whole chain"),
    ],
)
async def test_bad_certificate_is_told_with_a_remedy(
    tmp_path: Path, certificate: Any, trusted: bool, problem: str, remedy: str
) -> None:
    """What is wrong with it, and what to do about it."""
    authority, name = Authority.in_folder(tmp_path), [""]
    config = configured(authority) if trusted else configured(authority, federation_ca_file=None)
    async with site(matrix(name), authority=authority, host="localhost", **certificate) as there:
        name[0] = there.host
        good, said = await run(config, there.host)
    assert not good
    found, to_do = said.splitlines()[2:4]
    assert found.startswith(f"  PROBLEM 127.0.0.1:{there.port}: its certificate is not valid: ")
    assert problem in found
    assert to_do.startswith("          to do: ")
    assert remedy in to_do


async def test_lost_connections_are_told_with_a_remedy(tmp_path: Path) -> None:
    """Nobody there, somebody who does not speak TLS, a host without an address, what is no name at all."""
    authority, name = Authority.in_folder(tmp_path), [""]
    async with site(matrix(name)) as there:
        good, said = await run(configured(authority), there.host)
    assert (good, "no TLS connection" in said, "must speak TLS" in said) == (False, True, True)
    good, said = await run(configured(authority), there.host)
    assert (good, "no connection: connection refused" in said) == (False, True)
    assert f"nothing listens on port {there.port}" in said
    good, said = await run(configured(authority), "no-such-host.invalid:1")
    assert (good, "cannot be resolved" in said) == (False, True)
    assert "give no-such-host.invalid an address record" in said
    good, said = await run(configured(authority), "no name")
    assert (good, "no server name" in said) == (False, True)


async def test_delegated_host_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With the host and the port to which the file leads."""

    async def delegates(host: str) -> Delegation:
        return Delegation("matrix.invalid:443")

    good, said = await run(configured(Authority.in_folder(tmp_path)), "a.test", well_known=delegates)
    assert not good
    assert "PROBLEM matrix.invalid cannot be resolved" in said
    assert "let what leads there name another host" in said
    assert "no address leads to the server" in said


async def test_records_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    """One that says so, one whose host is not there, and records that cannot be looked up."""
    config = configured(Authority.in_folder(tmp_path))

    async def nowhere(name: str) -> tuple[list[Srv], float]:
        return [Srv(0, 0, ".", 0)], 60.0

    async def lost(name: str) -> tuple[list[Srv], float]:
        return [Srv(0, 0, "matrix.invalid", 8448)], 60.0

    async def silent(name: str) -> tuple[list[Srv], float]:
        raise OSError("all nameservers failed to answer")

    good, said = await run(config, "a.test", srv=nowhere)
    assert (good, "its SRV record _matrix-fed._tcp.a.test says that there is no server" in said) == (False, True)
    assert "to do: let the record name a host and a port, or remove it" in said
    good, said = await run(config, "a.test", srv=lost)
    assert (good, "SRV _matrix-fed._tcp.a.test" in said, "matrix.invalid cannot be resolved" in said) == (
        False,
        True,
        True,
    )
    good, said = await run(config, "a.invalid", srv=silent)
    assert not good
    assert (
        "note    SRV records _matrix-fed._tcp.a.invalid cannot be looked up: all nameservers failed to answer" in said
    )


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
