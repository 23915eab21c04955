"""Options of commands that look at videos with a bundle."""

import argparse
from pathlib import Path


def add_bundle_option(parser: argparse.ArgumentParser) -> None:
    """Who judges."""
    parser.add_argument(
        "--bundle", type=Path,
        help="what `telltale train` wrote, or `everyday`, which comes with Telltale (default: what "
        "the environment variable TELLTALE_BUNDLE names, else everyday)",
    )  # fmt: skip


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Where its networks' weights are."""
    parser.add_argument("--weights", type=Path, action="append", default=[],
                        help="file or folder with the branches' weights; repeatable")  # fmt: skip
    parser.add_argument(
        "--branch", action="append", help="NAME=PRESET:WEIGHTS, instead of --weights"
    )


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """What computes."""
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda or cuda:1 (default: a GPU if there is one)"
    )
    parser.add_argument("--workers", type=int, help="decode processes (default: one a core, ≤ 16)")
