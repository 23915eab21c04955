"""The networks that a bundle was trained on, found again by their fingerprints."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from extract.branch import Branch, BranchRequest, load_branch
from extract.errors import ExtractError
from heads.bundle import Bundle
from heads.errors import BadSetting, WrongFeatures

_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")


def check_weights(places: Sequence[Path]) -> None:
    """What the user named has to be there, whether it turns out to be needed or not."""
    for place in places:
        if not place.exists():
            raise BadSetting(f"--weights {place}: no such file or folder.")


def find_branches(bundle: Bundle, weights: Sequence[Path], device: str) -> list[Branch]:
    """The bundle's branches; weights are looked for by fingerprint, in folders or files."""
    found = []
    for name, request in bundle.about.branches.items():
        (expected, *_) = {
            fingerprint
            for key, fingerprint in bundle.about.fingerprints.items()
            if key.startswith(f"{name}/")
        }
        found.append(_branch(request, expected, weights, device))
    return found


def check_branches(bundle: Bundle, branches: Sequence[Branch]) -> None:
    """Branches that the user named must be the bundle's."""
    made = {branch.name: branch.fingerprint for branch in branches}
    for key, expected in bundle.about.fingerprints.items():
        name = key.partition("/")[0]
        if made.get(name) != expected:
            raise WrongFeatures(
                f"Branch {name} has fingerprint {made.get(name)}, the bundle was trained on "
                f"{expected}: other weights, preprocessing or precision."
            )


def _branch(request: str, expected: str, weights: Sequence[Path], device: str) -> Branch:
    preset, question, options = request.partition("?")
    tried = []
    for path in [None, *_candidates(weights)]:
        text = f"{preset}{'' if path is None else f':{path}'}{question}{options}"
        try:
            asked = replace(BranchRequest.parse(text), device=device)
            branch = load_branch(asked)
        except ExtractError:
            continue
        if branch.fingerprint == expected:
            return branch
        tried.append(f"{path or 'no file'} ({branch.fingerprint[:8]})")
    raise WrongFeatures(
        f"No weights for {preset} with fingerprint {expected[:8]} found; looked at "
        f"{', '.join(tried) or 'no fitting file'}. Give --weights FILE_OR_FOLDER, or --branch "
        f"{preset}:FILE{question}{options}."
    )


def _candidates(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
        elif place.is_dir():
            yield from sorted(p for p in place.iterdir() if p.suffix in _WEIGHTS and p.is_file())
