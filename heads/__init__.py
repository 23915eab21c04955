"""Stage two: heads trained on a feature store, their evaluation, tuning and use.

from heads import Bundle, compare, compare_detectors, evaluate, score, train
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heads.bundle import Bundle
    from heads.functions import compare, compare_detectors, evaluate, score, train

__all__ = ["Bundle", "compare", "compare_detectors", "evaluate", "score", "train"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Loaded when it is asked for: `import heads` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'heads' has no attribute {name!r}")
    from heads import functions

    return getattr(functions, name)
