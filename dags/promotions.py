"""One Airflow Dag a release: every YAML file of the releases folder becomes one. It never raises.

The word airflow has to stand in this file, or Airflow's safe mode does not look into it.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import rdo_promoter  # noqa: F401 - a wheel, or PYTHONPATH
except ImportError:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "include"))

from rdo_promoter.dag_factory import dags

globals().update(dags())
