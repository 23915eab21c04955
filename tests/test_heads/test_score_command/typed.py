"""The command as people type it."""

from heads.commands.main import main


def score(*arguments: object, expect: int = 0) -> None:
    assert main(["score", *map(str, arguments)]) == expect
