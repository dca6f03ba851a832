"""The verbs that change a given sound."""

from pathlib import Path
from typing import Annotated

import typer

from latentscape.cli.options import (
    LONGEST,
    MAKE,
    Device,
    Overwrite,
    QualityName,
    Run,
    Seed,
    Told,
    app,
    making_of,
    print_lines,
    saying,
)
from latentscape.core.errors import UsageError


@app.command(rich_help_panel=MAKE)
def refine(
    run: Run,
    sound: Annotated[str, typer.Argument(help="the sound to begin with, a file or a clip of the run")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the file to write, or a folder for every pass apart, too")],
    steps: Annotated[int, typer.Option(help="how often it goes through the model", min=1)] = 20,
    manner: Annotated[
        str,
        typer.Option(
            help="mean (each pass quieter), level (kept), sample (codes are drawn), gibbs (sounds, too), drift "
            "(codes move through the corpus's spread) or roam (the same, drawn again where it strays or stands still)"
        ),
    ] = "roam",
    temperature: Annotated[float | None, typer.Option(help="of the codes' draws", show_default="the manner's")] = None,
    noise: Annotated[float | None, typer.Option(help="share of the decoder's noise that is fed back")] = None,
    drift: Annotated[float | None, typer.Option(help="share of a code drawn anew in each pass, 0 to 1")] = None,
    seed: Seed = 0,
    quality: QualityName = "fast",
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Send a sound through the model again and again, and join what comes out."""
    from latentscape.edit.refine import manner_of
    from latentscape.workshop import mend

    way = manner_of(manner, temperature=temperature, noise=noise, drift=drift)
    print_lines(mend.refine(run, sound, out, steps, way, making_of(quality, device, label, overwrite), seed=seed))


@app.command(rich_help_panel=MAKE)
def inpaint(
    given: Annotated[
        list[Path], typer.Argument(metavar="[RUN] SOUND", help="the sound, after the run whose model may help")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="the file to write (wav, flac, aiff), or a folder")],
    gap: Annotated[
        list[str] | None, typer.Option("--gap", metavar="START:END", help="in seconds, such as 1.20:1.45, :0.2 or 3.1:")
    ] = None,
    gaps: Annotated[
        list[Path] | None, typer.Option("--gaps", metavar="FILE", help="a list of gaps, one a line")
    ] = None,
    find: Annotated[str | None, typer.Option(help="look for damage: clicks, clipped, silent or all")] = None,
    method: Annotated[str, typer.Option(help="auto, linear, copy, latent or hierarchy")] = "auto",
    count: Annotated[int, typer.Option(help="how many answers", min=1)] = 1,
    seed: Annotated[
        int | None, typer.Option(help="draw every answer with it", show_default="the first one is the likeliest")
    ] = None,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Fill in gaps of a sound; what lies outside them is returned sample for sample."""
    from latentscape.edit.repair import Repair
    from latentscape.workshop import mend

    if len(given) > 2:
        raise UsageError(f"inpaint got {len(given)} arguments, expected [RUN] SOUND")
    run = given[0] if len(given) == 2 and str(given[0]) != "-" else None
    what = Repair(tuple(gap or ()), tuple(gaps or ()), find, method, count, seed)
    making = making_of("best", device, label, overwrite)
    print_lines(mend.inpaint(run, given[-1], out, what, making, say=saying(False)))


@app.command(rich_help_panel=MAKE)
def restyle(
    content: Annotated[Path, typer.Argument(metavar="CONTENT", help="what stays: a sound, or - for a texture alone")],
    style: Annotated[Path, typer.Argument(metavar="STYLE", help="what it shall sound like")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the file to write (wav, flac, aiff)")],
    method: Annotated[
        str, typer.Option(help="random-cnn, transport, texture, stft-gram, tagger, wavenet or latent")
    ] = "random-cnn",
    run: Annotated[Path | None, typer.Option(help="the trained run that tagger, wavenet and latent need")] = None,
    strength: Annotated[float, typer.Option(help="how far to go: 0 (content) to 1 (style)")] = 1.0,
    content_weight: Annotated[
        float | None, typer.Option(help="what the content weighs; 0 lets it go", show_default="the method's")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="evaluations of the loss", show_default="the method's", min=1)
    ] = None,
    way: Annotated[
        str | None,
        typer.Option(help="of wavenet: descent, straight-through, langevin, relaxed or joint", show_default="descent"),
    ] = None,
    likelihood: Annotated[float, typer.Option(help="of wavenet: weight of the run's own likelihood")] = 0.0,
    seconds: Annotated[
        float | None, typer.Option(help="length of a texture, s", show_default="the style's", min=0.3, max=LONGEST)
    ] = None,
    preview: Annotated[Path | None, typer.Option(help="a wav file that holds the sound so far")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Make one sound sound like another: statistics of the style, course of the content."""
    from latentscape.edit.restyle.engine import Wish
    from latentscape.workshop import restyle as restyling

    what = restyling.Restyling(
        Wish(method, strength, content_weight, steps, seed, way, likelihood), run, seconds, preview
    )
    making = making_of("best", device, label, overwrite)
    print_lines(restyling.restyle_file(content, style, out, what, making, say=saying(False)))
