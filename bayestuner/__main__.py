"""``python -m bayestuner`` is the command ``bayestuner``.

Python puts the current folder first on the path of what it starts by ``-m``: it is taken off again before anything else is imported, so
that nobody who may write there can plant modules. What Python itself imported before can't be helped: ``python -P -m bayestuner`` and the
command ``bayestuner`` never look there.
"""

import sys

if not sys.flags.safe_path and __spec__ is not None and not str(__spec__.origin).startswith(sys.path[0] + "/"):  # else run from its sources
    del sys.path[0]

from bayestuner.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
