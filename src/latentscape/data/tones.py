"""`tones`: synthetic notes of four sound families whose generative factors are known.

Letters: h = 1, 2, ... the number of a partial, f_h its frequency in Hz, a_h its amplitude, s_h its damping in 1/s,
b brightness, i inharmonicity, v noisiness (all three in [0, 1]), A the attack in s, n samples. A note is partials plus
noise under an envelope w that rises as a half cosine in A seconds and is released to zero at the end:

    plucked, struck   x(t) = w(t) sum_h a_h exp(-s_h t) sin(2 pi f_h t)     + noise burst
    bowed, blown      x(t) = w(t) sum_h a_h sin(h phi(t)),  phi' = 2 pi f_1 (1 + vibrato)   + breath

- f_h: a stiff string for plucked, h sqrt((1 + B h^2) / (1 + B)) f_1 with B = i / 1000 (Fletcher 1964); a bar for
  struck, h^(1 + i/2) f_1, from a harmonic series to about the modes of a free bar (1, 2.76, 5.40, 8.93; ours 1, 2.83,
  5.20, 8); exactly harmonic for bowed and blown, whose partials are locked to each other (there i = 0).
- a_h: a slope in dB an octave that b sets, times the comb of the plucking point, the weight of the even partials
  (a closed pipe has few) and the resonances of the body.
- s_h: grows with the square of frequency, which is what the two-point average in the loop of Karplus and Strong (1983)
  comes to at low frequency.
- v sets the level of the noise, from 60 dB to 20 dB below the partials.

No partial above 0.45 of the sample rate is made, so nothing aliases. The samples lie on the grid of 16 bits: rounding
hides the last-digit differences between processors, so that the corpus is the same on every machine.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float32

from latentscape.core.errors import DataError
from latentscape.core.random import numpy_stream

FamilyName = Literal["plucked", "bowed", "blown", "struck"]

SAMPLE_RATE = 22_050
"""Hz, of the embedded corpus."""
PITCHES = range(43, 83)
"""MIDI numbers of the embedded corpus: G2 (98 Hz) to A#5 (932 Hz)."""
TAKES = 2
"""Notes of each family and pitch; their other factors are drawn."""

TABLE = 16_384  # samples of one period; read linearly this keeps partial 100 within -75 dB, the strong ones far better
GRID = 2.0**-15


@dataclass(frozen=True)
class Note:
    """One sound and what is known of it.

    Attributes:
        name: unique in its corpus.
        wave: full scale is 1.
        sample_rate: Hz.
        labels: words and numbers by name.
    """

    name: str
    wave: Float32[np.ndarray, "c n"]
    sample_rate: int
    labels: Mapping[str, str | int | float]


@dataclass(frozen=True)
class Family:
    """How a family sounds: one row of :data:`FAMILIES`.

    Attributes:
        ratios: (h, inharmonicity) -> f_h / f_1.
        slope: fall of the partials in dB an octave at brightness 0 and 1.
        attack: shortest and longest attack, s.
        release: s.
        breath: centre of the noise as a multiple of f_1, its least value in Hz, and its width in octaves.
        burst: time in which the noise falls to 1/e, s; 0 where it lasts as long as the note.
        damping: s_h = damping[0] sqrt(f_1 / 220 Hz) + damping[1] (3/2 - b) (f_h / 1 kHz)^2; empty where sustained.
        comb: plucking point as part of the string's length; 0 for none.
        even: weight of the even partials.
        body: resonances (Hz, dB, width in octaves).
        vibrato: deviation in cents.
        shimmer: distance in Hz of the second, slightly detuned set of partials; 0 for none.
    """

    ratios: Callable[[np.ndarray, float], np.ndarray]
    slope: tuple[float, float]
    attack: tuple[float, float]
    release: float
    breath: tuple[float, float, float]
    burst: float = 0.0
    damping: tuple[float, float] | tuple[()] = ()
    comb: float = 0.0
    even: float = 1.0
    body: tuple[tuple[float, float, float], ...] = ()
    vibrato: float = 0.0
    shimmer: float = 0.0

    @property
    def inharmonic(self) -> bool:
        """Whether the family's partials can leave the harmonic series."""
        return bool(self.damping)


def _string(h: np.ndarray, inharmonicity: float) -> np.ndarray:
    stiffness = inharmonicity / 1000
    return h * np.sqrt((1 + stiffness * h**2) / (1 + stiffness))


def _bar(h: np.ndarray, inharmonicity: float) -> np.ndarray:
    return h ** (1 + inharmonicity / 2)


def _harmonic(h: np.ndarray, inharmonicity: float) -> np.ndarray:
    return h


