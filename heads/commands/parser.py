"""What `telltale` says of itself: help with defaults and examples, and errors that suggest.

argparse does the parsing; this adds what people expect beside it.
"""

import argparse
import difflib
import os
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

EXAMPLES = "examples:\n"
"""An epilog that begins so keeps its lines."""


class Formatter(argparse.HelpFormatter):
    """Shows every default, keeps an epilog's lines, and headings in bold on a terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)

    def start_section(self, heading: str | None) -> None:
        super().start_section(bold(heading) if heading else heading)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLES):
            return text.replace(EXAMPLES, f"{bold('examples')}:\n", 1)
        return super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.help or ""
        silent = (None, False, argparse.SUPPRESS)
        if "default" in told or any(action.default is each for each in silent) or not (
            action.option_strings and str(action.default).strip("[]")
        ):  # fmt: skip
            return action.help
        return f"{told} (default: %(default)s)".lstrip()


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest thing that exists."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 (argparse's own settings)
        super().__init__(**{"formatter_class": Formatter, **settings})

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401
        if action.choices is None or value in action.choices:
            return
        what = action.metavar if isinstance(action.metavar, str) else "value"
        known = [str(choice) for choice in action.choices]
        near = suggestion(str(value), known) or f"; have: {', '.join(known)}"
        raise argparse.ArgumentError(None, f"{what.lower()} {value!r} is unknown{near}")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Options that a command does not know are its error, with its usage."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            first = unknown[0].partition("=")[0]
            near = suggestion(first, self._option_string_actions) if first[:1] == "-" else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n`{self.prog} --help` says more.\n")


def suggestion(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'score'?` where something is near, nothing where not."""
    near = difflib.get_close_matches(given, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def bold(text: str) -> str:
    """On a terminal that wants it."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\033[1m{text}\033[0m"


def overview(
    parser: argparse.ArgumentParser, told: Mapping[str, str], groups: Mapping[str, Iterable[str]]
) -> str:
    """The commands by group, each with a line; `told` has what a command is for."""
    width = 2 + max(len(name) for name in told)
    room = max(40, int(os.environ.get("COLUMNS") or 0) or 96) - width - 4
    lines = [f"usage: {parser.usage}", "", parser.description or ""]
    for title, names in groups.items():
        lines += ["", bold(title)]
        for name in names:
            first, *rest = textwrap.wrap(told[name], room) or [""]
            lines.append(f"  {name:<{width}}{first}")
            lines += [" " * (width + 2) + line for line in rest]
    return "\n".join([*lines, "", parser.epilog or "", ""])
