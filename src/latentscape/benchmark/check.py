"""Before anything runs: do the parts of every cell fit each other and the data?"""

import json
from collections.abc import Sequence

from latentscape.benchmark.grid import Cell
from latentscape.core.errors import ConfigError, LatentscapeError
from latentscape.data.corpus import ImageCorpus, SoundCorpus
from latentscape.data.sources import open_source
from latentscape.experiment.config import RunConfig, fit_to
from latentscape.experiment.progress import decoding
from latentscape.registry import build_model, build_objective, build_representation


def check_cells(cells: Sequence[Cell]) -> None:
    """Open every source once, and build every different model and objective once.

    Raises:
        UsageError: a source is not there.
        DataError: it holds nothing that can be used.
        ConfigError: parts of a cell don't fit; the cell is named.
    """
    corpora: dict[str, SoundCorpus | ImageCorpus] = {}
    seen: set[str] = set()
    for cell in cells:
        key = f"{cell.source} {cell.config.source.model_dump_json()}"
        if key not in corpora:
            with decoding() as progress:
                corpora[key] = open_source(cell.source, cell.config.source, progress=progress)
        parts = cell.config.model_dump(mode="json", include={"representation", "window", "model", "objective"})
        built = f"{key} {json.dumps(parts)}"
        if built not in seen:
            seen.add(built)
            try:
                _build(cell.config, corpora[key])
            except LatentscapeError as error:
                raise ConfigError(f"cell {cell.name}: {error}") from error


def _build(config: RunConfig, corpus: SoundCorpus | ImageCorpus) -> None:
    config = fit_to(config, corpus)
    if isinstance(corpus, ImageCorpus):
        shape, columns = tuple(corpus.images.shape[1:]), corpus.columns
    else:
        shape = config.window.event_shape(build_representation(config.representation).frame_size)
        columns = corpus.clips.columns
    vocabulary = {name: len(column.values) for name, column in columns.items()}
    build_objective(config.objective, build_model(config.model, shape, vocabulary))
