"""What all tests share: helper modules beside this file are importable."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("btard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("btard")
