"""``python -m bayestuner.zoo NAME --batch N``: the job process."""

import sys

from bayestuner.zoo.job import main

if __name__ == "__main__":
    sys.exit(main())
