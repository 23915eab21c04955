"""`telltale heads`. Mounted by `heads.commands.main`."""

import argparse
from typing import TYPE_CHECKING

from heads.commands.train import head_name

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    heads = commands.add_parser("heads", help="list heads and their settings")
    heads.add_argument("name", nargs="?", type=head_name, help="only this one")
    heads.set_defaults(run=_heads)


def _heads(arguments: argparse.Namespace) -> int:
    import inspect
    import sys

    from heads.config import described, documented
    from heads.head import head_class, head_names

    for name in [arguments.name] if arguments.name else head_names():
        kind = head_class(name)
        about = inspect.getdoc(sys.modules[kind.__module__]) or ""
        print(f"{name}: {about.splitlines()[0]}")
        texts = documented(kind.Config)
        for setting, default, allowed in described(kind.Config):
            print(f"    {setting}={default}  ({allowed})  {texts.get(setting, '')}".rstrip())
    return 0
