"""What librosa gives for short sounds; tests compare with the values in ``by_librosa.json``.

``python tests/by_librosa.py`` writes them anew (librosa 0.11.0, numpy 2.4.6). They are stored since librosa takes 25
seconds to compile where its cache is cold.
"""

import json
from pathlib import Path

import numpy as np

STORED = Path(__file__).with_suffix(".json")
LOW, HIGH = 70.0, 1500.0


def glide(rate: int, seconds: float) -> np.ndarray:
    """A voice that glides over more than an octave, falls silent and comes back, over faint noise."""
    time = np.arange(int(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(150 * 2 ** (0.7 * np.sin(2 * np.pi * time / seconds))) / rate
    voice = sum(np.sin(h * phase) / h for h in range(1, 8)) * (np.sin(4 * np.pi * time / seconds + 0.5) > -0.4)
    return 0.2 * voice + 0.003 * np.random.default_rng(0).standard_normal(len(time))


def sweep(rate: int, seconds: float) -> np.ndarray:
    """Rough, noisy, from below the least pitch to above the greatest: troughs of all depths, at both edges too."""
    time = np.arange(int(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(60 * 30 ** (time / seconds)) / rate
    return 0.3 * np.sin(phase) * (1 + 0.3 * np.sin(phase / 2)) + 0.03 * np.random.default_rng(2).standard_normal(
        len(time)
    )


def octave(rate: int, seconds: float) -> np.ndarray:
    """A tone whose lower octave grows, so that the first trough passes every threshold."""
    time = np.arange(int(rate * seconds)) / rate
    return 0.3 * np.sin(2 * np.pi * 500 * time) + 0.15 * time / seconds * np.sin(2 * np.pi * 250 * time)


def sounds() -> dict[str, tuple[np.ndarray, int, int, int]]:
    """Wave ``[n]``, rate, window and hop of every sound; single precision, so that every tool is given the same."""
    found = {
        "glide": (glide(16_000, 0.9), 16_000, 1024, 320),
        "noise": (0.1 * np.random.default_rng(1).standard_normal(11_000), 22_050, 2048, 512),
        "tone": (0.4 * np.sin(2 * np.pi * 441 * np.arange(2400) / 8000) * (np.arange(2400) < 1500), 8000, 512, 128),
        "sweep": (sweep(8000, 1.0), 8000, 512, 160),
        "octave": (octave(8000, 0.6), 8000, 512, 64),
        "short": (glide(16_000, 0.02), 16_000, 1024, 320),
    }
    return {name: (wave.astype(np.float32).astype(np.float64), *rest) for name, (wave, *rest) in found.items()}


def by_librosa(wave: np.ndarray, rate: int, window: int, hop: int) -> dict[str, list[float]]:
    """Every descriptor by librosa ``[t]``, in the units of ``describe``; None where there is no value."""
    import librosa

    spectrum = np.abs(librosa.stft(np.pad(wave, (0, max(0, window - wave.size))), n_fft=window, hop_length=hop))
    spectrum = spectrum[:, : 1 + wave.size // hop]
    rms = librosa.feature.rms(y=wave, frame_length=window, hop_length=hop, dtype=np.float64)[0]
    gain = librosa.db_to_power(
        librosa.A_weighting(np.maximum(librosa.fft_frequencies(sr=rate, n_fft=window), 1), min_db=None)
    )
    power = spectrum**2
    total = np.maximum(power.sum(0), 1e-300)
    about = {"fmin": LOW, "fmax": HIGH, "sr": rate, "frame_length": window, "hop_length": hop}
    lowest = min(200.0, rate / 8)
    bands = {"fmin": lowest, "n_bands": min(6, int(np.ceil(np.log2(rate / 2 / lowest))))}
    values = {
        "centroid": librosa.feature.spectral_centroid(S=spectrum, sr=rate)[0],
        "bandwidth": librosa.feature.spectral_bandwidth(S=spectrum, sr=rate)[0],
        "contrast": librosa.feature.spectral_contrast(S=power, sr=rate, **bands).mean(0),
        "flatness": librosa.feature.spectral_flatness(S=spectrum)[0],
        "rolloff": librosa.feature.spectral_rolloff(S=spectrum, sr=rate)[0],
        "level": librosa.amplitude_to_db(rms, amin=1e-5, top_db=None),
        "loudness": librosa.amplitude_to_db(rms * np.sqrt(gain @ power / total), amin=1e-5, top_db=None),
        "yin": librosa.yin(wave, **about),
        "pyin": librosa.pyin(wave, **about)[0],
    }
    return {name: [float(f"{v:.9g}") if np.isfinite(v) else None for v in value] for name, value in values.items()}


def stored() -> dict[str, dict[str, np.ndarray]]:
    """The values of every sound, NaN where there is none."""
    found = json.loads(STORED.read_text())
    return {name: {key: np.array(v, float) for key, v in values.items()} for name, values in found.items()}


if __name__ == "__main__":
    rows = {name: by_librosa(*sound) for name, sound in sounds().items()}
    lines = [
        json.dumps(name) + ": {\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in row.items()) + "}"
        for name, row in rows.items()
    ]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
