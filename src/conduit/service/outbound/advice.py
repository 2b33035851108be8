"""What to do about a server that cannot be reached, in one sentence for whoever runs it."""

from __future__ import annotations

import errno

from conduit.service.outbound.errors import BadCertificate, HttpDenied, HttpFailed, NotConnected, NoTls

_EXPIRED, _NOT_YET_VALID = 10, 9
_SELF_SIGNED = frozenset({18, 19})
_NO_ISSUER = frozenset({2, 20, 21})
_OTHER_NAME = frozenset({62, 64})
"""OpenSSL's numbers, in `x509_vfy.h`."""


def on_failure(error: HttpFailed, *, tls_name: str, port: int) -> str:
    """Return what helps against the failure of a request to `port`, where the certificate must name `tls_name`; empty if nobody can tell."""
    if isinstance(error, BadCertificate):
        return on_certificate(error.code, tls_name)
    if isinstance(error, NoTls):
        return f"port {port} must speak TLS: give this server its certificate ([global.tls]), or put a proxy that has one in front"
    if isinstance(error, NotConnected):
        if error.errno == errno.ECONNREFUSED:
            return f"nothing listens on port {port} there: start what should, or let the delegation name the right port"
        return f"let firewalls and routers on the way pass connections to port {port}"
    if isinstance(error, HttpDenied):
        return "publish an address that the Internet reaches, or take this one out of ip_range_denylist"
    return ""


def on_certificate(code: int, tls_name: str) -> str:
    """Return what helps against a certificate that should name `tls_name` and has the fault of that number; empty if nobody can tell."""
    if code == _EXPIRED:
        return "renew it, and let what speaks TLS there read it anew (this server does at SIGHUP)"
    if code == _NOT_YET_VALID:
        return "compare the clocks of both machines, or wait until it is valid"
    if code in _SELF_SIGNED:
        return (
            "servers believe no certificate that signs itself: get one from a public authority, such as Let's Encrypt"
        )
    if code in _NO_ISSUER:
        return (
            "send the whole chain (fullchain.pem, not cert.pem) of a public authority; if the authority is your own, "
            "every server needs it in its federation_ca_file"
        )
    if code in _OTHER_NAME:
        return f"get a certificate for {tls_name}, or delegate to a name that this one has (well_known.server)"
    return ""
