"""Errors, configuration records, random streams, safe storage."""

import errno
import os
import subprocess
import sys
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from pydantic import Field

from latentscape.core import storage
from latentscape.core.config import Record, assignment, merge, parse
from latentscape.core.distributed import gather_rows, mean_over_processes, world_size
from latentscape.core.errors import ConfigError, StorageError, nearest
from latentscape.core.random import numpy_stream, seed_of, seeded, torch_stream


class Mlp(Record):
    kind: Literal["mlp"] = "mlp"
    widths: tuple[int, ...] = (8,)


class Conv(Record):
    kind: Literal["conv"] = "conv"
    channels: int = Field(4, gt=0)


class Model(Record):
    net: Annotated[Mlp | Conv, Field(discriminator="kind")] = Mlp()
    latent: int


class Top(Record):
    model: Model
    title: str | None = None


class TestParse:
    def test_reads_nested_unions(self):
        top = parse(Top, {"model": {"latent": 2, "net": {"kind": "conv", "channels": 3}}})
        assert top.model.net == Conv(channels=3)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"model": {"latent": 2, "net": {"kind": "mlp", "widhts": [3]}}}, "unknown key 'model.net.widhts'; did you mean 'widths'?"),
            ({"modle": {"latent": 2}, "model": {"latent": 1}}, "unknown key 'modle'; did you mean 'model'?"),
            ({"model": {"latent": 2, "net": {"kind": "covn"}}}, "model.net.kind: 'covn' is not known; did you mean 'conv'?"),
            ({"model": {"latent": "two"}}, "model.latent: got 'two', expected a valid integer"),
            ({"model": {"latent": True}}, "model.latent: got True, expected a number"),
            ({"model": {"latent": 2, "net": {"kind": "mlp", "widths": [8, False]}}}, "model.net.widths.1: got False, expected a number"),
            ({"model": {}}, "'model.latent' is missing"),
            ({"model": {"latent": 1, "net": {"channels": 2}}}, "model.net.kind is missing"),
            ({"model": {"latent": 2, "net": {"kind": "conv", "channels": 0}}}, "model.net.channels: got 0, expected greater than 0"),
        ],
    )  # fmt: skip
    def test_names_the_full_path_and_the_nearest_key(self, values, message):
        with pytest.raises(ConfigError) as caught:
            parse(Top, values, "recipe x")
        assert message in str(caught.value)
        assert str(caught.value).startswith("recipe x: ")
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2

    def test_records_are_frozen(self):
        with pytest.raises(ValueError, match="frozen"):
            Model(latent=1).latent = 2


def test_merge_goes_key_by_key_but_replaces_another_kind():
    base = {"a": {"kind": "x", "u": 1, "v": 2}, "b": 1}
    assert merge(base, {"a": {"u": 5}}) == {"a": {"kind": "x", "u": 5, "v": 2}, "b": 1}
    assert merge(base, {"a": {"kind": "y", "w": 3}}) == {"a": {"kind": "y", "w": 3}, "b": 1}
    assert base["a"]["u"] == 1


def test_assignment_reads_yaml_values():
    assert assignment("train.max_steps=10") == {"train": {"max_steps": 10}}
    assert assignment("train.learning_rate=1e-3") == {"train": {"learning_rate": 1e-3}}
    assert assignment("model.widths=[1, 2]") == {"model": {"widths": [1, 2]}}
    assert assignment("title=null") == {"title": None}
    for wrong in ("train.max_steps", "=3", "a=[1"):
        with pytest.raises(ConfigError):
            assignment(wrong)


def test_nearest_offers_close_names_or_all():
    assert nearest("noets", ["notes", "tones"]) in ("; did you mean 'notes' or 'tones'?", "; did you mean 'notes'?")
    assert nearest("zzz", ["b", "a"]) == "; known: a, b"
    assert nearest("zzz", []) == ""


class TestRandom:
    def test_seed_depends_on_every_key_their_order_and_type_only(self):
        seeds = {seed_of(), seed_of(1), seed_of("1"), seed_of(1, 2), seed_of(2, 1), seed_of("a", "b"), seed_of("ab")}
        assert len(seeds) == 7
        assert seed_of(0, "batch", 3) == 2212916099269140829  # the same on every machine, for ever

    def test_streams_repeat(self):
        assert torch.equal(torch.rand(3, generator=torch_stream(1)), torch.rand(3, generator=torch_stream(1)))
        assert np.array_equal(numpy_stream(1, "x").random(3), numpy_stream(1, "x").random(3))


