"""Where this package's commands put results: the rule is `features_store.outputs`'."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from features_store.outputs import Product
    from features_store.table import Table
    from heads.data.sides import Data


def product(arguments: argparse.Namespace, command: str) -> "Product | None":
    """The file that `--out` names, refused before any work is done; None without."""
    from features_store.outputs import Product

    if arguments.out is None:
        return None
    return Product(arguments.out, command, overwrite=arguments.overwrite)


def write_text(result: "Product | None", text: str, made_from: dict[str, Any]) -> Path | None:
    """The file, where one is wanted."""
    if result is None:
        return None
    result.check(made_from)
    result.write([text.encode()], made_from)
    return result.path


def table_state(*tables: "Table") -> str:
    """Tells videos, their labels and their features from any others."""
    from features_store.schema import fingerprint

    return fingerprint(
        {
            str(number): {
                "protocol": " ".join((table.protocol, *table.also)),
                "videos": [str(name) for name in table.ids],
                "labels": table.labels.tolist(),
                "sources": [str(name) for name in table.sources],
                "ranks": [repr(rank) for rank in table.ranks.tolist()],
                "features": dict(table.fingerprints),
            }
            for number, table in enumerate(tables)
        }
    )


def data_state(data: "Data") -> str:
    return table_state(data.train, data.validation)
