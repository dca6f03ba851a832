"""Grids of trainings, what they show, and the judges that look at them; and the benchmark of restyling."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from latentscape.benchmark.catalogue import Suite
from latentscape.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from latentscape.experiment.run import Say

Name = Suite | Literal["restyle", "waveform"]

__all__ = ["BenchmarkRequest", "BenchmarkSummary", "run_benchmark", "suite_of"]


@dataclass(frozen=True)
class BenchmarkRequest:
    """What the shell was asked to compare; see ``latentscape benchmark --help``.

    Attributes:
        suite: images, notes, waveform or restyle.
        out: the folder of all that comes of it.
        source: takes the place of the grid's own; of ``restyle`` the folder of the clips.
        quick: the short grid of the suite.
        grid: a file with a grid of one's own.
        jobs: cells at a time; ``None`` as many as there are cores.
        minutes: bound on the training of a cell.
        ray: address of a Ray cluster.
        against: the folder of another benchmark, whose ranking the report compares with this one's.
        report_only: write the report of what is there, and run nothing.
        overwrite: make cells again that were made with other settings.
        methods: of ``restyle``; none are all that can be had.
        runs: of ``restyle``, ``METHOD=RUN``.
        pairs: of ``restyle``, groups of pairs; none are all.
    """

    suite: Name
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
    methods: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()


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


def suite_of(name: str) -> Name:
    """Return the suite of that name.

    Raises:
        UsageError: there is none.
    """
    names = (*get_args(Suite), "restyle", "waveform")
    if name not in names:
        raise UsageError(f"no benchmark '{name}'{nearest(name, names)}")
    return name  # type: ignore[return-value]


def run_benchmark(request: BenchmarkRequest, say: "Say") -> BenchmarkSummary:
    """Run what is left of a grid, and write its report.

    Raises:
        UsageError: the request or the grid is wrong, or its folder is taken.
        LatentscapeError: anything else that the data or the folder are wrong about.
    """
    if request.suite == "restyle":
        return _restyle(request, say)
    if request.methods or request.runs or request.pairs:
        raise UsageError("--methods, --run and --pairs go with `benchmark restyle`")
    if request.suite == "waveform":
        return _waveform(request, say)
    if request.report_only:
        return BenchmarkSummary(request.out, page=_reported(request))
    # heavy, and not needed by whoever only reads a name of this package
    from latentscape.benchmark.check import check_cells
    from latentscape.benchmark.grid import load_grid
    from latentscape.benchmark.remote import over_ray
    from latentscape.benchmark.results import load_results
    from latentscape.benchmark.runner import cores, run_grid, side_by_side

    if request.against is not None:
        load_results(request.against)  # it is read at the end, after hours
    if request.grid is not None and request.quick:
        raise UsageError("--quick chooses a grid that comes with the package; leave it out beside --grid")
    name = request.grid or f"{request.suite}-quick" if request.quick else request.grid or request.suite
    grid = load_grid(name, suite=request.suite, source=request.source, minutes=request.minutes)
    if request.ray is not None:
        execute, jobs = over_ray(request.ray), request.jobs or 1  # the sources need not be on this machine
    else:
        check_cells(grid.cells)
        jobs = request.jobs or cores()
        execute = side_by_side(jobs)
    say(f"{len(grid.cells)} cells, at most {len(grid.cells) * grid.config.minutes:.0f} minutes of training in all")
    try:
        tally = run_grid(grid, request.out, execute, say, overwrite=request.overwrite, jobs=jobs)
    except KeyboardInterrupt:
        return BenchmarkSummary(request.out, interrupted=True)
    page = _reported(request)
    return BenchmarkSummary(request.out, tally.done, tally.failed, tally.kept, tally.seconds, page=page)


def _reported(request: BenchmarkRequest) -> Path:
    from latentscape.benchmark.report import write_report  # with matplotlib and scipy.stats: what is stopped waits less

    return write_report(request.out, against=request.against)


def _restyle(request: BenchmarkRequest, say: "Say") -> BenchmarkSummary:
    from latentscape.benchmark.restyle import asked_of, run_restyling
    from latentscape.benchmark.restyle_report import write_restyle_report
    from latentscape.data.sources import data_root

    if request.quick or any((request.grid, request.jobs, request.minutes, request.ray, request.against)):
        raise UsageError(
            "restyle has no grid of trainings: it takes --methods, --run, --pairs, --report-only and --overwrite"
        )
    clips = data_root() / "clips" if request.source is None else Path(request.source)
    if request.report_only:
        return BenchmarkSummary(request.out, page=write_restyle_report(request.out, clips))
    asked = asked_of(request.out, clips, request.methods, request.runs, request.pairs, overwrite=request.overwrite)
    try:
        tally = run_restyling(asked, say)
    except KeyboardInterrupt:
        return BenchmarkSummary(request.out, interrupted=True)
    page = write_restyle_report(request.out, clips)
    return BenchmarkSummary(request.out, tally.done, tally.failed, tally.kept, tally.seconds, page=page)


def _waveform(request: BenchmarkRequest, say: "Say") -> BenchmarkSummary:
    from latentscape.benchmark.waveform import load_waveforms, run_waveforms
    from latentscape.benchmark.waveform_report import write_waveform_report

    if any((request.jobs, request.minutes, request.ray, request.against)) or (request.grid and request.quick):
        raise UsageError("waveform takes SOURCE, --quick or --grid, --report-only and --overwrite")
    if request.report_only:
        return BenchmarkSummary(request.out, page=write_waveform_report(request.out))
    grid = load_waveforms(request.grid or ("quick" if request.quick else "full"), request.source)
    began = time.monotonic()
    tally = run_waveforms(grid, request.out, say, overwrite=request.overwrite)
    if tally.interrupted:
        return BenchmarkSummary(request.out, interrupted=True)
    page = write_waveform_report(request.out) if tally.done or tally.kept else None
    seconds = time.monotonic() - began
    return BenchmarkSummary(request.out, tally.done, tally.failed, tally.kept, seconds, page=page)
