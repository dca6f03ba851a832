"""MagnaTagATune in its official layout (Law et al. 2009): ``annotations_final.csv`` beside the folders 0 to f of clips.

The table is separated by tabs: ``clip_id``, a column of zeros and ones a tag, ``mp3_path``. Clips of 29 s are cut from
the tracks of albums; what a clip was cut from stands in its name,
``artist-album-number-title-begin-end``. The common split goes by folder, 0 to b train, c valid, d to f test, and keeps
albums together. Three clips of the 25,863 are empty files; they are left out like any sound that can't be read.
"""

import csv
import re
from pathlib import Path, PurePosixPath

from latentscape.data.labels import Labels
from latentscape.data.split import PartName
from latentscape.data.tags import cell_of

TABLE = "annotations_final.csv"
_NAME = re.compile(r"(?P<track>(?P<album>(?P<artist>.+?)-.+)-\d+-.+)-\d+-\d+")


def facts_of(path: str) -> Labels:
    """Return part, track, album and artist by the path of a clip, as the table has it.

    The album begins with its artist, and the track with its album.
    """
    place = PurePosixPath(path)
    labels: Labels = {}
    if (part := part_of(place.parent.name)) is not None:
        labels["split"] = part
    if found := _NAME.fullmatch(place.stem):
        labels |= found.groupdict()
    return labels


def part_of(folder: str) -> PartName | None:
    """Return the part of a folder, ``None`` for one that is not of the data set."""
    if not re.fullmatch("[0-9a-f]", folder):
        return None
    return "train" if folder < "c" else "valid" if folder == "c" else "test"


def magnatagatune(root: Path, files: list[str]) -> tuple[dict[str, Labels], tuple[str, ...]] | None:
    """Read the labels of the clips; ``None`` where the folder has another layout.

    Clips are found by folder and name, wherever these folders lie, and whatever they were converted to.
    """
    path = root / TABLE
    if not path.is_file():
        return None
    by_place = {_place(file): file for file in files}
    labels: dict[str, Labels] = {}
    lost = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as table:
            rows = csv.reader(table, delimiter="\t")
            tags = next(rows, [])[1:-1]
            for row in rows:
                if len(row) != len(tags) + 2:
                    continue
                file = by_place.get(_place(row[-1]))
                if file is None:
                    lost += 1
                    continue
                own = [tag for tag, there in zip(tags, row[1:-1], strict=True) if there == "1"]
                labels[file] = facts_of(row[-1]) | {"tags": cell_of(own)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return {}, (f"{TABLE} can't be read ({error}); its labels are not used",)
    notes = [f"{TABLE} names {lost} clips that the folder lacks"] if lost else []
    if bare := len(files) - len(labels):
        notes.append(f"{TABLE} does not name {bare} of {len(files)} files; they are used without its labels")
    return labels, tuple(notes)


def _place(path: str) -> str:
    place = PurePosixPath(path)
    return f"{place.parent.name}/{place.stem}"
