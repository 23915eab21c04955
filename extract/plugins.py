"""Heads and branches that are not in the installed package.

A distribution offers them by an entry point (`telltale.heads`, `telltale.branches`), or the user
names a file: `--head my_head.py`. A file is code that runs; so only a command line names one, never
a bundle or a store.
"""

import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from extract.errors import BadSetting


def is_file(name: str) -> bool:
    """Whether `--head` or `--branch` names a file of the user's."""
    return name.endswith(".py")


def module_of(path: str) -> ModuleType:
    """The module in a file, loaded once a process."""
    file = Path(path).resolve()
    if not file.is_file():
        raise BadSetting(f"{path} is not there; give the file of a head or branch of your own.")
    name = f"telltale_plugin_{file.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(file):
        return loaded
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def offered_names(group: str) -> list[str]:
    """What installed distributions offer under an entry-point group; nothing is imported."""
    return sorted(each.name for each in entry_points(group=group))


def offered(group: str, name: str) -> object:
    """Load one of them."""
    (found, *_) = entry_points(group=group, name=name)
    try:
        return found.load()
    except (ImportError, AttributeError) as error:
        raise BadSetting(f"{name} ({found.value}) cannot be loaded: {error}") from error