FAMILIES: dict[FamilyName, Family] = {
    "plucked": Family(
        ratios=_string,
        slope=(13.0, 5.0),
        attack=(0.001, 0.012),
        release=0.12,
        breath=(6.0, 900.0, 2.2),
        burst=0.035,
        damping=(1.9, 1.1),
        comb=0.22,
        body=((110.0, 4.0, 0.5), (230.0, 5.0, 0.5), (480.0, 3.0, 0.7)),
    ),
    "bowed": Family(
        ratios=_harmonic,
        slope=(14.0, 6.0),
        attack=(0.04, 0.30),
        release=0.16,
        breath=(5.0, 1200.0, 2.4),
        body=((290.0, 6.0, 0.5), (480.0, 4.0, 0.4), (1100.0, 5.0, 0.6), (2700.0, 7.0, 0.7)),
        vibrato=11.0,
    ),
    "blown": Family(
        ratios=_harmonic,
        slope=(17.0, 7.0),
        attack=(0.025, 0.20),
        release=0.12,
        breath=(2.5, 700.0, 2.0),
        even=0.25,
        body=((800.0, 4.0, 0.9),),
        vibrato=4.0,
    ),
    "struck": Family(
        ratios=_bar,
        slope=(15.0, 7.0),
        attack=(0.001, 0.008),
        release=0.12,
        breath=(4.0, 1500.0, 2.0),
        burst=0.02,
        damping=(1.8, 0.9),
        shimmer=0.9,
    ),
}


def tones(seed: int = 0) -> Iterator[Note]:
    """Yield the embedded corpus: every family at every pitch, :data:`TAKES` takes each, 8 minutes in all.

    The labels are ``family``, ``midi``, ``brightness``, ``inharmonicity``, ``noisiness`` (in [0, 1]) and ``attack``
    (s); a split should keep family and pitch together. Peaks lie from -9 to -3 dBFS, lengths from 1 to 2 s.
    """
    for family in get_args(FamilyName):
        for midi in PITCHES:
            for take in range(TAKES):
                yield _take(seed, family, midi, take)


def _take(seed: int, family: FamilyName, midi: int, take: int) -> Note:
    stream = numpy_stream(seed, "tones", family, midi, take)
    row = FAMILIES[family]
    brightness, inharmonicity, noisiness, rise, level, length = stream.random(6).tolist()
    fastest, slowest = row.attack
    attack = fastest * (slowest / fastest) ** rise
    wave = tone(
        family,
        float(midi),
        brightness=brightness,
        inharmonicity=inharmonicity if row.inharmonic else 0.0,
        noisiness=noisiness,
        attack=attack,
        seconds=1 + length,
        level=-9 + 6 * level,
        sample_rate=SAMPLE_RATE,
        stream=stream,
    )
    labels: dict[str, str | float] = {
        "family": family,
        "midi": float(midi),
        "brightness": brightness,
        "inharmonicity": inharmonicity if row.inharmonic else 0.0,
        "noisiness": noisiness,
        "attack": attack,
    }
    return Note(f"{family}-{midi:03d}-{take + 1}", wave[None], SAMPLE_RATE, labels)


def tone(
    family: FamilyName,
    midi: float,
    *,
    brightness: float,
    inharmonicity: float,
    noisiness: float,
    attack: float,
    seconds: float,
    level: float,
    sample_rate: int,
    stream: np.random.Generator,
) -> Float32[np.ndarray, " n"]:
    """Return one note.

    Args:
        family: which of :data:`FAMILIES`.
        midi: pitch, 69 is 440 Hz; fractions are cents.
        brightness: in [0, 1].
        inharmonicity: in [0, 1]; must be 0 for bowed and blown.
        noisiness: in [0, 1].
        attack: s, from silence to full loudness.
        seconds: length of the note.
        level: its peak, dBFS.
        sample_rate: Hz.
        stream: draws phases, vibrato and noise.

    Raises:
        DataError: a factor outside its range, or a pitch that the sample rate can't hold.
    """
    row = FAMILIES[family]
    factors = {"brightness": brightness, "inharmonicity": inharmonicity, "noisiness": noisiness}
    for name, value in factors.items():
        if not 0 <= value <= 1:
            raise DataError(f"tone: {name} is {value}, expected 0 to 1")
    if inharmonicity and not row.inharmonic:
        raise DataError(f"tone: inharmonicity is {inharmonicity}, but the partials of {family} notes are locked at 0")
    f_1 = 440 * 2 ** ((midi - 69) / 12)
    limit = 0.45 * sample_rate
    if f_1 >= limit:
        raise DataError(f"tone: pitch {midi} is {f_1:.0f} Hz, which {sample_rate} Hz can't hold")
    if seconds <= attack + row.release:
        raise DataError(f"tone: {seconds} s is too short for an attack of {attack} s and a release of {row.release} s")

    t = np.arange(round(seconds * sample_rate)) / sample_rate
    h = np.arange(1, int(limit / f_1) + 1, dtype=float)
    frequency = row.ratios(h, inharmonicity) * f_1
    h, frequency = h[frequency < limit], frequency[frequency < limit]
    amplitude = _amplitudes(row, h, frequency, brightness) * np.clip((limit - frequency) / (0.1 * limit), 0, 1)
    phase = stream.uniform(0, 2 * np.pi, len(h))
    rise = _rise(t, attack)
    if row.damping:
        still, quick = row.damping
        damping = still * np.sqrt(f_1 / 220) + quick * (1.5 - brightness) * (frequency / 1000) ** 2
        voice = _modes(t, amplitude * np.exp(1j * phase), -damping + 2j * np.pi * frequency)
        if row.shimmer:
            twin = stream.uniform(0, 2 * np.pi, len(h))  # phases of its own, so that the partials beat one by one
            voice += 0.5 * _modes(t, amplitude * np.exp(1j * twin), -damping + 2j * np.pi * (frequency + row.shimmer))
        body = rise * voice
        hiss = rise * (np.exp(-t / row.burst) + 0.05 * np.exp(-still * t))
    else:
        angle = _angle(t, f_1, row.vibrato, attack, stream)
        # the upper partials speak a little later than the low ones, as on real instruments
        low = 1 / (1 + (h / 4) ** 2)
        swell = 1 - 0.25 * t / seconds
        body = swell * (
            rise * _period(amplitude * low * np.exp(1j * phase), angle)
            + rise * _rise(t, 1.5 * attack) * _period(amplitude * (1 - low) * np.exp(1j * phase), angle)
        )
        hiss = swell * _rise(t, 0.6 * attack)
    body /= np.abs(body).max()
    hiss *= 10 ** ((-60 + 40 * noisiness) / 20) * _noise(len(t), row.breath, f_1, sample_rate, stream)
    wave = (body + hiss) * _rise(t[-1] - t, row.release)
    wave *= 10 ** (level / 20) / np.abs(wave).max()
    return (np.round(wave / GRID) * GRID).astype(np.float32)


