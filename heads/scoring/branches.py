"""The networks that a bundle was trained on, found again by their fingerprints."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from extract.branch import Branch, BranchRequest, load_branch
from extract.errors import ExtractError
from extract.running.extraction import Extraction
from extract.running.targets import own_targets
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
        expected = {
            key.partition("/")[2]: fingerprint
            for key, fingerprint in bundle.about.fingerprints.items()
            if key.startswith(f"{name}/")
        }
        found.append(_branch(request, expected, weights, device))
    return found


def check_branches(bundle: Bundle, branches: Sequence[Branch]) -> None:
    """Branches that the user named must be the bundle's."""
    made = {name: branch.offer for branch in branches for name in _names(branch)}
    for key, expected in bundle.about.fingerprints.items():
        name, _, output = key.partition("/")
        found = made[name].fingerprints.get(output) if name in made else None
        if found is None:
            raise WrongFeatures(
                f"The bundle was trained on {key}, which the branches given do not have. Give "
                f"--branch {bundle.about.branches.get(name, name)} with its weights."
            )
        if expected not in made[name].known_as(output):
            raise WrongFeatures(
                f"{key} has fingerprint {found}, the bundle was trained on {expected}: other "
                f"weights, preprocessing or precision."
            )


def as_extracted(bundle: Bundle, extraction: Extraction) -> Bundle:
    """The bundle by the fingerprints that this store has for what its branches make.

    The networks are the bundle's (`check_branches`); a store that was begun earlier may know them
    by another fingerprint, as a bundle may.
    """
    made = {
        f"{own}/{name}": arrays.spec.fingerprint
        for branch in extraction.branches
        for arrays in own_targets(branch.offer, extraction.targets).values()
        for name in arrays.spec.arrays
        for own in _names(branch)
    }
    fingerprints = {key: made.get(key, own) for key, own in bundle.about.fingerprints.items()}
    return replace(bundle, about=replace(bundle.about, fingerprints=fingerprints))


def _names(branch: Branch) -> tuple[str, str]:
    """What keys call it: by its preset too, where a store has several of its name."""
    return branch.name, f"{branch.name}-{branch.preset}"


def _branch(
    request: str, expected: Mapping[str, str], weights: Sequence[Path], device: str
) -> Branch:
    preset, question, options = request.partition("?")
    tried, first = [], ""
    for path in [None, *_candidates(weights)]:
        text = f"{preset}{'' if path is None else f':{path}'}{question}{options}"
        try:
            asked = replace(BranchRequest.parse(text), device=device)
            branch = load_branch(asked)
        except ExtractError as error:
            first = first or str(error)
            continue
        if all(own in branch.offer.known_as(output) for output, own in expected.items()):
            return branch
        prints = branch.offer.fingerprints
        tried.append(f"{path or 'no file'} ({_short(prints.get(o, 'none') for o in expected)})")
    looked_at = ", ".join(tried) or f"no fitting file ({first})"
    raise WrongFeatures(
        f"No weights for {preset} with fingerprint {_short(expected.values())} found; looked at "
        f"{looked_at}. Give --weights FILE_OR_FOLDER, or --branch "
        f"{preset}:FILE{question}{options}."
    )


def _short(fingerprints: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(one[:8] for one in fingerprints))


def _candidates(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
        elif (place / "config.json").is_file():
            yield place  # Hugging Face's
        elif place.is_dir():
            yield from sorted(p for p in place.iterdir() if p.suffix in _WEIGHTS and p.is_file())
