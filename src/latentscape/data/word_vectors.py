r"""Words as vectors: a clip's text or tags as the mean of its words' vectors, read from a GloVe text file.

Letters: d width, k words, :math:`v_w` the vector of word w.

.. math:: e = \frac1k \sum_{w} v_w \quad \text{over the k words of a text that have one}

A text without any such word is unknown (NaN), as is one that is absent. Words are runs of letters, digits and
apostrophes, in small letters. The file (Pennington et al. 2014) has a line a word, ``word v_1 ... v_d``; the first line
may be the counts that word2vec writes. It is read once, line by line, and only the words that are asked for are kept; a
run keeps those of its corpus, so that it can be used without the file.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, DataError, StorageError, UsageError, nearest
from latentscape.core.storage import as_record, load_object, load_tensors, save_json, save_tensors
from latentscape.data.corpus import Column

LABELS = ("text", "tags", "tag", "label")
"""Where a text is looked for, the first that a corpus has."""
FILE = "words"
LONGEST = 4096
"""Numbers of a vector, at most."""
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


class WordsConfig(Record):
    """Where the vectors of words are, and which label has words.

    Attributes:
        file: a GloVe text file.
        label: of the corpus; ``None`` takes text, tags, tag or label, the first there is.
    """

    file: str
    label: str | None = None


def words_of(text: str) -> list[str]:
    """Return the words of a text."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True, eq=False)
class WordVectors:
    """The vectors of some words.

    Attributes:
        words: in small letters.
        matrix: ``[k, d]``.
        absent: words that were asked for and are not in the file, the commonest first.
        label: of the corpus, whose words they are.
        file: where they were read.
    """

    words: tuple[str, ...]
    matrix: Float[Tensor, "k d"]
    absent: tuple[str, ...] = ()
    label: str = LABELS[0]
    file: str = ""

    @property
    def width(self) -> int:
        """Numbers of a vector, d."""
        return self.matrix.shape[1]

    def of(self, text: str | None) -> Float[Tensor, " d"]:
        """Return the mean vector of a text's words; NaN where none of them has one."""
        place = self._place
        own = [place[word] for word in words_of(text or "") if word in place]
        return self.matrix[own].mean(0) if own else torch.full((self.width,), torch.nan)

    @cached_property
    def _place(self) -> Mapping[str, int]:
        return {word: at for at, word in enumerate(self.words)}

    def table(self, column: Column) -> Float[Tensor, "n d"]:
        """Return a vector a clip."""
        cells = torch.stack([*(self.of(text) for text in column.values), self.of(None)])
        return cells[torch.from_numpy(column.codes.astype("int64"))]  # -1, unknown, reaches the last row

    def told(self, text: str, file: Path | None = None) -> Float[Tensor, " d"]:
        """Return the vector of a text that a person tells; words that are not kept are read from the file.

        Raises:
            UsageError: a word is not kept and the file is not there, or no word is in it.
        """
        asked = words_of(text)
        unknown = [word for word in dict.fromkeys(asked) if word not in self.words]
        more: dict[str, np.ndarray] = {}
        if unknown:
            path = file or Path(self.file)
            if not path.is_file():
                raise UsageError(
                    f"--label {self.label}: '{unknown[0]}' is not among the words that the run keeps, and {path} is "
                    "not there; give the file of word vectors with --words"
                )
            more = read_vectors(path, unknown, self.width)
        known = {word: torch.from_numpy(vector) for word, vector in more.items()}
        known |= {word: self.matrix[self._place[word]] for word in asked if word in self._place}
        found = [known[word] for word in asked if word in known]
        if not found:
            raise UsageError(f"--label {self.label}: no word of '{text}' has a vector")
        return torch.stack(found).mean(0)

    def lines(self) -> list[str]:
        """Return what a person should know."""
        total = len(self.words) + len(self.absent)
        line = f"words: {len(self.words)} of the {total} in '{self.label}' have a vector of {self.width} numbers"
        some = ", ".join(self.absent[:8]) + (" and others" if len(self.absent) > 8 else "")
        return [line + (f"; not in {Path(self.file).name}: {some}" if self.absent else "")]

    def save(self, run: Path) -> None:
        """Write them into a run folder."""
        save_tensors(run / f"{FILE}.safetensors", {"vectors": self.matrix.contiguous()})
        about = {"label": self.label, "file": self.file, "words": list(self.words), "absent": list(self.absent)}
        save_json(run / f"{FILE}.json", about)

    @classmethod
    def load(cls, run: Path) -> "WordVectors":
        """Read them from a run folder.

        Raises:
            StorageError: they are missing or damaged.
        """
        path = run / f"{FILE}.json"
        told = as_record(_Told, load_object(path), path)
        matrix = load_tensors(run / f"{FILE}.safetensors").get("vectors")
        if matrix is None or matrix.ndim != 2 or len(matrix) != len(told.words):
            lengths = f"expected a vector for each of {len(told.words)} words"
            raise StorageError(f"{run / FILE}.safetensors is damaged: {lengths}")
        return cls(told.words, matrix.float(), told.absent, told.label, told.file)


