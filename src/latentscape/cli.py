"""The shell: thin verbs over :mod:`latentscape.experiment` and :mod:`latentscape.workshop`.

Verbs are static and heavy imports are inside them, so that ``latentscape --help`` answers at once. Errors go to
standard error as one line, with exit code 2 (the request was wrong) or 1 (the work failed); ``--debug`` shows the
traceback.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from latentscape.core.errors import LatentscapeError, UsageError

app = typer.Typer(
    name="latentscape",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A folder of sounds becomes a space you can travel through.",
    epilog="SOURCE is a folder, a sound, a list of files or a data set's name; RUN is the folder of a trained run.",
)
INTERRUPTED = 130
MISTYPED: Any = typer.BadParameter.__mro__[1]
"""An unknown verb or option, or a value of the wrong type: the usage error of the click that this typer stands on."""
START, MAKE, MEASURE = "start", "make sound", "measure"

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
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there")]
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
Speed = Annotated[str, typer.Option(help="constant in what: time (as it comes), latent, feature or perceived distance")]
Rate = Annotated[
    int | None, typer.Option("--rate", help="sample rate in Hz", show_default="the corpus's commonest", min=1)
]
Channels = Annotated[str, typer.Option(help="mean, or each: every channel is a sound of its own")]
Labels = Annotated[str | None, typer.Option(help='file-name pattern, such as "{instrument}_{note}"')]


def _version(wanted: bool) -> None:
    if wanted:
        from latentscape import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and stop", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options of every verb."""


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def _table(rows: list[tuple[str, ...]], header: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


# -------------------------------------------------------------------------------------------------------------- start


@app.command(rich_help_panel=START)
def doctor(
    source: Source, rate: Rate = None, channels: Channels = "mean", labels: Labels = None, as_json: Json = False
) -> None:
    """Say what will be used of a SOURCE, what will not, and why; suggest a recipe."""
    from latentscape.experiment import examine

    report = examine(source, rate=rate, channels=channels, labels=labels)
    if as_json:
        _print_json(report.to_json())
    else:
        typer.echo("\n".join(report.lines()))


@app.command(rich_help_panel=START)
def data(name: Annotated[str | None, typer.Argument(help="a named data set")] = None, as_json: Json = False) -> None:
    """List the named data sets, or verify one of them."""
    from latentscape.data.sources import sources, verify

    if name is not None:
        lines = verify(name)
        _print_json(lines) if as_json else typer.echo("\n".join(lines))
        return
    found = sources()
    if as_json:
        _print_json([{"name": s.name, "about": s.about, "present": s.present, "where": s.where} for s in found])
    else:
        _table([(s.name, "here" if s.present else "-", s.about, s.where) for s in found], ("name", "", "what", "where"))


@app.command(rich_help_panel=START)
def recipes(name: Annotated[str | None, typer.Argument(help="a recipe")] = None, as_json: Json = False) -> None:
    """List the recipes, or show one."""
    from latentscape.recipes import load_recipe, read_text, recipe_names

    if name is not None:
        _print_json(load_recipe(name).values) if as_json else typer.echo(read_text(name).rstrip())
        return
    found = [load_recipe(n) for n in recipe_names()]
    if as_json:
        _print_json([{"name": r.name, "title": r.title} for r in found])
    else:
        _table([(r.name, r.title) for r in found], ("recipe", "what it is for"))


@app.command(rich_help_panel=START)
def train(
    source: Source,
    run: Annotated[Path, typer.Option("--run", help="the run folder to make")],
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="see `latentscape recipes`", show_default="what fits")
    ] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change a setting")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="bound the training; turned into train.max_steps once", min=0.01)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on where the run stopped")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="start again; the old run is kept beside as .old")
    ] = False,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="number of processes that share every batch", min=1)] = 1,
    seed: Seed = 0,
    rate: Rate = None,
    channels: Channels = "mean",
    labels: Labels = None,
    as_json: Json = False,
) -> None:
    """Train a model on a SOURCE; leave weights, sounds, pictures and a page in the run folder."""
    from latentscape.experiment import Request, run_experiment

    request = Request(
        source,
        run,
        recipe,
        tuple(sets or ()),
        minutes,
        resume,
        overwrite,
        device,
        devices,
        seed,
        rate,
        channels,
        labels,
    )
    summary = run_experiment(request, say=_say(as_json))
    _print_json(summary.to_json()) if as_json else typer.echo("\n".join(summary.lines()))
    if summary.outcome.reason == "interrupted":
        raise typer.Exit(INTERRUPTED)


