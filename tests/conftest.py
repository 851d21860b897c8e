"""What all tests share."""

from hypothesis import HealthCheck, settings

# A machine that others use too is slow now and then: that is no fault of what is tested.
settings.register_profile(
    "hubbub", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("hubbub")
