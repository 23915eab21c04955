"""Networks out of folders as Hugging Face's `save_pretrained` or a download leaves them.

`transformers` is imported here alone, when it is needed. Nothing is downloaded, weights are
safetensors, no code out of a folder is run, and every weight must be there.
"""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from extract.errors import BadSetting, BadWeights
from features_store.installing import how_to_install

_SHOWN = 200


def folder_config(folder: Path, wanted: str) -> dict[str, Any]:
    """What `config.json` says, before transformers is loaded, which takes a while."""
    try:
        return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BadWeights(f"{folder} is no folder of a network ({error}); {wanted}.") from error


def loaded(
    folder: Path,
    kind: str,
    what: str,
    *,
    may_lack: tuple[str, ...] = (),
    **options: object,
) -> tuple[Any, list[str]]:
    """The network of transformers' class `kind`, in float32, and which weights it lacks.

    Weights whose names begin with `may_lack` may be missing.
    """
    require_transformers(what)
    import transformers

    try:
        with quiet():
            network, found = getattr(transformers, kind).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True,
                dtype=torch.float32, trust_remote_code=False, **options,
            )  # fmt: skip
    except Exception as error:  # three libraries take part, each with errors of its own
        reason = " ".join(str(error).split())[:_SHOWN]
        said = f"{type(error).__name__}: {reason}"
        raise BadWeights(f"{folder} cannot be read as {what} ({said}).") from error
    lacking = sorted(str(each) for each in [*found["missing_keys"], *found["mismatched_keys"]])
    needed = [name for name in lacking if not name.startswith(may_lack)]
    if needed:
        raise BadWeights(
            f"{folder} lacks weights of {what}: {', '.join(needed[:3])} and "
            f"{max(0, len(needed) - 3)} more. Get it again."
        )
    if not all(numbers.isfinite().all() for numbers in network.state_dict().values()):
        raise BadWeights(f"{folder} holds numbers that are not finite. Get it again.")
    return network.eval(), lacking


def require_transformers(what: str) -> None:
    if importlib.util.find_spec("transformers") is None:
        raise BadSetting(
            f"{what} needs Hugging Face's transformers, which is not installed: "
            f"{how_to_install('priors')}."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and warnings; what is missing is asked for by `loaded`."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
