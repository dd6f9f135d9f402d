"""Settings for every property test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# An example that is slow on a busy machine says nothing about the code; bounds on time are asserted where they
# are meant, by `pytest.mark.timeout`.
settings.register_profile("weightshare", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("weightshare")
