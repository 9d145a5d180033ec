"""Fields of options: explained where help() looks, and checked in words."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeAlias

from xcontrast.errors import DataError, problem

__all__ = ["ABOVE_0", "FROM_0", "SHARE", "Rule", "check_fields", "explain_fields"]

Rule: TypeAlias = tuple[str, Callable[[Any], bool]]
"""What a value has to be, in words and as a test."""
ABOVE_0: Rule = ("above 0", lambda value: value > 0)
FROM_0: Rule = ("of 0 or more", lambda value: value >= 0)
SHARE: Rule = ("in 0..1", lambda value: 0 <= value <= 1)
LONG = 40
"""Characters of a default that is told by its name in the source instead."""


def explain_fields(*kinds: type) -> None:
    """Have the docstrings of dataclasses list their fields, with the texts below these.

    Documentation tools and editors read such texts in the source; help() and ``?`` do not.

    Parameters
    ----------
    *kinds : type
        Dataclasses.
    """
    for kind in kinds:
        kind.__doc__ = _Explained(kind)  # type: ignore[assignment]  # Python asks its __get__


def check_fields(options: Any, rules: Mapping[str, Rule]) -> None:
    """Refuse values that cannot be, and say which can.

    Parameters
    ----------
    options : dataclass
        A field of ``Literal`` has one of its values; one that may be None may be None.
    rules : mapping of str to Rule
        Of other fields.

    Raises
    ------
    DataError
        If one does not follow its rule.
    """
    own = {field.name: field for field in fields(options)}
    every = {name: rule for name, field in own.items() if (rule := _choice(field))} | dict(rules)
    wrong = [n for n, rule in every.items() if not _follows(getattr(options, n), own[n], rule)]
    if wrong:
        told = ", ".join(f"{name} {every[name][0]}" for name in wrong)
        raise DataError(
            problem(
                expected=f"options in their documented ranges: {told}",
                received=", ".join(f"{name}={getattr(options, name)!r}" for name in wrong),
                do=f"see help(xc.{type(options).__name__})",
            )
        )


class _Explained:
    """A docstring that is put together when it is first read: importing does not wait for it."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.plain = inspect.cleandoc(kind.__doc__ or "")
        """As it was written."""
        self._text: str | None = None

    def __get__(self, instance: object, owner: type) -> str:
        if self._text is None:
            self._text = _insert(self.plain, _list_fields(self.kind))
        return self._text


def _insert(plain: str, section: str) -> str:
    """Put a section before the first that there is."""
    first = re.search(r"^\w[\w ]*\n-+$", plain, re.MULTILINE)
    at = len(plain) if first is None else first.start()
    return f"{plain[:at].rstrip()}\n\n{section}\n\n{plain[at:]}".rstrip() + "\n"


def _list_fields(kind: type) -> str:
    sources, texts = _read_source(kind)
    lines = ["Parameters", "----------"]
    for field in fields(kind):
        lines.append(f"{field.name} : {_say_type(field)}{_say_default(field, sources)}")
        text = texts.get(field.name, "")
        lines += [f"    {line}".rstrip() for line in text.splitlines()]
    return "\n".join(lines)


def _read_source(kind: type) -> tuple[dict[str, str], dict[str, str]]:
    """Give the defaults and the texts of fields as the source has them; none where it is gone."""
    try:
        (body,) = ast.parse(inspect.cleandoc(inspect.getsource(kind))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}, {}
    sources, texts = {}, {}
    statements = getattr(body, "body", [])
    for one, after in zip(statements, [*statements[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            if one.value is not None:
                sources[one.target.id] = ast.unparse(one.value)
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                texts[one.target.id] = inspect.cleandoc(str(after.value.value))
    return sources, texts


def _say_type(field: Field[Any]) -> str:
    return re.sub(r"Literal\[(.*?)\]", r"{\1}", str(field.type))


def _say_default(field: Field[Any], sources: Mapping[str, str]) -> str:
    if field.default_factory is not MISSING:
        return f", default {getattr(field.default_factory, '__name__', '...')}()"
    if field.default is MISSING:
        return ""
    text = repr(field.default)
    return f", default {text if len(text) <= LONG else sources.get(field.name, '...')}"


def _choice(field: Field[Any]) -> Rule | None:
    """Give the rule of a field that has one of several values."""
    found = re.fullmatch(r"Literal\[(.*)\](?: \| None)?", str(field.type))
    if found is None:
        return None
    values = ast.literal_eval(f"({found[1]},)")
    told = " or ".join(filter(None, [", ".join(map(repr, values[:-1])), repr(values[-1])]))
    return told, lambda value: value in values


def _follows(value: Any, field: Field[Any], rule: Rule) -> bool:
    if value is None and "None" in str(field.type):
        return True
    try:
        return bool(rule[1](value))
    except TypeError:  # of another type altogether
        return False