def _rise(t: Float[np.ndarray, " n"], seconds: float) -> Float[np.ndarray, " n"]:
    """Half a cosine from 0 at t = 0 to 1 at ``seconds``."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(t / seconds, 0, 1))


def _amplitudes(
    row: Family, h: Float[np.ndarray, " h"], frequency: Float[np.ndarray, " h"], brightness: float
) -> Float[np.ndarray, " h"]:
    dark, bright = row.slope
    gain = -(dark + (bright - dark) * brightness) * np.log2(h)
    for centre, height, width in row.body:
        gain = gain + height * np.exp(-0.5 * (np.log2(frequency / centre) / width) ** 2)
    amplitude = 10 ** (gain / 20) * np.where(h % 2 == 0, row.even, 1.0)
    return amplitude * np.abs(np.sin(np.pi * h * row.comb)) if row.comb else amplitude


def _modes(t: np.ndarray, amplitude: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Sum of a_h exp(r_h t), imaginary part; exp splits over t = coarse + fine, so the sum is one matrix product."""
    fine = int(np.ceil(np.sqrt(len(t))))
    coarse = -(-len(t) // fine)
    slow = amplitude[:, None] * np.exp(rate[:, None] * (np.arange(coarse) * fine * t[1]))
    quick = np.exp(rate[:, None] * t[:fine])
    return (slow.T @ quick).imag.ravel()[: len(t)]


def _angle(t: np.ndarray, f_1: float, cents: float, attack: float, stream: np.random.Generator) -> np.ndarray:
    """Phase of the fundamental in periods; the vibrato of ``cents`` sets in after the attack."""
    speed, start = stream.uniform(4.8, 5.8), stream.uniform(0, 2 * np.pi)
    depth = (2 ** (cents / 1200) - 1) * _rise(t - attack, 0.4)
    return np.cumsum(f_1 * (1 + depth * np.sin(2 * np.pi * speed * t + start))) * t[1]


def _period(amplitude: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Sum of a_h sin(2 pi h angle + phase_h), read from one period of it."""
    spectrum = np.zeros(TABLE // 2 + 1, dtype=complex)
    spectrum[1 : len(amplitude) + 1] = -0.5j * TABLE * amplitude
    from scipy.fft import irfft  # slow to import, and most users of this module make no sound

    table = irfft(spectrum, TABLE)
    place = (angle % 1.0) * TABLE
    left = place.astype(int)
    part = place - left
    left %= TABLE  # a place rounded up to the end of the table is its beginning
    return table[left] * (1 - part) + table[(left + 1) % TABLE] * part


def _noise(
    n: int, breath: tuple[float, float, float], f_1: float, sample_rate: int, stream: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """White noise, band-passed as a bell over log frequency; its root mean square is 1/4 (a peak of about 1)."""
    ratio, least, width = breath
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(n, real=True)
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / sample_rate), 1.0)
    bell = np.exp(-0.5 * (np.log2(frequency / max(ratio * f_1, least)) / (width / 2)) ** 2)
    noise = irfft(rfft(stream.standard_normal(size)) * bell, size)[:n]
    return 0.25 * noise / np.sqrt(np.mean(noise**2))
