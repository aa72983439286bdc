"""Data classes that cost little to make: a run makes 150 of them before its first step.

`dataclasses.dataclass` writes up to seven methods for each class as text and compiles them again in every process, which was a
quarter of a replay's processor time. Here the methods that are the same for all are written once, and `__init__` is compiled
when the first instance is made. `fields`, `replace`, `asdict` and `match` work as always.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")
Written = tuple[str, str, dict[str, Any]]
"""A method: its parameters, its body, and the names it needs."""


@overload
def dataclass(kind: type[T], /) -> type[T]: ...
@overload
def dataclass(*, frozen: bool = ..., slots: bool = ...) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(field_specifiers=(dataclasses.field,))
def dataclass(kind: type[Any] | None = None, /, *, frozen: bool = False, slots: bool = False) -> Any:
    """The decorator, with what this house uses of its options; equal when all fields are, and hashable when frozen."""

    def made(kind: type[Any]) -> type[Any]:
        own = set(vars(kind))
        kind.__doc__ = kind.__doc__ or kind.__name__  # else dataclasses finds out a signature for it
        kind = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(kind)
        methods: dict[str, Any] = {"__repr__": _repr, "__hash__": None}
        methods |= {name: _later(kind, name, write, frozen) for name, write in _WRITTEN.items() if name != "__hash__" or frozen}
        if frozen:
            methods |= {"__setattr__": _set, "__delattr__": _delete}
            methods |= {"__getstate__": _state, "__setstate__": _restore} if slots else {}
        for name, method in methods.items():
            if name not in own:
                setattr(kind, name, method)
        return kind

    return made if kind is None else made(kind)


def _later(
    kind: type[Any], name: str, write: Callable[[type[Any], bool], tuple[str, str, dict[str, Any]]], frozen: bool
) -> Any:
    """A method that is compiled at its first call and takes its own place then."""

    def first(self: object, /, *given: object, **named: object) -> object:
        parameters, body, known = write(kind, frozen)
        exec(f"def {name}({parameters}):\n {body}", known)
        method = known[name]
        method.__qualname__ = f"{kind.__qualname__}.{name}"
        setattr(kind, name, method)
        return method(self, *given, **named)

    first.__name__ = name
    return first


def _init(kind: type[Any], frozen: bool) -> Written:
    known: dict[str, Any] = {"_put": object.__setattr__, "_missing": dataclasses.MISSING}
    parameters, lines = ["self"], []
    for field in dataclasses.fields(kind):
        name = value = field.name
        if field.default_factory is not dataclasses.MISSING:
            known[f"_make_{name}"] = field.default_factory
            value = f"_make_{name}() if {name} is _missing else {name}" if field.init else f"_make_{name}()"
            parameters += [f"{name}=_missing"] if field.init else []
        elif field.init and field.default is not dataclasses.MISSING:
            known[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        elif field.init:
            parameters.append(name)
        else:
            continue  # left to `__post_init__`
        lines.append(f"_put(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    lines += ["self.__post_init__()"] if hasattr(kind, "__post_init__") else []
    return ", ".join(parameters), "\n ".join(lines or ["pass"]), known


def _compared(kind: type[Any], of: str) -> str:
    return "".join(f"{of}.{field.name}," for field in dataclasses.fields(kind) if field.compare)


def _eq(kind: type[Any], _: bool) -> Written:
    same = f"({_compared(kind, 'self')}) == ({_compared(kind, 'other')})"
    return "self, other", f"return {same} if other.__class__ is self.__class__ else NotImplemented", {}


def _hash(kind: type[Any], _: bool) -> Written:
    return "self", f"return hash(({_compared(kind, 'self')}))", {}


_WRITTEN = {"__init__": _init, "__eq__": _eq, "__hash__": _hash}


def _repr(self: Any) -> str:
    shown = [f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _set(self: object, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[object]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _restore(self: Any, state: list[object]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
