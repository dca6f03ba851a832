"""Grids: which cells a benchmark holds, as one YAML file says, each resolved to a whole configuration before any runs.

A grid varies one thing at a time. Every *family* is the grid's ``base`` with the family's settings laid over it; it
runs with several seeds on the first source and once on every other. An *axis* changes the settings of some families
once more, one cell a value; the level that it is compared with is the family itself. An axis carries one written
expectation and its measurable form: ``measure`` is expected to be ``lower``, ``higher`` or the ``same`` than at the
family's own level.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from latentscape.benchmark.catalogue import CATALOGUE, Suite
from latentscape.core.config import Record, from_yaml, merge, parse
from latentscape.core.errors import ConfigError, UsageError, nearest
from latentscape.experiment.config import RunConfig

Expect = Literal["lower", "higher", "same"]
FAMILY = ""
"""The axis of a cell that is a family as it is."""
_DATA = (("representation",), ("window",), ("source",), ("data", "binarise"), ("data", "mask"))
"""Settings that say what x is."""
_MADE_OF = {"": (), "data": _DATA, "law": (*_DATA, ("model", "likelihood"))}
"""What must be left alone for two values of a number to be compared, by :attr:`Entry.within`."""


class MeasuringConfig(Record):
    """How much a cell is measured; equal for all cells of a grid.

    Attributes:
        items: held-out items (images, or frames and patches of sound) that codes and errors are taken of.
        importance_samples: K of the importance-weighted likelihood; 0 leaves it out.
        likelihood_items: held-out items that it is the mean of.
        samples: draws of the prior, and real items that they are compared with; as many of one as of the other.
        replicates: bootstrap replicates of the Frechet distance, which are dear.
        second_stages: also draw codes from a mixture and a flow that are fitted on the codes of the training data.
        stage_codes: codes of training items that the second stages are fitted on.
        clips: test sounds that are re-synthesised.
        clip_seconds: s; of each at most so much.
        sound_seconds: s; length of a sound drawn from the prior.
        quality: of the phase recovery.
        draw: make pictures and sounds.
    """

    items: PositiveInt = 2000
    importance_samples: int = Field(100, ge=0)
    likelihood_items: PositiveInt = 1000
    samples: int = Field(2000, ge=8)
    replicates: PositiveInt = 20
    second_stages: bool = True
    stage_codes: PositiveInt = 10_000
    clips: PositiveInt = 24
    clip_seconds: PositiveFloat = 4.0
    sound_seconds: float = Field(0.5, ge=0.4)
    quality: Literal["best", "fast"] = "best"
    draw: bool = True


class AxisConfig(Record):
    """One thing that is varied.

    Attributes:
        title: short.
        expectation: what is expected of it and why, one sentence, written before it was measured.
        measure: the number of the catalogue that the expectation speaks of.
        expect: how its levels are expected to differ from the reference.
        otherwise: levels that are expected to differ in another way, such as those on its other side.
        reference: name of the level that the families themselves have.
        families: which families it is varied of.
        values: name of each other level, and its settings.
        also: further settings that a family needs at a level: ``{level: {family: settings}}``.
    """

    title: str
    expectation: str
    measure: str
    expect: Expect
    otherwise: dict[str, Expect] = {}
    reference: str
    families: tuple[str, ...] = Field(min_length=1)
    values: dict[str, dict[str, Any]] = Field(min_length=1)
    also: dict[str, dict[str, dict[str, Any]]] = {}

    @field_validator("measure")
    @classmethod
    def _known(cls, measure: str) -> str:
        if measure not in CATALOGUE:
            raise ValueError(f"a number of the catalogue{nearest(measure, CATALOGUE)}")
        return measure

    @model_validator(mode="after")
    def _comparable(self) -> "AxisConfig":
        for level in self.values:
            if not self.compares(level, self.measure):
                raise ValueError(
                    f"a measure that means the same at every level: '{level}' changes the data or the likelihood, so "
                    f"that its {self.measure} can't be compared"
                )
        return self

    def expected(self, level: str) -> Expect:
        """Return how a level is expected to differ from the reference."""
        return self.otherwise.get(level, self.expect)

    def compares(self, level: str, measure: str) -> bool:
        """Return whether a level leaves alone what a number of the catalogue can only be compared within."""
        changes = (self.values[level], *self.also.get(level, {}).values())
        return not any(_says(change, path) for change in changes for path in _MADE_OF[CATALOGUE[measure].within])


class GridConfig(Record):
    """A grid as its file says it.

    Attributes:
        title: one line.
        suite: images or notes; chooses the measures.
        sources: corpora; the first carries axes and seeds.
        minutes: bound on the training of a cell; ``base.train.max_steps`` is the budget, and the fewer steps are taken.
        seeds: of every family on the first source.
        measuring: how much is measured.
        base: settings of all cells.
        families: settings of each.
        reference: the family that the others are compared with.
        axes: what is varied.
    """

    title: str
    suite: Suite
    sources: tuple[str, ...] = Field(min_length=1)
    minutes: PositiveFloat
    seeds: PositiveInt = 1
    measuring: MeasuringConfig = MeasuringConfig()
    base: dict[str, Any] = {}
    families: dict[str, dict[str, Any]] = Field(min_length=1)
    reference: str
    axes: dict[str, AxisConfig] = {}

    def compares(self, families: Sequence[str], measure: str) -> bool:
        """Return whether families have in common what a number of the catalogue can only be compared within."""
        made = [merge(self.base, self.families[family]) for family in families]
        paths = _MADE_OF[CATALOGUE[measure].within]
        return all(_at(one, path) == _at(made[0], path) for one in made[1:] for path in paths)


def _at(settings: Any, path: Sequence[str]) -> Any:
    """Return what nested settings hold at a path, ``None`` where they say nothing of it."""
    for key in path:
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    return settings


def _says(settings: Any, path: Sequence[str]) -> bool:
    """Return whether nested settings hold a path."""
    for key in path:
        if not isinstance(settings, Mapping) or key not in settings:
            return False
        settings = settings[key]
    return True


@dataclass(frozen=True)
class Cell:
    """One run of a grid, ready to be trained and measured.

    Attributes:
        name: of its folder; unique in the grid.
        suite: images or notes.
        source: its corpus.
        family: as in the grid.
        axis: what is varied; empty for a family as it is.
        value: the level; empty likewise.
        reference: whether it is the grid's reference family as it is.
        seed: of weights, batches and noise.
        minutes: bound on training.
        config: the whole configuration of its run.
        measuring: how much is measured.
    """

    name: str
    suite: Suite
    source: str
    family: str
    axis: str
    value: str
    reference: bool
    seed: int
    minutes: float
    config: RunConfig
    measuring: MeasuringConfig

    @property
    def data(self) -> str:
        """What the model was given, in words."""
        if self.suite == "notes":
            return self.source
        how = {"dynamic": "dynamic binarisation", "static": "static binarisation (one draw, seed 0)", "none": "grey"}
        # a source that comes binary stays so, whatever the configuration says
        return f"{self.source}, {how[self.config.data.binarise]}"

    @property
    def limits(self) -> bool:
        """Whether this is the cell that also says what real data of its source reach."""
        return self.reference and self.seed == 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data, from which :meth:`from_json` makes the same cell."""
        about = {name: getattr(self, name) for name in _PLAIN}
        config, measuring = (record.model_dump(mode="json") for record in (self.config, self.measuring))
        return {**about, "data": self.data, "config": config, "measuring": measuring}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Cell":
        """Return the cell that plain data describe.

        Raises:
            ConfigError: they describe none.
        """
        where = f"cell {values.get('name')}"
        if missing := [name for name in (*_PLAIN, "config", "measuring") if name not in values]:
            raise ConfigError(f"{where}: '{missing[0]}' is missing")
        config = parse(RunConfig, values["config"], where)
        return cls(
            **{name: values[name] for name in _PLAIN},
            config=config,
            measuring=parse(MeasuringConfig, values["measuring"], where),
        )


