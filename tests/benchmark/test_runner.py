"""Running a grid: what a cell leaves, what is repeated (nothing), what a failure, a kill and a second runner do."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from latentscape.benchmark import BenchmarkRequest, run_benchmark
from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.cell import Interrupted, fail_cell, main, reason, run_cell
from latentscape.benchmark.grid import load_grid
from latentscape.benchmark.runner import Course, Place, clock, cores, run_grid, side_by_side
from latentscape.core.errors import DataError, UsageError
from latentscape.core.lock import locked
from latentscape.core.storage import load_object, save_json
from latentscape.instrument.loading import load
from latentscape.measure.estimate import Estimate

TINY = Path(__file__).with_name("tiny.yaml")


def in_turn(place, cells, say):
    """Run cells one after the other in this process."""
    for cell in cells:
        try:
            run_cell(cell, place.folder(cell))
        except Exception as error:
            fail_cell(cell, place.folder(cell), reason(error))
        yield cell


def grid_of(path: Path, **axis) -> Path:
    """Write the tiny grid with another axis; return where."""
    values = yaml.safe_load(TINY.read_text())
    values["seeds"] = 1
    values["axes"]["warm-up"] |= axis
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny grid that has been run once."""
    out = tmp_path_factory.mktemp("bench") / "out"
    said = []
    tally = run_grid(load_grid(TINY), out, in_turn, said.append)
    return out, tally, said


def times(out: Path) -> dict[str, int]:
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in (out / "cells").rglob("*") if p.is_file()}


def test_the_time_that_is_left_follows_the_cells_that_are_left(finished):
    """Quick cells come out first: what is left is told of the others' own bound, and of their own kind once it is known."""
    first, second = (replace(load_grid(TINY).cells[0], family=family, minutes=2.0) for family in ("quick", "slow"))
    course = Course(jobs=2)
    course.note(first, {"seconds": {"train": 1.0, "measure": 3.0}})
    course.note(first, {"seconds": {}})
    assert course.left([second] * 34) == "at most about 35 min left", "34 cells of 123 s, two at a time"
    assert course.left([first] * 3) == "about 6 s left"
    course.note(second, {"seconds": {"train": 117.0, "measure": 3.0}})
    assert course.left([second] * 34) == "about 34 min left"
    assert course.left([second]) == "about 2 min left", "one cell is not divided"


def test_a_finished_cell_holds_a_run_and_its_numbers(finished):
    out, tally, said = finished
    assert tally.failed == ()
    assert len(tally.done) == 4
    assert said[-1].endswith("that was the last")
    assert "about" in said[0]
    for cell in load_grid(TINY).cells:
        record = load_object(out / "cells" / cell.name / "cell.json")
        assert (record["status"], record["error"], record["steps"]) == ("done", "", 30)
        assert (record["family"], record["axis"], record["value"], record["seed"]) == (
            "VAE",
            cell.axis,
            cell.value,
            cell.seed,
        )
        assert record["data"] == "digits, dynamic binarisation"
        assert set(record["seconds"]) == {"train", "measure"}
        assert set(record["numbers"]) <= set(CATALOGUE)
        assert {"mse", "mse_grey", "elbo", "nll_iw", "mmd_p", "data_mmd", "nearest_ratio"} <= set(record["numbers"])
        assert record["numbers"]["parameters"]["value"] == record["parameters"]
        for name, number in record["numbers"].items():
            assert number["unit"] == CATALOGUE[name].unit, name
        elbo = Estimate.from_json(record["numbers"]["elbo"])
        assert elbo.value == pytest.approx(-record["numbers"]["distortion"]["value"] - record["numbers"]["kl"]["value"])
        assert len(elbo.replicates) == 200
        assert load(out / "cells" / cell.name).dim == 3
        assert not (out / "cells" / cell.name / "checkpoint").exists()


def test_real_data_stand_beside_the_cells(finished):
    ceilings = load_object(finished[0] / "ceilings.json")
    assert set(ceilings) == {"digits"}
    assert set(ceilings["digits"]) == {"data_mmd", "nearest_ratio"}
    assert abs(ceilings["digits"]["data_mmd"]["value"]) < 0.05
    assert ceilings["digits"]["nearest_ratio"]["value"] == pytest.approx(1, abs=0.2)


