"""Named experiments: one YAML file each, shipped with the package.

A recipe is a title, a few lines about what it is for and what to expect, and the settings in which it differs from the
defaults.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from latentscape.core.errors import UsageError, nearest


@dataclass(frozen=True)
class Recipe:
    """A named experiment.

    Attributes:
        name: of its file.
        title: one line, what it is for.
        about: what it does and what to expect.
        values: the settings, as nested plain data.
    """

    name: str
    title: str
    about: str
    values: dict[str, Any]


def recipe_names() -> list[str]:
    """Return the names of all recipes, sorted."""
    names = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def read_text(name: str) -> str:
    """Return a recipe as it is written.

    Raises:
        UsageError: there is no such recipe; the nearest names are offered.
    """
    known = recipe_names()
    if name not in known:
        raise UsageError(f"unknown recipe '{name}'{nearest(name, known)}")
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def load_recipe(name: str) -> Recipe:
    """Return a recipe by name; see :func:`read_text` for the error."""
    values = yaml.safe_load(read_text(name))
    return Recipe(name, values.pop("title"), values.pop("about").strip(), values)
