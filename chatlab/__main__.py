"""`python -m chatlab`, the same as `chatlab`."""

import sys

from chatlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
