"""A bundle: a folder with a trained head and everything needed to score new videos with it.

    head.safetensors or head.txt    what was learnt
    bundle.json                     config, classes, protocol, fingerprints, calibration, metrics
    README.md                       a model card

It is written beside its place and renamed, so it is whole or not there. Loading checks every file
against its sha256 and refuses what does not fit.
"""

import hashlib
import json
import platform
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from features_store.commit import TEMPORARY_SUFFIX, alone, fsync_directory, write_file
from features_store.installing import DISTRIBUTION
from features_store.store import Store
from features_store.table import Table, Where
from heads.errors import BadBundle, BadSetting, HeadError, WrongFeatures
from heads.head import Head, Probabilities, head_class

FORMAT = 1
MADE_UP = "made-up people; these networks know nothing of real ones"
_PACKAGES = ("torch", "numpy", "scikit-learn", "lightgbm", "zarr")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """All that a bundle says of itself, as JSON."""

    head: str
    config: Mapping[str, Any]
    scheme: str
    classes: Sequence[str]
    protocol: str
    """That it was trained on; scoring may use another one of the same branches."""
    fingerprints: Mapping[str, str]
    """Array → full fingerprint of the branch that makes it."""
    branches: Mapping[str, str]
    """Branch → NAME=PRESET?options, as `telltale extract --branch` takes it."""
    temperature: float = 1.0
    """Probabilities are sharpened or softened by it; see `calibrate`."""
    conformal: Mapping[str, float] = field(default_factory=dict)
    """Error rate → threshold; see `calibrate`."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """File → sha256."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A head with its papers."""

    head: Head
    about: About

    @property
    def classes(self) -> tuple[str, ...]:
        return self.head.classes

    def save(self, folder: Path) -> "Bundle":
        """Write it; an existing bundle of that name is replaced once the new one is whole."""
        if folder.exists() and not (folder / "bundle.json").exists():
            raise BadBundle(f"{folder} exists and is no bundle; choose another folder.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(TEMPORARY_SUFFIX, f".{folder.name}-", folder.parent))
        draft.chmod(0o755)
        self.head.save(draft)
        files = {path.name: _sha256(path) for path in sorted(draft.iterdir())}
        about = replace(self.about, files=files)
        text = json.dumps({"format": FORMAT, **asdict(about)}, indent=1, default=str)
        write_file(draft / "bundle.json", [f"{text}\n".encode()])
        write_file(draft / "README.md", [model_card(about).encode()])
        fsync_directory(draft)
        with alone(folder.parent):  # processes that share a search end together
            if folder.exists():
                shutil.rmtree(_old(folder), ignore_errors=True)
                folder.rename(_old(folder))
            draft.rename(folder)
            shutil.rmtree(_old(folder), ignore_errors=True)  # this one, or of a killed save
        fsync_directory(folder.parent)
        return Bundle(self.head, about)

    @staticmethod
    def load(folder: Path) -> "Bundle":
        """Read a bundle and check all of it."""
        if not folder.exists() and _old(folder).exists():
            _old(folder).rename(folder)  # a save was killed between its two renames
        about = _about(folder / "bundle.json")
        if not isinstance(about.files, dict) or not about.files:
            raise BadBundle(f"{folder / 'bundle.json'} lists no files; copy the bundle again.")
        for name, expected in about.files.items():
            if Path(name).name != name or not (folder / name).is_file():
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
        return Bundle(head, about)

    def table(self, store: Store, *, protocol: str | None = None, where: Where = None) -> Table:
        """What the head needs of a store's videos, checked."""
        table = store.table(
            self.head.keys, protocol=protocol or self.about.protocol, where=where,
            lazy=self.head.lazy,
        )  # fmt: skip
        self.check(table)
        return table

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
        from heads.judging.calibration import tempered

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
    found = {}
    for key in table.fingerprints:
        name = key.partition("/")[0]
        spec = store.open_branch(table.protocol, name).spec
        options = spec.provenance.get("options", {})
        query = "&".join(f"{option}={value}" for option, value in options.items())
        found[name] = f"{spec.name}={spec.preset}{'?' if query else ''}{query}"
    return found


def warning(requests: Collection[str]) -> str:
    """What has to be said beside figures and verdicts from these branches, or nothing.

    Requests are NAME=PRESET?options, as a bundle has them.
    """
    tiny = [request for request in requests if request.partition("?")[0].endswith("=tiny")]
    if any("random=true" in request for request in tiny):
        return "the networks have random weights: figures show that it runs, nothing else"
    return MADE_UP if tiny else ""


def model_card(about: About) -> str:
    """README.md of a bundle."""
    lines = [
        f"# {about.head} head, {about.scheme}",
        "",
        f"Tells {', '.join(about.classes)} from features of {', '.join(about.branches.values())}. "
        f"Trained by Telltale on {about.provenance.get('videos', '?')} videos' features "
        f"({about.provenance.get('date', '?')}), protocol `{about.protocol}`.",
        "",
    ]
    if words := warning(about.branches.values()):
        lines += [f"**{words.capitalize()}.**", ""]
    if about.metrics:
        lines += ["| figure | value |", "| --- | --- |"]
        lines += [f"| {name} | {_shown(value)} |" for name, value in about.metrics.items()]
        lines += [""]
    lines += [
        f"Temperature {about.temperature:.3f}. Settings: "
        + ", ".join(f"`{name}={value}`" for name, value in about.config.items()),
        "",
        "    telltale score VIDEOS --bundle THIS_FOLDER --out scores.csv",
        "",
    ]
    return "\n".join(lines)


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


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
