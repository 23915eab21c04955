"""Commands that look at videos. Mounted by `heads.cli`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add this package's commands to the `telltale` parser."""