def test_nothing_that_is_finished_is_run_again(finished):
    out, _, _ = finished
    before, said = times(out), []
    tally = run_grid(load_grid(TINY), out, in_turn, said.append)
    assert (tally.done, tally.failed, len(tally.kept)) == ((), (), 4)
    assert said == ["4 of 4 cells are finished already"]
    assert times(out) == before


def test_what_real_data_reach_is_not_lost_with_the_runner(tmp_path):
    limits = {"data_mmd": {"value": 0.1, "unit": "", "replicates": []}}
    record = {"status": "done", "steps": 1, "seconds": {"train": 1.0, "measure": 1.0}, "ceilings": limits}

    def stopped(place, cells, say):
        save_json(place.folder(cells[0]) / "cell.json", record)  # the cell ends while the runner is told to stop
        raise KeyboardInterrupt
        yield

    def the_rest(place, cells, say):
        for cell in cells:
            save_json(place.folder(cell) / "cell.json", {key: record[key] for key in ("status", "steps", "seconds")})
            yield cell

    grid, out = load_grid(TINY), tmp_path / "out"
    assert grid.cells[0].limits
    with pytest.raises(KeyboardInterrupt):
        run_grid(grid, out, stopped, print)
    assert len(run_grid(grid, out, the_rest, print).kept) == 1
    assert load_object(out / "ceilings.json") == {"digits": limits}


def test_cells_of_other_settings_are_neither_kept_nor_lost_unasked(finished, tmp_path):
    out, _, _ = finished
    before = times(out)
    other = tmp_path / "other.yaml"
    other.write_text(
        TINY.read_text().replace("10 steps: {objective: {warmup: 10}}", "10 steps: {objective: {warmup: 11}}")
    )
    with pytest.raises(
        UsageError,
        match=r"digits.VAE.warm-up-10-steps.s0 was made with config.objective.warmup = 10, .* 11; .*--overwrite",
    ):
        run_grid(load_grid(other), out, in_turn, print)
    assert times(out) == before
    tally = run_grid(load_grid(other), out, in_turn, lambda line: None, overwrite=True)
    assert tally.done == ("digits.VAE.warm-up-10-steps.s0",)
    after = times(out)
    assert {name for name in after if after[name] != before.get(name)} == {n for n in after if "warm-up-10" in n}
    run_grid(load_grid(TINY), out, in_turn, lambda line: None, overwrite=True)


def test_a_failed_cell_is_told_and_stops_nobody_and_is_tried_again(tmp_path):
    values = {"grey": {"data": {"binarise": "none"}}, "5": {"objective": {"warmup": 5}}}
    grid = grid_of(tmp_path / "g.yaml", values=values, measure="mse_grey")
    out, said = tmp_path / "out", []
    tally = run_grid(load_grid(grid), out, in_turn, said.append)
    assert tally.failed == ("digits.VAE.warm-up-grey.s0",)
    assert len(tally.done) == 2
    record = load_object(out / "cells" / tally.failed[0] / "cell.json")
    assert record["status"] == "failed"
    assert "bernoulli likelihood needs every value to be 0 or 1" in record["error"]
    assert "\n" not in record["error"]
    assert any("failed: data lie between" in line for line in said)
    again = run_grid(load_grid(grid), out, in_turn, said.append)
    assert (again.failed, len(again.kept)) == (tally.failed, 2)


def test_a_folder_that_is_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a benchmark"):
        run_grid(load_grid(TINY), tmp_path, in_turn, print)
    with pytest.raises(UsageError, match="is a file"):
        run_grid(load_grid(TINY), tmp_path / "mine.txt", in_turn, print)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "grid.json").write_text('{"suite": "notes"}')
    with pytest.raises(UsageError, match="of another suite"):
        run_grid(load_grid(TINY), tmp_path, in_turn, print)
    assert (tmp_path / "grid.json").read_text() == '{"suite": "notes"}'


