import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from latentscape.core.errors import DataError, StorageError, UsageError
from latentscape.data.corpus import SourceOptions
from latentscape.data.images import ImageExamples
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus
from latentscape.measure.judges import Judge, judge_of
from latentscape.measure.judges.judge import FORMAT, WEIGHTS
from latentscape.measure.judges.spectrum import PitchSpectrum, PitchSpectrumConfig
from latentscape.models.classifier import Classifier, ClassifierConfig
from latentscape.nets.mlp import MlpConfig

IMAGES = ["mnist", "fashion-mnist"]
LEAST = {"mnist": 0.993, "fashion-mnist": 0.918, "notes": 0.93}
RATE = 22050


@pytest.fixture
def no_pickle(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a judge is unpickled")

    for owner, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(owner, name, refuse)


@pytest.mark.parametrize("name", [*IMAGES, "notes"])
def test_the_judges_that_come_with_the_package(name, no_pickle):
    judge = judge_of(name)
    assert judge.name == name
    assert judge.accuracy >= LEAST[name]
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 1_000_000
    assert (WEIGHTS / f"{name}.json").stat().st_size < 20_000
    assert judge.device.type == "cpu"
    assert judge.to("cpu") is judge
    for key in ("recipe", "data", "steps", "seed", "seconds", "versions", "test_items"):
        assert judge.facts[key] is not None
    assert judge.facts["data"]["digest"]
    x = torch.rand(3, *judge.model.event_shape)
    assert judge.features(x).shape[0] == 3
    assert judge.features(x).shape[1] <= 64
    assert not judge.features(x).requires_grad
    for head, classes in judge.heads.items():
        p = judge.probabilities(x, head)
        assert p.shape == (3, len(classes))
        torch.testing.assert_close(p.sum(1), torch.ones(3))


def test_classes_are_in_the_order_of_their_codes():
    for name in IMAGES:
        assert judge_of(name).heads == {"label": tuple("0123456789")}
        assert judge_of(name).classes == tuple("0123456789")
    heads = judge_of("notes").heads
    assert list(heads) == ["instrument", "pitch_class"]
    assert len(heads["instrument"]) == 12
    assert heads["instrument"] == tuple(sorted(heads["instrument"]))
    assert heads["pitch_class"] == ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def test_there_are_no_others():
    with pytest.raises(UsageError, match="no judge 'mnst'; did you mean 'mnist'"):
        judge_of("mnst")
    assert {path.name for path in WEIGHTS.iterdir()} == {
        f"{name}.{suffix}" for name in LEAST for suffix in ("json", "safetensors")
    }


@pytest.mark.parametrize("name", IMAGES)
def test_the_recorded_accuracy_of_images(name, real_data, monkeypatch):
    monkeypatch.setenv("LATENTSCAPE_DATA", str(real_data))
    judge, corpus = judge_of(name), open_source(name)
    assert corpus.digest == judge.facts["data"]["digest"]
    with ImageExamples(corpus, split_corpus(corpus), seed=0, conditions=("label",)) as made:
        assert made.vocabulary == judge.heads
        x, labels = next(made.held("test", 1000, 1000))
    right = float((judge.probabilities(x).argmax(1) == labels["label"]).double().mean())
    spread = (judge.accuracy * (1 - judge.accuracy) / 1000) ** 0.5
    assert right == pytest.approx(judge.accuracy, abs=4 * spread)


def test_the_recorded_accuracy_of_notes(real_data, monkeypatch):
    monkeypatch.setenv("LATENTSCAPE_DATA", str(real_data))
    judge, corpus = judge_of("notes"), open_source("notes", SourceOptions(sample_rate=RATE))
    right = {"instrument": [], "pitch_class": []}
    for clip in split_corpus(corpus).clips(corpus, "test"):
        wave = torch.from_numpy(corpus.wave(clip).copy())
        x = judge.sound(torch.nn.functional.pad(wave, (0, max(0, 8192 - wave.shape[1]))))
        truth = {
            "instrument": clip.labels["instrument"],
            "pitch_class": judge.heads["pitch_class"][int(clip.labels["midi"]) % 12],
        }
        for head, classes in judge.heads.items():
            right[head].append(classes[int(judge.probabilities(x, head).argmax())] == truth[head])
    assert len(right["instrument"]) == judge.facts["test_items"]
    for head, hits in right.items():
        assert np.mean(hits) == pytest.approx(judge.facts["accuracy"][head], abs=1.5 / len(hits))


# ----------------------------------------------------------------------------------------------------------- any judge


@pytest.fixture
def small() -> Judge:
    """An untrained judge whose weights float16 can hold."""
    config = ClassifierConfig(heads={"label": ("a", "b")}, net=MlpConfig(widths=(5,)), features=3)
    model = Classifier(config, (1, 2, 2)).half().float()
    return Judge(
        model,
        {
            "format": FORMAT,
            "name": "small",
            "model": config.model_dump(mode="json"),
            "event_shape": [1, 2, 2],
            "view": None,
            "accuracy": {"label": 0.5},
        },
    )


def test_saved_and_loaded_it_says_the_same(small, tmp_path):
    small.save(tmp_path / "made.safetensors")
    again = Judge.load(tmp_path / "made")
    x = torch.rand(7, 1, 2, 2)
    assert torch.equal(again.features(x), small.features(x))
    assert torch.equal(again.probabilities(x), small.probabilities(x))
    assert (again.heads, again.accuracy, again.facts) == (small.heads, 0.5, small.facts)


def test_many_items_are_judged_in_pieces(small, monkeypatch):
    x = torch.rand(7, 1, 2, 2)
    whole = small.features(x), small.probabilities(x)
    monkeypatch.setattr("latentscape.measure.judges.judge.ROWS", 3)
    torch.testing.assert_close((small.features(x), small.probabilities(x)), whole)


def test_grey_outside_its_range_is_clipped(small):
    x = torch.tensor([[[[-0.5, 1.5], [0.2, 0.9]]]])
    assert torch.equal(small.features(x), small.features(x.clamp(0, 1)))


def test_what_it_refuses(small):
    with pytest.raises(DataError, match=r"the judge 'small' got shape \(2, 1, 2, 3\), expected \(b, 1, 2, 2\)"):
        small.features(torch.rand(2, 1, 2, 3))
    with pytest.raises(DataError, match=r"got shape \(0, 1, 2, 2\)"):
        small.features(torch.rand(0, 1, 2, 2))
    with pytest.raises(DataError, match="got NaN or infinity"):
        small.probabilities(torch.full((1, 1, 2, 2), torch.nan))
    with pytest.raises(UsageError, match="no head 'pitch'"):
        small.probabilities(torch.rand(1, 1, 2, 2), "pitch")
    with pytest.raises(UsageError, match="'small' looks at images, it can't hear sound"):
        small.sound(torch.rand(1, 8192))


def test_files_that_do_not_belong_together_are_refused(small, tmp_path):
    path, record = tmp_path / "made.safetensors", tmp_path / "made.json"
    small.save(path)
    whole, facts = path.read_bytes(), json.loads(record.read_text())
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StorageError, match=r"is not the file that made.json describes"):
        Judge.load(path)
    path.write_bytes(whole)
    record.write_text(json.dumps(facts | {"format": FORMAT + 1}))
    with pytest.raises(StorageError, match=f"has format {FORMAT + 1}, this version reads {FORMAT}"):
        Judge.load(path)
    record.write_text(json.dumps(facts | {"event_shape": [1, 3, 3]}))
    with pytest.raises(StorageError, match="does not fit the model"):
        Judge.load(path)
    del facts["view"]
    record.write_text(json.dumps(facts))
    with pytest.raises(StorageError, match="'view' is missing"):
        Judge.load(path)
    with pytest.raises(StorageError, match="is missing"):
        Judge.load(tmp_path / "other")


