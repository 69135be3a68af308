"""Where caches and the ledger of single stages live."""

import os
from pathlib import Path


def home() -> Path:
    """`$SPARING_HOME`, or `~/.cache/sparing`; not made until something is written there."""
    return Path(os.environ.get("SPARING_HOME") or "~/.cache/sparing").expanduser()