@app.command(rich_help_panel=START)
def demo(
    run: Annotated[Path, typer.Option("--run", help="the run folder to make")] = Path("runs/demo"), seed: Seed = 0
) -> None:
    """Train on the embedded notes in a few minutes, and say what to type next."""
    from latentscape.experiment import Request, run_experiment

    summary = run_experiment(Request("tones", run, recipe="demo", overwrite=run.exists(), seed=seed), say=_say(False))
    typer.echo("\n".join([*summary.lines(), "", *_NEXT]).format(run=run))


_NEXT = (
    "Next, with sounds of your own:",
    "  latentscape doctor FOLDER                         what will be used, and why",
    "  latentscape train FOLDER --run runs/mine          train (about ten minutes; --minutes 2 for a first taste)",
    "  latentscape walk runs/mine --kind spiral --seconds 20 --out walk.wav",
    "  latentscape morph runs/mine A.wav B.wav --out morph.wav",
)


def _say(quiet: bool) -> Any:
    return (lambda line: None) if quiet else (lambda line: typer.echo(line, err=True))


@app.command(rich_help_panel=START)
def info(run: Run, as_json: Json = False) -> None:
    """Show the card of a run: configuration, figures, verdict."""
    from latentscape.experiment import card

    found = card(run)
    _print_json(found.to_json()) if as_json else typer.echo("\n".join(found.lines()))


# --------------------------------------------------------------------------------------------------------- make sound


def _making(quality: Any, device: str, label: list[str] | None, overwrite: bool, join: Any = None) -> Any:
    from latentscape.workshop import Making, labels_of

    return Making(quality, device, labels_of(label), overwrite, join)


