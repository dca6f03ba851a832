"""Errors with one clear line: what arrived, what was expected, where.

The shell prints ``str(error)`` and exits with ``error.exit_code``: 2 where the request itself was wrong (usage), 1
where the work failed.
"""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_NAMES = 40
"""Known names that a message lists: a corpus may have thousands of clips."""


class LatentscapeError(Exception):
    """Base of all errors that a user can meet; the message is one line."""

    exit_code = 1


class UsageError(LatentscapeError):
    """The request can't be carried out as it was put: a wrong name, option or combination."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key or value is wrong; the message names its full path and the nearest known one."""


class DataError(LatentscapeError):
    """Sound, image or label data can't be used."""


class DataWarning(UserWarning):
    """Sound was used, though not all is as it should be; one line, which the shell prints as a note."""


class StorageError(LatentscapeError):
    """A file of a run is missing, damaged, of another shape or of a newer format, or could not be written."""


class LikelihoodError(LatentscapeError):
    """A likelihood can't describe the data it was given, or a model has no likelihood to ask for."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` (or the list of known names) to append to a message about an unknown name."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.55)
    if close:
        return "; did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"; known: {', '.join(names[:MOST_NAMES])}{more}" if names else ""
