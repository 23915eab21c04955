"""The `telltale` command: mounts the commands of the three packages and turns errors into lines.

A command is a function from parsed arguments to an exit status. Everything heavy is imported
inside it, so that `telltale --help` is quick.
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import extract.commands.data
import extract.commands.extract
import extract.commands.features
import extract.commands.label
import extract.commands.people
import features_store.cli
from extract.exit_codes import INTERRUPTED
from features_store.errors import TelltaleError
from features_store.installing import DISTRIBUTION
from heads.commands import (
    audit,
    calibrate,
    compare,
    detectors,
    finetune,
    import_checkpoint,
    judge,
    listing,
    report,
    robustness,
    score,
    serve,
    train,
    tune,
    verdict,
)
from heads.commands.doctor import check_packages_belong_together
from heads.commands.guide import GROUPS
from heads.commands.parser import EXAMPLES, Parser, overview


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, and turn what goes wrong into a line and an exit status."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 gets what it can show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = build_parser()
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        parser.print_help()
        return 0
    parsed = parser.parse_args(given)
    logging.basicConfig(
        level=logging.DEBUG if parsed.debug else logging.WARNING,
        format="%(levelname)s: %(message)s",
    )
    try:
        check_packages_belong_together()
        for path in parsed.plugin:
            _use(path)
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("telltale: interrupted; run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `telltale … | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if parsed.debug:
            raise
        print(f"telltale: {describe(error)}", file=sys.stderr)
        return 1
    return status


def _use(path: str) -> None:
    from heads.head import use_head

    use_head(path)


def describe(error: Exception) -> str:
    if isinstance(error, TelltaleError):
        return str(error)
    text = str(error) or "no details"
    return (
        f"{type(error).__name__}: {text} (not an error that Telltale expects; "
        f"`telltale --debug …` shows where it comes from)"
    )


class Main(Parser):
    """The parser of `telltale` itself, whose help lists the commands by group."""

    told: Mapping[str, str]

    def format_help(self) -> str:
        return overview(self, self.told, GROUPS)


def build_parser() -> Main:
    """Every command of the three packages."""
    parser = Main(
        prog="telltale",
        usage="telltale [--version] [--debug] [--plugin FILE.py] COMMAND ...",
        description="Tells generated videos of people from real ones, and says what is wrong.",
        epilog="`telltale COMMAND --help` explains a command; `--debug` shows tracebacks.",
    )
    parser.add_argument("--version", action="version", version=f"telltale {version(DISTRIBUTION)}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE.py",
        help="a head of your own that a bundle names; repeatable",
    )  # fmt: skip
    commands = parser.add_subparsers(
        prog="telltale", metavar="COMMAND", required=True, parser_class=Parser
    )
    for module in (
        extract.commands.data, extract.commands.extract, extract.commands.features,
        extract.commands.label, extract.commands.people, features_store.cli, train, listing,
        judge, compare, robustness, audit,
        finetune, tune, score, serve, verdict, calibrate, detectors,
        import_checkpoint, report,
    ):  # fmt: skip
        module.add_commands(commands)
    detectors.add_to_extract(commands.choices["extract"])
    doctor = commands.add_parser("doctor", help="say what is installed, what is missing, and why")
    doctor.set_defaults(run=_doctor)
    demo = commands.add_parser("demo", help="everything that there is, on a made-up data set")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="where it all goes")
    demo.add_argument("--videos", type=int, default=400, help="how many are made up")
    demo.set_defaults(run=_demo)
    completion = commands.add_parser(
        "completion", help="a script that completes commands in a shell"
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL")
    completion.set_defaults(run=_completion)
    parser.told = {each.dest: each.help or "" for each in commands._choices_actions}
    for examples in GROUPS.values():
        for name, lines in examples.items():
            commands.choices[name].epilog = EXAMPLES + "\n".join(f"  {line}" for line in lines)
    return parser


def _completion(arguments: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(build_parser(), arguments.shell))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from heads.commands import doctor

    return doctor.run(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from heads.commands import demo

    return demo.run(arguments, main)
