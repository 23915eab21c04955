"""The contract that every head keeps, and how one is found by name.

A head is one file in `heads/zoo/`; the file's name is its name. The file has a class `HEAD` whose
`Config` is a frozen dataclass with all that can be set.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from extract import plugins
from features_store.table import Table
from heads import zoo
from heads.config import Settings, build
from heads.errors import BadSetting, BadTable

Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """How a fit went."""

    metric: str
    """What was best on the validation videos."""
    best: float
    best_epoch: int
    seconds: float
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Per epoch, where the head is trained in epochs."""
    notes: Sequence[str] = ()
    """What else whoever trains has to know, a line each."""


OnEpoch = Callable[[int, float], bool]
"""(epoch, validation metric) → stop here?"""


class Head(ABC):
    """Something that is trained on a table and gives probabilities."""

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    SPACE: ClassVar[Mapping[str, Any]]
    """What `telltale tune` searches: setting → `spaces.Range` or `spaces.OneOf`."""
    lazy: tuple[str, ...] = ()
    """Arrays that are read batch by batch instead of held in memory."""
    learns_on_one_thread: ClassVar[bool] = False
    """It is too small for several, so several such heads learn in processes beside each other."""

    def __init__(self, config: Any, classes: Sequence[str]) -> None:  # noqa: ANN401
        self.config = config
        self.classes = tuple(classes)

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """Arrays that it needs, as `Store.table` takes them."""

    @abstractmethod
    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        """Learn; the validation videos decide when to stop and what to keep.

        `on_epoch` is told the validation metric after each epoch, where there are epochs, and
        may end the training.
        """

    @abstractmethod
    def predict(self, table: Table) -> Probabilities:
        """(videos, views, classes); rows sum to one."""

    def parts(self, table: Table) -> Mapping[str, Probabilities]:
        """What each of several that decide together says, where there are several."""
        del table
        return {}

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was learnt, in files without code."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""


ENTRY_POINTS = "telltale.heads"
"""Where another distribution offers heads: name → its `Head` class."""
_UNTRAINED = {"ensemble": "parts"}
"""Made of trained heads, so not among those that can be trained → where it is."""
_named_by_user: dict[str, type[Head]] = {}


def head_names() -> list[str]:
    """Ours; `head_class` finds others too."""
    return sorted(module.name for module in pkgutil.iter_modules(zoo.__path__))


def head_class(name: str) -> type[Head]:
    """A head by its name: ours, one that `use_head` has loaded, or of an entry point."""
    if name in head_names() or name in _UNTRAINED:
        folder = _UNTRAINED.get(name, "zoo")
        found: type[Head] = importlib.import_module(f"heads.{folder}.{name}").HEAD
        return found
    if name in _named_by_user:
        return _named_by_user[name]
    others = plugins.offered_names(ENTRY_POINTS)
    if name in others:
        return _checked(name, plugins.offered(ENTRY_POINTS, name))
    raise BadSetting(
        f"Head {name!r} unknown; have: {', '.join([*head_names(), *_named_by_user, *others])}. A "
        f"head of your own: --head FILE.py, and `telltale --plugin FILE.py …` where a bundle names "
        f"it."
    )


def use_head(path: str, which: str = "HEAD") -> type[Head]:
    """Load a head from a file; from then on it is known by its `name` too."""
    kind = _checked(path, getattr(plugins.module_of(path), which, None))
    _named_by_user[kind.name] = kind
    return kind


def is_of_a_file(name: str) -> bool:
    """Whether `use_head` has loaded it: other processes do not know it."""
    return name in _named_by_user


def _checked(where: str, found: object) -> type[Head]:
    if not (isinstance(found, type) and issubclass(found, Head)):
        raise BadSetting(f"{where} gives {found!r}; a subclass of heads.head.Head is needed.")
    return found


def make_head(name: str, settings: Settings, classes: Sequence[str]) -> Head:
    kind = head_class(name)
    return kind(build(kind.Config, settings, f"Head {name}"), classes)


def check_table(table: Table, keys: Sequence[str], what: str, *, numbers: bool = True) -> None:
    """Refuse what would become a wrong number without a word.

    Without `numbers` only names are looked at: scoring checks what comes out, see `check_scores`.
    """
    if not len(table):
        raise BadTable(f"There are no {what} videos; choose another split or source.")
    for key in keys:
        if key in table.lazy:
            continue  # looked at when it is read
        if key not in table.arrays:
            raise BadTable(f"The {what} table lacks {key!r}; it has {', '.join(table.arrays)}.")
        array = table.arrays[key]
        if numbers and not np.isfinite(array).all():
            bad = table.ids[~np.isfinite(array.reshape(len(array), -1)).all(1)][0]
            raise BadTable(f"{key} of {str(bad)!r} is not finite; extract that video again.")


def check_scores(table: Table, keys: Sequence[str], scores: NDArray[np.floating]) -> None:
    """A number that is not finite among the features makes all of its scores so; much cheaper to
    look for there."""
    if not np.isfinite(scores).all():
        check_table(table, keys, "scored")
        raise BadTable("The head's scores are not finite; train it again with a lower lr.")


def check_labels(table: Table, what: str, *, several: bool = True) -> None:
    """Every video labelled, and, to learn from, more than one class."""
    if (table.labels < 0).any():
        first = str(table.ids[table.labels < 0][0])
        raise BadTable(
            f"{int((table.labels < 0).sum())} {what} videos have no label, {first!r} for one; "
            f"select labelled ones."
        )
    found = np.unique(table.labels)
    if several and len(found) < 2:
        raise BadTable(
            f"All {what} videos are {table.classes[int(found[0])]!r}; a head needs two classes or "
            f"more to learn from."
        )
