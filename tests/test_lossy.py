"""A lossy auto-encoder through the shell's rooms: sounds out of one stream, the proof of use, refusals."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from latentscape.cli import main
from latentscape.core.errors import UsageError
from latentscape.experiment import use
from latentscape.experiment.joined import open_run
from latentscape.experiment.run import Request, train_run
from latentscape.experiment.use import chance, swap_shares, use_of_labels, use_of_latents, words_on_labels
from latentscape.instrument.loading import load
from latentscape.instrument.streamed import Streamed, redrawn
from latentscape.nets.wavenet_sampler import Manner
from latentscape.recipes import Recipe
from latentscape.signal import audio
from latentscape.workshop.codes import reconstruct
from latentscape.workshop.draw import Drawing, sample
from latentscape.workshop.making import Making
from latentscape.workshop.travel import Way, morph, walk

RATE = 4000
NET = {"residual": 8, "skip": 8, "dilations": [1, 2]}
LOSSY = {
    "representation": {"kind": "mulaw", "mu": 15},
    "window": {"length": 512, "hop": 448},
    "data": {"lead_in": 64},
    "model": {
        "kind": "vlae", "latent": 3, "slow": {"width": 2, "hop": 128, "hidden": 8}, "condition": ["tone"],
        "encoder": {"kind": "ear", "frame": 128, "hop": 64, "channels": [16], "dense": 16},
        "decoder": {"kind": "wavenet", "net": NET, "likelihood": {"kind": "categorical", "levels": 16}},
        "prior": {"kind": "flow", "layers": 2, "width": 8}, "latent_dropout": 0.1,
    },
    "train": {
        "max_steps": 40, "batch_size": 8, "threads": 1, "validate_every": 20, "tensorboard": False, "averaging": 0,
        "learning_rate": 0.01, "warm_up": 2,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tones of two kinds, which the column tone calls by their label."""
    root = tmp_path_factory.mktemp("tones")
    t = np.arange(1200) / RATE
    rows = ["path,tone,instrument,midi,split"]
    for number in range(24):
        low = number % 2
        wave = 0.5 * np.sin(2 * math.pi * (150 if low else 600) * (1 + 0.02 * (number // 2)) * t)
        soundfile.write(root / f"{number:02d}.wav", wave[: 300 if number == 20 else 1200], RATE)
        part = "test" if number >= 18 else "valid" if number >= 14 else "train"
        rows.append(
            f"{number:02d}.wav,{'low' if low else 'high'},{'low' if low else 'high'},{50 + 24 * (1 - low)},{part}"
        )
    (root / "metadata.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """The lossy run and its twin without a code; trained for a moment, not finished."""
    where = tmp_path_factory.mktemp("lossy")
    decoder = {**LOSSY["model"]["decoder"], "condition": ["tone"]}
    bare = {**LOSSY, "model": decoder, "objective": {"kind": "reconstruction"}}
    for name, values in (("lossy", LOSSY), ("bare", bare)):
        train_run(Request(str(folder), where / name, Recipe(name, name, name, values), device="cpu"), lambda line: None)
    return where


def test_every_sound_is_one_stream_of_the_length_asked_for(runs, folder, tmp_path):
    instrument = load(runs / "lossy", "cpu")
    assert isinstance(instrument, Streamed)
    wave = torch.from_numpy(audio.read(folder / "03.wav")[0])
    z = instrument.encode(wave)
    assert z.shape == (3, 3 + 2 * 4)
    made = instrument.reconstruct(wave)
    assert made.shape == wave.shape
    assert torch.equal(made, instrument.reconstruct(wave))
    assert not torch.equal(made, instrument.drawn(Manner(), seed=1).reconstruct(wave))
    assert not torch.equal(made, instrument.drawn(Manner(strength=3.0)).reconstruct(wave))
    instrument.model.config = instrument.model.config.model_copy(update={"latent_dropout": 0.0})
    with pytest.raises(UsageError, match=r"lossy never met; train it with --set model\.latent_dropout"):
        instrument.drawn(Manner(strength=3.0))
    assert torch.equal(made, instrument.render(z, 0.3))
    longer = torch.nn.functional.pad(wave, (0, 36))  # silence that is known to be padding counts for nothing
    assert torch.allclose(instrument.encode(longer)[:2], z[:2], atol=1e-5)
    sounds = instrument.sample(2, 0.5, seed=3)
    assert sounds.shape == (2, 1, 2000)
    assert torch.equal(sounds, instrument.sample(2, 0.5, seed=3))
    assert not torch.equal(sounds[0], sounds[1])
    assert torch.cat(list(instrument.blocks(z, 0.3, 100)), 1).shape == wave.shape
    with pytest.raises(UsageError, match="leave the joining out"):
        instrument.joined("fade")


def test_the_verbs_write_what_they_say(runs, folder, tmp_path):
    run, making = runs / "lossy", Making(device="cpu")
    assert len(reconstruct(run, str(folder), tmp_path / "again", making)) == 24
    assert audio.read(tmp_path / "again" / "20.wav")[0].shape == (1, 300)
    sounds = [folder / "03.wav", folder / "04.wav"]
    assert "0.30 s" in morph(run, *sounds, tmp_path / "morph.wav", making)[0]
    assert "1.00 s" in walk(run, tmp_path / "walk.wav", Way("circle"), making, seconds=1.0)[0]
    told = Making(device="cpu", labels={"tone": "low"})
    assert len(sample(run, tmp_path / "own", told, count=2, seconds=0.2, drawing=Drawing(2.0, 0.9, retries=1))) == 2
    first = sample(runs / "bare", tmp_path / "bare", told, count=2, seconds=0.5, drawing=Drawing(2.0, 0.9, sounds[0]))
    assert len(first) == 2
    begun, _ = audio.read(tmp_path / "bare" / "sample000.wav")
    assert np.abs(begun[:, :800]).max() > 0.3
    with pytest.raises(UsageError, match="leave --prime out"):
        sample(run, tmp_path / "no", making, drawing=Drawing(prime=sounds[0]))


def test_every_verb_that_draws_can_be_told_how(runs, folder, tmp_path, capsys):
    run, sound = runs / "lossy", folder / "03.wav"
    codes = tmp_path / "codes"
    assert _shell("encode", run, sound, "--out", codes) == 0
    verbs = {
        "reconstruct": (run, sound, "--out", "{}"),
        "decode": (run, codes, "--out", "{}"),
        "walk": (run, "--seconds", 0.3, "--out", "{}/03.wav"),
        "morph": (run, sound, folder / "04.wav", "--out", "{}/03.wav"),
        "sample": (run, "--count", 1, "--seconds", 0.3, "--out", "{}"),
    }
    ways = {"plain": (), "said": ("--draw", "temperature=1"), "cool": ("--draw", "temperature=0.3")}
    if_seeded = {"other": ("--draw", "seed=1", "--draw", "strength=2")}
    for verb, told in verbs.items():
        made = {}
        for name, way in {**ways, **({} if verb == "sample" else if_seeded)}.items():
            target = tmp_path / verb / name
            target.mkdir(parents=True)
            assert _shell(verb, *(str(one).format(target) for one in told), *way, "--device", "cpu") == 0
            made[name] = audio.read(next(target.rglob("*.wav")))[0]
        assert np.array_equal(made["plain"], made.pop("said")), verb
        assert len({one.tobytes() for one in made.values()}) == len(made), verb
    capsys.readouterr()
    for words, way in {
        "'warmth'; known: nucleus, seed, strength, temperature": ("--draw", "warmth=1"),
        "--draw temperature got 'hot', expected a number": ("--draw", "temperature=hot"),
        "--draw seed got '1.5', expected a whole number": ("--draw", "seed=1.5"),
        "expected NAME=VALUE, such as temperature=0.8": ("--draw", "temperature"),
        "nucleus in (0, 1]": ("--draw", "nucleus=2"),
        "--strength and --draw strength; give one": ("--draw", "strength=2", "--strength", "3"),
        "--seed is of all draws here": ("--draw", "seed=2"),
    }.items():
        assert _shell("sample", run, "--out", tmp_path / "no", *way) == 2
        assert words in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "no").exists()
    with pytest.raises(UsageError, match="frames makes a window at once"):
        redrawn(SimpleNamespace(name="frames"), Manner())


def test_the_proof_of_use_has_every_number_and_the_twin(runs, monkeypatch, capsys):
    numbers = {name: number.value for name, number in use_of_latents(runs / "lossy", device="cpu").numbers.items()}
    assert numbers["nll_bits"] == pytest.approx(numbers["distortion_bits"] + numbers["rate_bits"])
    assert numbers["rate_bits"] == pytest.approx(numbers["rate_bits_1"] + numbers["rate_bits_2"])
    assert numbers["gain"] == pytest.approx(numbers["no_code_bits"] - numbers["distortion_bits"])
    assert {
        "instrument_probe_of_code",
        "instrument_judge_of_made",
        "midi_r2_of_code",
        "mel_distance_other",
        "swap_instrument_of_top",
    } < set(numbers)
    assert numbers["instrument_judge_of_real"] > 0.8
    assert numbers["instrument_chance"] == 0.5
    main_exit = _shell(
        "evaluate", runs / "lossy", "--latent-use", "--without", runs / "bare", "--device", "cpu", "--json"
    )
    assert main_exit == 0
    found = json.loads(capsys.readouterr().out)["numbers"]
    assert found["distortion_bits"]["value"] == pytest.approx(numbers["distortion_bits"], rel=1e-5)
    assert found["no_code_bits"]["value"] != numbers["no_code_bits"]
    assert _shell("evaluate", runs / "lossy", "--without", runs / "bare") == 2
    assert "--without goes with --latent-use" in capsys.readouterr().err
    assert _shell("evaluate", runs / "bare", "--latent-use", "--device", "cpu") == 2
    assert "without a latent space" in capsys.readouterr().err


def test_labels_that_nobody_hears_are_named(runs):
    instrument = load(runs / "lossy", "cpu")
    with open_run(runs / "lossy").examples as examples:
        instrument.model.decoder.labels.tables[0].weight.data.zero_()
        instrument.model.labels.tables[0].weight.data.zero_()
        numbers = use_of_labels(instrument.model, examples, "test", instrument.device)
        assert numbers["swap_tone"].value == pytest.approx(0, abs=1e-6)
        (line,) = words_on_labels(numbers)
        assert line.startswith("The label tone is ignored")
        instrument.model.decoder.labels.tables[0].weight.data[1:] = torch.tensor([[30.0], [-30.0]]).expand(2, 16)
        assert use.words_on_labels({}) == ()


def _shell(*arguments) -> int:
    try:
        main([str(one) for one in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_chance_is_that_of_the_commonest_name_and_the_same_in_every_process():
    assert chance(["a", "b", "b"], ["a", "b", "a", "a"]) == 0.25
    for number in range(20):  # a set has these in any order
        names = [f"{number} {letter}" for letter in "cab"]
        assert chance(names, sorted(names)[:1]) == 1


def test_a_swap_asks_for_names_that_can_be_given():
    truth, swap = ["a", "b", "a", "new"], [1, 0, 3, 2]
    numbers = swap_shares("label", ["b", "a", "a", "b"], truth, swap, [True, True, True, False])
    assert numbers["swap_label_of_top"].value == 1  # of the first two: the name of the last no judge knows
    assert numbers["swap_label_of_rest"].value == 0
    assert swap_shares("label", ["a", "a"], ["a", "a"], [1, 0], [True, True]) == {}