_PLAIN = ("name", "suite", "source", "family", "axis", "value", "reference", "seed", "minutes")


@dataclass(frozen=True)
class Grid:
    """A grid and its cells in order.

    Attributes:
        config: as the file says it.
        cells: what is to be run: the first source's families, seed after seed, other sources, axes.
    """

    config: GridConfig
    cells: tuple[Cell, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the file's content, and the cells with their whole configurations."""
        return self.config.model_dump(mode="json") | {"cells": [cell.to_json() for cell in self.cells]}


def shipped() -> list[str]:
    """Return the names of the grids that come with the package."""
    names = (entry.name for entry in files(f"{__package__}.grids").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_grid(
    name: str | Path, *, suite: Suite | None = None, source: str | None = None, minutes: float | None = None
) -> Grid:
    """Read a grid and resolve all of its cells.

    Args:
        name: of a grid that comes with the package, or the path of a file.
        suite: what it has to be of.
        source: takes the place of the grid's own sources.
        minutes: takes the place of its bound.

    Raises:
        UsageError: there is no such file, or it is of the other suite.
        ConfigError: a key or value is wrong; its full path is named, and the nearest known name.
    """
    if isinstance(name, Path):
        try:
            text = name.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"grid {name} can't be read: {getattr(error, 'strerror', None) or error}") from error
    else:
        text = files(f"{__package__}.grids").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    where = f"grid {name}"
    try:
        values = from_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: got {type(values).__name__}, expected keys such as 'title' and 'families'")
    changes = {"sources": [source] if source else None, "minutes": minutes}
    values = {**values, **{key: value for key, value in changes.items() if value is not None}}
    config = parse(GridConfig, values, where)
    if suite is not None and config.suite != suite:
        raise UsageError(f"{where} is of the suite '{config.suite}', got '{suite}'")
    return Grid(config, expand(config, where))


def expand(grid: GridConfig, where: str = "grid") -> tuple[Cell, ...]:
    """Return the cells of a grid, every one with its whole configuration.

    Raises:
        ConfigError: a family or a level that is named is not there; a setting of a cell is wrong; two cells would have
            the same name.
    """
    _check_names(grid, where)
    first, *others = grid.sources
    cells = [_cell(grid, where, first, family, seed=seed) for seed in range(grid.seeds) for family in grid.families]
    cells += [_cell(grid, where, source, family) for source in others for family in grid.families]
    cells += [
        _cell(grid, where, first, family, axis, value)
        for axis, one in grid.axes.items()
        for value in one.values
        for family in one.families
    ]
    seen: dict[str, Cell] = {}
    for cell in cells:
        twin = seen.setdefault(cell.name.casefold(), cell)
        if twin is not cell:
            raise ConfigError(f"{where}: two cells would be named '{cell.name}'; give families and levels other names")
    return tuple(cells)


def _check_names(grid: GridConfig, where: str) -> None:
    def known(family: str, path: str) -> None:
        if family not in grid.families:
            raise ConfigError(f"{where}: {path}: '{family}' is no family{nearest(family, grid.families)}")

    known(grid.reference, "reference")
    for name, axis in grid.axes.items():
        if axis.reference in axis.values:
            raise ConfigError(
                f"{where}: axes.{name}: '{axis.reference}' is the reference and a value; name one otherwise"
            )
        for family in axis.families:
            known(family, f"axes.{name}.families")
        for key, levels in (("also", axis.also), ("otherwise", axis.otherwise)):
            for level in levels:
                if level not in axis.values:
                    raise ConfigError(f"{where}: axes.{name}.{key}: '{level}' is no level{nearest(level, axis.values)}")
        for level, extra in axis.also.items():
            for family in extra:
                known(family, f"axes.{name}.also.{level}")


def _cell(
    grid: GridConfig, where: str, source: str, family: str, axis: str = FAMILY, value: str = "", seed: int = 0
) -> Cell:
    settings = merge(grid.base, grid.families[family])
    place = f"families.{family}"
    if axis:
        level = grid.axes[axis]
        settings = merge(merge(settings, level.values[value]), level.also.get(value, {}).get(family, {}))
        place = f"axes.{axis}.{value} of {family}"
    if not isinstance(train := settings.get("train", {}), Mapping):  # what is laid over it would hide it
        raise ConfigError(f"{where}, {place}: train: got {train!r}, expected settings such as 'max_steps'")
    # Threads and boards belong to the runner, not to what is compared. One arithmetic is for all, where `auto` would
    # time each cell's own and give some bfloat16. The grid may say otherwise.
    settings = merge({"train": {"threads": 1, "tensorboard": False, "precision": "32"}}, settings)
    settings = merge(settings, {"train": {"seed": seed, "minutes": grid.minutes}})
    config = parse(RunConfig, settings, f"{where}, {place}")
    if (config.representation is not None) != (grid.suite == "notes"):
        needs = "a representation" if grid.suite == "notes" else "no representation"
        raise ConfigError(f"{where}, {place}: representation: a cell of {grid.suite} needs {needs}")
    parts = [source.rstrip("/\\"), family, *([f"{axis}-{value}"] if axis else []), f"s{seed}"]
    return Cell(
        name=".".join(map(slug, parts)),
        suite=grid.suite,
        source=source,
        family=family,
        axis=axis,
        value=value,
        reference=family == grid.reference and not axis,
        seed=seed,
        minutes=grid.minutes,
        config=config,
        measuring=grid.measuring,
    )


def slug(text: str) -> str:
    """Return a text as part of a file's name: of a path its last folder; letters, digits, ``+``, ``_`` and ``-``."""
    last = re.split(r"[/\\]", text)[-1]
    return re.sub(r"[^\w+]+", "-", last).strip("-") or "x"
