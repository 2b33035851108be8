"""What operators are told to do; tests/service/outbound/test_check.py has the servers to which it is said."""

from __future__ import annotations

import errno

import pytest

from conduit.service.outbound import advice
from conduit.service.outbound.errors import BadCertificate, HttpDenied, HttpFailed, NotConnected, NoTls


@pytest.mark.parametrize(
    ("failure", "remedy"),
    [
        (NotConnected("", errno.ECONNREFUSED), "nothing listens on port 8448 there"),
        (NotConnected("", errno.ETIMEDOUT), "let firewalls and routers on the way pass connections to port 8448"),
        (NotConnected("", errno.EHOSTUNREACH), "let firewalls"),
        (NoTls(""), "port 8448 must speak TLS"),
        (HttpDenied(""), "publish an address that the Internet reaches"),
        (BadCertificate("", 10), "renew it"),
        (BadCertificate("", 62), "get a certificate for a.test"),
        (BadCertificate("", 23), ""),
        (HttpFailed("no answer within 20 seconds"), ""),
    ],
)
def test_remedy_fits_the_failure(failure: HttpFailed, remedy: str) -> None:
    """Nothing is said where nobody can tell."""
    said = advice.on_failure(failure, tls_name="a.test", port=8448)
    assert said.startswith(remedy)
    assert bool(said) == bool(remedy)
