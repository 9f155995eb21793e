"""``python -m rdo_promoter.cli``."""

from __future__ import annotations

import sys

from rdo_promoter.cli import main

sys.exit(main())
