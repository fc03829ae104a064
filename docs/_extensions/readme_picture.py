"""Draw the picture that the README's ten lines make: `python docs/_extensions/readme_picture.py`."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

if __name__ == "__main__":
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"<!-- api-example -->\n```python\n(.*?)```", readme, re.DOTALL)
    assert code is not None
    scope: dict = {}
    exec(code.group(1), scope)
    scope["figure"].savefig(ROOT / "docs" / "_static" / "two_modes.png", dpi=150)
