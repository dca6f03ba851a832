"""Named experiments: one YAML file each, shipped with the package.

A recipe is a title, a few lines about what it is for and what to expect, and the settings in which it differs from the
defaults; or, with ``like: NAME``, in which it differs from another recipe.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from latentscape.core.config import from_yaml, merge
from latentscape.core.errors import ConfigError, UsageError, nearest


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
    """Return a recipe as it is written; a name that ends with .yaml is a file of one's own.

    Raises:
        UsageError: there is no such recipe; the nearest names are offered.
    """
    if name.endswith((".yaml", ".yml")):
        try:
            return Path(name).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the recipe {name} can't be read: {error}") from error
    known = recipe_names()
    if name not in known:
        raise UsageError(f"unknown recipe '{name}'{nearest(name, known)}")
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def load_recipe(name: str) -> Recipe:
    """Return a recipe by name; see :func:`read_text` for the error.

    Raises:
        ConfigError: a file of one's own is not YAML, not a mapping of settings, or like a recipe that is not there.
    """
    try:
        values = from_yaml(read_text(name))
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{name} holds {type(values).__name__}, expected settings such as `model: {{latent: 16}}`")
    title, about = str(values.pop("title", name)), str(values.pop("about", "")).strip()
    like = values.pop("like", None)
    if like is not None:
        if like not in recipe_names() or like == name:
            raise ConfigError(f"{name}: like: '{like}' is not known{nearest(str(like), recipe_names())}")
        values = merge(load_recipe(like).values, values)
    return Recipe(name, title, about, values)
