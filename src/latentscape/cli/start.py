"""The verbs that begin: look at sounds, train on them, look at what came of it."""

from pathlib import Path
from typing import Annotated

import typer

from latentscape.cli.options import (
    INTERRUPTED,
    START,
    Channels,
    Device,
    Json,
    Labels,
    Rate,
    Run,
    Seed,
    Source,
    app,
    print_json,
    print_lines,
    print_table,
    saying,
)


@app.command(rich_help_panel=START)
def doctor(
    source: Source,
    rate: Rate = None,
    channels: Channels = "mean",
    labels: Labels = None,
    words: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="say which words of its texts or tags have a vector there (GloVe)"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what will be used of a SOURCE, what will not, and why; suggest a recipe."""
    from latentscape.experiment.examine import examine

    report = examine(source, rate=rate, channels=channels, labels=labels, words=words)
    if as_json:
        print_json(report.to_json())
    else:
        print_lines(report.lines())


@app.command(rich_help_panel=START)
def data(name: Annotated[str | None, typer.Argument(help="a named data set")] = None, as_json: Json = False) -> None:
    """List the named data sets, or verify one of them."""
    from latentscape.data.sources import sources, verify

    if name is not None:
        lines = verify(name)
        print_json(lines) if as_json else print_lines(lines)
        return
    found = sources()
    if as_json:
        print_json([{"name": s.name, "about": s.about, "present": s.present, "where": s.where} for s in found])
    else:
        print_table(
            [(s.name, "here" if s.present else "-", s.about, s.where) for s in found], ("name", "", "what", "where")
        )


@app.command(rich_help_panel=START)
def recipes(name: Annotated[str | None, typer.Argument(help="a recipe")] = None, as_json: Json = False) -> None:
    """List the recipes, or show one."""
    from latentscape.recipes import load_recipe, read_text, recipe_names

    if name is not None:
        print_json(load_recipe(name).values) if as_json else typer.echo(read_text(name).rstrip())
        return
    found = [load_recipe(n) for n in recipe_names()]
    if as_json:
        print_json([{"name": r.name, "title": r.title} for r in found])
    else:
        print_table([(r.name, r.title) for r in found], ("recipe", "what it is for"))


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
    check: Annotated[
        bool, typer.Option("--check", help="try learning rates, sines and the flags first; train nothing")
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
    from latentscape.experiment.run import Request
    from latentscape.experiment.train import run_experiment

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
    if check:
        from latentscape.experiment.check import check_run

        found = check_run(request, say=saying(as_json))
        print_json(found.to_json()) if as_json else print_lines(found.lines())
        raise typer.Exit(0 if found.passed else 1)
    summary = run_experiment(request, say=saying(as_json))
    print_json(summary.to_json()) if as_json else print_lines(summary.lines())
    if summary.outcome.reason == "interrupted":
        raise typer.Exit(INTERRUPTED)


_NEXT = (
    "With sounds of your own:",
    "  latentscape doctor FOLDER                         what will be used, and why",
    "  latentscape train FOLDER --run runs/mine          train (about ten minutes; --minutes 2 for a first taste)",
    "  latentscape walk runs/mine --kind spiral --seconds 20 --out walk.wav",
    "  latentscape morph runs/mine A.wav B.wav --out morph.wav",
)


@app.command(rich_help_panel=START)
def demo(
    run: Annotated[Path, typer.Option("--run", help="the run folder to make")] = Path("runs/demo"), seed: Seed = 0
) -> None:
    """Train on the embedded notes in a few minutes, and say what to type next."""
    from latentscape.experiment.run import Request
    from latentscape.experiment.train import run_experiment

    summary = run_experiment(Request("tones", run, recipe="demo", overwrite=run.exists(), seed=seed), say=saying(False))
    print_lines([*summary.lines(), "", *_NEXT])


@app.command(rich_help_panel=START)
def info(run: Run, as_json: Json = False) -> None:
    """Show the card of a run: configuration, figures, verdict."""
    from latentscape.experiment.card import card

    found = card(run)
    print_json(found.to_json()) if as_json else print_lines(found.lines())