class _Told(Record):
    """What the file beside the vectors says; see :class:`WordVectors`."""

    label: str
    file: str
    words: tuple[str, ...]
    absent: tuple[str, ...]


def read_vectors(path: Path, words: Iterable[str], width: int | None = None) -> dict[str, np.ndarray]:
    """Return the vectors of those words that a file has, float32 ``[d]``.

    Raises:
        DataError: it can't be read, or a line of a wanted word is no vector of the file's width; one line says where.
    """
    wanted, found = set(words), {}
    size = width
    try:
        with open(path, encoding="utf-8-sig", errors="replace", newline="\n") as file:
            for number, line in enumerate(file, 1):
                word, _, rest = line.rstrip("\r\n").partition(" ")
                if number == 1 and word.isdecimal() and rest.strip().isdecimal():
                    continue  # word2vec's counts
                if size is None:
                    size = len(rest.split())
                    if not 2 <= size <= LONGEST:
                        raise DataError(f"{path}, line {number}: {size} numbers, expected a word and its vector")
                if word not in wanted or word in found:
                    continue
                try:
                    vector = np.array(rest.split(), np.float32)
                except ValueError:
                    raise DataError(f"{path}, line {number}: '{word}' is not followed by numbers alone") from None
                if vector.shape != (size,) or not np.isfinite(vector).all():
                    raise DataError(
                        f"{path}, line {number}: '{word}' has {len(vector)} numbers, expected {size}, all finite"
                    )
                found[word] = vector
                if len(found) == len(wanted):
                    break
    except OSError as error:
        raise DataError(f"the word vectors {path} can't be read: {error.strerror or error}") from error
    return found


def vectors_of(columns: Mapping[str, Column], config: WordsConfig) -> WordVectors:
    """Return the vectors of all words of a corpus.

    Raises:
        ConfigError: the corpus has no such label, or none that has words.
        DataError: the file can't be read, or has none of the words.
    """
    label = config.label or next((name for name in LABELS if name in columns), None)
    if label is None:
        raise ConfigError(f"data.words: the corpus has none of the labels {', '.join(LABELS)}; name one with label")
    if label not in columns:
        raise ConfigError(f"data.words.label: the corpus has no label '{label}'{nearest(label, columns)}")
    column = columns[label]
    counts: Counter[str] = Counter()
    uses = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
    for text, times in zip(column.values, uses, strict=True):
        counts.update({word: int(times) for word in words_of(text)})
    path = Path(config.file).expanduser().resolve()
    found = read_vectors(path, counts)
    if not found:
        raise DataError(
            f"{path} has none of the {len(counts)} words in '{label}', such as {', '.join(list(counts)[:3])}"
        )
    words = tuple(sorted(found))
    absent = tuple(sorted(set(counts) - set(words), key=lambda word: (-counts[word], word)))
    return WordVectors(words, torch.from_numpy(np.stack([found[word] for word in words])), absent, label, str(path))
