"""The package's own names are loaded on first use, and all of them exist."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

import latentscape as ls


def test_every_public_name_exists():
    for name in ls.__all__:
        assert getattr(ls, name) is not None
    assert set(ls.__all__) <= set(dir(ls))
    with pytest.raises(AttributeError, match="Circl"):
        _ = ls.Circl


def test_no_public_name_is_a_room():
    """Whoever imports a room makes it an attribute of the package, in place of what was meant by its name."""
    for name in ls.__all__:
        assert find_spec(f"latentscape.{name}") is None, name


def test_importing_costs_nothing():
    code = "import sys, latentscape; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
