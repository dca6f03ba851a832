"""latentscape: a folder of sounds becomes a space you can travel through.

>>> import latentscape as ls
>>> instrument = ls.load("runs/strings")  # doctest: +SKIP
>>> wave = instrument.render(instrument.walk("circle"), seconds=10)  # doctest: +SKIP

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Instrument": "instrument.instrument",
    "Circle": "geometry.paths",
    "Diagonal": "geometry.paths",
    "Drift": "geometry.paths",
    "Grid": "geometry.paths",
    "Line": "geometry.paths",
    "Lissajous": "geometry.paths",
    "Moved": "geometry.paths",
    "Polyline": "geometry.paths",
    "RandomWalk": "geometry.paths",
    "Recorded": "geometry.paths",
    "Retimed": "geometry.paths",
    "Sequence": "geometry.paths",
    "Sphere": "geometry.paths",
    "Spiral": "geometry.paths",
    "Spline": "geometry.paths",
    "Traversal": "geometry.paths",
    "Path": "geometry.path",
    "join": "geometry.travel",
    "travel": "geometry.travel",
    "retimed": "geometry.pace",
    "timed_like": "geometry.pace",
    "load_path": "geometry.paths",
    "save_path": "geometry.paths",
    "RunConfig": "experiment.config",
    "open_source": "data.sources",
    "load": "instrument.loading",
    "evaluate": "experiment.evaluate",
    "examine": "experiment.examine",
    "make_run": "experiment.train",
    "read": "signal.audio",
    "write": "signal.audio",
}

__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'latentscape' has no attribute '{name}'")
    value = getattr(import_module(f"latentscape.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
