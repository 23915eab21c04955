"""A bundle: a folder with a trained head and everything needed to score new videos with it.

    head.safetensors or head.txt    what was learnt; of an ensemble, member0/, member1/, …
    rows.safetensors                hashes of the videos learnt from, decided and calibrated by
    learning.json                   curves of every seed's training
    familiar.safetensors            what the training videos looked like, see `judging.novelty`
    bundle.json                     config, classes, protocol, fingerprints, calibration, metrics
    README.md                       a model card

It is written beside its place and renamed, so it is whole or not there. Loading checks every file
against its sha256 and refuses what does not fit.
"""

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from features_store.commit import TEMPORARY_SUFFIX, fsync_directory, write_file
from features_store.installing import DISTRIBUTION
from features_store.keys import meant, parted
from features_store.lock import alone
from features_store.outputs import RECORD
from features_store.schema import BranchSpec
from features_store.store import Store
from features_store.table import Table, Where
from heads.data.forged import by_view
from heads.data.rows import Rows
from heads.data.splits import like
from heads.errors import BadBundle, BadSetting, HeadError, WrongFeatures
from heads.head import Head, Probabilities, head_class
from heads.parts.about import About
from heads.parts.arrays import load_tensors, save_tensors
from heads.parts.model_card import model_card
from heads.parts.novelty import Familiar
from heads.shipped.places import bundle_folder

FORMAT = 1
FAMILIAR = "familiar.safetensors"
LEARNING = "learning.json"
_PACKAGES = ("torch", "numpy", "scikit-learn", "lightgbm", "zarr")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A head with its papers."""

    head: Head
    about: About
    rows: Rows = field(default_factory=Rows)
    """Which videos it knows."""
    learning: Sequence[Mapping[str, Any]] = ()
    """Of each seed: `seed`, and the validation metric and training loss by epoch."""
    familiar: Familiar | None = None
    """What the training videos looked like; None where a head reads tokens, or none was kept."""

    @property
    def classes(self) -> tuple[str, ...]:
        return self.head.classes

    @property
    def scoring_protocol(self) -> str:
        """Views by which new videos are scored: where it learnt from training views, `val`, of
        videos encoded as those."""
        name = self.about.protocol
        return like(name, "val") if name.startswith("train-") else name

    @property
    def content(self) -> str:
        """The hash of all that decides its verdicts."""
        about = self.about
        decides = [
            about.head, dict(about.config), list(about.classes), dict(about.fingerprints),
            about.temperature, dict(about.conformal), list(about.operating), dict(about.files),
        ]  # fmt: skip
        text = json.dumps(decides, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, folder: str | Path, record: bytes | None = None) -> "Bundle":
        """Write it; an existing bundle of that name is replaced once the new one is whole.

        `record`: what a command leaves in a folder to know it again.
        """
        folder = Path(folder)
        if folder.exists() and not (folder / "bundle.json").exists():
            raise BadBundle(f"{folder} exists and is no bundle; choose another folder.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(TEMPORARY_SUFFIX, f".{folder.name}-", folder.parent))
        draft.chmod(0o755)
        self.head.save(draft)
        self.rows.save(draft)
        if self.learning:
            write_file(draft / LEARNING, [f"{json.dumps(list(self.learning))}\n".encode()])
        if self.familiar is not None:
            save_tensors(draft / FAMILIAR, self.familiar.tensors())
        written = sorted(path for path in draft.rglob("*") if path.is_file())
        files = {path.relative_to(draft).as_posix(): _sha256(path) for path in written}
        about = replace(self.about, files=files)
        text = json.dumps({"format": FORMAT, **asdict(about)}, indent=1, default=str)
        write_file(draft / "bundle.json", [f"{text}\n".encode()])
        write_file(draft / "README.md", [model_card(about).encode()])
        if record is not None:
            write_file(draft / RECORD, [record])
        fsync_directory(draft)
        with alone(folder.parent / ".lock"):  # processes that share a search end together
            if folder.exists():
                shutil.rmtree(_old(folder), ignore_errors=True)
                folder.rename(_old(folder))
            draft.rename(folder)
            shutil.rmtree(_old(folder), ignore_errors=True)  # this one, or of a killed save
        fsync_directory(folder.parent)
        return replace(self, about=about)

    @staticmethod
    def load(folder: str | Path) -> "Bundle":
        """Read a bundle, of a folder or by the name of a shipped one, and check all of it."""
        folder = bundle_folder(folder)
        if not folder.exists() and _old(folder).exists():
            _old(folder).rename(folder)  # a save was killed between its two renames
        about = _about(folder / "bundle.json")
        if not isinstance(about.files, dict) or not about.files:
            raise BadBundle(f"{folder / 'bundle.json'} lists no files; copy the bundle again.")
        for name, expected in about.files.items():
            if not _is_inside(name) or not (folder / name).is_file():
                raise BadBundle(f"{folder} lacks {name!r}; copy the whole folder.")
            if _sha256(folder / name) != expected:
                raise BadBundle(f"{folder / name} is damaged or was changed; its sha256 differs.")
        try:
            kind = head_class(about.head)
            config = kind.Config(**about.config)
        except (TypeError, BadSetting) as error:
            raise BadBundle(f"{folder}: settings of another version ({error}).") from error
        head = kind(config, about.classes)
        if set(head.keys) != set(about.fingerprints):
            raise BadBundle(
                f"{folder} names fingerprints of {', '.join(about.fingerprints) or 'nothing'}; the "
                f"head needs {', '.join(head.keys)}."
            )
        head.load(folder)
        learning = json.loads((folder / LEARNING).read_text()) if LEARNING in about.files else ()
        familiar = None
        if FAMILIAR in about.files:
            familiar = Familiar.of_tensors(load_tensors(folder / FAMILIAR))
        return Bundle(head, about, Rows.load(folder), learning, familiar)

    def table(self, store: Store, *, protocol: str | None = None, where: Where = None) -> Table:
        """What the head needs of a store's videos, checked."""
        protocol = protocol or self.about.protocol
        table = self.own(store, protocol).table(
            self.head.keys, protocol=protocol, where=where,
            lazy=self.head.lazy,
        )  # fmt: skip
        self.check(table)
        return by_view(table)

    def own(self, store: Store, protocol: str) -> Store:
        """The store as if a name that fits several groups of features under a protocol meant, if
        it can, the one that the head learnt from."""
        hidden: list[tuple[str, str]] = []
        specs = [store.read_branch(protocol, name).spec for name in store.branches(protocol)]
        for key, expected in self.about.fingerprints.items():
            name, array = parted(key)
            fits = meant([spec.group for spec in specs], name)
            holding = [spec for spec in specs if spec.group in fits and array in spec.arrays]
            if any(spec.fingerprint == expected for spec in holding):
                others = [spec.group for spec in holding if spec.fingerprint != expected]
                hidden += [(protocol, group) for group in others]
        return store.without(hidden)

    def check(self, table: Table) -> None:
        """Features must come from the very networks that the head was trained on."""
        for key, expected in self.about.fingerprints.items():
            found = table.fingerprints.get(key)
            if found != expected:
                raise WrongFeatures(
                    f"{key} has fingerprint {found}, the bundle was trained on {expected}: other "
                    f"weights, preprocessing or precision. Extract with the bundle's branches: "
                    f"{', '.join(self.about.branches.values())}."
                )

    def predict(self, table: Table) -> Probabilities:
        """Calibrated probabilities per view: (n, V, C)."""
        from heads.measuring.calibration import tempered

        self.check(table)
        return tempered(self.head.predict(table), self.about.temperature)


