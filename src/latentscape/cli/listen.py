"""The verbs of taggers: what they hear, and what is inside them."""

from pathlib import Path
from typing import Annotated

import typer

from latentscape.cli.options import (
    LISTEN,
    LONGEST,
    Device,
    Json,
    Out,
    OutFolder,
    Overwrite,
    Run,
    Seed,
    app,
    making_of,
    print_json,
    print_lines,
    saying,
)


@app.command(rich_help_panel=LISTEN)
def tag(
    run: Run,
    sounds: Annotated[list[str], typer.Argument(metavar="SOUND...", help="files, folders or data sets")],
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say what a tagger hears in sounds, the scores of their segments averaged."""
    from latentscape.workshop import tag as hearing

    found = hearing.tag(run, sounds, device, saying(as_json))
    print_json([one.to_json() for one in found]) if as_json else print_lines([one.line() for one in found])


@app.command(rich_help_panel=LISTEN)
def find(
    run: Run,
    wanted: Annotated[
        str, typer.Argument(metavar="SOUND", help="a file, a clip of the run, or a unit such as block3:17")
    ],
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="where to look", show_default="the run's own sounds")
    ] = None,
    count: Annotated[int, typer.Option(help="how many", min=1)] = 10,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find the sounds that a tagger thinks most like one, or that excite a unit of it most."""
    from latentscape.workshop import tag as hearing

    found = hearing.find(run, wanted, source, count, device, saying(as_json))
    if as_json:
        print_json([{"sound": name, "score": score} for name, score in found])
    else:
        print_lines([f"{score:7.3f}  {name}" for name, score in found])


@app.command(rich_help_panel=LISTEN)
def listen(
    run: Run,
    sound: Annotated[str, typer.Argument(help="the sound to listen to, a file or a clip of the run")],
    out: OutFolder,
    layer: Annotated[str | None, typer.Option(help="such as block2", show_default="the last")] = None,
    units: Annotated[int, typer.Option(help="how many of its units, the most excited first", min=1)] = 5,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Write what the units of a layer of a tagger hear of a sound, and a picture of where they are excited."""
    from latentscape.workshop import tag as hearing

    making = making_of("best", device, None, overwrite)
    print_lines(hearing.listen(run, sound, layer, out, making, units=units))


@app.command(rich_help_panel=LISTEN)
def imagine(
    run: Run,
    wanted: Annotated[str, typer.Argument(metavar="TAG", help="a tag, or a unit such as block3:17")],
    out: Out,
    begin: Annotated[
        str | None, typer.Option(metavar="SOUND", help="a file or clip to begin with", show_default="noise")
    ] = None,
    judge: Annotated[Path | None, typer.Option(help="run of a second tagger, which took no part")] = None,
    manifold: Annotated[
        Path | None, typer.Option(help="run of an auto-encoder of the same representation: say only what it can say")
    ] = None,
    priors: Annotated[bool, typer.Option(help="natural spectrum, little variation, jitter")] = True,
    seconds: Annotated[
        float | None, typer.Option(help="length, s", show_default="a segment of the tagger", min=0.01, max=LONGEST)
    ] = None,
    steps: Annotated[int, typer.Option(help="of the search", min=1)] = 200,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Make a sound in which a tagger hears a tag: what it believes the tag to be."""
    from latentscape.workshop import tag as hearing

    way = hearing.Way(begin, judge, manifold, priors, seconds, steps, seed)
    print_lines(hearing.imagined(run, wanted, out, way, making_of("best", device, None, overwrite)))
