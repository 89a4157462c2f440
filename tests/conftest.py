"""What all tests share: how Hypothesis looks for examples."""

from __future__ import annotations

import importlib.util

# colcon test runs the test of the messages where only a robot's packages are installed.
if importlib.util.find_spec('hypothesis') is not None:
    from hypothesis import HealthCheck, settings

    # How long an example takes says something of the machine and nothing of the code.
    settings.register_profile(
        'explore', deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    # The same examples in every run: no change is refused for what is wrong elsewhere.
    settings.register_profile('repeat', settings.get_profile('explore'), derandomize=True)
    settings.load_profile('explore')
