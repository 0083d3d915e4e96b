"""Runs the command ``pgswitch`` for ``python -m pgswitch``."""

import sys

from pgswitch.cli import main

sys.exit(main())