# ------------------------------------------------------------------------------------------------------------ spectrum


def tone(midi, seconds=1.0, partials=6):
    t = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    f = 440 * 2 ** ((midi - 69) / 12)
    return sum(0.7**i * torch.sin(2 * torch.pi * i * f * t + i) for i in range(1, partials + 1)).float()[None]


def test_levels_agree_with_the_formula_in_numpy():
    config = PitchSpectrumConfig(bands=40, window=4096, hop=1000, low_hz=300.0)
    wave = torch.randn(2, 9000)
    frames = np.stack(
        [np.abs(np.fft.rfft(wave.numpy()[:, s : s + 4096] * np.hanning(4097)[:-1])) ** 2 for s in range(0, 4001, 1000)]
    )
    power = frames.mean(0)
    grid = np.arange(2049) * RATE / 4096
    centres = 300.0 * 2 ** (np.arange(-1, 41) / 24)
    bands = []
    for low, centre, high in zip(centres[:-2], centres[1:-1], centres[2:], strict=True):
        step = RATE / 4096
        low, high = min(low, centre - step), max(high, centre + step)
        bands.append(power @ np.interp(grid, [low, centre, high], [0, 1, 0]))
    level = 10 * np.log10(np.stack(bands, axis=1))
    expected = np.maximum(level - level.max(1, keepdims=True), -60)
    np.testing.assert_allclose(PitchSpectrum(config)(wave).numpy(), expected, atol=1e-3)


def test_a_sine_stands_in_its_own_band():
    hear = PitchSpectrum(PitchSpectrumConfig())
    for midi in (40, 57, 69, 90):
        x = hear(tone(midi, partials=1))[0]
        assert int(x.argmax()) == 2 * (midi - 28)
        assert float(x.max()) == 0
        assert float(x.min()) == -60


def test_level_and_length_do_not_matter_and_a_semitone_is_two_bands():
    hear = PitchSpectrum(PitchSpectrumConfig())
    x = hear(tone(57))
    torch.testing.assert_close(hear(1e-3 * tone(57)), x, atol=0.05, rtol=0)
    loud = x > -40
    assert float((hear(tone(57)[:, :8192]) - x)[loud].abs().max()) < 0.5
    assert float((hear(tone(57, 3.0)) - x)[loud].abs().max()) < 0.5
    up = hear(tone(58))[:, 2:] - x[:, :-2]
    assert float(up[x[:, :-2] > -20].abs().max()) < 1.5
    assert float((hear(tone(58)) - x)[loud].abs().max()) > 10


def test_edges_of_hearing():
    hear = PitchSpectrum(PitchSpectrumConfig())
    with pytest.raises(DataError, match="got 8191 samples, expected 8192 or more at 22050 Hz"):
        hear(torch.zeros(1, 8191))
    assert bool((hear(torch.zeros(2, 8192)) == 0).all())
    assert Path(WEIGHTS).is_dir()
