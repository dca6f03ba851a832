"""Sound files: what was written is read back, and every kind of bad file is one clear line."""

import os
import stat
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from latentscape.core.errors import DataError, DataWarning, StorageError, UsageError
from latentscape.edit.recording import open_recording
from latentscape.signal import audio


@pytest.fixture
def wave():
    return (np.random.default_rng(0).standard_normal((2, 30011)) * 0.1).clip(-0.8, 0.8).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "aif", "WAV"])
def test_written_sound_is_read_back_to_24_bits(tmp_path, wave, suffix):
    path = tmp_path / "a \"quoted\" 'name' \N{VIOLIN}" / f"日本 ü.{suffix}"
    assert audio.write(path, wave, 22050) == 0.0
    info = audio.probe(path)
    assert (info.frames, info.sample_rate, info.channels, info.subtype) == (30011, 22050, 2, "PCM_24")
    assert info.seconds == 30011 / 22050
    back, rate = audio.read(path)
    assert rate == 22050
    assert back.dtype == np.float32
    assert back.flags.c_contiguous
    np.testing.assert_allclose(back, wave, atol=2**-23)
    blocks = list(audio.read_blocks(path, 7001))
    assert [block.shape for block in blocks] == [(2, 7001)] * 4 + [(2, 2007)]
    assert np.array_equal(np.concatenate(blocks, axis=1), back)


def test_lossy_formats_are_read(tmp_path):
    time = np.arange(44100) / 22050
    tone = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 8))[None] * 0.2
    tone = (tone + np.random.default_rng(0).normal(0, 0.003, tone.shape)).astype(np.float32)
    audio.write(tmp_path / "a.ogg", tone, 22050)
    soundfile.write(tmp_path / "a.mp3", tone.T, 22050)
    for name in ("a.ogg", "a.mp3"):
        back, rate = audio.read(tmp_path / name)
        assert rate == 22050
        assert back.shape == tone.shape == (1, audio.probe(tmp_path / name).frames)
        noise = back - tone
        assert 10 * np.log10(np.mean(tone**2) / np.mean(noise**2)) > 20


def test_an_mp3_in_blocks_is_the_mp3_in_one_read(tmp_path):
    rng = np.random.default_rng(0)
    bursts = rng.normal(0, 1, 40000) * 0.3 * np.exp(-(np.arange(40000) % 6000) / 800)  # a varying need for bits
    soundfile.write(tmp_path / "a.mp3", bursts, 22050)
    whole = soundfile.read(tmp_path / "a.mp3", dtype="float32")[0][None]
    np.testing.assert_allclose(audio.read(tmp_path / "a.mp3")[0], whole, atol=1e-6)
    np.testing.assert_allclose(np.concatenate(list(audio.read_blocks(tmp_path / "a.mp3", 3001)), 1), whole, atol=1e-6)


def test_only_a_loud_wave_is_scaled_and_the_gain_is_told(tmp_path):
    limit = 10 ** (-1 / 20)
    quiet = np.array([[0.0, limit * 0.999, -0.3]], np.float32)
    assert audio.write(tmp_path / "quiet.wav", quiet, 8000) == 0.0
    np.testing.assert_allclose(audio.read(tmp_path / "quiet.wav")[0], quiet, atol=2**-23)
    loud = np.array([[0.0, 2.0, -1.0]], np.float32)
    kept = loud.copy()
    gain = audio.write(tmp_path / "loud.wav", loud, 8000)
    assert gain == pytest.approx(20 * np.log10(limit / 2))
    np.testing.assert_allclose(audio.read(tmp_path / "loud.wav")[0], loud * limit / 2, atol=1e-6)
    assert np.array_equal(loud, kept)
    assert audio.write(tmp_path / "silent.wav", np.zeros((1, 3), np.float32), 8000) == 0.0


def test_eight_channels_at_192_khz(tmp_path):
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, (8, 5000)).astype(np.float32)
    audio.write(tmp_path / "eight.wav", wave, 192000)
    back, rate = audio.read(tmp_path / "eight.wav")
    assert (back.shape, rate) == ((8, 5000), 192000)


