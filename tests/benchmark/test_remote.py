"""Cells on a Ray cluster: what comes back is written where it belongs, all or nothing; and once over two real nodes."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from latentscape.benchmark import remote
from latentscape.benchmark.grid import load_grid
from latentscape.benchmark.remote import Parcel, over_ray, unpack, work
from latentscape.benchmark.runner import Place
from latentscape.core.errors import StorageError, UsageError

TINY = Path(__file__).with_name("tiny.yaml")


def test_a_cell_comes_back_as_bytes(tmp_path):
    cell = load_grid(TINY).cells[0]
    parcel = work(cell.to_json())
    assert {"cell.json", "run.json", "config.json", "weights.safetensors", "metrics.jsonl"} <= set(parcel.files)
    assert not any(name.startswith(("checkpoint", "/")) for name in parcel.files)
    place = Place(tmp_path)
    (place.folder(cell) / "old").mkdir(parents=True)
    unpack(parcel, place, cell)
    assert place.record(cell)["status"] == "done"
    assert {p.name for p in place.folder(cell).parent.iterdir()} == {cell.name}
    assert not (place.folder(cell) / "old").exists()
    assert place.log(cell).read_text().startswith("on ")


def test_a_cell_that_fails_on_its_node_comes_back_too(tmp_path):
    cell = load_grid(TINY, source="absent").cells[0]
    parcel = work(cell.to_json())
    unpack(parcel, Place(tmp_path), cell)
    assert "no folder, file or data set 'absent'" in Place(tmp_path).record(cell)["error"]
    assert "Traceback" in parcel.log


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_a_node_can_not_write_elsewhere(tmp_path, name):
    cell = load_grid(TINY).cells[0]
    with pytest.raises(StorageError, match="not in its folder"):
        unpack(Parcel({"good": b"1", name: b"2"}, "", "there"), Place(tmp_path / "out"), cell)
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {f"{cell.name}.log"}


def test_without_ray_there_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(remote, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'latentscape\[ray\]'"):
        over_ray("auto")


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
from latentscape.cli import main

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 * 2**20})
cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
cluster.wait_for_nodes()
main(["benchmark", "images", "--grid", sys.argv[1], "--out", sys.argv[2], "--ray", cluster.address])
"""


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (the extra latentscape[ray])")
def test_a_grid_runs_over_two_nodes(tmp_path):
    out = tmp_path / "out"
    ran = subprocess.run([sys.executable, "-c", CLUSTER, str(TINY), str(out)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "4 cells over 2 nodes with 2 cores" in ran.stderr
    logs = [path.read_text().splitlines()[0] for path in (out / "logs").glob("*.log")]
    assert len(logs) == 4
    assert len({line.split("node ")[-1] for line in logs}) == 2
    assert all((out / "cells" / cell.name / "cell.json").exists() for cell in load_grid(TINY).cells)
    assert (out / "index.html").exists()
