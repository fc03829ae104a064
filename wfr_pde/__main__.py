"""`python -m wfr_pde`: the command line, where its script is not on the path."""

import sys

from wfr_pde.app.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
