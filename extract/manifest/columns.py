"""What a table's columns are called, and rows made of its cells.

What holds for the names is found out once, not for each line of a file that repeats them.
"""

import difflib
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import itemgetter

from extract.manifest.rows import Row

_COLUMNS = ("id", "path", "label", "rank", "score", "source", "split", "group")
_ALIASES = {"file": "path", "filename": "path", "file_name": "path", "video": "path"}


def names_files(names: Iterable[str]) -> bool:
    """Whether one of these columns says which file a row is about."""
    return not {"path", "id"}.isdisjoint(_ALIASES.get(name, name) for name in names)


@lru_cache
def wrong_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Columns of the user's own are left alone; a misspelt one of ours would lose numbers."""
    canonical, problems = [_ALIASES.get(name, name) for name in names], []
    for name in canonical:
        near = difflib.get_close_matches(name, _COLUMNS, n=1, cutoff=0.75)
        if name not in _COLUMNS and near and near[0] not in canonical:
            problems.append(f"column {name!r} unknown; did you mean {near[0]!r}?")
    if not names_files(canonical):
        problems.append(f"no column 'path' or 'id'; have: {', '.join(names)}")
    twice = sorted({name for name in canonical if canonical.count(name) > 1})
    if twice:
        problems.append(f"column {', '.join(twice)} given twice")
    return tuple(problems)


@lru_cache
def rows_of(names: tuple[str, ...], folder: str) -> Callable[[str, list[str]], Row]:
    """What makes rows of a table's cells; of a column given twice the last one counts."""
    at = {_ALIASES.get(name, name): place for place, name in enumerate(names)}
    path, video_id = at.get("path"), at.get("id")
    others = itemgetter(*(at.get(name, len(names)) for name in _COLUMNS[2:]))

    def row(where: str, cells: list[str]) -> Row:
        file = "" if path is None else cells[path]
        if not file and video_id is not None:
            file = cells[video_id]
        cells.append("")  # for columns that are not there
        return Row(where, folder, file, *others(cells))

    return row
