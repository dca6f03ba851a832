"""Restyling through the shell."""

import numpy as np
import soundfile
from typed import RATE, shell


def test_restyle_keeps_rate_depth_and_channels_and_refuses_in_a_line(run, folder, tmp_path, capsys):
    content, style, out = tmp_path / "c.flac", folder / "bright" / "03.wav", tmp_path / "made.wav"
    t = np.arange(RATE) / RATE
    wave = 0.3 * np.sin(2 * np.pi * 300 * t) * (np.sin(20 * t) > 0)
    soundfile.write(content, np.stack([wave, 0.5 * wave], 1), RATE, subtype="PCM_24")
    preview = tmp_path / "so-far.wav"
    assert shell("restyle", content, style, "--steps", 3, "--preview", preview, "--out", out) == 0
    said = capsys.readouterr()
    info = soundfile.info(out)
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (RATE, RATE, 2, "PCM_24")
    assert "style distance" in said.out
    assert "100 %" in said.err
    assert preview.exists()
    latent = tmp_path / "latent.flac"
    assert shell("restyle", content, style, "--method", "latent", "--run", run, "--out", latent) == 0
    assert soundfile.info(latent).frames == RATE
    capsys.readouterr()
    texture = tmp_path / "texture.wav"
    assert shell("restyle", "-", style, "--seconds", 0.4, "--steps", 2, "--out", texture) == 0
    assert soundfile.info(texture).frames == round(0.4 * RATE)
    places = {"@c": content, "@s": style, "@x": tmp_path / "x.wav", "@r": run, "@p": tmp_path / "p.wav"}
    refusals = {
        ("restyle", "-", style, "--out", "@x", "--strength", 0.3): "weigh a content",
        ("restyle", "-", style, "--out", "@x", "--content-weight", 2): "weigh a content",
        ("restyle", content, style, "--out", "@x", "--label", "instrument=flute"): "--label is told to a run",
        (
            *("restyle", "@c", "@s", "--out", "@x", "--method", "tagger", "--run", "@r"),
            *("--label", "instrument=flute"),
        ): "not to --method tagger",
        (
            "inpaint",
            content,
            "--out",
            "@x",
            "--gap",
            "0.2:0.3",
            "--label",
            "instrument=flute",
        ): "--label is told to a run",
        ("restyle", content, style, "--out", out): "--overwrite",
        ("restyle", content, style, "--out", content, "--overwrite"): "one of the sounds themselves",
        ("restyle", content, style, "--out", tmp_path / "x.ogg"): "expected one of",
        ("restyle", content, style, "--out", tmp_path / "x.wav", "--method", "tagger"): "--recipe tagger-chunk",
        ("restyle", content, style, "--out", tmp_path / "x.wav", "--run", run): "needs no run",
        ("restyle", content, style, "--out", tmp_path / "x.wav", "--method", "cnn"): "random-cnn",
        ("restyle", content, style, "--out", tmp_path / "x.wav", "--seconds", 2): "--seconds",
        ("restyle", content, style, "--out", tmp_path / "x.wav", "--preview", tmp_path / "p.mp3"): "--preview",
        ("restyle", content, style, "--out", tmp_path / "x.wav", "--preview", tmp_path / "x.wav"): "are both",
        ("restyle", "@c", "@s", "--out", "@x", "--method", "transport", "--content-weight", "1"): "searches nothing",
        (
            "restyle",
            "@c",
            "@s",
            "--out",
            "@x",
            "--method",
            "latent",
            "--run",
            "@r",
            "--preview",
            "@p",
        ): "searches nothing",
        ("restyle", "-", style, "--out", tmp_path / "x.wav", "--method", "latent", "--run", run): "needs a content",
        ("restyle", content, style, "--out", tmp_path / "x.wav", "--method", "wavenet"): "--recipe wavenet",
        ("restyle", content, style, "--out", tmp_path / "x.wav", "--way", "joint"): "--method wavenet",
        (
            "restyle",
            content,
            style,
            "--out",
            tmp_path / "x.wav",
            "--method",
            "wavenet",
            "--run",
            run,
        ): "holds no WaveNet",
        ("benchmark", "restyle", "--out", tmp_path / "b", "--run", "transport=x"): "METHOD=RUN",
        ("benchmark", "restyle", folder, "--out", tmp_path / "b", "--methods", "texture"): "is not there",
    }
    for typed, words in refusals.items():
        assert shell(*(places.get(word, word) for word in typed)) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "x.wav").exists()
