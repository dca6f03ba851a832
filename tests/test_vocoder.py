"""Vocoders: what they hear, sounds made again, another run's spectra spoken, and what is refused."""

import copy
import os

import numpy as np
import pytest
import soundfile
import torch

from latentscape.core.errors import ConfigError, DataError, StorageError, UsageError
from latentscape.data.sources import open_source
from latentscape.data.split import undivided
from latentscape.experiment.hearing import hearing_of, survey_timelines
from latentscape.experiment.joined import open_run, read_config
from latentscape.experiment.run import Request, prepare, train_run
from latentscape.experiment.use import held_on, some, use_of_labels, words_on_labels
from latentscape.instrument.hearing import Local, told
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load, load_waves
from latentscape.instrument.vocoder import Vocoded, vocoded
from latentscape.measure.use import costs
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.heard import TimedConfig
from latentscape.registry import Window
from latentscape.signal.mel import LogMel, LogMelConfig
from latentscape.signal.pitch import PitchConfig
from latentscape.signal.stft import LogStft, LogStftConfig, Stft, StftConfig
from latentscape.workshop.codes import reconstruct
from latentscape.workshop.draw import Drawing, sample
from latentscape.workshop.making import Making

RATE, HOP = 8000, 64
MEL = LogMelConfig(sample_rate=RATE, window=256, hop=HOP, bands=20)
TINY = (
    "train.max_steps=80", "train.minutes=null", "train.batch_size=4", "train.threads=1", "train.validate_every=80",
    "train.warm_up=2", "train.precision=32", "train.tensorboard=false", "train.averaging=0", "train.learning_rate=0.01",
    "model.net.dilations=[1, 2, 4]", "model.net.residual=16", "model.net.skip=16", "model.net.heard=16",
    "model.condition_dropout=0.2", "window.length=512", "window.hop=448", "data.lead_in=64", "data.pool_seconds=20",
)  # fmt: skip
FEW = ("train.max_steps=6", "train.validate_every=6")
SPOKEN = ("high", "low")
NARROW = {"kind": "mlp", "widths": [8]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Low and high tones by turns, and beside each sound when which is heard; one has no such file, one a broken one."""
    folder = tmp_path_factory.mktemp("spoken")
    t = np.arange(RATE // 4) / RATE
    for number in range(12):
        words = [SPOKEN[(number + place) % 2] for place in range(4)]
        tones = [0.3 * np.sin(2 * np.pi * {"low": 200, "high": 520}[word] * (1 + number / 100) * t) for word in words]
        soundfile.write(folder / f"{number:02d}.wav", np.concatenate(tones), RATE)
        rows = [f"{place / 4},{(place + 1) / 4},{word}" for place, word in enumerate(words)]
        if number:
            (folder / f"{number:02d}.csv").write_text("\n".join(["start,end,label", *rows]))
    (folder / "03.csv").write_text("start,end\n")
    return folder


def trained(folder, name, where, *sets):
    before = os.environ.get("LATENTSCAPE_CACHE")
    run = where / name
    said = []
    train_run(Request(str(folder), run, "vocoder", (*TINY, *sets), device="cpu"), said.append)
    assert os.environ.get("LATENTSCAPE_CACHE") == before
    return run, said


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    return tmp_path_factory.mktemp("vocoders")


@pytest.fixture(scope="module")
def mel_run(folder, runs):
    return trained(folder, "mel", runs, f"local=[{{kind: log_mel, window: 256, hop: {HOP}, bands: 20}}]")


@pytest.fixture(scope="module")
def timed_run(folder, runs):
    return trained(folder, "timed", runs, f"local=[{{kind: timed, hop: {HOP}}}, {{kind: pitch, hop: {HOP}}}]", *FEW)


def spectral(representation):
    config = AutoencoderConfig.model_validate({"latent": 2, "encoder": NARROW, "decoder": NARROW})
    model = Autoencoder(config, (representation.frame_size,)).eval()
    return Instrument(model, representation, Window(), name="spectral")


def tone(hz, seconds=0.3):
    return 0.3 * torch.sin(2 * torch.pi * hz * torch.arange(round(seconds * RATE)) / RATE)[None]


def test_the_configuration_is_completed_and_the_series_is_heard(mel_run):
    run, _ = mel_run
    config = read_config(run)
    assert config.local == (MEL,)
    assert (config.model.series.channels, config.model.series.hop) == (20, HOP)
    waves = load_waves(run, "cpu")
    with open_run(run).examples as examples:
        numbers = use_of_labels(waves.model, examples, "test", waves.device)
        held = held_on(waves.device, some(waves.model, examples, "test", 1))
    own, bare = costs(waves.model, held), costs(waves.model, [(x, {"present": told["present"]}) for x, told in held])
    assert numbers["told_series"].value == pytest.approx(own.bits(bare.total - own.total), rel=1e-4)
    assert numbers["swap_series"].value > 2 * numbers["swap_series_error"].value
    assert numbers["told_series"].value > 0
    assert words_on_labels(numbers)[0].startswith("The series that it hears is heard: told another's series")


def test_other_words_beside_the_sounds_are_a_changed_source(folder, mel_run, timed_run):
    words = folder / "05.csv"
    before = words.read_text()
    open_run(timed_run[0]).examples.close()
    words.write_text(before.replace("high", "higher"))
    try:
        with pytest.raises(StorageError, match="has changed since"):
            open_run(timed_run[0])
        open_run(mel_run[0]).examples.close()  # hears no words
    finally:
        words.write_text(before)


def test_a_sound_is_made_again_from_its_bands(mel_run):
    waves = load_waves(mel_run[0], "cpu")
    low, high = waves.again([tone(205.0), tone(530.0)], seed=1)
    assert low.shape == high.shape == (1, 2400)
    assert not torch.equal(low, high)
    both = waves.again([tone(205.0), tone(530.0, 0.1)], seed=1)
    assert [one.shape[1] for one in both] == [2400, 800]
    assert torch.equal(both[0], waves.again([tone(205.0)], seed=1)[0])


def test_the_series_is_the_levels_of_the_representation(mel_run):
    hearing = load_waves(mel_run[0], "cpu").hearing
    wave = torch.randn(1, 1000)
    assert torch.equal(hearing.listen(wave), told(LogMel(MEL).analyse(wave[None])[0]))
    assert hearing.listen(wave).shape == (20, -(-1000 // HOP))


def test_other_spectra_are_brought_to_the_vocoders_bands(mel_run):
    waves, wave = load_waves(mel_run[0], "cpu"), 0.3 * torch.randn(1, 1, 2000)
    expected = LogMel(MEL).analyse(wave)
    same = Vocoded(LogMel(MEL), waves)
    assert torch.equal(same.levels(same.analyse(wave)), expected)
    stft = Vocoded(LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=HOP)), waves)
    assert torch.allclose(stft.levels(stft.analyse(wave)), expected, atol=1e-2)
    quiet = torch.full((1, 20, 3), -300.0)
    assert torch.equal(same.levels(quiet), torch.full((1, 20, 3), -100.0))


def test_every_way_to_sound_goes_through_the_vocoder(mel_run):
    waves = load_waves(mel_run[0], "cpu")
    instrument = spectral(LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=HOP)))
    speaking = vocoded(instrument, waves)
    wave = tone(300.0)
    features = instrument.decode(instrument.encode(wave))
    heard = told(speaking.representation.levels(features[None])[0])
    (expected,) = waves.voiced([heard], [2400])
    for quality in ("best", "live"):
        assert torch.equal(speaking.reconstruct(wave, quality=quality), expected)
    z = torch.zeros(2, 2)
    assert torch.equal(speaking.render(z, 0.1), speaking.render(z, 0.1, quality="live"))
    assert speaking.morph(wave, wave, 0.1).shape == (1, 800)


def test_what_does_not_fit_is_refused_in_one_line(mel_run, timed_run):
    mel, timed = load_waves(mel_run[0], "cpu"), load_waves(timed_run[0], "cpu")
    with pytest.raises(
        UsageError, match=r"mel hears 8000 Hz, window 256, hop 64, and the run makes 8000 Hz, window 512"
    ):
        Vocoded(LogStft(LogStftConfig(sample_rate=RATE, window=512, hop=128)), mel)
    with pytest.raises(UsageError, match="train a vocoder with --rate 16000"):
        Vocoded(LogStft(LogStftConfig(sample_rate=16000, window=256, hop=HOP)), mel)
    with pytest.raises(UsageError, match="not for Stft"):
        Vocoded(Stft(StftConfig(sample_rate=RATE, window=256, hop=HOP)), mel)
    with pytest.raises(UsageError, match="2; leave --vocoder out"):
        Vocoded(LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=HOP, channels=2)), mel)
    with pytest.raises(UsageError, match="timed hears no mel bands alone"):
        Vocoded(LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=HOP)), timed)
    with pytest.raises(DataError, match="NaN"):
        mel.again([torch.full((1, 800), torch.nan)])
    with pytest.raises(UsageError, match="no words with times"):
        mel.hearing.timed(100, mel_run[0])


def test_the_verbs_make_sounds_again_and_keep_what_is_there(mel_run, folder, tmp_path):
    making = Making(device="cpu")
    lines = reconstruct(mel_run[0], str(folder / "05.wav"), tmp_path, making)
    assert len(lines) == 1
    assert lines[0].startswith(f"{tmp_path / '05.wav'}: 1.00 s")
    made, rate = soundfile.read(tmp_path / "05.wav")
    assert (rate, len(made)) == (RATE, RATE)
    for name, draw in (("same", {"temperature": 1.0}), ("other", {"seed": 1})):
        reconstruct(mel_run[0], str(folder / "05.wav"), tmp_path / name, Making(device="cpu", draw=draw))
        again, _ = soundfile.read(tmp_path / name / "05.wav")
        assert np.array_equal(made, again) == (name == "same")
    with pytest.raises(UsageError, match="exists"):
        reconstruct(mel_run[0], str(folder / "05.wav"), tmp_path, making)
    with pytest.raises(UsageError, match="makes waves itself"):
        reconstruct(mel_run[0], str(folder), tmp_path / "no", Making(device="cpu", vocoder=mel_run[0]))
    with pytest.raises(UsageError, match="makes waves itself"):
        sample(mel_run[0], tmp_path / "no", Making(device="cpu", vocoder=mel_run[0]))


def test_labels_with_times_are_heard(timed_run, folder, tmp_path):
    run, said = timed_run
    assert "10 sounds have labels with times, 2 have none; 2 labels are told apart" in said
    assert any(line.startswith("left out:") and "03.csv: columns 'start', 'end'" in line for line in said)
    config = read_config(run)
    assert config.local[0].values == SPOKEN
    assert config.model.series.channels == 3 + 2
    assert config.model.series.parts == (3, 2)
    waves = load_waves(run, "cpu")
    file = tmp_path / "say.csv"
    file.write_text("start,end,label\n0,0.25,low\n0.25,0.3,strange\n")
    series = waves.hearing.timed(3200, file)
    assert series.shape == (5, 50)
    low, high, any_of_them = series[1], series[0], series[2]
    assert low.tolist() == [1.0] * 31 + [0.0] * 19  # the middle of step 31 lies at 0.252 s
    assert any_of_them.tolist() == [1.0] * 37 + [0.0] * 13
    assert not high.any()
    assert series[3:].isnan().all(), "no pitch is known"
    sample(run, tmp_path / "out", Making(device="cpu"), count=1, seconds=0.2, drawing=Drawing(timeline=file))
    sample(run, tmp_path / "bare", Making(device="cpu"), count=1, seconds=0.2)
    one, two = (soundfile.read(tmp_path / name / "sample000.wav")[0] for name in ("out", "bare"))
    assert len(one) == 1600
    assert not np.array_equal(one, two)
    file.write_text("start,end,label\n0,1,strange\n")
    with pytest.raises(UsageError, match="no label that the run knows, such as 'strange'"):
        waves.hearing.timed(800, file)


def test_a_sound_without_a_file_has_no_words_but_a_pitch(timed_run, folder):
    waves = load_waves(timed_run[0], "cpu")
    with open_run(timed_run[0]).examples as examples:
        numbers = use_of_labels(waves.model, examples, "train", waves.device)
        assert {"swap_series", "told_series"} < set(numbers)
        rows = examples.corpus.clips
        clip = next(clip for clip in rows if clip.name == "00")
        series = examples._series(clip, torch.tensor([0]))[0]
    assert series[:3].isnan().all()
    assert series[3:].isfinite().all()
    assert float(series[4].mean()) > 0.8
    assert abs(float(series[3][series[4] > 0].median())) < 1.5


def test_pitch_is_that_of_the_tone():
    local = Local([PitchConfig(hop=80)], RATE, load)
    series = local.listen(tone(400.0, 0.5))
    assert series.shape == (2, 50)
    assert torch.allclose(series[0, 5:-5], torch.tensor(1.0), atol=0.02)
    assert series[1, 5:-5].all()
    assert not local.listen(0.1 * torch.randn(1, 4000))[1].mean() > 0.3
    assert local.listen(torch.zeros(1, 10)).shape == (2, 1)


def test_configurations_that_say_nothing_are_refused(folder, runs, mel_run):
    alone = open_source(str(folder / "00.wav"))

    def asked(*sets, recipe="vocoder"):
        return prepare(Request(str(folder), runs / "none", recipe, (*TINY, *sets), device="cpu"), lambda line: None)

    with pytest.raises(ConfigError, match="parts hop by 64, 128 samples, expected one hop"):
        asked("local=[{kind: pitch, hop: 64}, {kind: timed, hop: 128}]")
    with pytest.raises(ConfigError, match=r"model.series is filled in"):
        asked("local=[]", "model.series={channels: 2, hop: 64}")
    with pytest.raises(ConfigError, match="local: the latents that are heard are of another run"):
        asked(f"local=[{{kind: codes, run: {runs / 'nowhere'}}}]")
    with pytest.raises(ConfigError, match="log_mel at 44100 Hz"):
        asked("local=[{kind: log_mel, sample_rate: 44100}]")
    with pytest.raises(DataError, match=r"no training sound has labels with times"):
        survey_timelines(alone, undivided(alone), TimedConfig())
    config = read_config(mel_run[0])
    other = config.model_copy(update={"model": AutoencoderConfig()})
    with pytest.raises(ConfigError, match="a model 'autoencoder' hears no series"):
        hearing_of(other)


def test_another_runs_latents_are_heard():
    from latentscape.models.heard import CodesConfig

    other = spectral(LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=HOP)))
    local = Local([CodesConfig(run="other", hop=100)], RATE, lambda run, device: other)
    wave = torch.cat([tone(300.0), torch.zeros(1, 800)], 1)
    series = local.listen(wave)
    assert series.shape == (2, 32)
    codes = (other.encode(wave) - other.chart.mean) / other.chart.deviation
    at = (12.5 * 100) / HOP  # step 12 stands at sample 1250, between frames 19 and 20
    expected = torch.lerp(codes[19], codes[20], at - 19)
    assert torch.allclose(series[:, 12], expected, atol=1e-3)
    doubled = Local([CodesConfig(run="other", hop=100)], 2 * RATE, lambda run, device: other)
    assert doubled.listen(wave).shape == (2, 32)
    assert copy.copy(local).mel is None


def test_a_model_is_told_of_words(folder, runs, tmp_path, mel_run):
    """Tones whose text says how high they are; the run keeps the words, and another word needs the file."""
    source = tmp_path / "told"
    source.mkdir()
    rows = ["path,text"]
    t = np.arange(RATE // 2) / RATE
    for number in range(12):
        word = SPOKEN[number % 2]
        soundfile.write(
            source / f"{number}.wav", 0.3 * np.sin(2 * np.pi * (200, 520)[number % 2] * (1 + number / 100) * t), RATE
        )
        rows.append(f"{number}.wav,a {word} tone {number}")
    (source / "metadata.csv").write_text("\n".join(rows))
    glove = tmp_path / "glove.txt"
    glove.write_text("high 1 0\nlow 0 1\ntone 0 0\nshrill 2 0\n")
    run, said = trained(
        source, "words", tmp_path, "local=[]", f"data.words={glove}", "train.max_steps=20", "train.validate_every=20"
    )
    assert any(
        line.startswith("words: 3 of the 16 in 'text' have a vector of 2 numbers; not in glove.txt: a") for line in said
    )
    assert read_config(run).model.vector == 2
    waves = load_waves(run, "cpu")
    with open_run(run).examples as examples:
        _, context = examples.batch(0, 4)
        assert set(context["vector"].sum(1).tolist()) <= {0.5, 1 / 3}
        numbers = use_of_labels(waves.model, examples, "train", waves.device)
    assert {"swap_vector", "told_vector"} < set(numbers)
    assert words_on_labels(numbers)[0].startswith("The vector of words is ")
    one = waves.sample(1, 0.1, labels={"text": "high tone"})
    assert torch.equal(one, waves.sample(1, 0.1, labels={"text": "Tone, HIGH!"}))
    assert not torch.equal(one, waves.sample(1, 0.1, labels={"text": "low tone"}))
    assert not torch.equal(one, waves.sample(1, 0.1, labels={"text": "shrill"}))
    glove.rename(tmp_path / "moved.txt")
    assert torch.equal(one, waves.sample(1, 0.1, labels={"text": "high tone"}))
    with pytest.raises(UsageError, match="'shrill' is not among the words"):
        waves.sample(1, 0.1, labels={"text": "shrill"})
    making = Making(device="cpu", labels={"text": "shrill"})
    sample(run, tmp_path / "o", making, count=1, seconds=0.1, drawing=Drawing(words=tmp_path / "moved.txt"))
    with pytest.raises(UsageError, match="label 'text' is not known"):
        sample(mel_run[0], tmp_path / "o2", making, count=1, seconds=0.1)
    with pytest.raises(UsageError, match="is told of no words; leave --words out"):
        sample(mel_run[0], tmp_path / "o3", Making(device="cpu"), drawing=Drawing(words=glove))
