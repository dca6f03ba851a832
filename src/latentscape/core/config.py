"""Configuration records: frozen, typed, and strict about names.

A record stands beside the class it configures. An unknown key or a wrong value is an error that names the key's full
path (``model.encoder.widths``) and offers the nearest known name.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from latentscape.core.errors import ConfigError, nearest


class Record(BaseModel):
    """A frozen configuration record; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


R = TypeVar("R")


def parse(kind: type[R] | Any, values: Mapping[str, Any], where: str = "") -> R:
    """Build a record (or one of a union of records) from plain values.

    Args:
        kind: a :class:`Record` class or a discriminated union of them.
        values: nested plain data, as from YAML or JSON.
        where: what the values are, to begin the message with, such as ``"recipe notes"``.

    Raises:
        ConfigError: one line naming the full path of the first wrong key, what arrived and what was expected.
    """
    try:
        made = TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise ConfigError(_explain(kind, error, where)) from error
    if (switch := next(_switches(values, made), None)) is not None:
        prefix = f"{where}: " if where else ""
        raise ConfigError(f"{prefix}{switch[0]}: got {switch[1]}, expected a number")
    return made


def _switches(values: Any, made: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield path and value of every true and false that was read as a 1 or a 0."""
    if isinstance(values, bool) and not isinstance(made, bool):
        yield path, values
    elif isinstance(values, Mapping):
        inner = made if isinstance(made, Mapping) else getattr(made, "__dict__", {})
        for key in (key for key in values if key in inner):
            yield from _switches(values[key], inner[key], f"{path}.{key}" if path else str(key))
    elif isinstance(values, list | tuple) and isinstance(made, list | tuple):
        for place, (value, one) in enumerate(zip(values, made, strict=False)):
            yield from _switches(value, one, f"{path}.{place}")


def _explain(kind: Any, error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    path, known = _locate(kind, first["loc"])
    prefix = f"{where}: " if where else ""
    key = f"{path}.kind" if path else "kind"
    match first["type"]:
        case "extra_forbidden":
            name = str(first["loc"][-1])
            return f"{prefix}unknown key '{path}'{nearest(name, known)}"
        case "union_tag_invalid":
            context = first.get("ctx", {})
            names = [name.strip(" '") for name in context.get("expected_tags", "").split(",")]
            arrived = str(context.get("tag"))
            return f"{prefix}{key}: '{arrived}' is not known{nearest(arrived, names)}"
        case "union_tag_not_found":
            return f"{prefix}{key} is missing"
        case "missing":
            return f"{prefix}'{path}' is missing"
    arrived = repr(first["input"])
    arrived = arrived if len(arrived) < 80 else arrived[:77] + "..."
    reason = first["msg"]
    for begin in ("Value error, ", "Input should be ", "Tuple should have "):
        reason = reason.removeprefix(begin)
    at = f"{path}: " if path else ""  # the whole of it is at fault where its parts do not fit together
    return f"{prefix}{at}got {arrived}, expected {reason}"


def _locate(kind: Any, loc: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Turn pydantic's location (which holds union tags) into the user's path, and list the keys known there."""
    path: list[str] = []
    candidates = _records(kind)
    for part in loc:
        tagged = [c for c in candidates if _tag(c) == part]
        if tagged and not any(part in c.model_fields for c in candidates):
            candidates = tagged
            continue
        if isinstance(part, str) and (
            "[" in part or part.removeprefix("constrained-") in ("int", "float", "str", "bool")
        ):
            continue  # pydantic names the branch of a plain union; the user did not write it
        path.append(str(part))
        owners = [c for c in candidates if part in c.model_fields]
        if owners:
            candidates = [r for owner in owners for r in _records(owner.model_fields[str(part)].annotation)] or owners
    return ".".join(path), [name for c in candidates for name in c.model_fields]


def _records(annotation: Any) -> list[type[Record]]:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return [annotation]
    if get_origin(annotation) is None:
        return []
    return [record for argument in get_args(annotation) for record in _records(argument)]


def _tag(record: type[Record]) -> str | None:
    field = record.model_fields.get("kind")
    return None if field is None else (get_args(field.annotation) or (None,))[0]


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``changes`` laid over it, nested mappings merged key by key.

    A mapping whose ``kind`` changes is replaced whole: the keys of one kind mean nothing to another.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        same_kind = (
            isinstance(old, Mapping) and isinstance(value, Mapping) and value.get("kind") in (None, old.get("kind"))
        )
        merged[key] = merge(old, value) if same_kind else value
    return merged


class _Once(yaml.SafeLoader):
    """Reads YAML in which no key may stand twice beside itself: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping."""
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                line = key.start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    problem=f"the key '{key.value}' stands there twice (line {line})"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def from_yaml(text: str) -> Any:
    """Return the plain data of a YAML text.

    Raises:
        yaml.YAMLError: it is none, or a key stands twice in one mapping.
    """
    return yaml.load(text, _Once)


def assignment(text: str) -> dict[str, Any]:
    """Turn ``"train.max_steps=100"`` into ``{"train": {"max_steps": 100}}``; the value is read as YAML.

    Raises:
        ConfigError: there is no ``=``, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set got '{text}', expected key=value, such as train.max_steps=1000")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: '{value}' is not a YAML value") from error
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-3 as text; everybody else reads a number
        with suppress(ValueError):
            parsed = float(parsed)
    result: Any = parsed
    for part in reversed(key.strip().split(".")):
        result = {part: result}
    return result
