"""JSON of the command → objects of dataclasses, checked by nothing but their names."""

import dataclasses
import functools
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def build(cls: type[T], value: dict[str, Any]) -> T:
    """The object of a dataclass from JSON that has its fields; None for one that is not there."""
    whole: Any = cls
    fields = {name: convert(value.get(key)) for name, key, convert in _converters(whole)}
    return cls(**fields)


@functools.cache
def _converters(cls: Any) -> list[tuple[str, str, Any]]:
    hints = typing.get_type_hints(cls)
    return [
        (field.name, field.metadata.get("json", field.name), _converter(hints[field.name]))
        for field in dataclasses.fields(cls)
        if field.init
    ]


def _converter(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        rest = [part for part in typing.get_args(hint) if part is not types.NoneType]
        inner = _converter(rest[0])
        return lambda value: None if value is None else inner(value)
    if typing.get_origin(hint) is list:
        inner = _converter(typing.get_args(hint)[0])
        return lambda value: [inner(item) for item in value]
    if typing.get_origin(hint) is dict:
        inner = _converter(typing.get_args(hint)[1])
        return lambda value: {key: inner(item) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        cls: Any = hint
        return lambda value: build(cls, value)
    return lambda value: value