def test_an_existing_file_stays_unless_told(tmp_path, wave):
    path = tmp_path / "a.wav"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists; pass --overwrite"):
        audio.write(path, wave, 22050)
    assert path.read_bytes() == b"mine"
    audio.write(path, wave, 22050, overwrite=True)
    assert audio.probe(path).frames == 30011


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.mp4", np.zeros((1, 8)), UsageError, "can't be written as '.mp4'; known: .aif, .aiff, .flac, .ogg, .wav"),
        ("a.wav", np.zeros(8), DataError, r"shape \(8,\), expected \[channels, samples\]"),
        ("a.wav", np.array([[0.0, np.nan]]), DataError, "NaN or infinity"),
        ("a.wav", np.array([[0.0, -np.inf]]), DataError, "NaN or infinity"),
        ("a.flac", np.zeros((20, 8)), StorageError, "could not write .*a.flac as FLAC"),
    ],
)
def test_what_can_not_be_written_leaves_nothing(tmp_path, name, content, error, message):
    with pytest.raises(error, match=message) as caught:
        audio.write(tmp_path / name, content, 8000)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path, wave, monkeypatch):
    path = tmp_path / "a.wav"
    audio.write(path, wave, 22050)
    before = path.read_bytes()

    def fail(self, data):
        raise soundfile.LibsndfileError(0, prefix="No space left on device ")

    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    with pytest.raises(StorageError, match="could not write"):
        audio.write(path, wave, 22050, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "mp3"])
def test_a_truncated_file_gives_what_it_holds_and_its_header_tells(tmp_path, wave, suffix):
    whole = tmp_path / f"whole.{suffix}"
    soundfile.write(whole, wave.T, 22050, **({"subtype": "PCM_24"} if suffix != "mp3" else {}))
    cut = tmp_path / f"cut.{suffix}"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    assert audio.probe(cut).frames == audio.probe(whole).frames == 30011
    with pytest.warns(DataWarning, match="cut off: .* of 1.36 s are there"):
        found = audio.read(cut)[0]
    assert 10000 < found.shape[1] < 22000
    if suffix in ("wav", "aiff"):
        assert np.array_equal(found, audio.read(whole)[0][:, : found.shape[1]])
    assert sum(block.shape[1] for block in audio.read_blocks(cut, 1000)) > 10000


def test_a_truncated_wav_with_an_odd_chunk_before_its_samples(tmp_path, wave):
    path = tmp_path / "a.wav"
    soundfile.write(path, wave.T, 22050, subtype="PCM_16")
    data = path.read_bytes()
    path.write_bytes(data[:12] + b"note\3\0\0\0abc\0" + data[12:50000])
    assert audio.probe(path).frames == 30011
    with pytest.warns(DataWarning):
        assert audio.read(path)[0].shape[1] < 13000


@pytest.mark.parametrize("size", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_a_wav_from_a_stream_of_unknown_length_is_no_truncated_one(tmp_path, wave, size):
    path = tmp_path / "a.wav"
    soundfile.write(path, wave.T, 22050, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = size
    path.write_bytes(bytes(data))
    try:
        found = audio.read(path)[0].shape[1]
    except DataError:  # libsndfile takes 0 at its word
        found = 0
    assert audio.probe(path).frames == found


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "raw"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", r"is empty \(0 bytes\)"), (b"These are words, not sound.\n" * 40, "is not sound that can be read")],
    ids=["empty", "text"],
)
def test_what_is_no_sound_is_said_in_one_line(tmp_path, suffix, content, message):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    for function in (audio.probe, audio.read, lambda p: list(audio.read_blocks(p, 100))):
        with pytest.raises(DataError, match=message) as caught:
            function(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_cut_within_its_header_or_first_frame(tmp_path, wave):
    soundfile.write(tmp_path / "whole.flac", wave.T, 22050)
    data = (tmp_path / "whole.flac").read_bytes()
    for size in (4, 60, 300):
        cut = tmp_path / f"{size}.flac"
        cut.write_bytes(data[:size])
        with pytest.raises(DataError, match=f"{size}.flac"):
            audio.read(cut)


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_a_header_with_an_absurd_rate_is_damaged(tmp_path, wave, rate):
    path = tmp_path / "a.wav"
    audio.write(path, wave, 22050)
    raw = bytearray(path.read_bytes())
    raw[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(raw)
    for read in (audio.probe, audio.read):
        with pytest.raises(DataError, match=f"a damaged header: it says {rate} Hz, expected 100 to 10000000"):
            read(path)


def test_a_header_without_samples(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((0, 1)), 8000)
    assert audio.probe(path).frames == 0
    with pytest.raises(DataError, match="it holds no samples"):
        audio.read(path)


def test_a_mislabelled_sound_is_still_sound(tmp_path, wave):
    audio.write(tmp_path / "a.flac", wave, 22050)
    (tmp_path / "a.flac").rename(tmp_path / "a.wav")
    assert audio.read(tmp_path / "a.wav")[0].shape == wave.shape
    assert audio.probe(tmp_path / "a.wav").format == "FLAC"


def test_missing_folder_and_forbidden(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="No such file"):
        audio.probe(tmp_path / "none.wav")
    with pytest.raises(DataError, match="could not read"):
        audio.read(tmp_path)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((10, 1)), 8000)

    def forbid(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", forbid)  # root may read anything, so a mode of 000 would not do
    with pytest.raises(DataError, match="Permission denied"):
        audio.read(path)


def test_nan_and_infinity_come_back_as_they_are(tmp_path):
    wave = np.array([[0.5, np.nan, np.inf, -np.inf, 1.5]], np.float32)
    soundfile.write(tmp_path / "a.wav", wave.T, 8000, subtype="FLOAT")
    assert np.array_equal(audio.read(tmp_path / "a.wav")[0], wave, equal_nan=True)


def test_resampling_keeps_a_tone_and_its_length():
    def tone(rate):
        return np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)[None].astype(np.float32)

    found = audio.resample(tone(44100), 44100, 16000)
    assert found.shape == (1, 16000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 500:-500], tone(16000)[:, 500:-500], atol=1e-4)
    same = tone(16000)
    assert audio.resample(same, 16000, 16000) is same
    assert audio.resample(np.ones((3, 1), np.float32), 48000, 22050).shape[0] == 3
    for samples in range(1, 8):
        assert audio.resample(np.ones((3, samples), np.float32), 48000, 8000).shape[1] >= 1
    assert audio.resample(np.ones((3, 0), np.float32), 48000, 8000).shape == (3, 0)


def test_m4a_without_ffmpeg(tmp_path, monkeypatch):
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(50))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="read through ffmpeg, which is not on the PATH"):
        audio.read(path)
    disguised = tmp_path / "a.wav"
    disguised.write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="ffmpeg"):
        audio.probe(disguised)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for ffmpeg is a script")
