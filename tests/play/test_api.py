"""The page's requests, right and wrong."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from small_run import DIM, RATE

from latentscape.data.sources import open_source
from latentscape.geometry.paths import path_from_json
from latentscape.instrument.axes import Described
from latentscape.play import limits, making
from latentscape.play.sounds import Sounds
from latentscape.play.stage import Stage


def sound_file(seconds=0.5, rate=RATE, channels=1, kind="WAV", value=None, **options):
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 440 * time) if value is None else np.full(len(time), value)
    held = io.BytesIO()
    soundfile.write(held, np.stack([wave] * channels, 1), rate, format=kind, **options)
    return held.getvalue()


def test_the_run_is_described(client, stage):
    facts = client.get("/api/instrument").json()
    assert facts["name"] == "small"
    assert (facts["sample_rate"], facts["channels"], facts["dim"]) == (RATE, 1, DIM)
    assert facts["step_seconds"] == pytest.approx(64 / RATE)
    assert facts["latency_seconds"] == pytest.approx((128 + 64) / RATE)
    assert facts["labels"] == {"midi": ["48", "60", "72"]}
    assert facts["pitch_label"] == "midi"
    assert stage.pitch(71) == {"midi": "72"}
    assert {axis["name"] for axis in facts["axes"]} == set(stage.axes)
    assert all({"low", "high", "deviation", "moves", "about"} <= set(axis) for axis in facts["axes"])
    assert len(facts["dots"]) == 60
    dot = facts["dots"][7]
    assert dot["name"] == "folder/note 7"
    assert dot["labels"] == {"midi": "47"}
    assert dot["code"] == pytest.approx(stage.codes[7].tolist(), rel=1e-5)
    assert set(facts["kinds"]) == set(making.KINDS)
    places = torch.tensor(facts["maps"]["principal"]["places"])
    assert places.shape == (60, 2)
    assert float(places.abs().max()) == pytest.approx(1, abs=1e-5)
    assert "/" not in json.dumps({**facts, "dots": []})


@pytest.mark.parametrize(
    ("mean", "deviation", "gain"), [(-47.5, 10.8, 14), (-15.0, 5.0, -12), (-90.0, 1.0, 24), (None, None, -6)]
)
def test_quiet_sounds_begin_at_a_level_that_is_heard(stage, monkeypatch, mean, deviation, gain):
    described = {} if mean is None else {"loudness": Described("dBFS", mean, deviation, 1.0)}
    monkeypatch.setattr(stage.instrument, "naming", replace(stage.instrument.naming, descriptors=described))
    assert Stage(stage.instrument).facts()["gain_db"] == gain


def test_a_spot_of_the_map_is_lifted_and_lies_there(client, stage):
    spots = [[0.0, 0.0], [0.5, -0.25]]
    codes = client.post("/api/lift", json={"places": spots}).json()["codes"]
    found = stage.places(torch.tensor(codes))["principal"]
    assert np.allclose(found, spots, atol=1e-5)
    assert client.post("/api/lift", json={"places": []}).json() == {"codes": []}


@pytest.mark.parametrize("kind", [kind for kind in making.KINDS if kind not in ("geodesic", "triangle")])
@pytest.mark.parametrize("speed", ["time", "latent"])
def test_paths_are_made(client, kind, speed):
    wanted = {"kind": kind, "speed": speed}
    if kind in ("line", "sphere", "spline", "polyline"):
        wanted["points"] = [[0.0] * DIM, [1.0] * DIM]
    answer = client.post("/api/path", json=wanted)
    assert answer.status_code == 200, answer.text
    made = path_from_json(answer.json()["path"])
    assert made.dim == DIM
    if "points" in wanted:
        torch.testing.assert_close(made.end, torch.ones(DIM))
    picture = answer.json()["preview"]["principal"]
    assert len(picture) == making.PREVIEW


def test_a_path_at_even_perceived_speed_about_a_point(client):
    wanted = {"kind": "circle", "points": [[1.0] * DIM], "speed": "perceived", "options": {"turns": 2}}
    path = client.post("/api/path", json=wanted).json()["path"]
    assert path["kind"] == "retimed"
    assert path["path"]["centre"] == [1.0] * DIM
    assert path["path"]["turns"] == 2


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"kind": "zircle"},
        {"kind": "circle", "extra": 1},
        {"kind": "circle", "speed": "warp"},
        {"kind": "circle", "options": {"turns": 1e300}},
        {"kind": "circle", "options": {"kind": "line"}},
        {"kind": "circle", "options": {"instrument": 3}},
        {"kind": "circle", "options": {"self": 3}},
        {"kind": "circle", "options": {"nonsense": 3}},
        {"kind": "circle", "options": {"axes": ["no-axis", 1]}},
        {"kind": "circle", "options": {"axes": 5}},
        {"kind": "circle", "options": {"reach": "far"}},
        {"kind": "grid", "options": {"rows": 10**9}},
        {"kind": "random_walk", "options": {"steps": 10**9}},
        {"kind": "random_walk", "options": {"seed": "x"}},
        {"kind": "line", "points": [[0.0]]},
        {"kind": "line", "points": [[0.0] * DIM]},
        {"kind": "line", "points": [[1e300] * DIM] * 2},
        {"kind": "spline", "points": [[0.0] * DIM] * 3000},
        {"kind": "geodesic", "points": [[0.0] * DIM, [1.0] * DIM], "options": {"segments": 10**6}},
        {"kind": "geodesic", "points": [[0.0] * DIM, [1.0] * DIM] * 8},
        {"kind": "geodesic", "points": [[0.0] * DIM, [1.0] * DIM], "options": {"segments": {"a": 1}}},
    ],
    ids=lambda wanted: json.dumps(wanted)[:60],
)
def test_paths_that_are_not_made(client, wanted):
    answer = client.post("/api/path", json=wanted)
    assert answer.status_code == 400
    assert 5 < len(answer.json()["error"]) <= 300
    assert "/" not in answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[1]", b"{" * 9999, b'{"places": [[NaN, 0]]}', b'{"places": [[1e9, 0]]}', b"\xff",
     rb'{"map": "\ud800", "places": []}', rb'{"\udfff": 1}'],
)  # fmt: skip
def test_bodies_that_are_no_request(client, body):
    assert client.post("/api/lift", content=body).status_code == 400
    assert client.post("/api/lift", json={"map": "nowhere", "places": [[0, 0]]}).status_code == 400


def test_a_dot_is_heard_as_the_model_hears_it(client):
    answer = client.get("/api/dots/3/sound.wav")
    wave, rate = soundfile.read(io.BytesIO(answer.content))
    assert (rate, answer.headers["content-type"]) == (RATE, "audio/wav")
    assert len(wave) == 1.5 * RATE
    assert np.abs(wave).max() > 1e-3
    assert client.get("/api/dots/3/sound.wav").content == answer.content
    for dot in (60, 10**30, -1):
        assert client.get(f"/api/dots/{dot}/sound.wav").status_code == 404


def test_a_dot_is_heard_as_it_is_where_the_corpus_is_there(stage, tmp_path, monkeypatch):
    folder = tmp_path / "sounds" / "folder"
    folder.mkdir(parents=True)
    for number in (3, 4, 5):
        (folder / f"note {number}.wav").write_bytes(sound_file(0.25 + 0.01 * number))
    corpus = open_source(str(tmp_path / "sounds"))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    about = {"source": str(tmp_path / "sounds"), "digest": corpus.digest}
    (run / "run.json").write_text(json.dumps(about))
    sounds = Sounds(stage, run)
    sounds.wait(20)
    assert sounds.from_corpus(4)
    assert not sounds.from_corpus(0)
    wave, _ = soundfile.read(io.BytesIO(sounds.of_dot(4)))
    assert np.allclose(wave, corpus.wave(next(clip for clip in corpus.clips if clip.name.endswith("4")))[0], atol=1e-4)
    monkeypatch.setattr("latentscape.play.sounds.CACHE_BYTES", 10)
    sounds.of_dot(0)
    assert not sounds._kept
    for change in ({"digest": "another"}, {"source": str(tmp_path / "gone")}):
        (run / "run.json").write_text(json.dumps(about | change))
        other = Sounds(stage, run)
        other.wait(20)
        assert not other.from_corpus(4)


@pytest.mark.parametrize(("rate", "channels", "kind"), [(RATE, 1, "WAV"), (11025, 2, "FLAC"), (44100, 1, "OGG")])
def test_a_sound_that_is_dropped_in_is_placed(client, stage, rate, channels, kind):
    answer = client.post(
        "/api/sounds", params={"name": "../../my flute.wav"}, content=sound_file(0.5, rate, channels, kind)
    )
    placed = answer.json()
    assert answer.status_code == 200, placed
    assert placed["name"] == "my flute.wav"
    assert placed["seconds"] == pytest.approx(0.5, abs=0.01)
    path = torch.tensor(placed["path"])
    assert path.shape == (63, DIM)
    torch.testing.assert_close(path.mean(0), torch.tensor(placed["code"]), atol=1e-4, rtol=0)
    assert np.allclose(placed["places"]["principal"], stage.places(path.mean(0)[None])["principal"][0], atol=1e-3)
    assert not placed["cut"]


def test_long_sounds_are_cut(client, monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_SECONDS", 0.25)
    monkeypatch.setattr(limits, "POINTS", 10)
    placed = client.post("/api/sounds", content=sound_file(4)).json()
    assert (placed["cut"], placed["seconds"], len(placed["path"])) == (True, 0.25, 10)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is empty"),
        (b"hello", "is not sound that can be read"),
        (b"RIFF" + b"\0" * 60, "is not sound that can be read"),
        (sound_file()[:30], "is not sound that can be read"),
        (sound_file(value=np.nan, subtype="FLOAT"), "NaN"),
        (sound_file(0), "holds no samples"),
        (sound_file(0.01, channels=40), "it has 40 channels"),
        (b"#EXTM3U\n/etc/passwd\n", "is not sound that can be read"),
        (b"\0" * 5000, "is not sound that can be read"),
    ],
    ids=["nothing", "text", "no header", "cut off", "NaN", "no samples", "channels", "a list", "zeros"],
)
def test_what_is_not_sound_is_refused_and_why(client, body, words):
    answer = client.post("/api/sounds?name=/home/me/x.wav", content=body)
    assert answer.status_code == 415
    error = answer.json()["error"]
    assert error.startswith("x.wav")
    assert words in error
    assert "upload" not in error
    assert "/" not in error


def test_a_small_file_of_many_samples_is_cut_as_it_is_read(client, monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_VALUES", 4 * RATE)
    placed = client.post("/api/sounds", content=sound_file(10.0, channels=8)).json()
    assert (placed["seconds"], placed["cut"]) == (0.5, True)


def test_too_much_is_refused(client, monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_BYTES", 1 << 20)
    monkeypatch.setattr(limits, "BODY_BYTES", 1 << 20)
    pieces = lambda: iter([b"x" * (1 << 19)] * 3)  # noqa: E731
    for path in ("/api/sounds", "/api/path", "/api/lift"):
        assert client.post(path, content=b"x" * (3 << 20)).status_code == 413
        assert client.post(path, content=pieces()).status_code == 413
        assert client.post(path, content=b"", headers={"content-length": "9" * 30}).status_code == 413


def test_too_often_is_refused(strict_client):
    statuses = {strict_client.post("/api/lift", content=b"{}").status_code for _ in range(200)}
    assert statuses == {400, 429}


def test_a_fault_of_ours_tells_nothing(client, monkeypatch, caplog):
    monkeypatch.setattr("latentscape.play.api.make", lambda *a: 1 / 0)
    answer = client.post("/api/path", json={"kind": "circle"})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
    assert "ZeroDivisionError" in caplog.text
