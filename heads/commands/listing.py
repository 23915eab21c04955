"""`telltale heads`. Mounted by `heads.commands.main`."""

import argparse
from typing import TYPE_CHECKING

from heads.commands.train import head_name

if TYPE_CHECKING:
    from types import ModuleType

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    heads = commands.add_parser("heads", help="list heads and their settings")
    heads.add_argument("name", nargs="?", type=head_name, help="only this one")
    heads.add_argument(
        "--strategies", action="store_true", help="list how heads can learn: --set strategy=NAME"
    )
    heads.set_defaults(run=_heads)


def _heads(arguments: argparse.Namespace) -> int:
    import sys

    from heads.head import head_class, head_names
    from heads.training.strategy import parse, strategy_names

    if arguments.strategies:
        for name in strategy_names():
            kind, _ = parse(name)
            _say(name, sys.modules[kind.__module__], kind.Options)
        return 0
    for name in [arguments.name] if arguments.name else head_names():
        found = head_class(name)
        _say(name, sys.modules[found.__module__], found.Config)
    return 0


def _say(name: str, module: "ModuleType", settings: type[object]) -> None:
    """The first sentence about it, and what can be set."""
    import inspect

    from heads.config import described, documented

    sentence = (inspect.getdoc(module) or "").split("\n\n")[0]
    print(f"{name}: {' '.join(sentence.split())}")
    texts = documented(settings)
    for setting, default, allowed in described(settings):
        print(f"    {setting}={default}  ({allowed})  {texts.get(setting, '')}".rstrip())
