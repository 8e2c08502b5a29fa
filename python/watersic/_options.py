"""Options by the names of the command line, as keywords with _ for -."""

from __future__ import annotations

import inspect
import numbers
import os
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from ._core import OptionInfo, OptionKind


def _text(name: str, value: Any) -> str:
    if isinstance(value, (bool, type(None))):
        return {True: "on", False: "off", None: ""}[value]
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(value))
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    raise TypeError(
        f"{name}: expected a number, a text, True or False, found {type(value).__name__}"
    )


def settings(
    function: str, options: Iterable[OptionInfo], given: dict[str, Any]
) -> list[tuple[str, str]]:
    """What is given as names and texts, which the library understands. None leaves an option open."""
    known = {option.name.replace("-", "_"): option for option in options}
    out: list[tuple[str, str]] = []
    for name, value in given.items():
        if name not in known:
            raise TypeError(
                f"{function}() got an unexpected option '{name}'; expected one of "
                f"{', '.join(known)}"
            )
        option = known[name]
        if value is None:
            continue
        several = option.kind == OptionKind.VALUES and isinstance(value, (list, tuple))
        out += [(option.name, _text(name, one)) for one in (value if several else [value])]
    return out


def documented(options: Iterable[OptionInfo]) -> Callable[[Any], Any]:
    """A decorator: the function takes these as keywords, and its documentation says what they are."""

    def decorate(function: Any) -> Any:
        lines = []
        listed = list(options)
        for option in listed:
            values = {OptionKind.ON: "False", OptionKind.OFF: "True"}.get(option.kind, "True|False")
            entry = f"{option.name.replace('-', '_')}={option.values or values}: {option.help}"
            lines += textwrap.wrap(entry, 96, initial_indent="    ", subsequent_indent="        ")
        function.__doc__ = inspect.cleandoc(function.__doc__) + (
            "\n\nOptions, those of the command line:\n\n" + "\n".join(lines)
        )
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        taken = {p.name for p in parameters}
        parameters += [
            inspect.Parameter(
                option.name.replace("-", "_"), inspect.Parameter.KEYWORD_ONLY, default=None
            )
            for option in listed
            if option.name.replace("-", "_") not in taken
        ]
        function.__signature__ = signature.replace(parameters=parameters)
        return function

    return decorate
