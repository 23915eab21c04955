"""From `--set name=value` to a frozen config, by the config's own fields."""

import ast
import difflib
import inspect
import itertools
import types
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from heads.errors import BadSetting

C = TypeVar("C")
Settings = Mapping[str, str]
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def assignments(texts: Sequence[str]) -> dict[str, str]:
    """`name=value` texts as a mapping."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadSetting(f"Setting {text!r}: give NAME=VALUE, such as lr=1e-3.")
        if name.strip() in found:
            raise BadSetting(f"Setting {name.strip()!r} is given twice.")
        found[name.strip()] = value.strip()
    return found


def build(kind: type[C], given: Settings, owner: str) -> C:
    """A config with some fields given as text. Unknown names are refused."""
    hints = get_type_hints(kind)
    for name in given:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise BadSetting(
                f"{owner} has no setting {name!r}; have: {', '.join(sorted(hints))}.{hint}"
            )
    values = {name: _parse(name, text, hints[name]) for name, text in given.items()}
    return kind(**values)


def documented(kind: type[object]) -> dict[str, str]:
    """Field → the text below it in its class's source."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        (tree,) = ast.parse(inspect.getsource(owner)).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in itertools.pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                said = text.value if isinstance(text, ast.Expr) else None
                if isinstance(said, ast.Constant):
                    found[field.target.id] = " ".join(str(said.value).split())
    return found


def described(kind: type[object]) -> list[tuple[str, str, str]]:
    """Name, default and type of every field, for `telltale heads`."""
    hints = get_type_hints(kind)
    return [(each.name, str(each.default), _named(hints[each.name])) for each in _fields(kind)]


def _fields(kind: type[object]) -> tuple[Field[Any], ...]:
    return fields(kind)  # type: ignore[arg-type]


def _parse(name: str, text: str, hint: Any) -> object:  # noqa: ANN401
    if get_origin(hint) in (Union, types.UnionType):
        if text.lower() == "none":
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Literal:
        if text in get_args(hint):
            return text
        raise BadSetting(f"{name}={text!r}: have {', '.join(map(str, get_args(hint)))}.")
    if hint is bool:
        if text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
        raise BadSetting(f"{name}={text!r}: give true or false.")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError as error:
            raise BadSetting(f"{name}={text!r} is not {_named(hint)}.") from error
    return text


def _named(hint: Any) -> str:  # noqa: ANN401
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(_named(part) for part in get_args(hint))
    names = {int: "a whole number", float: "a number", bool: "true | false", str: "text"}
    return names.get(hint, "none")
