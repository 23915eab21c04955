"""`telltale train --from BUNDLE`: a bundle taken further by a user's own labelled videos.

The bundle fills in head, settings and views; its weights are where the new head begins and what it
is drawn back to, the more the fewer videos there are.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heads.bundle import Bundle
    from heads.data.sides import Data
    from heads.head import Head


def add_options(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--from", dest="start", metavar="BUNDLE",
        help="begin with this bundle's weights and settings (head linear), `everyday` for one; "
        "learns from every video unless --validation says otherwise",
    )  # fmt: skip
    train.add_argument(
        "--data",
        metavar="MANIFEST",
        help="with --from: your labelled videos; their features go to OUT.zarr",
    )


def fill_in(arguments: argparse.Namespace) -> "Bundle | None":
    """The bundle of `--from`, and what it says of head, settings, views and store."""
    from heads.bundle import Bundle
    from heads.config import assignments
    from heads.errors import BadSetting

    if arguments.start is None:
        if arguments.data is not None:
            raise BadSetting(
                "--data belongs to --from BUNDLE; else `telltale extract` comes first."
            )
        if arguments.store is None:
            raise BadSetting("Give --store STORE, or --from BUNDLE --data MANIFEST.")
        return None
    if (arguments.data is None) == (arguments.store is None):
        raise BadSetting("--from takes --data MANIFEST or --store STORE, one of them.")
    bundle = Bundle.load(arguments.start)
    about = bundle.about
    if about.head != "linear":
        raise BadSetting(f"--from {arguments.start}: its head is {about.head}; give a linear one.")
    own = assignments(arguments.set)
    known = {name: str(value).lower() if isinstance(value, bool) else str(value)
             for name, value in about.config.items()}  # fmt: skip
    arguments.head = about.head
    arguments.set = [f"{name}={value}" for name, value in {**known, **own}.items() if value]
    arguments.protocol = arguments.protocol or bundle.scoring_protocol
    arguments.validation = arguments.validation or 0.0
    if arguments.data is not None:
        arguments.store = str(Path(f"{arguments.out}.zarr"))
        _extract(arguments, bundle)
    return bundle


def _extract(arguments: argparse.Namespace, bundle: "Bundle") -> None:
    from extract.exit_codes import SOME_FAILED
    from heads.commands.main import main
    from heads.errors import BadSetting

    asked = [text for request in bundle.about.branches.values() for text in ("--branch", request)]
    status = main(
        ["extract", arguments.data, "--scheme", bundle.about.scheme, "--store", arguments.store,
         "--protocol", arguments.protocol, *asked]
    )  # fmt: skip
    if status not in (0, SOME_FAILED):
        raise BadSetting(f"The features of {arguments.data} could not be had; nothing is trained.")


def begin(head: "Head", start: "Bundle | None") -> "Head":
    """The head, set to begin with the bundle's weights where there is one."""
    from heads.zoo.linear import Linear

    if start is not None:
        assert isinstance(head, Linear)
        assert isinstance(start.head, Linear)
        head.begin_at(start.head)
    return head


def made_from(start: "Bundle | None") -> dict[str, str]:
    """What tells the result from one that began elsewhere."""
    return {} if start is None else {"began with": start.content}


def checked(start: "Bundle | None", data: "Data") -> None:
    """A bundle's weights fit the features of its own networks and its own classes; videos that it
    knows are said, since every fold begins with what it learnt from them."""
    from heads.errors import BadTable

    if start is None:
        return
    start.check(data.train)
    if tuple(data.train.classes) != start.classes:
        raise BadTable(
            f"The videos' classes are {', '.join(data.train.classes)}, the bundle's "
            f"{', '.join(start.classes)}; label yours by scheme {start.about.scheme}."
        )
    if seen := start.rows.seen(data.train.ids.tolist()):
        print(f"careful: {seen}, by the bundle that this begins with; numbers flatter it")


def with_past(bundle: "Bundle", start: "Bundle | None") -> "Bundle":
    """The new bundle knows the videos of the old one too, and says where it began."""
    if start is None:
        return bundle
    provenance = {**bundle.about.provenance, **made_from(start)}
    about = replace(bundle.about, provenance=provenance)
    return replace(bundle, about=about, rows=bundle.rows.together(start.rows))