@app.command(rich_help_panel=MAKE)
def reconstruct(
    run: Run,
    source: Source,
    out: OutFolder,
    quality: QualityName = "best",
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Send sounds through the model and back."""
    from latentscape import workshop

    _written(workshop.reconstruct(run, source, out, _making(quality, device, label, overwrite)))


@app.command(rich_help_panel=MAKE)
def encode(
    run: Run, source: Source, out: OutFolder, device: Device = "auto", label: Told = None, overwrite: Overwrite = False
) -> None:
    """Turn sounds into latent codes: one .npy (d x t) and one .json a sound."""
    from latentscape import workshop

    _written(workshop.encode(run, source, out, _making("best", device, label, overwrite)))


@app.command(rich_help_panel=MAKE)
def decode(
    run: Run,
    codes: Annotated[Path, typer.Argument(help="a .npy file (d x t) of codes, or a folder of them")],
    out: OutFolder,
    quality: QualityName = "best",
    join: Join = None,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn latent codes into sound."""
    from latentscape import workshop

    _written(workshop.decode(run, codes, out, _making(quality, device, label, overwrite, join)))


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
    quality: QualityName = "best",
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw sounds from the prior, or from a second stage."""
    from latentscape import workshop
    from latentscape.experiment import second_stage

    making = _making(quality, device, label, overwrite)
    drawn = None if stage is None else second_stage(run, stage, _say(False), device)
    warmth = workshop.temperatures(temperature)
    way = {"count": count, "seconds": seconds, "seed": seed, "vary": vary, "stage": drawn, "temperature": warmth}
    _written(workshop.sample(run, out, making, **way))


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
        float | None, typer.Option(help="of a circle or spiral", show_default="1", min=0.01, max=1e6)
    ] = None,
    seed: Seed = 0,
    quality: QualityName = "best",
    join: Join = None,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Travel through the latent space and write what is heard."""
    from latentscape import workshop

    if sounds and len(through or ()) != 1:
        raise UsageError(f"walk got '{sounds[0]}'; give sounds to go through after one --through, all of them")
    points = (*(through or ()), *(sounds or ()))
    way = workshop.Way(kind, points, onto, timing, path, save, speed, axes, radius, turns, seed)
    _written(workshop.walk(run, out, way, _making(quality, device, label, overwrite, join), seconds=seconds))


@app.command(rich_help_panel=MAKE)
def morph(
    run: Run,
    first: Annotated[Path, typer.Argument(help="the sound to begin with")],
    second: Annotated[Path, typer.Argument(help="the sound to arrive at")],
    out: Out,
    kind: Annotated[str, typer.Option(help="line, sphere or geodesic")] = "line",
    speed: Speed = "time",
    seconds: Annotated[
        float | None, typer.Option(help="length, s", show_default="that of the longer sound", min=0.01, max=LONGEST)
    ] = None,
    quality: QualityName = "best",
    join: Join = None,
    device: Device = "auto",
    label: Told = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn one sound into another."""
    from latentscape import workshop

    making = _making(quality, device, label, overwrite, join)
    _written(workshop.morph(run, first, second, out, making, kind=kind, speed=speed, seconds=seconds))


@app.command(rich_help_panel=MAKE)
def refine(
    run: Run,
    sound: Annotated[Path, typer.Argument(help="the sound to begin with")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the file to write, or a folder for every pass apart, too")],
    steps: Annotated[int, typer.Option(help="how often it goes through the model", min=1)] = 20,
    manner: Annotated[
        str,
        typer.Option(
            help="mean (each pass quieter), level (kept), sample (codes are drawn), gibbs (sounds, too) or drift "
            "(codes move through the corpus's spread)"
        ),
    ] = "drift",
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
    from latentscape import workshop
    from latentscape.edit.refine import manner_of

    way = manner_of(manner, temperature=temperature, noise=noise, drift=drift)
    _written(workshop.refine(run, sound, out, steps, way, _making(quality, device, label, overwrite), seed=seed))


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
    from latentscape import workshop
    from latentscape.edit.repair import Repair

    if len(given) > 2:
        raise UsageError(f"inpaint got {len(given)} arguments, expected [RUN] SOUND")
    run = given[0] if len(given) == 2 and str(given[0]) != "-" else None
    what = Repair(tuple(gap or ()), tuple(gaps or ()), find, method, count, seed)
    _written(workshop.inpaint(run, given[-1], out, what, _making("best", device, label, overwrite)))


@app.command(rich_help_panel=MAKE)
def play(
    run: Run,
    port: Annotated[
        int | None, typer.Option(help="where to listen", show_default="8137, or the next one free", min=1, max=65535)
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="listen on this address of the machine, for those who have the URL's token")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the page in a browser")] = True,
    device: Device = "auto",
) -> None:
    """Play live in a browser: drag over the map, draw paths, turn axes, drop in sounds, record."""
    from latentscape.play import serve

    serve(run, host=host, port=port, browser=browser, device=device, say=typer.echo)


def _written(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


# ------------------------------------------------------------------------------------------------------------ measure


@app.command(rich_help_panel=MEASURE)
def evaluate(
    run: Run,
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="other sounds", show_default="the run's own test part")
    ] = None,
    part: Annotated[str, typer.Option(help="train, valid or test")] = "test",
    samples: Annotated[int, typer.Option(help="importance samples K of the likelihood; 0 leaves it out", min=0)] = 0,
    paths: Annotated[
        bool, typer.Option("--paths", help="measure what is heard along standard paths instead: range, smoothness ...")
    ] = False,
    pairs: Annotated[
        int | None,
        typer.Option(help="with --paths: pairs of held-out sounds to travel between", show_default="16", min=0),
    ] = None,
    path: Annotated[
        list[Path] | None, typer.Option("--path", metavar="FILE", help="measure a path saved as JSON")
    ] = None,
    device: Device = "auto",
    label: Told = None,
    as_json: Json = False,
) -> None:
    """Every measure that applies, with units, beside probabilistic PCA on the same data; or the sound of paths."""
    if paths or path:
        if source is not None or samples or part != "test":
            raise UsageError("--paths and --path measure a run on its own test sounds: leave SOURCE and options out")
        _evaluate_paths(run, pairs, path or (), paths, device, label, as_json)
        return
    if pairs is not None or label:
        raise UsageError("--pairs and --label go with --paths or --path")
    from latentscape.experiment import evaluate as work

    figures = work(run, source, part=part, samples=samples, device=device)
    if as_json:
        _print_json(figures.to_json())
    else:
        typer.echo("\n".join(figures.lines()))


def _evaluate_paths(
    run: Path,
    pairs: int | None,
    files: Sequence[Path],
    standard: bool,
    device: str,
    label: list[str] | None,
    as_json: bool,
) -> None:
    from latentscape.experiment import evaluate_paths
    from latentscape.workshop import labels_of

    options = {"files": files, "standard": standard, "device": device, "labels": labels_of(label) or None}
    found = evaluate_paths(run, pairs=pairs, say=_say(as_json), **options)
    _print_json(found.to_json()) if as_json else typer.echo("\n".join(found.lines()))


@app.command(rich_help_panel=MEASURE)
def benchmark(
    suite: Annotated[str, typer.Argument(help="images or notes")],
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="what to train on", show_default="what the grid says")
    ] = None,
    *,
    out: OutFolder,
    quick: Annotated[bool, typer.Option("--quick", help="the short grid: a quarter of an hour on two cores")] = False,
    grid: Annotated[Path | None, typer.Option("--grid", help="a YAML file with a grid of your own")] = None,
    jobs: Annotated[int | None, typer.Option(help="cells at a time", show_default="the cores", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="bound on the training of a cell", min=0.01)] = None,
    ray: Annotated[str | None, typer.Option("--ray", metavar="ADDRESS", help="spread cells over a Ray cluster")] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="another benchmark's folder: do both rank alike?")
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="write the report of what is there")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="make cells again that were made with other settings")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a grid of models on the same data and budget, measure all of them, and report; goes on where it stopped."""
    from latentscape.benchmark import BenchmarkRequest, run_benchmark, suite_of

    request = BenchmarkRequest(
        suite_of(suite), out, source, quick, grid, jobs, minutes, ray, against, report_only, overwrite
    )
    summary = run_benchmark(request, say=_say(as_json))
    _print_json(summary.to_json()) if as_json else typer.echo("\n".join(summary.lines()))
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    if summary.failed:
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Run the shell; exit with 0, 1 (the work failed), 2 (the request was wrong) or 130 (interrupted)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]  # accepted anywhere, as people type it last
    try:
        code = app(arguments, standalone_mode=False, prog_name="latentscape")
    except LatentscapeError as error:
        if debug:
            raise
        hint = " (see `latentscape --help`)" if type(error) is UsageError else ""
        typer.echo(f"latentscape: {' '.join(str(error).splitlines())}{hint}", err=True)
        raise SystemExit(error.exit_code) from error
    except MISTYPED as error:
        if message := error.format_message():  # there is none where help was shown instead
            where = error.ctx.command_path if error.ctx else "latentscape"
            typer.echo(f"latentscape: {message} (see `{where} --help`)", err=True)
        raise SystemExit(error.exit_code) from error
    except OSError as error:  # a path that may not be looked at, for one
        if debug:
            raise
        typer.echo(f"latentscape: {error.filename or 'a file'}: {error.strerror or error}", err=True)
        raise SystemExit(1) from error
    except Exception as error:
        if debug:
            raise
        where = f"{type(error).__name__}: {error}".splitlines()[0]
        typer.echo(f"latentscape: internal error: {where} (run again with --debug to see where)", err=True)
        raise SystemExit(1) from error
    if code == INTERRUPTED:
        typer.echo("latentscape: interrupted", err=True)
    raise SystemExit(code or 0)
