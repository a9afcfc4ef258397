"""``python -m bayestuner`` is the command ``bayestuner``."""

import sys

from bayestuner.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
