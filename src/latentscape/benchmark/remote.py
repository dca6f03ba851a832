"""The same cells over many machines, on a Ray cluster (the extra ``latentscape[ray]``).

Nodes need not share a disk: a cell works in a folder of its own node, and its files come back as bytes, which the
driver writes under a temporary name and then renames. Every node needs latentscape, and the source: a named data set in
its data root, or the same path. A node that is lost takes its cells with it; Ray starts them again elsewhere, from the
start.
"""

import io
import platform
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from latentscape.benchmark.cell import fail_cell, reason, run_cell
from latentscape.benchmark.grid import Cell
from latentscape.benchmark.runner import THREADS, Execute, Place
from latentscape.core.errors import StorageError, UsageError
from latentscape.core.storage import save_bytes_to
from latentscape.experiment.run import Say

RETRIES = 3
"""How often a cell is begun again when its node is lost."""


class Parcel(NamedTuple):
    """What comes back from a node.

    Attributes:
        files: relative path (with ``/``) -> content.
        log: what the cell said.
        node: where it worked.
    """

    files: dict[str, bytes]
    log: str
    node: str


def over_ray(address: str) -> Execute:
    """Return what runs cells on a Ray cluster, one core each, as many at a time as it has.

    Args:
        address: of the cluster, such as ``auto`` or ``10.0.0.1:6379``.

    Raises:
        UsageError: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise UsageError("--ray needs Ray, which is not installed: pip install 'latentscape[ray]'")

    def execute(place: Place, cells: Sequence[Cell], say: Say) -> Iterator[Cell]:
        ray: Any = import_module("ray")
        ours = not ray.is_initialized()
        if ours:
            try:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, RuntimeError, ValueError) as error:
                line = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise UsageError(f"--ray {address}: no cluster answers there ({line})") from error
        try:
            yield from _spread(ray, place, cells, say)
        finally:
            if ours:
                ray.shutdown()

    return execute


def _spread(ray: Any, place: Place, cells: Sequence[Cell], say: Say) -> Iterator[Cell]:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    cores = int(sum(node["Resources"].get("CPU", 0) for node in nodes))
    say(f"{len(cells)} cells over {len(nodes)} nodes with {cores} cores")
    environment = {"env_vars": dict.fromkeys(THREADS, "1")}
    task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD", runtime_env=environment)(on_node)
    waiting = {task.remote(cell.to_json()): cell for cell in cells}
    try:
        while waiting:
            ended, _ = ray.wait(list(waiting), num_returns=1)
            for reference in ended:
                cell = waiting.pop(reference)
                try:
                    parcel = ray.get(reference)
                except ray.exceptions.RayError as error:
                    fail_cell(cell, place.folder(cell), f"lost on the cluster: {str(error).strip().splitlines()[-1]}")
                else:
                    unpack(parcel, place, cell)
                yield cell
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def on_node(values: dict[str, Any]) -> Parcel:
    """Do :func:`work` as a task of Ray, and say on which of its nodes."""
    node: Any = import_module("ray").get_runtime_context().get_node_id()
    parcel = work(values)
    return parcel._replace(node=f"{parcel.node}, node {node[:12]}")


def work(values: dict[str, Any]) -> Parcel:
    """Run the cell that plain data describe in a temporary folder of this machine; return its files."""
    cell = Cell.from_json(values)
    said = io.StringIO()
    with tempfile.TemporaryDirectory(prefix="latentscape-") as name:
        folder = Path(name) / cell.name
        with redirect_stdout(said), redirect_stderr(said):
            try:
                run_cell(cell, folder)
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                fail_cell(cell, folder, reason(error))
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.parent.name != "checkpoint"
        }
    return Parcel(files, said.getvalue(), platform.node())


def unpack(parcel: Parcel, place: Place, cell: Cell) -> None:
    """Write a cell's files where they belong: all of them, or none.

    Raises:
        StorageError: a path leads out of the cell's folder, or can't be written.
    """
    target = place.folder(cell)
    save_bytes_to(place.log(cell), f"on {parcel.node}\n{parcel.log}".encode())
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for name, content in parcel.files.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise StorageError(f"{cell.name}: a node sent a file named '{name}', which is not in its folder")
            file = temporary.joinpath(*path.parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except OSError as error:
        raise StorageError(f"could not write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
