"""Detectors that look for names, out of a local Hugging Face folder: what is the same of all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from extract.errors import BadWeights
from extract.networks.hugging_face import folder_config, loaded, quiet
from extract.people.detector import DetectorRequest

Load = Callable[..., Any]


def network_of(request: DetectorRequest, kind: str, title: str, network: str) -> tuple[Path, Any]:
    """The folder and its network, if it is one of this kind."""
    request.check_settings("threshold")
    folder = request.needs_path(f"a folder of {title}")
    wanted = f"give a folder of {title} as Hugging Face has it, with its tokenizer and preprocessor"
    found = folder_config(folder, wanted).get("model_type")
    if found != kind:
        raise BadWeights(f"{folder} is a folder of {found!r}, not of {title}; {wanted}.")
    return folder, loaded(folder, network, title)[0]


def parts_of(folder: Path, title: str, loads: Sequence[Load]) -> list[Any]:
    """Its preprocessor and its tokenizer."""
    try:
        with quiet():
            return [load(folder, local_files_only=True) for load in loads]
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = f"{folder} lacks {title}'s tokenizer or preprocessor ({error})."
        raise BadWeights(said) from error


def wanted(title: str) -> str:
    """What an error asks for."""
    return f"give a folder of {title} as Hugging Face has it, with its tokenizer and preprocessor"
