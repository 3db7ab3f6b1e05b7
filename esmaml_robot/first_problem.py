"""What pydantic found wrong with a user's settings, as one line: which key, what is wrong with it, what is known.

Pydantic's own text has several lines, names types of Python and shows whole configurations. Whoever reads settings
(training options, robot files, options of a family, board files) says the first problem in the words of this file.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

#: No value that was found is shown at greater length.
LONGEST_FOUND = 60

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a word",
    "tuple": "a [list]",
    "list": "a [list]",
    "dict": "a group of keys",
    "model": "a group of keys",
}

Path = tuple[str | int, ...]


class Problem(NamedTuple):
    """One problem: the dotted key, empty where it is with several keys together, and what is wrong."""

    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.key}: {self.what}" if self.key else self.what

    def of(self, noun: str) -> str:
        """As a line on one `noun`, "training option", or on several of them."""
        return f"{noun} {self}" if self.key else f"{noun}s: {self.what}"


class _Place(NamedTuple):
    """Where an error is: keys as the user writes them, the group of settings around the last of them, and the type
    there; `union` is the length of the keys where types first part, None where they do not.
    """

    keys: Path
    group: Any
    kind: Any
    union: int | None


def first_problem(error: ValidationError, model: type[BaseModel]) -> Problem:
    """The problem to be mended first, in values for `model`."""
    found = error.errors()
    # an unknown key explains the missing one beside it, so it comes first
    first = min(found, key=lambda e: e["type"] != "extra_forbidden")
    place = _place(model, first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return Problem(_dotted(place.keys), _no_such_key(model, place) + more)
    if place.union is not None:
        # one value that fits none of several types has an error for each: the deepest is of the type that fits best
        union = place.keys[: place.union]
        same = [e for e in found if _place(model, e["loc"]).keys[: len(union)] == union]
        first = max(same, key=lambda e: len(_place(model, e["loc"]).keys))
        place = _place(model, first["loc"])
        rest = len(found) - len(same)
        more = f" (and {rest} more)" if rest else ""
        if place.keys == union and len(same) > 1:
            expected = " or ".join(_in_words(t) for t in _members(_at(model, union)))
            return Problem(_dotted(union), f"expected {expected}{_found(first['input'])}{more}")
    return Problem(_dotted(place.keys), _what(first["type"], first["msg"], first["input"]) + more)


def _what(kind: str, message: str, value: Any) -> str:
    if kind == "missing":
        return "missing; add it"
    if kind == "value_error":  # a check of our own: it says what it found
        return message.removeprefix("Value error, ")
    word, _, rest = kind.partition("_")
    if rest in ("type", "parsing", "from_float", "number", "attributes_type") and word in _EXPECTED:
        return f"expected {_EXPECTED[word]}{_found(value)}"
    return re.sub(r"^\w+ should", "must", message).replace(" after validation", "") + _found(value)


def _found(value: Any) -> str:
    if isinstance(value, Mapping | BaseModel):
        return ""
    text = repr(value)
    return f" (found {text})" if len(text) <= LONGEST_FOUND else f" (found {text[:LONGEST_FOUND]}...)"


def _no_such_key(model: type[BaseModel], place: _Place) -> str:
    *owners, last = place.keys
    beside = sorted(place.group.model_fields) if _is_model(place.group) else []
    near = [_dotted((*owners, k)) for k in difflib.get_close_matches(str(last), beside, n=1)]
    if not near and not owners:  # the right key without its group
        leaves = list(_leaves(model))
        wanted = difflib.get_close_matches(str(last), {k[-1] for k in leaves}, n=1)
        near = [_dotted(k) for k in leaves if k[-1] in wanted]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"no such key{hint} (known: {', '.join(beside) or 'none'})"


def _leaves(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All settings in groups of settings."""
    for name, field in model.model_fields.items():
        inner = _members(field.annotation)
        if len(inner) == 1 and _is_model(inner[0]):
            yield from _leaves(inner[0], (*path, name))
        elif path:
            yield (*path, name)


def _dotted(keys: Sequence[str | int]) -> str:
    return ".".join(map(str, keys))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _members(kind: Any) -> list[Any]:
    """The types that a value may have, None left out; one, for most."""
    if get_origin(kind) is Annotated:
        return [kind] if _tag(kind) else _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [m for t in get_args(kind) if t is not type(None) for m in _members(t)]
    return [kind]


def _tag(member: Any) -> list[str]:
    """What tells a member of a union from the others, where its annotation says so."""
    return [t.tag for t in get_args(member)[1:] if isinstance(t, Tag)] if get_origin(member) is Annotated else []


def _bare(member: Any) -> Any:
    return get_args(member)[0] if get_origin(member) is Annotated else member


def _inside(kind: Any, key: str | int) -> Any:
    """The type of what is at `key` in a value of the type `kind`."""
    if _is_model(kind):
        field = kind.model_fields.get(str(key))
        return field.annotation if field is not None else None
    arguments = get_args(kind)
    if get_origin(kind) is tuple and len(arguments) > 1 and arguments[1] is not Ellipsis and isinstance(key, int):
        return arguments[key] if key < len(arguments) else None
    if get_origin(kind) is dict:
        return arguments[1]
    return arguments[0] if arguments else None


def _place(model: type[BaseModel], location: Sequence[str | int]) -> _Place:
    """A location of pydantic's, which beside keys names the member of a union that it looked at."""
    keys: list[str | int] = []
    kind: Any = model
    group, union = None, None
    for part in location:
        members = _members(kind)
        if len(members) > 1:
            if union is None and not any(part in _tags(m) for m in members):
                union = len(keys)
            kind = next((_bare(m) for m in members if _is_named(m, part)), None)
            continue
        keys.append(part)
        group, kind = members[0], _inside(members[0], part)
    return _Place(tuple(keys), group, kind, union)


def _at(model: type[BaseModel], keys: Path) -> Any:
    """The type at keys that pass through no union."""
    kind: Any = model
    for key in keys:
        kind = _inside(_members(kind)[0], key)
    return kind


def _is_named(member: Any, part: str | int) -> bool:
    """Whether `part` of a location means this member of a union: by its tag, or by the name of its class."""
    return part in _tags(member) or (_is_model(member) and member.__name__ in str(part))


def _tags(member: Any) -> set[Any]:
    """What a location may call a member of a union that a key of the value chooses from."""
    kind = _bare(member)
    literals = [f.annotation for f in kind.model_fields.values()] if _is_model(kind) else []
    return {*_tag(member), *(v for t in literals if get_origin(t) is Literal for v in get_args(t))}


def _in_words(kind: Any) -> str:
    """A type, as one says it to somebody who writes YAML."""
    kind = _members(kind)[0]
    if _is_model(kind):
        return "{" + ", ".join(f"{name}: ..." for name in kind.model_fields) + "}"
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return f"[{', '.join('...' if t is Ellipsis else _in_words(t) for t in inner)}]"
    name = getattr(kind, "__name__", str(kind))
    return _EXPECTED.get({"str": "string"}.get(name, name), name)
