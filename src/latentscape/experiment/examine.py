"""The doctor: what is in a source, and which recipe fits it."""

from dataclasses import dataclass
from shlex import quote
from typing import Any

from latentscape.core.errors import UsageError
from latentscape.data.corpus import SoundCorpus, SourceOptions
from latentscape.data.examine import Examination
from latentscape.data.examine import examine as look_into
from latentscape.data.sources import open_source
from latentscape.data.word_vectors import WordsConfig, vectors_of
from latentscape.experiment.config import source_options
from latentscape.experiment.progress import decoding
from latentscape.recipes import load_recipe


@dataclass(frozen=True)
class Report:
    """An examination and the recipe that fits.

    Attributes:
        examination: what was found.
        recipe: name of the recipe.
        words: which words of it have a vector.
        options: how the source was read, as the shell takes it; training has to read it alike.
    """

    examination: Examination
    recipe: str
    words: tuple[str, ...] = ()
    options: str = ""

    def lines(self) -> list[str]:
        """Return the report, a line each."""
        title = load_recipe(self.recipe).title
        source = self.examination.source
        quoted = quote(f"./{source}" if source.startswith("-") else source)
        command = f"latentscape train {quoted} --run runs/mine{self.options}"
        advice = [f"recipe: {self.recipe}, {title}", f"before a long run: {command} --check", f"next: {command}"]
        return [*self.examination.lines(), *self.words, *advice]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return self.examination.to_json() | {"recipe": self.recipe, "words": list(self.words)}


def examine(
    source: str,
    *,
    rate: int | None = None,
    channels: str = "mean",
    labels: str | None = None,
    words: str | None = None,
) -> Report:
    """Read a source once and say what will be used of it, what will not, and why; of a file of word vectors, too."""
    options = source_options(rate, channels, labels)
    with decoding() as progress:
        found = look_into(source, options, progress=progress)
    told: tuple[str, ...] = ()
    if words is not None:
        corpus = open_source(source, options)
        if not isinstance(corpus, SoundCorpus):
            raise UsageError(f"--words is about words that sounds are told of, and {source} holds images")
        told = tuple(vectors_of(corpus.clips.columns, WordsConfig(file=words)).lines())
    given = {"rate": options.sample_rate, "labels": options.pattern}
    given |= {"channels": options.channels} if options.channels != SourceOptions().channels else {}
    asked = "".join(f" --{name} {quote(str(value))}" for name, value in given.items() if value is not None)
    return Report(found, suggest(found.kind, source), told, asked)


def suggest(kind: str, source: str) -> str:
    """Return the recipe that fits: spectral frames for sounds of any kind, an image VAE for images."""
    if kind == "images":
        return "images"
    return "sines" if source == "sines" else "frames"