def test_a_benchmark_to_compare_with_is_looked_for_before_anything_runs(tmp_path):
    request = BenchmarkRequest("images", tmp_path / "out", grid=TINY, jobs=1, against=tmp_path / "none")
    said: list[str] = []
    with pytest.raises(UsageError, match="holds no benchmark"):
        run_benchmark(request, said.append)
    assert not said
    assert not (tmp_path / "out").exists()


def test_two_runners_do_not_share_a_folder(tmp_path):
    with locked(tmp_path / "out" / ".lock", "taken"):
        save_json(tmp_path / "out" / "grid.json", {})
        code = (
            "import sys; from pathlib import Path\n"
            "from latentscape.core.lock import locked\n"
            "with locked(Path(sys.argv[1]), 'taken', float(sys.argv[2])): print('got it')"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "out" / ".lock")]
        assert "UsageError: taken" in subprocess.run([*command, "0"], capture_output=True, text=True).stderr
        with pytest.raises(UsageError, match="another benchmark is running"):
            run_grid(load_grid(TINY), tmp_path / "out", in_turn, print)
        waiting = subprocess.Popen([*command, "60"], stdout=subprocess.PIPE, text=True)
    assert waiting.communicate()[0] == "got it\n"


def test_an_interrupted_cell_goes_on_where_it_stood(tmp_path, monkeypatch):
    from latentscape.train.loop import _Loop

    cell = load_grid(TINY).cells[0]
    take = _Loop._take
    pressed = []

    def once(self, step, loss):
        if step == 12 and not pressed:
            pressed.append(step)
            signal.raise_signal(signal.SIGINT)
        take(self, step, loss)

    monkeypatch.setattr(_Loop, "_take", once)
    with pytest.raises(Interrupted, match="stopped at step 12"):
        run_cell(cell, tmp_path / "a")
    assert not (tmp_path / "a" / "cell.json").exists()
    assert (tmp_path / "a" / "checkpoint" / "state.safetensors").exists()
    started = load_object(tmp_path / "a" / "run.json")["started"]
    run_cell(cell, tmp_path / "a")
    assert load_object(tmp_path / "a" / "run.json")["started"] == started
    run_cell(cell, tmp_path / "b")
    a, b = ((tmp_path / name / "weights.safetensors").read_bytes() for name in "ab")
    assert a == b


