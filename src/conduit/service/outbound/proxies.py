"""Through which proxy a request goes: Conduit's `proxy` setting.

Source: Conduit's configuration, `[global.proxy]`.
"""

from __future__ import annotations

from conduit.config.schema import DomainProxy, Proxy

_ANY = (0, 0)


class Proxies:
    """The rules of the configuration. The first whose lists fit the host decides."""

    def __init__(self, proxy: Proxy) -> None:
        everything = () if proxy.global_ is None else (DomainProxy(url=proxy.global_.url),)
        self._rules = (*everything, *proxy.by_domain)

    def for_host(self, host: str) -> str | None:
        """Return the URL of the proxy for requests to `host`, or `None`."""
        host = host.lower().rstrip(".")
        return next((rule.url for rule in self._rules if _applies(rule, host)), None)


def _applies(rule: DomainProxy, host: str) -> bool:
    # What fits both lists is decided by the more specific entry; a tie excludes.
    included = _best(rule.include, host) if rule.include else _ANY
    excluded = _best(rule.exclude, host)
    return included is not None and (excluded is None or included > excluded)


def _best(patterns: tuple[str, ...], host: str) -> tuple[int, int] | None:
    """Return how specific the best fitting pattern is (name > `*.suffix`, the longer the better > `*`), or `None`."""
    return max((fit for pattern in patterns if (fit := _fit(pattern.lower(), host)) is not None), default=None)


def _fit(pattern: str, host: str) -> tuple[int, int] | None:
    if pattern == "*":
        return _ANY
    if pattern.startswith("*."):
        return (1, len(pattern)) if host.endswith(pattern[1:]) else None
    return (2, 0) if host == pattern else None
