"""How long `import wfr_pde` takes: the least of some new processes, CPU seconds, without the start of Python.

python benchmarks/import_time.py [--repeat 20]
"""

from __future__ import annotations

import argparse
import subprocess
import sys

CODE = "import time; began = time.process_time(); import wfr_pde; print(time.process_time() - began)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    command = [sys.executable, "-c", CODE]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(arguments.repeat)]
    print(f"import wfr_pde: {1e3 * min(float(run.stdout) for run in runs):.0f} ms, least of {arguments.repeat}")


if __name__ == "__main__":
    main()
