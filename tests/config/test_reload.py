from dataclasses import replace

from conduit.config.reload import take_over
from conduit.config.schema import Config, RateLimits


def test_only_what_may_change_is_taken_over() -> None:
    """The log level changes at once, the port waits for a restart, and both are told."""
    old = Config.for_tests()
    new = replace(old, log="debug", port=old.port + 1, rate_limits=RateLimits(), allow_registration=False)
    reloaded = take_over(old, new)
    assert reloaded.config == replace(old, log="debug", rate_limits=RateLimits(), allow_registration=False)
    assert set(reloaded.taken) == {"log", "rate_limits", "allow_registration"}
    assert reloaded.waiting == ("port",)


def test_switching_federation_waits_for_a_restart() -> None:
    """On or off: nothing of it is taken over, and the log will say so."""
    off = Config.for_tests(allow_federation=False)
    on = replace(off, allow_federation=True)
    for old, new in ((off, on), (on, off)):
        reloaded = take_over(old, new)
        assert (reloaded.config, reloaded.taken, reloaded.waiting) == (old, (), ("allow_federation",))


def test_same_configuration_changes_nothing() -> None:
    """A reload without changes says so."""
    old = Config.for_tests()
    reloaded = take_over(old, Config.for_tests())
    assert (reloaded.config, reloaded.taken, reloaded.waiting) == (old, (), ())