def test_m4a_goes_through_ffmpeg(tmp_path, wave, monkeypatch):
    """A stand-in that writes its input's bytes after the first 16 to the last argument, as ffmpeg would the sound."""
    script = tmp_path / "ffmpeg"
    script.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "source, target = sys.argv[sys.argv.index('-i') + 1], sys.argv[-1]\n"
        "data = open(source, 'rb').read()[16:]\n"
        "if not data: sys.exit('first\\nno audio in it')\n"
        "open(target, 'wb').write(data)\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    soundfile.write(tmp_path / "a.wav", wave.T, 22050, subtype="FLOAT")
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A 1234" + (tmp_path / "a.wav").read_bytes())
    assert np.array_equal(audio.read(path)[0], wave)
    assert audio.probe(path).frames == 30011
    path.write_bytes(b"\0\0\0\x20ftypM4A 1234")
    with pytest.raises(DataError, match="ffmpeg can read: no audio in it"):
        audio.read(path)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for ffmpeg is a script")
def test_what_ffmpeg_decodes_is_bounded_where_it_is_asked_to_be(tmp_path, monkeypatch):
    """A stand-in with ten minutes of silence, which stops where a packet passes the bytes of ``-fs``, as ffmpeg does."""
    script = tmp_path / "ffmpeg"
    script.write_text(
        f"#!{sys.executable}\nimport sys, wave\n"
        "bytes = int(sys.argv[sys.argv.index('-fs') + 1]) if '-fs' in sys.argv else 1 << 40\n"
        "with wave.open(sys.argv[-1], 'wb') as file:\n"
        "    file.setnchannels(2); file.setsampwidth(4); file.setframerate(8000)\n"
        "    for packet in range(600 * 8000 // 1024):\n"
        "        if packet * 8192 > bytes: break\n"
        "        file.writeframes(b'abcd' * 2048)\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "a.wav"
    path.write_bytes(b"\0\0\0\x20ftypM4A 1234")
    whole = 600 * 8000 // 1024 * 1024
    about = audio.probe(path)
    assert (about.frames, about.format, about.subtype) == (whole, "M4A", "FFMPEG")
    assert sum(block.shape[1] for block in audio.read_blocks(path, 4096)) == whole
    assert 50_000 < audio.probe(path, 100_000).frames < 53_000
    assert 50_000 < sum(block.shape[1] for block in audio.read_blocks(path, 4096, 100_000)) < 53_000
    recording = open_recording(path)
    assert (recording.lossless, recording.subtype, recording.samples.shape) == (False, "FLOAT", (2, whole))


def test_a_full_disk_is_called_so(tmp_path, monkeypatch):
    def full(self, data):
        raise soundfile.LibsndfileError(2, "")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    monkeypatch.setattr(audio.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(StorageError, match="no space left"):
        audio.write(tmp_path / "a.wav", np.zeros((1, 8000), np.float32), 8000)
    assert list(tmp_path.iterdir()) == []
