"""How long `import wfr_pde` takes: the least of some new processes, CPU seconds, without the start of Python.

Files are compiled once, beforehand, as an installation does it: without bytecode, with PYTHONDONTWRITEBYTECODE in a
source tree, the import takes about twice as long.

python benchmarks/import_time.py [--repeat 20]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

CODE = "import time; began = time.process_time(); import wfr_pde; print(time.process_time() - began)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    command = [sys.executable, "-c", CODE]
    with tempfile.TemporaryDirectory() as bytecode:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        _compiling, *runs = [
            float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
            for _ in range(arguments.repeat + 1)
        ]
    print(f"import wfr_pde: {1e3 * min(runs):.0f} ms, least of {arguments.repeat}")


if __name__ == "__main__":
    main()
