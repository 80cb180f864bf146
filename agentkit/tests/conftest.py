"""What all tests of agentkit have in common."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A machine that does much else at once is slow, which is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
