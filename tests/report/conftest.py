"""Pictures are what is tested here, so they are drawn."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _drawing(drawing):
    pass
