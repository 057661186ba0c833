"""What the options of several commands share: where the files are, and how a command ends that could not run."""

import os
from pathlib import Path
from typing import Final

#: Exit code of every command: 0 good, 1 findings or refused, 2 could not run.
COULD_NOT_RUN: Final = 2
CONFIG_VARIABLE: Final = "OIDC_GATEWAY_CONFIG"


def default_config() -> Path:
    """Return the folder of the files where no option names one; a variable without a value counts as not set."""
    return Path(os.environ.get(CONFIG_VARIABLE) or "config")
