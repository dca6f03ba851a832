import json

import pytest
import torch

from latentscape.core.errors import ConfigError, LatentscapeError, StorageError, UsageError
from latentscape.geometry import paths
from latentscape.geometry.paths import Line, Moved, Recorded, Sequence, Spline, load_path, path_from_json, save_path
from latentscape.geometry.travel import travel

PATH = Sequence(
    paths=(Spline(points=((0, 1), (0.1, 1 / 3), (2, 2))), Moved(path=Line(a=(0, 0), b=(1, 1)), by=(1e-30, 1)))
)


def test_saved_loaded_and_edited(tmp_path):
    file = tmp_path / "way.json"
    save_path(file, PATH)
    assert load_path(file) == load_path(file, 2) == PATH
    about = json.loads(file.read_text())
    assert (about["format"], about["dim"], next(iter(about["path"]))) == (1, 2, "kind")
    assert "[0.1, 0.3333333333333333]," in file.read_text()  # a line a point, to be edited by hand
    about["path"]["paths"][0]["closed"] = True
    file.write_text(json.dumps(about))
    assert load_path(file).paths[0].closed


def test_a_path_of_other_weights_is_refused(tmp_path):
    file = tmp_path / "way.json"
    save_path(file, PATH, {"run": "mine", "weights": "abc"})
    assert load_path(file) == load_path(file, 2, "abc") == PATH
    with pytest.raises(UsageError, match="a path of 'mine' with other weights"):
        load_path(file, 2, "def")
    save_path(file, PATH)
    assert load_path(file, 2, "def") == PATH, "one that does not say whose it is"


def test_a_name_is_kept_as_it_is(tmp_path):
    path = Recorded(points=((0,), (1,)), name='trömpete "A" 🎺\n')
    save_path(tmp_path / "a.json", path)
    assert load_path(tmp_path / "a.json") == path


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", StorageError, "not valid JSON"),
        ("[" * 100_000, StorageError, "not valid JSON"),
        ("[]", StorageError, "expected an object"),
        ('{"format": 1, "dim": 2}', StorageError, "'path' is missing"),
        ('{"format": 2, "dim": 2, "path": {}}', StorageError, "format 2, expected 1"),
        ('{"format": 1, "dim": 2, "path": {}, "code": "x"}', StorageError, "holds 'code'"),
        ('{"format": 1, "dim": 2, "path": {}}', ConfigError, "kind is missing"),
        ('{"format": 1, "dim": 2, "path": 3}', StorageError, "got 3"),
        ('{"format": 1, "dim": 2, "path": {"kind": "line", "a": [0, 0], "b": [0]}}', ConfigError, "way.json: got {.*, expected one width"),
        ('{"format": 1, "dim": 2, "path": {"kind": "line", "a": [0], "b": [1]}}', ConfigError, "says dim 2, but its path has 1"),
        ('{"format": 1, "dim": 1, "path": {"kind": "line", "a": [0], "b": [1]}}', ConfigError, "in 1 dimensions, expected 2"),
        ('{"format": 1, "dim": 1, "path": {"kind": "line", "a": [0], "b": [1e999]}}', ConfigError, "path.b|b.0: got inf"),
        ('{"format": 1, "dim": 1, "path": {"kind": "line", "a": [0], "b": [NaN]}}', ConfigError, "b.0: got nan"),
        ('{"format": 1, "dim": 1, "path": ' + '{"kind": "moved", "by": [0], "path": ' * 200 + "{}" + "}" * 201, ConfigError, "more than 16 deep"),
        ('{"format": 1, "dim": 1, "path": {"kind": "sequence", "paths": {"kind": "line"}}}', ConfigError, "paths: got"),
    ],
)  # fmt: skip
def test_bad_files_give_one_clear_line(tmp_path, text, error, message):
    file = tmp_path / "way.json"
    file.write_text(text)
    with pytest.raises(error, match=message) as caught:
        load_path(file, 2)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert str(file) in str(caught.value)


def test_too_large_a_file_is_not_read(tmp_path, monkeypatch):
    file = tmp_path / "way.json"
    save_path(file, PATH)
    monkeypatch.setattr(paths, "MOST_BYTES", 100)
    with pytest.raises(StorageError, match="expected at most 100 of a path"):
        load_path(file)
    with pytest.raises(StorageError, match="missing"):
        load_path(tmp_path / "absent.json")


def test_only_records_are_saved(tmp_path):
    with pytest.raises(UsageError, match="a Travel can't be saved"):
        save_path(tmp_path / "way.json", travel(PATH))
    assert not list(tmp_path.iterdir())


def test_nesting_ends_somewhere():
    values = Line(a=(0,), b=(1,)).to_json()
    for _ in range(15):
        values = {"kind": "sequence", "paths": [values]}
    assert path_from_json(values).depth == 16
    check = torch.linspace(0, 1, 5)
    torch.testing.assert_close(path_from_json(values).evaluate(check)[:, 0], check)
    with pytest.raises(LatentscapeError, match="16 deep"):
        path_from_json({"kind": "sequence", "paths": [values]})
