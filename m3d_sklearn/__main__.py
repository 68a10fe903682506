"""``python -m m3d_sklearn``: see :mod:`m3d_sklearn.cli`."""

import sys

from m3d_sklearn.cli import main

if __name__ == "__main__":
    sys.exit(main())
