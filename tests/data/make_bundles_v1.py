"""Bundles as version 0.1.0 wrote them, before rows, calibration and operating points were in them.

They were made once with that version's code and are kept: what is out there must still load.
Run with that version: `python tests/data/make_bundles_v1.py`.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from heads.bundle import Bundle
from heads.head import make_head
from heads.parts.about import About
from tests.test_heads.tables import CLASSES, table

HERE = Path(__file__).parent / "bundles_v1"
SETTINGS = {
    "fusion": {"epochs": "12", "lr": "3e-3"},
    "linear": {},
    "knn": {},
    "gbdt": {"trees": "10", "min_leaf": "4", "columns": "0.5"},
}


def main() -> None:
    found = table(seed=4)
    for name, settings in SETTINGS.items():
        head = make_head(name, settings, CLASSES)
        head.fit(table(32, seed=1), table(40, seed=2), seed=3)
        about = About(
            head=name, config=asdict(head.config), scheme="hfv4", classes=CLASSES, protocol="val",
            fingerprints={key: found.fingerprints[key] for key in head.keys},
            branches={"internvideo2": "internvideo2=tiny", "depthpro": "depthpro=tiny"},
            temperature=1.25, conformal={"0.05": 0.02, "0.1": 0.05, "0.2": 0.1},
            provenance={"videos": 32, "seeds": [3], "split": "train"},
        )  # fmt: skip
        bundle = Bundle(head, about)
        bundle.save(HERE / name)
        np.save(HERE / f"{name}.npy", bundle.predict(found))


if __name__ == "__main__":
    main()
