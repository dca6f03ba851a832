import threading

import numpy as np
import pytest
import torch
from soundfiles import RATE, noise, put

from latentscape.core.errors import ConfigError, DataError, StorageError, UsageError
from latentscape.data import sounds
from latentscape.data.augment import AugmentConfig
from latentscape.data.examples import DataConfig
from latentscape.data.pool import Segments, Slab, Tape
from latentscape.data.sounds import SoundExamples, gap_samples, window_samples
from latentscape.data.sources import open_source
from latentscape.data.split import PARTS, Part, split_corpus
from latentscape.models.memory import RECORDING
from latentscape.registry import Window
from latentscape.signal.mulaw import MuLaw, MuLawConfig
from latentscape.signal.stft import LogStft, LogStftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

FRAME = LogStft(LogStftConfig(sample_rate=RATE, window=64, hop=16))
WAVE = Waveform(WaveformConfig(sample_rate=RATE))
ROLLING = DataConfig(
    augment=AugmentConfig(pitch=(-1, 1), gain_db=(-6, 0)),
    pool_seconds=1,
    slabs=3,
    steps_per_slab=2,
    segment_seconds=0.2,
    statistics_seconds=100,
)


@pytest.fixture
def corpus(tmp_path):
    rows = ["path,instrument,midi"]
    for number in range(30):
        name = f"{number:02d}.wav"
        put(tmp_path / name, noise(number, seconds=0.1 + 0.02 * number), subtype="FLOAT")
        rows.append(f"{name},{'abc'[number % 3]},{60 + number // 3}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    return open_source(str(tmp_path))


def examples(corpus, representation=FRAME, window=Window(), config=ROLLING, **options):
    return SoundExamples(corpus, split_corpus(corpus), representation, window, config, seed=0, **options)


def equal(left, right):
    x, labels = left
    y, others = right
    return (
        torch.equal(x, y) and labels.keys() == others.keys() and all(torch.equal(labels[k], others[k]) for k in labels)
    )


@pytest.mark.parametrize(
    ("representation", "window", "shape", "dtype"),
    [
        (FRAME, Window(), (33,), torch.float32),
        (FRAME, Window(length=5), (33, 5), torch.float32),
        (WAVE, Window(length=300, hop=150), (1, 300), torch.float32),
        (MuLaw(MuLawConfig(sample_rate=RATE)), Window(length=50), (1, 50), torch.int64),
    ],
)
def test_a_batch_is_a_pure_function_of_seed_and_step(corpus, representation, window, shape, dtype):
    options = {"conditions": ("instrument", "midi")}
    with examples(corpus, representation, window, **options) as forth:
        assert forth.event_shape == shape
        steps = {step: forth.batch(step, 12) for step in range(9)}
        with examples(corpus, representation, window, **options) as back:
            for step in (8, 3, 0, 7, 1):
                assert equal(back.batch(step, 12), steps[step])
                assert equal(forth.batch(step, 12), steps[step])
    x, labels = steps[0]
    assert (x.shape, x.dtype, x.is_contiguous()) == ((12, *shape), dtype, True)
    assert all(codes.dtype == torch.int64 and codes.shape == (12,) for codes in labels.values())
    assert not torch.equal(x, steps[1][0])
    other = SoundExamples(corpus, split_corpus(corpus), representation, window, ROLLING, seed=1)
    assert not torch.equal(other.batch(0, 12)[0], x)
    other.close()


def test_the_source_and_its_rate_stand_beside_a_figure(corpus):
    with examples(corpus) as made:
        assert made.describe() == f"{corpus.name}, {RATE} Hz"


def test_ranks_share_the_batch(corpus):
    with examples(corpus, conditions=("instrument",)) as made:
        x, labels = made.batch(5, 12)
        parts = [made.batch(5, 12, rank=rank, world=3) for rank in range(3)]
        assert torch.equal(torch.cat([part[0] for part in parts]), x)
        assert torch.equal(torch.cat([part[1]["instrument"] for part in parts]), labels["instrument"])
        with pytest.raises(UsageError, match="a batch of 12 can't be shared evenly by 5 processes"):
            made.batch(0, 12, rank=0, world=5)


def test_batches_hold_only_training_sound_of_the_label_they_carry(corpus):
    """Unaugmented raw windows are looked for in the clips."""
    still = ROLLING.model_copy(update={"augment": AugmentConfig()})
    with examples(corpus, WAVE, Window(length=40), still, conditions=("instrument", "midi")) as made:
        train = {(clip.labels["instrument"], clip.labels["midi"]): [] for clip in made.split.clips(corpus, "train")}
        for clip in made.split.clips(corpus, "train"):
            train[clip.labels["instrument"], clip.labels["midi"]].append(np.array(corpus.wave(clip)[0]))
        starts = set()
        for step in range(12):
            x, labels = made.batch(step, 16)
            for row in range(16):
                instrument = made.vocabulary["instrument"][labels["instrument"][row]]
                midi = float(made.vocabulary["midi"][labels["midi"][row]])
                window = x[row, 0].numpy()
                found = [
                    start
                    for wave in train[instrument, midi]
                    for start in np.flatnonzero(wave[: len(wave) - 39] == window[0])
                    if np.array_equal(wave[start : start + 40], window)
                ]
                assert found
                starts.add(found[0] % 40)
        assert len(starts) > 20  # windows begin anywhere


def test_the_pool_hears_the_whole_part_evenly(corpus):
    """Over whole epochs every clip is drawn in proportion to its length."""
    with examples(corpus, WAVE, Window(length=2), conditions=("instrument",)) as made:
        segments, tape = made._tape.segments, made._tape
        assert tape.slab < segments.total
        count = -(-10 * segments.total // tape.slab)
        heard = np.zeros(len(segments))
        for number in range(count):
            for _, one in tape.stretch(number):
                heard[one] += 1
        assert heard.min() >= 10
        assert heard.max() <= 11


@pytest.mark.parametrize("offset", [True, False])
def test_segments_begin_anywhere_unless_told(tmp_path, offset):
    """One clip is a ramp, so that a sample tells where it stood; a window may cross the grid of segments or not."""
    ramp = np.linspace(-0.9, 0.9, 8000, dtype=np.float32)[None]
    put(tmp_path / "ramp.wav", ramp, subtype="FLOAT")
    config = DataConfig(augment=AugmentConfig(offset=offset), pool_seconds=0.5, segment_seconds=0.1, steps_per_slab=1)
    with examples(open_source(str(tmp_path)), WAVE, Window(length=100), config) as made:
        x = torch.cat([made.batch(step, 32)[0] for step in range(20)])[:, 0]
        starts = ((x[:, 0].double() + 0.9) / 1.8 * 7999).round().long()
        crossing = starts // 800 != (starts + 99) // 800
        assert bool(crossing.any()) == offset


def test_segments_cover_a_part_exactly():
    part = Part(np.array([4, 7]), np.array([10, 0]), np.array([95, 20]))
    cut = Segments.of(part, 30)
    assert cut.rows.tolist() == [4, 4, 4, 4, 7]
    assert cut.frames.tolist() == [23, 24, 24, 24, 20]
    assert cut.starts.tolist() == [10, 33, 57, 81, 0]
    assert (cut.low.tolist(), cut.high.tolist()) == ([10] * 4 + [0], [105] * 4 + [20])
    orders = [[one for _, one in Tape(cut, cut.total, 0).stretch(number)] for number in range(4)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_a_corpus_that_fits_is_analysed_once(corpus, monkeypatch):
    calls = []
    with examples(corpus, config=DataConfig(steps_per_slab=1)) as made:
        real = made._slab
        monkeypatch.setattr(made._pool, "_make", lambda number: calls.append(number) or real(number))
        first = made.batch(0, 8)
        made.batch(1000, 8)
        assert calls == [0]
        assert equal(made.batch(0, 8), first)
        total = sum(slab.windows for slab in made._pool.at(0))
        assert total == made.count("train")


def test_few_sounds_are_in_the_pool_in_many_variations(corpus):
    """One variation of each would be learnt by heart before the pool has moved on."""
    config = DataConfig(augment=AugmentConfig(pitch=(-4, 4), share=0.7), pool_seconds=1000, slabs=3)
    with examples(corpus, config=config) as made:
        slabs = made._pool.at(0)
        rows, shifts = (torch.cat([getattr(slab, name) for slab in slabs]) for name in ("rows", "shifts"))
        for row in rows.unique():
            own = shifts[rows == row]
            assert len(own) >= 7
            assert len(own[own != 0].unique()) == (own != 0).sum() > 2


def test_a_shifted_note_has_the_label_of_where_it_came_to(corpus):
    steps = DataConfig(augment=AugmentConfig(pitch_steps=(1.0,)), pool_seconds=1, segment_seconds=0.2)
    with examples(corpus, config=steps, conditions=("midi", "instrument")) as made:
        plain = examples(corpus, config=DataConfig(), conditions=("midi",))
        assert made.vocabulary["midi"] == plain.vocabulary["midi"]
        slab = made._pool.at(0)[0]
        midi = [corpus.clips[int(row)].labels["midi"] + 1 for row in slab.rows]
        codes = made._labels(slab.rows, slab.shifts)["midi"].tolist()
        names = made.vocabulary["midi"]
        expected = [names.index(f"{m:.0f}") if f"{m:.0f}" in names else -1 for m in midi]
        assert codes == expected
        assert -1 in codes or max(midi) < float(names[-1])
        half = torch.full_like(slab.shifts, 0.5)
        assert made._labels(slab.rows, half)["midi"].unique().tolist() == [-1]
        assert (made._labels(slab.rows, half)["instrument"] >= 0).all()
        assert made._shifted("note", torch.tensor([3]), torch.tensor([1.0])).tolist() == [-1]
        plain.close()


def test_values_that_training_has_not_heard_are_unknown(tmp_path):
    rows = ["path,speaker,split"]
    for number in range(6):
        put(tmp_path / f"{number}.wav", noise(number))
        rows.append(f"{number}.wav,s{number},{'train' if number < 4 else 'test'}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    corpus = open_source(str(tmp_path))
    with examples(corpus, conditions=("speaker",)) as made:
        assert len(made.vocabulary["speaker"]) == 3
        assert {int(code) for _, labels in made.held("test", 100) for code in labels["speaker"]} == {-1}
        assert {int(c) for _, labels in made.held("train", 100) for c in labels["speaker"]} == {0, 1, 2}


@pytest.mark.parametrize("window", [Window(), Window(length=7, hop=3)])
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_held_windows_are_all_windows_in_order(corpus, window, size):
    with examples(corpus, window=window, conditions=("midi",)) as made:
        for part in PARTS:
            expected, codes = [], []
            for clip in made.split.clips(corpus, part):
                features = FRAME.analyse(torch.from_numpy(np.array(corpus.wave(clip)))[None])[0]
                for start in range(0, features.shape[1] - window.length + 1, window.hop):
                    expected.append(features[:, start : start + window.length].reshape(made.event_shape))
                    text = f"{clip.labels['midi']:.0f}"
                    known = made.vocabulary["midi"]
                    codes.append(known.index(text) if text in known else -1)
            batches = list(made.held(part, size))
            assert {len(x) for x, _ in batches[:-1]} <= {size}
            assert torch.equal(torch.cat([x for x, _ in batches]), torch.stack(expected))
            assert torch.cat([labels["midi"] for _, labels in batches]).tolist() == codes
            recordings = torch.cat([labels[RECORDING] for _, labels in batches]).tolist()
            assert recordings == sorted(recordings, key=recordings.index)  # those of one side by side
            assert len(set(recordings)) == sum(1 for _ in made.split.clips(corpus, part))
            assert made.count(part) == len(expected)
            some = torch.cat([x for x, _ in made.held(part, size, 5)])
            places = [place * len(expected) // 5 for place in range(5)]
            assert torch.equal(some, torch.stack([expected[place] for place in places]))


def test_short_clips_are_padded_to_one_window_and_used(tmp_path):
    for number in range(10):
        put(tmp_path / f"{number}.wav", noise(number, seconds=0.01), subtype="FLOAT")
    corpus = open_source(str(tmp_path))
    for config in (DataConfig(), ROLLING):
        with examples(corpus, WAVE, Window(length=400, hop=400), config) as made:
            assert made.count("train") == 8
            assert made.batch(0, 6)[0].shape == (6, 1, 400)
            for (x, _), clip in zip(made.held("test", 1), made.split.clips(corpus, "test"), strict=True):
                np.testing.assert_array_equal(x[0, 0, :80], corpus.wave(clip)[0])
                assert not x[0, 0, 80:].any()
    with examples(corpus, window=Window(length=9)) as made:
        assert made.batch(0, 4)[0].shape == (4, 33, 9)


def test_few_windows_of_a_large_part_cost_the_analysis_of_a_part_of_it(corpus, monkeypatch):
    monkeypatch.setattr(sounds, "HELD_SECONDS", 2)
    with examples(corpus) as made:
        analysed = []
        whole = made.features
        monkeypatch.setattr(made, "features", lambda clip: (analysed.append(clip.frames), whole(clip))[1])
        some = torch.cat([x for x, _ in made.held("train", 64, 100)])
        assert len(some) == 100
        assert 0 < sum(analysed) <= 1.2 * 2 * RATE < int(made.split.parts["train"].frames.sum())
        analysed.clear()
        assert sum(len(x) for x, _ in made.held("train", 64, 10**9)) == made.count(
            "train"
        )  # a limit that limits nothing


def test_a_long_recording_is_held_in_stretches(tmp_path):
    put(tmp_path / "long.wav", noise("long", seconds=130, rate=1000), 1000)
    corpus = open_source(str(tmp_path))
    split = split_corpus(corpus, gap=50)
    view = Waveform(WaveformConfig(sample_rate=1000))
    with SoundExamples(corpus, split, view, Window(length=50, hop=50), ROLLING, seed=0) as made:
        assert made.count("train") == sum(len(x) for x, _ in made.held("train", 64))
        minutes = torch.cat([told[RECORDING] for _, told in made.held("train", 64)])
        counts = [int((minutes == number).sum()) for number in minutes.unique()]
        assert len(counts) > 20
        assert max(counts) == 4 * 1000 // 50
        wave = torch.cat([x for x, _ in made.held("test", 64)]).flatten().numpy()
        clip = next(split.clips(corpus, "test"))
        np.testing.assert_array_equal(wave, corpus.wave(clip)[0, : len(wave)])
        made.batch(0, 4)


@pytest.mark.parametrize("window", [Window(), Window(length=4)])
def test_units_are_mean_and_deviation_of_training_frames(corpus, window):
    each = ROLLING.model_copy(update={"scale": "each"})
    with examples(corpus, window=window, config=each) as made:
        mean, scale = made.units()
        frames = torch.cat([made.features(clip).T for clip in made.split.clips(corpus, "train")]).double()
        # segments are analysed for themselves, so frames at their edges differ a little from those of whole clips
        shape = (33,) if window.length == 1 else (33, 1)
        assert mean.shape == scale.shape == shape
        assert (mean.flatten() - frames.mean(0)).abs().max() < 0.6
        assert (scale.flatten() / frames.std(0) - 1).abs().max() < 0.15
    with examples(corpus, window=window) as made:
        assert torch.allclose(made.units()[1], scale.square().mean().sqrt())
    whole = each.model_copy(update={"segment_seconds": 10.0})
    with examples(corpus, config=whole) as made:
        mean, scale = made.units()
        assert torch.allclose(mean.double(), frames.mean(0), atol=1e-4)
        assert torch.allclose(scale.double(), frames.std(0, unbiased=False), atol=1e-4)


def test_units_of_codes_and_of_a_constant(tmp_path):
    for number in range(10):
        put(tmp_path / f"{number}.wav", np.full((1, 800 + number), 0.25, np.float32), subtype="FLOAT")
    corpus = open_source(str(tmp_path))
    with examples(corpus, WAVE, Window(length=100)) as made:
        mean, scale = made.units()
        assert (float(mean), float(scale)) == (0.25, 1.0)
    with examples(corpus, MuLaw(MuLawConfig(sample_rate=RATE)), Window(length=100)) as made:
        assert [value.flatten().tolist() for value in made.units()] == [[0], [1]]


def test_statistics_are_bounded(corpus, monkeypatch):
    few = ROLLING.model_copy(update={"statistics_seconds": 0.3})
    with examples(corpus, config=few) as made:
        calls = []
        real = made._analyse
        monkeypatch.setattr(made, "_analyse", lambda wave: calls.append(wave.shape[1]) or real(wave))
        made.units()
        assert 0.3 * RATE <= sum(calls) <= 0.5 * RATE


def test_wrong_joins_are_refused(corpus):
    with pytest.raises(ConfigError, match="no label 'instrumant'; did you mean 'instrument'"):
        examples(corpus, conditions=("instrumant",))
    with pytest.raises(DataError, match="44100 Hz, 1 channels, but the corpus is 8000 Hz"):
        examples(corpus, Waveform(WaveformConfig(sample_rate=44_100)))
    with pytest.raises(DataError, match="2 channels"):
        examples(corpus, Waveform(WaveformConfig(sample_rate=RATE, channels=2)))


def test_what_fails_in_the_background_surfaces(corpus):
    with examples(corpus) as made:
        made.batch(0, 4)
        for shard in corpus.store.shards:
            shard.unlink()
        corpus.store.maps.clear()
        with pytest.raises(StorageError, match="open the source again"):
            made.batch(100, 4)


def test_the_thread_stops(corpus):
    before = threading.active_count()
    made = examples(corpus)
    first = made.batch(0, 4)
    assert threading.active_count() == before + 1
    made.close()
    assert threading.active_count() == before
    made.close()
    assert equal(made.batch(0, 4), first)
    made.close()


def test_the_pool_is_bounded(corpus):
    with examples(corpus, WAVE, Window(length=10)) as made:
        for step in range(20):
            held = sum(len(slab.features) for slab in made._pool.at(step))
            assert held <= 1.5 * ROLLING.pool_seconds * RATE
        assert len(made._pool._slabs) == ROLLING.slabs + 1


def test_the_ends_of_a_clip_are_drawn_half_as_often_as_its_middle():
    pieces = [torch.zeros(50, 1), torch.zeros(10, 1), torch.zeros(10, 1)]
    slab = Slab.of(pieces, [0, 1, 2], [0.0] * 3, [50, 10, 4], [True] * 3, 10, even=True)
    assert slab.windows == 64  # as often as there is sound
    piece, starts = slab.locate(torch.arange(64))
    assert piece.bincount().tolist() == [50, 10, 4]
    assert (starts[piece > 0] == slab.first[piece[piece > 0]]).all()
    heard = torch.zeros(50)
    for start in starts[piece == 0].tolist():
        heard[start : start + 10] += 1
    assert heard[10:40].tolist() == [10] * 30
    assert (heard[0], heard[-1]) == (5, 6)
    assert heard.min() == 5


def test_a_slab_in_which_no_segment_begins_is_empty(tmp_path):
    for number in range(4):
        put(tmp_path / f"{number}.wav", noise(number, seconds=1))
    corpus = open_source(str(tmp_path))
    config = DataConfig(
        augment=AugmentConfig(polarity=True), pool_seconds=4, segment_seconds=1, slabs=16, steps_per_slab=1
    )
    with examples(corpus, config=config) as made:
        windows = [slab.windows for slab in made._pool.at(0)]
        assert windows.count(0) >= 12
        assert sum(windows) > 0
        assert made.batch(0, 8)[0].shape == (8, 33)


def test_lengths_in_samples():
    assert window_samples(FRAME, Window(length=5)) == 5 * 16
    assert gap_samples(FRAME, Window(length=5)) == 13 * 16
    assert window_samples(WAVE, Window(length=300)) == 300
    assert sounds.PITCH_LABELS[0] == "midi"
