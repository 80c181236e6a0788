"""What every test runs under: hypothesis profiles and the kernel tier."""

import os

from hypothesis import HealthCheck, settings

from tests.kernel_tier import pytest_addoption, pytest_configure

__all__ = ["pytest_addoption", "pytest_configure"]

# The gate decides whether a change lands, so it must say the same twice: no dice,
# no example database, no limits that a busy machine could trip.
settings.register_profile(
    "gate",
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# HYPOTHESIS_PROFILE=explore looks for what the gate has not met: dice and many more examples.
settings.register_profile("explore", deadline=None, max_examples=5_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
