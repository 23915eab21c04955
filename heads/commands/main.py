"""The `telltale` command: mounts the commands of the three packages and turns errors into lines.

A command is a function from parsed arguments to an exit status. Everything heavy is imported
inside it, so that `telltale --help` is quick.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import extract.commands.data
import extract.commands.extract
import extract.commands.label
import features_store.cli
import heads.commands.calibrate
import heads.commands.finetune
import heads.commands.judge
import heads.commands.report
import heads.commands.score
import heads.commands.tune
from features_store.errors import TelltaleError
from heads.commands import import_checkpoint, train
from heads.commands.doctor import check_packages_belong_together

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if parsed.debug else logging.WARNING,
        format="%(levelname)s: %(message)s",
    )
    try:
        check_packages_belong_together()
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


def describe(error: Exception) -> str:
    if isinstance(error, TelltaleError):
        return str(error)
    text = str(error) or "no details"
    return (
        f"{type(error).__name__}: {text} (not an error that Telltale expects; "
        f"`telltale --debug …` shows where it comes from)"
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="telltale",
        description="Tells generated videos of people from real ones, and says what is wrong.",
        epilog="`telltale COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"telltale {version('telltale')}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    extract.commands.data.add_commands(commands)
    extract.commands.extract.add_commands(commands)
    extract.commands.label.add_commands(commands)
    features_store.cli.add_commands(commands)
    train.add_commands(commands)
    heads.commands.judge.add_commands(commands)
    heads.commands.finetune.add_commands(commands)
    heads.commands.tune.add_commands(commands)
    heads.commands.score.add_commands(commands)
    heads.commands.calibrate.add_commands(commands)
    import_checkpoint.add_commands(commands)
    heads.commands.report.add_commands(commands)
    doctor = commands.add_parser("doctor", help="say what is installed, what is missing, and why")
    doctor.set_defaults(run=_doctor)
    demo = commands.add_parser("demo", help="everything that there is, on a made-up data set")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="default: %(default)s")
    demo.set_defaults(run=_demo)
    return parser


def _doctor(arguments: argparse.Namespace) -> int:
    from heads.commands import doctor

    return doctor.run(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from heads.commands import demo

    return demo.run(arguments, main)
