"""Corpora of speech in their official layouts: VCTK, the Free Spoken Digit Dataset, AudioMNIST.

The splits are the published ones. Free Spoken Digits: takes 0 to 4 of a digit and speaker test, the others train (its
README). AudioMNIST: the first fold of the digit task (Becker et al. 2018, the repository's ``preprocess_data.py``), by
speaker. VCTK has none: it is divided by speaker, as any corpus with speakers.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from latentscape.data.labels import Labels

Found = tuple[dict[str, Labels], tuple[str, ...]] | None
SEX = {"M": "M", "F": "F", "male": "M", "female": "F"}

TESTING_TAKES = 5
TEST = (26, 52, 60, 18, 32, 42, 5, 13, 22, 33, 45, 51)
VALID = (12, 47, 59, 15, 27, 41, 4, 11, 21, 31, 44, 50)
"""Speakers of AudioMNIST; the other 36 train."""

_DIGIT = re.compile(r"(?P<digit>\d)_(?P<speaker>[A-Za-z]\w*)_(?P<index>\d+)\.\w+")
_MNIST = re.compile(r"(?P<digit>\d)_(?P<speaker>\d\d)_(?P<index>\d+)\.\w+")
_VCTK = re.compile(r"(?P<speaker>[ps]\d+)_(?P<utterance>\d+)(?:_mic(?P<mic>\d))?\.\w+")


def spoken_digits(root: Path, files: Sequence[str]) -> Found:
    """Read the names of the Free Spoken Digit Dataset's recordings, ``7_jackson_32.wav``."""
    names = {file: _DIGIT.fullmatch(PurePosixPath(file).name) for file in files}
    if not files or not all(names.values()):
        return None
    labels: dict[str, Labels] = {}
    for file, match in names.items():
        assert match is not None
        index = int(match["index"])
        part = "test" if index < TESTING_TAKES else "train"
        labels[file] = {"digit": match["digit"], "speaker": match["speaker"], "index": str(index), "split": part}
    return labels, ()


def audio_mnist(root: Path, files: Sequence[str]) -> Found:
    """Read AudioMNIST: folders 01 to 60 of recordings ``7_01_32.wav``, and ``audioMNIST_meta.txt`` (JSON)."""
    paths = [root / "audioMNIST_meta.txt", root / "data" / "audioMNIST_meta.txt"]
    path = next((one for one in paths if one.is_file()), None)
    if path is None:
        return None
    notes: tuple[str, ...] = ()
    try:
        speakers = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(speakers, dict)
    except (OSError, ValueError, AssertionError):
        speakers, notes = {}, (f"{path.name} can't be read; speakers' sex, age and accent are not used",)
    labels: dict[str, Labels] = {}
    for file in files:
        match = _MNIST.fullmatch(PurePosixPath(file).name)
        if match is None:
            continue
        number = int(match["speaker"])
        part = "test" if number in TEST else "valid" if number in VALID else "train"
        labels[file] = {"digit": match["digit"], "speaker": match["speaker"], "index": match["index"], "split": part}
        about = speakers.get(match["speaker"], {})
        if about.get("gender") in SEX:
            labels[file]["sex"] = SEX[about["gender"]]
        labels[file] |= {name: str(about[name]) for name in ("age", "accent") if name in about}
    return labels, notes


def vctk(root: Path, files: Sequence[str]) -> Found:
    """Read VCTK (0.80 to 0.92): ``wav48*/p225/p225_001*``, ``speaker-info.txt``, and the texts in ``txt``."""
    path = root / "speaker-info.txt"
    if not path.is_file():
        return None
    speakers, notes = _vctk_speakers(path)
    labels: dict[str, Labels] = {}
    for file in files:
        match = _VCTK.fullmatch(PurePosixPath(file).name)
        if match is None:
            continue
        speaker, utterance = match["speaker"], match["utterance"]
        labels[file] = {"speaker": speaker, "utterance": utterance, **speakers.get(speaker, {})}
        if match["mic"]:
            labels[file]["mic"] = match["mic"]
        text = root / "txt" / speaker / f"{speaker}_{utterance}.txt"
        if text.is_file():
            labels[file]["text"] = text.read_text(encoding="utf-8", errors="replace").strip()
    return labels, notes


def _vctk_speakers(path: Path) -> tuple[dict[str, Labels], tuple[str, ...]]:
    """Read ID, age, gender and accents of a table of columns; early releases write the number without its letter."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}, (f"{path.name} can't be read; speakers' sex, age and accent are not used",)
    speakers: dict[str, Labels] = {}
    for line in lines[1:]:
        words = line.split()
        if len(words) >= 4 and words[2] in SEX:
            name = words[0] if words[0][0] in "ps" else f"p{words[0]}"
            speakers[name] = {"age": words[1], "sex": SEX[words[2]], "accent": words[3]}
    return speakers, ()
