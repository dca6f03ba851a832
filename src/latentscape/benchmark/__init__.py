"""Grids of trainings, what they show, and the judges that look at them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from latentscape.benchmark.catalogue import Suite
from latentscape.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from latentscape.experiment.run import Say

__all__ = ["BenchmarkRequest", "BenchmarkSummary", "run_benchmark", "suite_of"]


@dataclass(frozen=True)
class BenchmarkRequest:
    """What the shell was asked to compare; see ``latentscape benchmark --help``.

    Attributes:
        suite: images or notes.
        out: the folder of all that comes of it.
        source: takes the place of the grid's own.
        quick: the short grid of the suite.
        grid: a file with a grid of one's own.
        jobs: cells at a time; ``None`` as many as there are cores.
        minutes: bound on the training of a cell.
        ray: address of a Ray cluster.
        against: the folder of another benchmark, whose ranking the report compares with this one's.
        report_only: write the report of what is there, and run nothing.
        overwrite: make cells again that were made with other settings.
    """

    suite: Suite
    out: Path
    source: str | None = None
    quick: bool = False
    grid: Path | None = None
    jobs: int | None = None
    minutes: float | None = None
    ray: str | None = None
    against: Path | None = None
    report_only: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class BenchmarkSummary:
    """What a benchmark came to.

    Attributes:
        out: its folder.
        done, failed, kept: names of cells that were run now, that failed, and that were finished before.
        seconds: wall time.
        interrupted: whether it was stopped; the same request goes on.
        page: the report, where one was written.
    """

    out: Path
    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False
    page: Path | None = None

    def lines(self) -> list[str]:
        """Return what the shell prints."""
        if self.interrupted:
            return [f"stopped; the same command goes on in {self.out}"]
        ran = f"{len(self.done)} cells in {self.seconds / 60:.1f} min" if self.done or self.failed else "nothing to run"
        lines = [f"{ran}, {len(self.kept)} finished before, {len(self.failed)} failed"]
        lines += [f"failed: {name} (see {self.out / 'logs' / name}.log)" for name in self.failed]
        return lines + ([f"open {self.page}"] if self.page is not None else [])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "out": str(self.out),
            "done": list(self.done),
            "failed": list(self.failed),
            "kept": list(self.kept),
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
            "page": None if self.page is None else str(self.page),
        }


def suite_of(name: str) -> Suite:
    """Return the suite of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in get_args(Suite):
        raise UsageError(f"no benchmark '{name}'{nearest(name, get_args(Suite))}")
    return name  # type: ignore[return-value]


def run_benchmark(request: BenchmarkRequest, say: "Say") -> BenchmarkSummary:
    """Run what is left of a grid, and write its report.

    Raises:
        UsageError: the request or the grid is wrong, or its folder is taken.
        LatentscapeError: anything else that the data or the folder are wrong about.
    """
    # heavy, and not needed by whoever only reads a name of this package
    from latentscape.benchmark.check import check_cells
    from latentscape.benchmark.grid import load_grid
    from latentscape.benchmark.remote import over_ray
    from latentscape.benchmark.report import write_report
    from latentscape.benchmark.runner import cores, run_grid, side_by_side
    from latentscape.benchmark.soundness import compile_kernels

    if request.report_only:
        return BenchmarkSummary(request.out, page=write_report(request.out, against=request.against))

    if request.grid is not None and request.quick:
        raise UsageError("--quick chooses a grid that comes with the package; leave it out beside --grid")
    name = request.grid or f"{request.suite}-quick" if request.quick else request.grid or request.suite
    grid = load_grid(name, suite=request.suite, source=request.source, minutes=request.minutes)
    if request.ray is not None:
        execute = over_ray(request.ray)  # the sources need not be on this machine
    else:
        check_cells(grid.cells)
        if grid.config.suite == "notes":
            compile_kernels()
        execute = side_by_side(request.jobs or cores())
    say(f"{len(grid.cells)} cells, at most {len(grid.cells) * grid.config.minutes:.0f} minutes of training in all")
    try:
        tally = run_grid(grid, request.out, execute, say, overwrite=request.overwrite)
    except KeyboardInterrupt:
        return BenchmarkSummary(request.out, interrupted=True)
    page = write_report(request.out, against=request.against)
    return BenchmarkSummary(request.out, tally.done, tally.failed, tally.kept, tally.seconds, page=page)
