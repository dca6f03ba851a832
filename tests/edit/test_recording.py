"""Files at their own depth: written back to the bit, and refused where that can't be."""

import numpy as np
import pytest
import soundfile

from latentscape.core.errors import DataError, DataWarning, UsageError
from latentscape.core.random import numpy_stream
from latentscape.edit.recording import check_target, form_of, open_recording, save_recording, suffix_of

LOSSLESS = [
    ("wav", "PCM_U8"), ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "PCM_32"), ("wav", "FLOAT"), ("wav", "DOUBLE"),
    ("flac", "PCM_S8"), ("flac", "PCM_16"), ("flac", "PCM_24"), ("aiff", "PCM_S8"), ("aiff", "PCM_24"), ("aiff", "FLOAT"),
]  # fmt: skip


def write(path, subtype, channels=2, n=500):
    wave = numpy_stream("file", channels).uniform(-1, 1, size=(n, channels))
    soundfile.write(path, wave, 12345, subtype=subtype)
    return path


@pytest.mark.parametrize(("suffix", "subtype"), LOSSLESS)
def test_every_depth_is_written_back_to_the_bit(tmp_path, suffix, subtype):
    source, target = write(tmp_path / f"a.{suffix}", subtype), tmp_path / f"b.{suffix}"
    recording = open_recording(source)
    assert recording.lossless
    assert suffix_of(recording) == f".{suffix}"
    check_target(recording, source, target, overwrite=False)
    save_recording(target, recording, recording.samples)
    for dtype in ("int32", "float64"):
        before, after = soundfile.read(source, dtype=dtype), soundfile.read(target, dtype=dtype)
        assert np.array_equal(before[0], after[0])
        assert before[1] == after[1] == 12345
    assert soundfile.info(source).subtype == soundfile.info(target).subtype
    # what is made anew takes the depth of the file, and the same sound gives the same samples
    assert np.array_equal(recording.made(recording.wave), recording.samples)
    loud = recording.made(np.full((2, 3), 1.5))
    top = 1.5 if recording.samples.dtype.kind == "f" else np.iinfo(recording.samples.dtype).max
    assert loud.max() == pytest.approx(top, rel=0.01)


def test_a_lossy_file_becomes_a_float_wav_that_holds_what_was_decoded(tmp_path):
    source = tmp_path / "a.ogg"
    soundfile.write(source, numpy_stream("ogg", 0).uniform(-0.5, 0.5, size=(9000, 1)), 22050)
    recording = open_recording(source)
    assert not recording.lossless
    assert suffix_of(recording) == ".wav"
    save_recording(tmp_path / "b.wav", recording, recording.samples)
    assert np.array_equal(soundfile.read(tmp_path / "b.wav", dtype="float32")[0], recording.samples[0])
    with pytest.raises(UsageError, match="would change the sound outside"):
        check_target(recording, source, tmp_path / "b.ogg", overwrite=False)
    with pytest.raises(UsageError, match="FLAC can't hold FLOAT"):
        check_target(recording, source, tmp_path / "b.flac", overwrite=False)


def test_targets_that_would_hurt_are_refused(tmp_path):
    source = write(tmp_path / "a.wav", "PCM_16")
    recording = open_recording(source)
    with pytest.raises(UsageError, match="is the sound itself"):
        check_target(recording, source, tmp_path / "a.wav", overwrite=True)
    other = write(tmp_path / "b.wav", "PCM_16")
    with pytest.raises(UsageError, match="add --overwrite"):
        check_target(recording, source, other, overwrite=False)
    check_target(recording, source, other, overwrite=True)
    with pytest.raises(UsageError, match=r"ends in '.txt'"):
        check_target(recording, source, tmp_path / "b.txt", overwrite=False)
    assert form_of(open_recording(write(tmp_path / "c.flac", "PCM_S8")), tmp_path / "c.wav") == ("WAV", "PCM_U8")
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 1)), 8000)
    with pytest.raises(DataError, match="no s"):
        open_recording(tmp_path / "none.wav")


def test_of_a_wav_that_is_cut_off_what_is_there_is_used_with_a_warning_and_a_flac_is_refused(tmp_path):
    source = write(tmp_path / "a.wav", "PCM_24", n=30000)
    whole = open_recording(source).samples
    source.write_bytes(source.read_bytes()[:100000])
    with pytest.warns(DataWarning, match="cut off: 1.35 s of 2.43 s are there"):
        found = open_recording(source).samples
    assert np.array_equal(found, whole[:, : found.shape[1]])
    packed = write(tmp_path / "a.flac", "PCM_24", n=30000)
    packed.write_bytes(packed.read_bytes()[:100000])
    with pytest.raises(DataError, match=r"a\.flac can't be decoded"):
        open_recording(packed)
