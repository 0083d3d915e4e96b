"""Lets ``python -m pgswitch`` do what the command ``pgswitch`` does."""

import sys

from pgswitch.cli import main

sys.exit(main())
