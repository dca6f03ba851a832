"""What a run hears and is told of words: the configuration is completed by what only the corpus knows."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentscape.core.errors import ConfigError, DataError
from latentscape.data.corpus import SoundCorpus
from latentscape.data.split import Split
from latentscape.data.timeline import Timeline, beside, read_timeline
from latentscape.data.word_vectors import WordsConfig, WordVectors, vectors_of
from latentscape.experiment.config import RunConfig
from latentscape.instrument.hearing import Local
from latentscape.instrument.loading import load
from latentscape.models.autoregressive import AutoregressiveConfig, SeriesConfig
from latentscape.models.heard import CodesConfig, TimedConfig
from latentscape.signal.mel import LogMelConfig


def hearing_of(config: RunConfig) -> Local | None:
    """Return what makes the series of a run's sounds; ``None`` where it hears none.

    Raises:
        ConfigError: parts that don't fit each other, or a model that hears no series.
    """
    model = config.model
    if not config.local:
        if isinstance(model, AutoregressiveConfig) and model.series is not None:
            raise ConfigError("model.series is filled in from what `local` says, such as local=[log_mel]; leave it out")
        return None
    if not isinstance(model, AutoregressiveConfig) or model.kind != "wavenet":
        raise ConfigError(f"local: a model '{model.kind}' hears no series, expected model.kind wavenet, or no local")
    assert config.representation is not None
    return Local(config.local, int(config.representation.sample_rate or 0), load)


def fit_local(config: RunConfig, corpus: Any, split: Split) -> tuple[RunConfig, list[str]]:
    """Return the configuration with the labels, rates and channels of what is heard, and what is to be said of it."""
    if not config.local or not isinstance(corpus, SoundCorpus):
        return config, []
    parts, notes = [], []
    for part in config.local:
        if isinstance(part, LogMelConfig):
            if part.sample_rate not in (None, corpus.sample_rate) or part.channels != 1:
                raise ConfigError(
                    f"local: log_mel at {part.sample_rate} Hz, {part.channels} channels, but the sounds are read at "
                    f"{corpus.sample_rate} Hz, 1 channel; leave both out"
                )
            part = part.model_copy(update={"sample_rate": corpus.sample_rate})
        elif isinstance(part, CodesConfig):
            part = part.model_copy(update={"run": str(Path(part.run).expanduser().resolve())})
        elif isinstance(part, TimedConfig):
            found = survey_timelines(corpus, split, part)
            part = part.model_copy(update={"values": found.values})
            notes += found.lines()
        parts.append(part)
    config = config.model_copy(update={"local": tuple(parts)})
    local = hearing_of(config)
    assert local is not None
    several = tuple(part.channels for part in local.parts) if len(local.parts) > 1 else ()
    series = SeriesConfig(channels=local.channels, hop=local.hop, parts=several)
    return config.model_copy(update={"model": config.model.model_copy(update={"series": series})}), notes


def digest_of(config: RunConfig, corpus: Any) -> str:
    """Return the digest of what a run reads: the corpus's, with the words beside its sounds where they are heard."""
    if not any(isinstance(part, TimedConfig) for part in config.local):
        return corpus.digest
    digest = hashlib.blake2b(corpus.digest.encode(), digest_size=16)
    for name, path in sorted(zip(corpus.clips.names, corpus.clips.paths, strict=True)):
        if (words := beside(Path(path))) is not None:
            digest.update(f"\n{name}\n".encode("utf-8", "surrogateescape"))
            digest.update(words.read_bytes())
    return digest.hexdigest()


def fit_words(config: RunConfig, corpus: Any) -> tuple[RunConfig, WordVectors | None]:
    """Return the configuration with the width of the vectors of words, and these, where a model is told of any.

    Raises:
        ConfigError: the model can't be told of words, or the corpus has none.
        DataError: the file of vectors can't be read, or has none of the corpus's words.
    """
    model, words = config.model, config.data.words
    if words is None:
        return config, None
    if not isinstance(model, AutoregressiveConfig) or not isinstance(corpus, SoundCorpus):
        raise ConfigError(f"data.words: a model '{model.kind}' is told no vector of words, expected a model of waves")
    vectors = vectors_of(corpus.clips.columns, words)
    if model.vector not in (0, vectors.width):
        raise ConfigError(f"model.vector: got {model.vector}, but {words.file} has vectors of {vectors.width} numbers")
    data = config.data.model_copy(update={"words": WordsConfig(file=vectors.file, label=vectors.label)})
    model = model.model_copy(update={"vector": vectors.width})
    return config.model_copy(update={"data": data, "model": model}), vectors


@dataclass
class Timelines:
    """The files of words beside a corpus's sounds.

    Attributes:
        values: labels that are told apart, sorted.
        files: sounds that have one, and that have none.
        rare: labels of the training part that are not told apart.
        faults: one line each.
    """

    values: tuple[str, ...] = ()
    files: tuple[int, int] = (0, 0)
    rare: int = 0
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what a person should know."""
        own, without = self.files
        lines = [f"{own} sounds have labels with times, {without} have none; {len(self.values)} labels are told apart"]
        if self.rare:
            lines[0] += f", {self.rare} rarer ones are one (local most={len(self.values)})"
        return lines + [f"left out: {fault}" for fault in self.faults]


def survey_timelines(corpus: SoundCorpus, split: Split, config: TimedConfig) -> Timelines:
    """Read every timeline once; those that can't be read are named, and their sounds go without.

    Raises:
        DataError: no sound of the training part has a label with a time.
    """
    counts: Counter[str] = Counter()
    train = set(split.parts["train"].rows.tolist())
    read: dict[Path, Timeline | None] = {}
    own = 0
    faults: list[str] = []
    for row in range(len(corpus.clips)):
        path = beside(Path(corpus.clips.paths[row]))
        if path is not None and path not in read:
            try:
                read[path] = read_timeline(path, config.tier)
            except DataError as error:
                read[path] = None
                faults.append(str(error))
        timeline = None if path is None else read[path]
        own += timeline is not None
        if timeline is not None and row in train:
            counts.update(one.label for one in timeline)
    if not counts:
        why = f": {faults[0]}" if faults else "; expected NAME.csv or NAME.TextGrid beside NAME.wav"
        raise DataError(f"{corpus.name}: no training sound has labels with times{why}")
    commonest = sorted(counts, key=lambda label: (-counts[label], label))[: config.most]
    rare = len(counts) - len(commonest)
    return Timelines(tuple(sorted(commonest)), (own, len(corpus.clips) - own), rare, faults)
