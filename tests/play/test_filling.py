"""Gaps filled for the page: right and wrong requests, and what lies outside the gap."""

import io
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from small_run import RATE

from latentscape.play import filling, limits
from latentscape.play.filling import Filling
from latentscape.play.guard import public


def tone(seconds=0.6, rate=RATE, channels=1, kind="WAV", **options):
    t = np.arange(round(seconds * rate)) / rate
    wave = np.stack([0.3 * np.sin(2 * np.pi * (440 + 60 * c) * t) for c in range(channels)], 1)
    held = io.BytesIO()
    soundfile.write(held, wave, rate, format=kind, **options)
    return held.getvalue()


def read(data):
    return soundfile.read(io.BytesIO(data), always_2d=True)


def asked(client, sound, **query):
    return client.post("/api/fill", params={"start": 0.2, "end": 0.35} | query, content=sound)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ({"channels": 2, "rate": 11025, "subtype": "PCM_24"}, "PCM_24"),
        ({"kind": "FLAC", "subtype": "PCM_16"}, "PCM_16"),
        ({"subtype": "FLOAT"}, "FLOAT"),
    ],
)
def test_an_answer_is_the_sound_but_for_the_gap(client, form, subtype):
    sound = tone(**form)
    answer = asked(client, sound)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "audio/wav"
    assert (answer.headers["x-method"], answer.headers["x-draws"]) == ("latent", "true")
    about = soundfile.info(io.BytesIO(answer.content))
    kept = soundfile.info(io.BytesIO(sound))
    assert (about.samplerate, about.channels, about.frames) == (kept.samplerate, kept.channels, kept.frames)
    assert about.subtype == subtype
    before, after = read(sound)[0], read(answer.content)[0]
    gap = slice(round(0.2 * about.samplerate), round(0.35 * about.samplerate))
    outside = np.ones(len(before), bool)
    outside[gap] = False
    np.testing.assert_array_equal(before[outside], after[outside])
    assert np.abs(after[gap] - before[gap]).max() > 0


def test_further_answers_are_drawn_and_the_same_every_time(client):
    sound = tone()
    likeliest, first, again, second = (asked(client, sound, number=number).content for number in (0, 1, 1, 2))
    assert first == again
    assert len({likeliest, first, second}) == 3
    told = client.get("/api/instrument").json()
    assert told["fills"] == {"linear": False, "copy": False, "latent": True}
    assert told["limits"]["gap_seconds"] == limits.GAP_SECONDS
    assert asked(client, sound, method="linear").headers["x-draws"] == "false"
    refused = asked(client, sound, method="linear", number=1)
    assert (refused.status_code, refused.json()["error"]) == (400, "the method 'linear' has one answer only")


def test_a_short_gap_at_the_end_makes_it_longer(client):
    answer = asked(client, tone(0.5), start=0.45, end=0.53)
    assert answer.headers["x-method"] == "linear"
    assert len(read(answer.content)[0]) == round(0.53 * RATE)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"start": "x"}, 400, "start"),
        ({"start": "nan"}, 400, "start"),
        ({"end": "inf"}, 400, "end"),
        ({"end": 0.1}, 400, "shorter than one sample"),
        ({"start": 0, "end": 0.6}, 400, "the gap is the whole sound"),
        ({"start": 5, "end": 5.1}, 400, "begins at 5.000 s, but the sound ends at 0.600 s"),
        ({"start": 0.1, "end": 9}, 400, "the gap is 8.90 s long, expected at most 5 s"),
        ({"number": 99}, 400, "number"),
        ({"method": "magic"}, 400, "method"),
        ({"method": "hierarchy"}, 400, "needs a run of a conditional hierarchy"),
        ({"extra": 1}, 400, "extra"),
    ],
    ids=str,
)
def test_gaps_that_are_not_filled(client, query, status, words):
    answer = asked(client, tone(), **query)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "/" not in public(answer.json()["error"]).replace("s/", "")


def test_what_is_no_sound_or_too_much_of_it(client, monkeypatch):
    assert asked(client, b"no sound").status_code == 415
    monkeypatch.setattr(limits, "UPLOAD_SECONDS", 0.5)
    for form in ({}, {"kind": "OGG"}):
        answer = asked(client, tone(**form))
        assert answer.status_code == 400
        assert "longer than 0.5 s" in answer.json()["error"]
    monkeypatch.setattr(limits, "UPLOAD_SECONDS", 60.0)
    monkeypatch.setattr(limits, "UPLOAD_VALUES", 2 * RATE)
    assert asked(client, tone()).status_code == 200
    answer = asked(client, tone(channels=8))
    assert answer.status_code == 400
    assert f"longer than 0.25 s of 8 channels at {RATE} Hz" in answer.json()["error"]
    monkeypatch.setattr(limits, "UPLOAD_BYTES", 100)
    assert asked(client, tone()).status_code == 413


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for ffmpeg is a script")
def test_an_m4a_is_filled_and_decoded_no_further_than_it_is_used(client, tmp_path, monkeypatch):
    """A stand-in that writes its input after the first 16 bytes, cut where ``-fs`` says, and notes how much that was."""
    script, noted = tmp_path / "ffmpeg", tmp_path / "bytes"
    script.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "given = open(sys.argv[sys.argv.index('-i') + 1], 'rb').read()[16:]\n"
        "given = given[: int(sys.argv[sys.argv.index('-fs') + 1])] if '-fs' in sys.argv else given\n"
        "open(sys.argv[-1], 'wb').write(given)\n"
        f"open({str(noted)!r}, 'a').write(f'{{len(given)}} ')\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    sound = b"\0\0\0\x20ftypM4A 1234" + tone(2.0, subtype="FLOAT")
    assert asked(client, sound).status_code == 200
    noted.unlink()
    monkeypatch.setattr(limits, "UPLOAD_VALUES", RATE)
    answer = asked(client, sound)
    assert answer.status_code == 400
    assert "longer than 1 s" in answer.json()["error"]
    assert all(int(size) < 4 * RATE + 8192 for size in noted.read_text().split())


def test_requests_are_counted(client, monkeypatch):
    monkeypatch.setattr(limits.Bucket, "take", lambda self, *given, **more: False)
    assert asked(client, tone()).status_code == 429


def test_one_gap_is_filled_at_a_time(client, monkeypatch):
    at_work, most = [], []

    def answer(self, path, asked):
        at_work.append(path)
        time.sleep(0.1)
        most.append(len(at_work))
        at_work.remove(path)
        return filling.Answer(b"", "linear", False)

    monkeypatch.setattr(Filling, "answer", answer)
    monkeypatch.setattr(limits, "UPLOADS_AT_ONCE", 2)
    with ThreadPoolExecutor(2) as pool:
        found = [one.result().status_code for one in [pool.submit(asked, client, b"") for _ in range(2)]]
    assert found == [200, 200]
    assert most == [1, 1]
