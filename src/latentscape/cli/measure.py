"""The verbs that measure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from latentscape.cli.options import (
    INTERRUPTED,
    MEASURE,
    Device,
    Json,
    OutFolder,
    Run,
    Told,
    app,
    print_json,
    print_lines,
    saying,
)
from latentscape.core.errors import UsageError


@app.command(rich_help_panel=MEASURE)
def evaluate(
    run: Run,
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="other sounds", show_default="the run's own test part")
    ] = None,
    part: Annotated[str, typer.Option(help="train, valid or test")] = "test",
    samples: Annotated[int, typer.Option(help="importance samples K of the likelihood; 0 leaves it out", min=0)] = 0,
    items: Annotated[
        int | None,
        typer.Option(help="with --samples: how many items, spread evenly over the part", show_default="10000", min=1),
    ] = None,
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
    latent_use: Annotated[
        bool, typer.Option("--latent-use", help="is the code used? likelihood with, with another's, without; judges")
    ] = False,
    without: Annotated[
        Path | None, typer.Option("--without", metavar="RUN", help="with --latent-use: a run without a code")
    ] = None,
    device: Device = "auto",
    label: Told = None,
    as_json: Json = False,
) -> None:
    """Every measure that applies, with units, beside probabilistic PCA on the same data; or the sound of paths."""
    if items is not None and not samples:
        raise UsageError("--items goes with --samples")
    if paths or path:
        if source is not None or samples or part != "test" or latent_use or without is not None:
            raise UsageError("--paths and --path measure a run on its own test sounds: leave SOURCE and options out")
        _evaluate_paths(run, pairs, path or (), paths, device, label, as_json)
        return
    if pairs is not None or label:
        raise UsageError("--pairs and --label go with --paths or --path")
    if latent_use:
        if source is not None or samples or part != "test":
            raise UsageError("--latent-use measures a run on its own test part: leave SOURCE and options out")
        from latentscape.experiment.use import use_of_latents

        figures = use_of_latents(run, without=without, device=device, say=saying(as_json))
        print_json(figures.to_json()) if as_json else print_lines(figures.lines())
        return
    if without is not None:
        raise UsageError("--without goes with --latent-use")
    if source is not None and part != "test":
        raise UsageError("--part is of the run's own sounds; another SOURCE is measured whole: leave one out")
    from latentscape.experiment.evaluate import evaluate as work

    chosen = {} if items is None else {"items": items}
    figures = work(run, source, part=part, samples=samples, device=device, **chosen)
    if as_json:
        print_json(figures.to_json())
    else:
        print_lines(figures.lines())


def _evaluate_paths(
    run: Path,
    pairs: int | None,
    files: Sequence[Path],
    standard: bool,
    device: str,
    label: list[str] | None,
    as_json: bool,
) -> None:
    from latentscape.experiment.evaluate import evaluate_paths
    from latentscape.workshop.making import labels_of

    options = {"files": files, "standard": standard, "device": device, "labels": labels_of(label) or None}
    found = evaluate_paths(run, pairs=pairs, say=saying(as_json), **options)
    print_json(found.to_json()) if as_json else print_lines(found.lines())


@app.command(rich_help_panel=MEASURE)
def benchmark(
    suite: Annotated[str, typer.Argument(help="images, notes, waveform or restyle")],
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="what to train on; or the clips", show_default="what the grid says"),
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
    methods: Annotated[str, typer.Option("--methods", help="of restyle: names, with commas", show_default="all")] = "",
    run: Annotated[
        list[str] | None, typer.Option("--run", metavar="METHOD=RUN", help="of restyle: the run that a method needs")
    ] = None,
    pairs: Annotated[
        str, typer.Option("--pairs", help="of restyle: test, tuning, chain, textures", show_default="all")
    ] = "",
    as_json: Json = False,
) -> None:
    """Train a grid of models, or restyle pairs of sounds, measure all of it, and report; goes on where it stopped."""
    from latentscape.benchmark import BenchmarkRequest, run_benchmark, suite_of

    request = BenchmarkRequest(
        suite_of(suite), out, source, quick, grid, jobs, minutes, ray, against, report_only, overwrite,
        tuple(filter(None, methods.split(","))), tuple(run or ()),
        tuple(filter(None, pairs.split(","))),
    )  # fmt: skip
    summary = run_benchmark(request, say=saying(as_json))
    print_json(summary.to_json()) if as_json else print_lines(summary.lines())
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    if summary.failed:
        raise typer.Exit(1)
