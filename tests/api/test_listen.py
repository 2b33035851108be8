"""Listeners."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from conduit.api import listen
from conduit.api.listen import CannotListen
from conduit.config.schema import Listener
from tests.support.homeserver import Homeserver, serve

VERSIONS = "/_matrix/client/versions"


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of a self-signed certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certs, private = folder / f"{name}.pem", folder / f"{name}.key"
    certs.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption()))
    return certs, private


async def _get(url: str, connector: aiohttp.BaseConnector | None = None) -> int:
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url + VERSIONS) as response:
        return response.status


async def test_several_listeners_serve_the_same(hs: Homeserver, tmp_path: Path) -> None:
    """IPv4, a Unix socket and IPv6, where the machine has it."""
    listeners = [Listener(address="127.0.0.1", port=0), Listener(path=tmp_path / "socket")]
    if socket.has_ipv6:
        listeners.append(Listener(address="::1", port=0))
    listening = await listen.start(hs.app, listeners)
    try:
        assert await _get(listening.addresses[0]) == 200
        assert listening.addresses[1] == f"http+unix:{tmp_path / 'socket'}"
        assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o660
        assert await _get("http://localhost", aiohttp.UnixConnector(str(tmp_path / "socket"))) == 200
        for address in listening.addresses[2:]:
            assert address.startswith("http://[::1]:")
            assert await _get(address) == 200
    finally:
        await listening.stop(1)


async def test_tls_is_spoken_and_certificates_can_be_renewed(hs: Homeserver, tmp_path: Path) -> None:
    """A connection after the reload sees the new certificate; a broken one changes nothing."""
    certs, key = make_certificate(tmp_path, "old")
    listening = await listen.start(hs.app, [Listener(address="127.0.0.1", port=0, certs=certs, key=key)])
    try:
        url = listening.addresses[0]
        assert url.startswith("https://127.0.0.1:")
        assert "old" in await _common_name(url, certs)
        new_certs, new_key = make_certificate(tmp_path, "new")
        certs.write_bytes(new_certs.read_bytes())
        key.write_bytes(new_key.read_bytes())
        listening.reload_certificates()
        assert "new" in await _common_name(url, new_certs)
        make_certificate(tmp_path, "other")
        key.write_bytes((tmp_path / "other.key").read_bytes())
        with pytest.raises(CannotListen, match=r"old\.pem: the key .*old\.key belongs to another"):
            listening.reload_certificates()
        certs.write_text("nonsense")
        with pytest.raises(CannotListen, match=r"old\.pem: it or its key .*old\.key is no PEM file"):
            listening.reload_certificates()
        assert "new" in await _common_name(url, new_certs)
    finally:
        await listening.stop(1)


async def _common_name(url: str, trusted: Path) -> str:
    context = ssl.create_default_context(cafile=str(trusted))
    port = int(url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    try:
        return str(writer.get_extra_info("peercert")["subject"])
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_port_in_use_is_said_in_one_line(hs: Homeserver) -> None:
    """And the listeners opened before are closed again."""
    port = int(hs.url.rpartition(":")[2])
    with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1 port {port}: address already in use$"):
        await listen.start(hs.app, [Listener(address="127.0.0.1", port=0), Listener(address="127.0.0.1", port=port)])


async def test_an_address_of_a_network_that_is_not_there_is_said_in_one_line(hs: Homeserver) -> None:
    """What the resolver says has numbers of its own."""
    with pytest.raises(CannotListen, match=r"cannot listen on fe80::1%nosuch port 0: (?!unknown error)[a-z]"):
        await listen.start(hs.app, [Listener(address="fe80::1%nosuch", port=0)])


async def test_a_missing_certificate_is_said_in_one_line(hs: Homeserver, tmp_path: Path) -> None:
    """The message names the file."""
    missing = tmp_path / "none.pem"
    with pytest.raises(CannotListen, match=r"none\.pem"):
        await listen.start(hs.app, [Listener(address="127.0.0.1", port=0, certs=missing, key=missing)])


async def test_a_key_with_a_password_is_refused(hs: Homeserver, tmp_path: Path) -> None:
    """Nobody is asked for it."""
    certs, key = make_certificate(tmp_path, "locked")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(CannotListen, match="is no PEM file, or one with a password"):
        await listen.start(hs.app, [Listener(address="127.0.0.1", port=0, certs=certs, key=key)])


async def test_after_stop_nobody_listens(hs: Homeserver) -> None:
    """Idle connections are closed and new ones refused."""
    listening = await listen.start(hs.app, [Listener(address="127.0.0.1", port=0)])
    host, port = listening.addresses[0].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await listening.stop(1)
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


@pytest.mark.parametrize(("proxies", "served"), [((), 3), (("127.0.0.0/8",), 6)])
async def test_advisory_25_one_address_has_a_bounded_number_of_connections(
    monkeypatch: pytest.MonkeyPatch, proxies: tuple[str, ...], served: int
) -> None:
    """Further ones are closed at once, until one of the others ends, and the log says so once. A proxy has as many as it has clients."""
    monkeypatch.setattr(listen, "MAX_CONNECTIONS", 3)
    async with serve(trusted_proxies=proxies) as hs:
        listening = await listen.start(hs.app, [Listener(address="127.0.0.1", port=0)])
        host, port = listening.addresses[0].removeprefix("http://").split(":")
        opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def answers() -> bool:
            opened.append(await asyncio.open_connection(host, port))
            reader, writer = opened[-1]
            writer.write(f"GET {VERSIONS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            try:
                return (await reader.read(12)) == b"HTTP/1.1 200"
            except ConnectionError:
                return False

        async def close_all() -> None:
            for _, writer in opened:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        with capture_logs() as logs:
            assert [await answers() for _ in range(6)] == [True] * served + [False] * (6 - served)
        told = [line["address"] for line in logs if line["event"] == "too_many_connections"]
        assert told == ([host] if served < 6 else [])
        await close_all()
        async with asyncio.timeout(10):
            while not await answers():
                pass
        await close_all()
        await listening.stop()
