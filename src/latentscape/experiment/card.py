"""The card of a run: what it is, how it went, what it is worth."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latentscape.core.errors import StorageError
from latentscape.core.storage import load_object
from latentscape.experiment.joined import read_config
from latentscape.instrument.axes import Naming
from latentscape.instrument.loading import facts_of, load


@dataclass(frozen=True)
class Card:
    """What is known of a run.

    Attributes:
        run: its folder.
        facts: ``run.json``.
        config: ``config.json``.
        verdict: ``verdict.json``; empty where the run was not finished.
        axes: for each principal axis its deviation and how far clips lie along it.
        naming: the named axes; ``None`` where the run has no map yet.
    """

    run: Path
    facts: dict[str, Any]
    config: dict[str, Any]
    verdict: dict[str, Any]
    axes: tuple[tuple[float, float, float], ...]
    naming: Naming | None = None

    def lines(self) -> list[str]:
        """Return the card, a line each."""
        facts, model = self.facts, self.config["model"]
        view = self.config["representation"] or {"kind": "images"}
        rate = f" at {view['sample_rate']} Hz" if "sample_rate" in view else ""
        window = self.config["window"]
        lines = [
            f"{self.run}: {model['kind']}{_latents(model)} over {view['kind']}{rate}",
            f"recipe {facts['recipe']}",
            f"window {window['length']}, hop {window['hop']}; objective {self.config['objective']['kind']}",
            f"learnt from {facts['source']}, seed {facts['seed']}, started {facts['started']}",
        ]
        if "outcome" in facts:
            lines.append(
                f"{facts['outcome']} after {facts['steps']} steps in {facts['seconds']:.0f} s "
                f"on {facts['device']} ({facts['threads']} threads, {facts['precision']})"
            )
        else:
            lines.append("not finished; go on with `latentscape train ... --resume`")
        if self.verdict:
            lines += ["", *self.verdict["lines"], ""]
            numbers = self.verdict["figures"]["numbers"]
            lines += [f"  {name:24} {value['value']:.4g} {value['unit']}".rstrip() for name, value in numbers.items()]
        if self.naming is not None:
            lines += ["", *self.naming.lines()]
        elif self.axes:
            lines += ["", "principal axes of the corpus (deviation, from, to):"]
            lines += [f"  {i:3}  {s:6.2f} {a:7.2f} {b:7.2f}" for i, (s, a, b) in enumerate(self.axes[:16])]
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "run": str(self.run),
            **self.facts,
            "config": self.config,
            "verdict": self.verdict,
            "axes": [{"deviation": s, "from": a, "to": b} for s, a, b in self.axes],
            "naming": None if self.naming is None else asdict(self.naming),
        }


def _latents(model: dict[str, Any]) -> str:
    return f" with {model['latent']} latents" if "latent" in model else ""


def _is_verdict(values: dict[str, Any]) -> bool:
    lines, figures = values["lines"], values["figures"]
    numbers = figures.get("numbers") if isinstance(figures, dict) else None
    if not isinstance(lines, list) or not isinstance(numbers, dict):
        return False
    rows = [*numbers.values()]
    told = all(isinstance(row, dict) and _is_number(row.get("value")) and "unit" in row for row in rows)
    return told and all(isinstance(line, str) for line in lines)


def _is_number(value: object) -> bool:
    """Return whether it is one that can be written as a float; JSON knows integers of any length."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)


def card(run: Path) -> Card:
    """Read the card of a run.

    Raises:
        StorageError: a file is missing, damaged or of a newer format.
    """
    facts = facts_of(run, ("recipe", "source", "seed", "started"))
    if "outcome" in facts:
        load_object(run / "run.json", ("steps", "seconds", "device", "threads", "precision"))
        if not _is_number(facts["seconds"]):
            raise StorageError(
                f"{run / 'run.json'} is damaged: got seconds {facts['seconds']!r:.40}, expected a number"
            )
    config = read_config(run).model_dump(mode="json")
    path = run / "verdict.json"
    verdict = load_object(path, ("lines", "figures")) if path.exists() else {}
    if verdict and not _is_verdict(verdict):
        raise StorageError(f"{path} is damaged: expected lines of text, and figures with values and units")
    axes: tuple[tuple[float, float, float], ...] = ()
    naming = None
    if (run / "weights.safetensors").exists() and (run / "map.json").exists():
        instrument = load(run, "cpu")
        chart, naming = instrument.chart, instrument.naming
        places = chart.project(chart.clips, len(chart.axes))
        axes = tuple(
            (float(s), float(column.min()), float(column.max()))
            for s, column in zip(chart.spread, places.T, strict=True)
        )
    return Card(run, facts, config, verdict, axes, naming)
