"""What the verbs share: the application, the types of their options, and how they print."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="latentscape",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A folder of sounds becomes a space you can travel through.",
    epilog="SOURCE is a folder, a sound, a list of files or a data set's name; RUN is the folder of a trained run.",
)
INTERRUPTED = 130
START, MAKE, PLAY, MEASURE, LISTEN = "start", "make sound", "play", "measure", "listen"

LONGEST = 21_600
"""s: six hours of sound. What is made is held in memory until it is written whole."""

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="a folder, a sound, a list of files (.txt) or the name of a data set")
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a trained run")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Told = Annotated[
    list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="what a model with conditions is told")
]
Draw = Annotated[
    list[str] | None,
    typer.Option(
        "--draw",
        metavar="NAME=VALUE",
        help="how samples are drawn, where they are, one after the other: temperature, nucleus, strength, seed",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there")]
Peak = Annotated[
    float | None,
    typer.Option(
        help="dBFS that the loudest sample of each file is brought to, such as -3",
        show_default="as the model makes it",
        min=-100,
        max=-1,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
Seed = Annotated[int, typer.Option(help="the seed of every draw")]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="where to write; the suffix chooses the format (wav, flac, ogg, aiff)")
]
OutFolder = Annotated[Path, typer.Option("--out", "-o", help="the folder to write to")]
Seconds = Annotated[float, typer.Option(help="length of the sound in seconds", min=0.01, max=LONGEST)]
QualityName = Annotated[
    str, typer.Option(help="best, fast or live: how the phase is found where a model gives only magnitudes")
]
Join = Annotated[
    str | None,
    typer.Option(help="how windows meet: plain, fade or aligned", show_default="aligned for raw windows, else fade"),
]
Overlap = Annotated[
    float | None,
    typer.Option(help="share of a window that the next one takes part in", show_default="half", min=0.01, max=0.99),
]
Vocoder = Annotated[
    Path | None,
    typer.Option("--vocoder", metavar="RUN", help="a run that makes the sound of spectra, in place of phase recovery"),
]
Speed = Annotated[str, typer.Option(help="constant in what: time (as it comes), latent, feature or perceived distance")]
Rate = Annotated[
    int | None, typer.Option("--rate", help="sample rate in Hz", show_default="the corpus's commonest", min=1)
]
Channels = Annotated[str, typer.Option(help="mean, or each: every channel is a sound of its own")]
Labels = Annotated[str | None, typer.Option(help='file-name pattern, such as "{instrument}_{note}"')]


_HIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys instead of showing it, or can't show: labels and titles may come from strangers."""


def shown(text: str) -> str:
    r"""Return one line of text as a terminal may show it, with ``\u001b`` and the like for what steers it."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_json(value: Any) -> None:
    """Print a value as JSON; numbers that are none are null, since JSON has neither NaN nor infinity."""
    text = json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    typer.echo("\n".join(map(shown, text.split("\n"))))


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def print_table(rows: list[tuple[str, ...]], header: tuple[str, ...]) -> None:
    """Print rows under a header, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def print_lines(lines: list[str]) -> None:
    """Print what a verb says of its work."""
    for line in lines:
        typer.echo(shown(line))


def saying(quiet: bool) -> Any:
    """Return what prints progress to standard error, or nothing."""
    return (lambda line: None) if quiet else (lambda line: typer.echo(shown(line), err=True))


def making_of(
    quality: Any,
    device: str,
    label: list[str] | None,
    overwrite: bool,
    join: Any = None,
    overlap: float | None = None,
    vocoder: Path | None = None,
    peak: float | None = None,
    draw: list[str] | None = None,
) -> Any:
    """Return the options that every verb which makes sound has, as a record."""
    from latentscape.workshop.making import Making, draw_of, labels_of

    return Making(quality, device, labels_of(label), overwrite, join, overlap, vocoder, peak, draw_of(draw))
