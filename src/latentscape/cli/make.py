"""The verbs that make sound from a run."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from latentscape.cli.options import (
    LONGEST,
    MAKE,
    Device,
    Draw,
    Join,
    Out,
    OutFolder,
    Overlap,
    Overwrite,
    Peak,
    QualityName,
    Run,
    Seconds,
    Seed,
    Source,
    Speed,
    Told,
    Vocoder,
    app,
    making_of,
    print_lines,
    saying,
)
from latentscape.core.errors import UsageError


@app.command(rich_help_panel=MAKE)
def reconstruct(
    run: Run,
    source: Source,
    out: OutFolder,
    quality: QualityName = "best",
    vocoder: Vocoder = None,
    draw: Draw = None,
    peak: Peak = None,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Send sounds through the model and back; a vocoder makes them again of what it hears of them."""
    from latentscape.workshop import codes as work

    making = making_of(quality, device, label, overwrite, vocoder=vocoder, peak=peak, draw=draw)
    print_lines(work.reconstruct(run, source, out, making))


@app.command(rich_help_panel=MAKE)
def encode(
    run: Run, source: Source, out: OutFolder, device: Device = "auto", label: Told = None, overwrite: Overwrite = False
) -> None:
    """Turn sounds into latent codes: one .npy (d x t) and one .json a sound."""
    from latentscape.workshop import codes as work

    print_lines(work.encode(run, source, out, making_of("best", device, label, overwrite)))