def provenance(store: Store, seeds: Sequence[int], split: str) -> dict[str, Any]:
    """Where a head comes from, for people."""
    return {
        "store": store.place.name,
        "videos": store.videos.count,
        "seeds": list(seeds),
        "split": split,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in (DISTRIBUTION, *_PACKAGES)},
    }


def branch_requests(store: Store, table: Table) -> dict[str, str]:
    """Branch → NAME=PRESET?options for the arrays of a table."""
    groups: dict[str, dict[str, BranchSpec]] = {}
    for key in table.fingerprints:
        spec = store.find(table.protocol, key)[0].spec
        groups.setdefault(key.partition("/")[0], {})[spec.group] = spec
    return {name: _request(list(specs.values())) for name, specs in groups.items()}


def _request(specs: Sequence[BranchSpec]) -> str:
    """What to ask for, to get what these groups of one network hold."""
    known = [spec.provenance.get("options", {}) for spec in specs]
    options = dict(known[0])
    if any("outputs" in each for each in known):
        options["outputs"] = ",".join(dict.fromkeys(n for spec in specs for n in spec.arrays))
    query = "&".join(f"{option}={value}" for option, value in options.items())
    return f"{specs[0].name}={specs[0].preset}{'?' if query else ''}{query}"


def _is_inside(name: str) -> bool:
    """A file of the bundle's folder, or of a member's in it."""
    return bool(name) and ".." not in Path(name).parts and not Path(name).is_absolute()


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _about(path: Path) -> About:
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BadBundle(f"{path.parent} is no bundle: it has no bundle.json.") from error
    except (OSError, ValueError) as error:
        raise BadBundle(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else None
        raise BadBundle(f"{path} has format {found}; this version reads {FORMAT}.")
    try:
        return About(**{name: value for name, value in document.items() if name != "format"})
    except (TypeError, HeadError) as error:
        raise BadBundle(f"{path} does not describe a bundle: {error}") from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
