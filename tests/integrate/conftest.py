"""The start of a short run."""

import pytest
from double_well_run import GRID, START


@pytest.fixture(scope="session")
def start():
    return GRID.density(START)
