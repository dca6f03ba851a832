"""Methods of restyling and controls on pairs of clips: style distance, content similarity, flatness, seconds.

    python benchmarks/restyle.py /work/shared/data/clips --out DIR [--methods random-cnn,texture] [--pairs 0,5]

Sounds and ``figures.json`` come to lie in DIR; what is there already is not made again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from latentscape.core.storage import load_json, save_json
from latentscape.edit.restyle.engine import Wish, levelled, restyle
from latentscape.measure.style import judge_restyling
from latentscape.signal import audio

PAIRS = (
    ("content/speech_male_ashiel", "content/speech_female_sense"),
    ("content/folk_song", "both/violin_phrase"),
    ("content/speech_male_chivalry", "style/crickets"),
    ("content/vibraphone_jazz", "both/trumpet_solo"),
    ("both/drum_breakbeat_x3", "both/tabla_loop"),
    ("content/speech_female_sense", "style/rain"),
    ("content/string_orchestra_brahms", "style/church_bells"),
    ("both/flute_phrase", "both/cello_phrase"),
)


def added(content, style, rate):
    """Content and style together, each at the same level."""
    long = np.tile(style, -(-content.shape[1] // style.shape[1]))[:, : content.shape[1]]
    return levelled(content / content.std() + long / long.std(), content, rate)[0]


def filtered(content, style, rate):
    """Content filtered to the style's mean spectrum."""
    window = torch.hann_window(2048)
    transform = {"n_fft": 2048, "hop_length": 512, "window": window}
    c, s = (torch.stft(torch.from_numpy(one), **transform, return_complex=True) for one in (content, style))
    power_c, power_s = (one.abs().square().mean((0, 2)) + 1e-10 for one in (c, s))
    gain = (power_s / power_c).sqrt().clamp(max=1e3)[:, None]
    return levelled(torch.istft(c * gain, **transform, length=content.shape[1]).numpy(), content, rate)[0]


CONTROLS = {"added": added, "filtered": filtered}


def main():
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("clips", type=Path)
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--methods", default="stft-gram,random-cnn,texture")
    asked.add_argument("--pairs", default=",".join(map(str, range(len(PAIRS)))))
    told = asked.parse_args()
    for number in map(int, told.pairs.split(",")):
        names = PAIRS[number]
        content, style = (audio.read((told.clips / name).with_suffix(".flac")) for name in names)
        rate = content[1]
        print(" -> ".join(name.rpartition("/")[2] for name in names), flush=True)
        for method in (*CONTROLS, *told.methods.split(",")):
            place = told.out / f"{number}-{method}.json"
            if not place.exists():
                began, busy = time.monotonic(), time.process_time()
                if method in CONTROLS:
                    made = CONTROLS[method](content[0], style[0], rate)
                else:
                    made = restyle(content[0], style[0], rate, Wish(method)).wave
                spent = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - busy}
                waves = (torch.from_numpy(np.asarray(one, dtype=np.float32)) for one in (made, content[0], style[0]))
                found = judge_restyling(*waves, rate)
                audio.write(place.with_suffix(".wav"), made, rate, overwrite=True)
                save_json(place, found.to_json() | spent | {"noisier": found.noisier})
            row = load_json(place)
            print(
                f"  {method:12} style {row['style']['random']:.2f}  content {row['content']:.2f}  "
                f"flatness {row['noisier']:+.1f} dB  {row['cpu_seconds']:.0f} s CPU",
                flush=True,
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
