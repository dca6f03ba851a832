import json
import sys

import numpy as np
import pytest
import soundfile
import torch

from latentscape.benchmark import judges
from latentscape.benchmark.judges import RECIPES, ImageWarp, JudgeRecipe, SoundWarp, hear, main, make, warp
from latentscape.core.errors import DataError, UsageError
from latentscape.core.random import torch_stream
from latentscape.data.corpus import SourceOptions
from latentscape.data.sources import open_source
from latentscape.measure.judges import Judge, judge_of
from latentscape.measure.judges.spectrum import PitchSpectrumConfig
from latentscape.nets.conv import ConvConfig
from latentscape.nets.mlp import MlpConfig

RATE = 8000
TINY = judges.TRAIN.model_copy(update={"max_steps": 150, "batch_size": 64, "validate_every": None, "averaging": 0.95})
NOTES = JudgeRecipe(
    source="notes",
    net=MlpConfig(widths=(64,)),
    features=16,
    view=PitchSpectrumConfig(sample_rate=RATE, window=2048, hop=512, low_hz=440 * 2 ** (-29 / 12), bands=96),
    sounds=SoundWarp(semitones=2, noise_db=(-80, -40), tilt=1.0),
    train=TINY,
)


@pytest.fixture(autouse=True)
def room(tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LATENTSCAPE_CACHE", str(home / "cache"))
    monkeypatch.setenv("LATENTSCAPE_DATA", str(home / "data"))
    return home / "data"


@pytest.fixture
def notes(room):
    """Three instruments that differ in their partials, 20 pitches, two takes."""
    folder = room / "notes"
    folder.mkdir(parents=True)
    rows = ["path,instrument,midi"]
    t = np.arange(round(0.5 * RATE)) / RATE
    for instrument, partials in (("flute", [1]), ("clarinet", [1, 3, 5]), ("oboe", [1, 2, 3, 4, 5, 6])):
        for midi in range(50, 70):
            for take in range(2):
                f = 440 * 2 ** ((midi - 69) / 12)
                wave = 0.1 * (1 + take) * sum(np.sin(2 * np.pi * i * f * t + take) / i for i in partials)
                name = f"{instrument}-{midi}-{take}.wav"
                soundfile.write(folder / name, wave * np.exp(-t), RATE)
                rows.append(f"{name},{instrument},{midi}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return open_source("notes", SourceOptions(sample_rate=RATE))


def test_digits_from_the_shell(tmp_path, monkeypatch, capsys):
    digits = JudgeRecipe(
        source="digits",
        net=ConvConfig(channels=(8, 16), kernel=3),
        features=16,
        images=ImageWarp(shift=0.5, rotate=5),
        train=TINY,
    )
    monkeypatch.setitem(RECIPES, "digits", digits)
    out = tmp_path / "digits.safetensors"
    assert main(["digits", "--out", str(out), "--set", "train.max_steps=160"]) == 0
    said = capsys.readouterr().out
    judge = Judge.load(out)
    assert judge.accuracy > 0.8
    assert f"accuracy label {judge.accuracy:.2%}" in said
    assert judge.classes == tuple("0123456789")
    facts = json.loads(out.with_suffix(".json").read_text())
    assert (facts["steps"], facts["seed"], facts["threads"]) == (160, 0, 1)
    assert facts["data"]["is"] == "digits, grey"
    assert facts["data"]["digest"] == open_source("digits").digest
    assert JudgeRecipe.model_validate(facts["recipe"]).images == digits.images
    assert facts["recipe"]["train"]["batch_size"] == 64
    assert facts["test_items"] == round(1797 / 10)
    assert set(facts["versions"]) == {"latentscape", "torch", "numpy", "python", "machine"}
    assert main(["digits", "--out", str(out)]) == 2
    assert "is there already; --overwrite replaces it" in capsys.readouterr().err
    assert main(["digit", "--out", str(out)]) == 2
    assert "did you mean 'digits'" in capsys.readouterr().err
    assert main(["digits", "--out", str(tmp_path / "x"), "--set", "train.steps=1"]) == 2
    assert main(["mnist", "--out", str(tmp_path / "x")]) == 1
    assert "mnist is not here" in capsys.readouterr().err
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["digits.json", "digits.safetensors"]


def test_the_same_recipe_makes_the_same_judge():
    recipe = JudgeRecipe(source="digits", net=MlpConfig(widths=(8,)), train=TINY.model_copy(update={"max_steps": 5}))
    first, second = (make("digits", recipe, progress=False) for _ in range(2))
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(UsageError, match="no recipe for a judge 'digits'; known: fashion-mnist, mnist, notes"):
        make("digits")


def test_notes_are_told_by_instrument_and_pitch_class(notes):
    judge = make("notes", NOTES, progress=False)
    assert list(judge.heads) == ["instrument", "pitch_class"]
    assert judge.heads["instrument"] == ("clarinet", "flute", "oboe")
    for key in ("accuracy", "accuracy_shortest"):
        assert judge.facts[key]["instrument"] > 0.8
        assert judge.facts[key]["pitch_class"] > 0.8
    clip = notes.clips[0]
    p = judge.probabilities(judge.sound(torch.from_numpy(notes.wave(clip).copy())), "pitch_class")
    assert p.shape == (1, 12)


def test_a_shift_of_pitch_takes_its_label_along(notes):
    """Of a pure tone the loudest band is its pitch, so every label can be read off the picture."""
    task = hear(NOTES, notes)
    flutes = task.heads["instrument"].index("flute")
    seen = set()
    for step in range(20):
        x, labels = task.batch(step)
        again, _ = task.batch(step)
        assert torch.equal(x, again)
        pure = labels["instrument"] == flutes
        midi = 40 + x[pure].argmax(1) / 2
        assert bool(((midi.round() - labels["pitch_class"][pure]) % 12 == 0).all())
        assert float((midi - midi.round()).abs().max()) < 0.5
        seen |= set(midi.round().int().tolist())
    assert min(seen) in (48, 49)
    assert max(seen) in (70, 71)


def test_instruments_that_a_part_lacks_are_refused(room, notes):
    table = room / "notes" / "metadata.csv"
    head, *rows = table.read_text().splitlines()
    parts = ["test" if "oboe" in row else ("valid" if ",6" in row else "train") for row in rows]
    table.write_text("\n".join([f"{head},split", *(f"{row},{part}" for row, part in zip(rows, parts, strict=True))]))
    with pytest.raises(DataError, match="the test part has the instrument 'oboe', training has not"):
        hear(NOTES, open_source("notes", SourceOptions(sample_rate=RATE)))


def test_images_are_seen_through_affine_maps():
    x = torch.zeros(200, 1, 29, 29)
    x[:, :, 13:16, 13:16] = 1
    torch.testing.assert_close(warp(ImageWarp(), x, torch_stream(0)), x)
    grid = torch.arange(29.0) - 14

    def centre(y):
        return (
            torch.stack([(y.sum(2)[:, 0] * grid).sum(1), (y.sum(3)[:, 0] * grid).sum(1)], 1) / y.sum((1, 2, 3))[:, None]
        )

    moved = centre(warp(ImageWarp(shift=3), x, torch_stream(1)))
    assert 2.7 < float(moved.abs().max()) < 3.1
    assert float(moved.mean(0).abs().max()) < 0.5
    bar = torch.zeros(200, 1, 29, 29)
    bar[:, :, 14, 4:25] = 1

    def slope(y):
        y = y[:, 0]
        return (y * grid * grid[:, None]).sum((1, 2)) / (y * grid.square()).sum((1, 2))

    turned = torch.rad2deg(slope(warp(ImageWarp(rotate=20), bar, torch_stream(2))).atan())
    assert 17 < float(turned.abs().max()) < 21
    assert abs(float(turned.mean())) < 3
    size = warp(ImageWarp(scale=0.2), x, torch_stream(3)).sum((1, 2, 3)) / 9
    assert 0.5 < float(size.min()) < 0.9
    assert 1.1 < float(size.max()) < 1.7
    upright = bar.transpose(2, 3)
    leaning = slope(warp(ImageWarp(shear=0.3), upright, torch_stream(4)).transpose(2, 3))
    assert 0.25 < float(leaning.abs().max()) < 0.31
    flipped = warp(ImageWarp(flip=True), torch.rand(1, 1, 5, 5).expand(200, -1, -1, -1), torch_stream(5))
    assert 80 < int((flipped[:, 0, 0, 0] == flipped[0, 0, 0, 0]).sum()) < 120


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_shipped_was_made_by_the_recipe_that_is_here(name):
    facts = judge_of(name).facts
    made = {key: value for key, value in RECIPES[name].model_dump(mode="json").items() if key in facts["recipe"]}
    assert facts["recipe"] == made
    assert {"source", "net", "features", "dropout", "train"} < set(made)


def test_it_is_a_module_of_the_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["judges", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