class TestStorage:
    def test_json_and_tensors_round_trip(self, tmp_path):
        storage.save_json(tmp_path / "new folder" / "a.json", {"ä": [1, None]})
        assert storage.load_json(tmp_path / "new folder" / "a.json") == {"ä": [1, None]}
        tensors = {"a": torch.randn(2, 3).T, "b": torch.arange(3)}
        storage.save_tensors(tmp_path / "w.safetensors", tensors, {"k": "v"})
        loaded = storage.load_tensors(tmp_path / "w.safetensors")
        assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)

    def test_a_name_that_is_no_text_comes_back(self, tmp_path):
        storage.save_json(tmp_path / "a.json", {"\udcff": "é"})
        assert storage.load_json(tmp_path / "a.json") == {"\udcff": "é"}
        assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")

    def test_nan_is_refused_in_json(self, tmp_path):
        with pytest.raises(StorageError):
            storage.save_json(tmp_path / "a.json", float("nan"))

    def test_a_full_disk_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch):
        path = tmp_path / "a.json"
        storage.save_json(path, 1)

        def full(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device"):
            storage.save_json(path, 2)
        assert storage.load_json(path) == 1
        assert [p.name for p in tmp_path.iterdir()] == ["a.json"]

    def test_interruption_leaves_nothing_half_written(self, tmp_path):
        def interrupted():
            with storage.atomic(tmp_path / "a") as temporary:
                temporary.write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("load", [storage.load_json, storage.load_tensors])
    def test_missing_and_damaged_files_are_one_line(self, tmp_path, load):
        with pytest.raises(StorageError, match="is missing"):
            load(tmp_path / "absent")
        (tmp_path / "bad").write_bytes(b"\x00\x01 nonsense")
        with pytest.raises(StorageError, match="damaged"):
            load(tmp_path / "bad")
        with pytest.raises(StorageError, match="could not read"):
            load(tmp_path)

    def test_weights_load_all_or_nothing(self, tmp_path):
        net = torch.nn.Linear(2, 3)
        good = {name: tensor + 1 for name, tensor in net.state_dict().items()}
        before = net.weight.clone()
        for bad, message in [
            ({"weight": good["weight"]}, "'bias' .* is missing"),
            (good | {"bias": torch.zeros(4)}, r"'bias' is \(4,\), expected \(3,\)"),
            (good | {"extra": torch.zeros(1)}, "'extra', which the model lacks"),
        ]:
            with pytest.raises(StorageError, match=message):
                storage.load_weights(net, bad, tmp_path)
        assert torch.equal(net.weight, before)
        storage.load_weights(net, good, tmp_path)
        assert torch.equal(net.weight, before + 1)


def test_alone_collectives_are_identities():
    x = torch.randn(2, 3)
    assert world_size() == 1
    assert gather_rows(x) is x
    assert mean_over_processes(x) is x


def test_seeded_follows_its_keys_and_leaves_the_global_stream_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded(1, "a"):
        first = torch.rand(3)
    assert torch.equal(torch.rand(2), expected)
    with seeded(1, "a"):
        assert torch.equal(torch.rand(3), first)
    with seeded(1, "b"):
        assert not torch.equal(torch.rand(3), first)


def test_an_object_with_its_keys_is_read_and_anything_else_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    assert storage.load_object(path, ("a",)) == {"a": 1}
    with pytest.raises(StorageError, match=r"a\.json is damaged: 'b' is missing"):
        storage.load_object(path, ("a", "b"))
    path.write_text("[1]")
    with pytest.raises(StorageError, match="expected an object, got list"):
        storage.load_object(path)


_SAVING = """
import resource, sys, torch
from pathlib import Path
from latentscape.core.storage import save_tensors
save_tensors(Path(sys.argv[1]), {"small": torch.zeros(4)})
weights = torch.ones(2**26)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_tensors(Path(sys.argv[1]), {"weights": weights})
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**18)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="maximum resident memory is counted otherwise elsewhere")
def test_saving_takes_no_memory_beside_the_weights(tmp_path):
    """A model of half a billion numbers and its moments took 20 GB to be saved."""
    done = subprocess.run([sys.executable, "-c", _SAVING, tmp_path / "a.safetensors"], capture_output=True, check=True)
    assert float(done.stdout) < 0.3  # of the weights' own size


def test_two_names_of_one_memory_are_both_kept(tmp_path):
    whole = torch.arange(6.0)
    storage.save_tensors(tmp_path / "a.safetensors", {"whole": whole, "half": whole[3:], "turned": whole.view(2, 3).T})
    found = storage.load_tensors(tmp_path / "a.safetensors")
    assert found["half"].tolist() == [3, 4, 5]
    assert found["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    found["half"] += 1  # what is read is one's own
    assert storage.load_tensors(tmp_path / "a.safetensors")["half"].tolist() == [3, 4, 5]


def test_a_byte_order_mark_that_an_editor_leaves_is_no_damage(tmp_path):
    (tmp_path / "path.json").write_bytes('\ufeff{"kind": 1}'.encode())
    assert storage.load_json(tmp_path / "path.json") == {"kind": 1}