@app.command(rich_help_panel=MAKE)
def decode(
    run: Run,
    codes: Annotated[Path, typer.Argument(help="a .npy file (d x t) of codes, or a folder of them")],
    out: OutFolder,
    quality: QualityName = "best",
    join: Join = None,
    overlap: Overlap = None,
    vocoder: Vocoder = None,
    draw: Draw = None,
    peak: Peak = None,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn latent codes into sound."""
    from latentscape.workshop import codes as work

    making = making_of(quality, device, label, overwrite, join, overlap, vocoder, peak, draw)
    print_lines(work.decode(run, codes, out, making))


@app.command(rich_help_panel=MAKE)
def sample(
    run: Run,
    out: OutFolder,
    count: Annotated[int, typer.Option(help="how many sounds", min=1)] = 8,
    seconds: Seconds = 2.0,
    seed: Seed = 0,
    temperature: Annotated[
        str, typer.Option(help="spread of the prior's draws, 0 its mean; or one a layer, top first, such as 1,0.7,0.5")
    ] = "1",
    vary: Annotated[
        int | None,
        typer.Option("--vary-layer", help="draw this layer alone, 1 the top; the others at their means", min=1),
    ] = None,
    stage: Annotated[
        str | None, typer.Option("--second-stage", help="draw from a mixture or flow fitted to the codes instead")
    ] = None,
    strength: Annotated[
        float, typer.Option(help="sample by sample: how much the labels, or the code, count; 1 is what was learnt")
    ] = 1.0,
    nucleus: Annotated[
        float, typer.Option(help="sample by sample: draw from the likeliest codes that hold this mass", min=0, max=1)
    ] = 1.0,
    prime: Annotated[
        str | None, typer.Option(metavar="SOUND", help="sample by sample: go on from this file or clip of the run")
    ] = None,
    retries: Annotated[
        int, typer.Option(help="draw again what is silence, or, sample by sample, mere noise, so many times", min=0)
    ] = 0,
    timeline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="sample by sample: words or labels with times to hear (CSV or TextGrid)"),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="sample by sample: word vectors (GloVe) for words that the run does not keep"
        ),
    ] = None,
    quality: QualityName = "best",
    vocoder: Vocoder = None,
    draw: Draw = None,
    peak: Peak = None,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw sounds from the prior, from a second stage, or sample after sample."""
    from latentscape.workshop import draw as work

    making = making_of(quality, device, label, overwrite, vocoder=vocoder, peak=peak, draw=draw)
    drawn = None
    if stage is not None:
        from latentscape.experiment.second_stage import second_stage

        drawn = partial(second_stage, run, stage, saying(False), device)
    warmth = work.temperatures(temperature)
    way = {"count": count, "seconds": seconds, "seed": seed, "vary": vary, "stage": drawn, "temperature": warmth}
    drawing = work.Drawing(strength, nucleus, prime, retries, timeline, words)
    print_lines(work.sample(run, out, making, **way, drawing=drawing))


@app.command(rich_help_panel=MAKE)
def walk(
    run: Run,
    sounds: Annotated[list[str] | None, typer.Argument(metavar="SOUND", help="more sounds to go through")] = None,
    *,
    out: Out,
    kind: Annotated[
        str | None,
        typer.Option(
            help="about the corpus: traversal, grid, diagonal, circle, spiral, lissajous, random-walk or drift; "
            "through sounds: line, sphere, geodesic, triangle, spline or recorded (the course of one); "
            "left out, a circle, recorded through one sound, a spline through several"
        ),
    ] = None,
    through: Annotated[list[str] | None, typer.Option(metavar="SOUND...", help="files or clips to go through")] = None,
    onto: Annotated[str | None, typer.Option("--onto", metavar="SOUND", help="carry a recorded course to it")] = None,
    timing: Annotated[str | None, typer.Option("--timing", metavar="SOUND", help="go in its course of time")] = None,
    path: Annotated[
        Path | None, typer.Option("--path", metavar="FILE", help="a saved path, in place of a kind")
    ] = None,
    save: Annotated[Path | None, typer.Option("--save-path", metavar="FILE", help="write the path as JSON")] = None,
    speed: Speed = "time",
    seconds: Annotated[
        float | None, typer.Option(help="length, s", show_default="10, or that of the sound", min=0.01, max=LONGEST)
    ] = None,
    axes: Annotated[str | None, typer.Option(help="coordinates or named axes, such as 0,brightness")] = None,
    radius: Annotated[
        float | None,
        typer.Option(help="how far, in standard deviations of the corpus", show_default="2", min=0, max=1000),
    ] = None,
    turns: Annotated[
        float | None, typer.Option(help="of a circle or spiral", show_default="1, of a spiral 3", min=0.01, max=1e6)
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="the way leads back to its begin, without a seam")] = False,
    seed: Seed = 0,
    quality: QualityName = "best",
    join: Join = None,
    overlap: Overlap = None,
    vocoder: Vocoder = None,
    draw: Draw = None,
    peak: Peak = None,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Travel through the latent space and write what is heard."""
    from latentscape.workshop import travel

    if sounds and len(through or ()) != 1:
        raise UsageError(f"walk got '{sounds[0]}'; give sounds to go through after one --through, all of them")
    points = (*(through or ()), *(sounds or ()))
    way = travel.Way(kind, points, onto, timing, path, save, speed, axes, radius, turns, seed, loop)
    making = making_of(quality, device, label, overwrite, join, overlap, vocoder, peak, draw)
    print_lines(travel.walk(run, out, way, making, seconds=seconds))


@app.command(rich_help_panel=MAKE)
def morph(
    run: Run,
    first: Annotated[str, typer.Argument(help="the sound to begin with, a file or a clip of the run")],
    second: Annotated[str, typer.Argument(help="the sound to arrive at, likewise")],
    out: Out,
    kind: Annotated[str, typer.Option(help="line, sphere or geodesic")] = "line",
    speed: Speed = "time",
    weight: Annotated[
        float | None, typer.Option(help="of the second sound, 0 to 1", show_default="it goes from 0 to 1", min=0, max=1)
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="of a hierarchy, 1 the top, that alone go over, such as 2,3", show_default="all"),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="length, s", show_default="that of the longer sound", min=0.01, max=LONGEST)
    ] = None,
    quality: QualityName = "best",
    join: Join = None,
    overlap: Overlap = None,
    vocoder: Vocoder = None,
    draw: Draw = None,
    peak: Peak = None,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn one sound into another."""
    from latentscape.workshop import travel

    making = making_of(quality, device, label, overwrite, join, overlap, vocoder, peak, draw)
    way = {"kind": kind, "speed": speed, "weight": weight, "layers": layers}
    print_lines(travel.morph(run, first, second, out, making, **way, seconds=seconds))