def test_a_cell_that_was_killed_while_it_was_laid_down_begins_anew(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.json").write_text("{")
    assert run_cell(load_grid(TINY).cells[0], tmp_path / "c")["status"] == "done"


def test_a_trained_cell_is_only_measured(finished, tmp_path):
    cell = load_grid(TINY).cells[0]
    shutil.copytree(finished[0] / "cells" / cell.name, tmp_path / "d")
    (tmp_path / "d" / "cell.json").unlink()
    weights = (tmp_path / "d" / "weights.safetensors").stat().st_mtime_ns
    again = run_cell(cell, tmp_path / "d")
    assert (tmp_path / "d" / "weights.safetensors").stat().st_mtime_ns == weights
    first = load_object(finished[0] / "cells" / cell.name / "cell.json")
    costs = ("seconds_step",)
    for name, number in first["numbers"].items():
        if name not in costs:
            assert again["numbers"][name] == number, name


def test_a_run_that_diverges_is_a_failure(tmp_path):
    grid = grid_of(tmp_path / "g.yaml", values={"wild": {"train": {"learning_rate": 1e30}}})
    tally = run_grid(load_grid(grid), tmp_path / "out", in_turn, lambda line: None)
    assert tally.failed == ("digits.VAE.warm-up-wild.s0",)
    assert "no longer finite" in load_object(tmp_path / "out" / "cells" / tally.failed[0] / "cell.json")["error"]


def test_reasons_name_what_is_not_ours():
    assert reason(DataError("no sound")) == "no sound"
    assert reason(KeyError("x")) == "KeyError: 'x'"


def test_clocks_and_cores():
    assert (clock(12.3), clock(600)) == ("12 s", "10 min")
    assert cores() >= 1


def test_a_process_that_dies_without_a_word_is_a_failed_cell(tmp_path, monkeypatch):
    """The request is damaged after it was written, so that the process ends before it can say why in a record."""
    place, cell = Place(tmp_path), load_grid(TINY).cells[0]
    place.request(cell).parent.mkdir(parents=True)
    place.request(cell).write_text("{}")
    assert list(side_by_side(1)(place, [cell], print)) == [cell]
    record = place.record(cell)
    assert record["status"] == "failed"
    assert record["error"].startswith("ended with code 1; its last words: ")
    assert "'name' is missing" in record["error"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_ctrl_c_and_a_kill_lose_nothing(finished, tmp_path):
    """A cell is stopped by Ctrl-C, killed as it goes on, and finished; what was finished is never touched again."""
    grid, out = tmp_path / "grid.yaml", tmp_path / "out"
    values = yaml.safe_load(TINY.read_text()) | {"seeds": 1}
    values["axes"]["warm-up"]["values"] = {"long": {"train": {"max_steps": 800, "checkpoint_every": 20}}}
    grid.write_text(yaml.safe_dump(values))
    shutil.copytree(finished[0] / "cells" / "digits.VAE.s0", out / "cells" / "digits.VAE.s0")
    shutil.copy(finished[0] / "grid.json", out)
    first = times(out)
    long = out / "cells" / "digits.VAE.warm-up-long.s0"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "latentscape", "benchmark", "images", "--grid", str(grid), "--out", str(out)]

    def run_until_saved(number):
        """Start the benchmark, and send it a signal once the cell has (again) written a checkpoint."""
        state = long / "checkpoint" / "state.safetensors"
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(
            [*command, "--jobs", "1"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if state.exists() and state.stat().st_mtime_ns > before:
                break
            time.sleep(0.02)
        process.send_signal(number)
        said = process.communicate()[0]
        return process.returncode, said

    code, said = run_until_saved(signal.SIGINT)
    assert code == 130, said
    assert "the same command goes on" in said
    assert not (long / "cell.json").exists()
    started = load_object(long / "run.json")["started"]

    assert run_until_saved(signal.SIGKILL)[0] == -signal.SIGKILL
    with locked(out / "requests" / f"{long.name}.lock", "the cell that lost its runner does not end", 60.0):
        pass  # a cell of a process of its own would wait for it likewise
    assert run_grid(load_grid(grid), out, in_turn, print).done == (long.name,)
    last = times(out)
    assert {name: last[name] for name in first} == first
    assert load_object(long / "run.json")["started"] == started
    assert load_object(long / "cell.json")["steps"] == 800


def test_a_worker_stops_when_its_starter_dies(tmp_path):
    """Its standard input ends at once: it stops before it has done anything, and leaves no record."""
    place, cell = Place(tmp_path), load_grid(TINY).cells[0]
    save_json(place.request(cell), cell.to_json())
    command = [sys.executable, "-m", "latentscape.benchmark.cell", str(place.request(cell)), str(place.folder(cell))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert place.record(cell) is None


def test_a_worker_ends_in_peace_beside_an_open_standard_input(tmp_path):
    """What waits for the end of standard input must not hold the interpreter up when it shuts down."""
    place, cell = Place(tmp_path), replace(load_grid(TINY).cells[0], source="absent")
    save_json(place.request(cell), cell.to_json())
    command = [sys.executable, "-m", "latentscape.benchmark.cell", str(place.request(cell)), str(place.folder(cell))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said = process.stderr.read()
        assert process.wait() == 1, said
    assert "Fatal" not in said


def test_a_cell_says_why_it_failed(tmp_path, monkeypatch, capsys):
    place, cell = Place(tmp_path), load_grid(TINY, source="absent").cells[0]
    save_json(place.request(cell), cell.to_json())
    monkeypatch.setattr("latentscape.benchmark.cell._watch", lambda stop: None)
    assert main([str(place.request(cell)), str(place.folder(cell))]) == 1
    assert "no folder, file or data set 'absent'" in place.record(cell)["error"]
    assert "Traceback" in capsys.readouterr().err
