"""Strings and paths as users write them, and how errors show a value."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def brief(value: object) -> str:
    """A value in at most 100 characters of one line, for an error."""
    try:
        line = " ".join(repr(value).split())
    except Exception:  # of an int with more digits than Python prints, or an object's own
        return f"<{type(value).__name__}>"
    return line if len(line) <= 100 else line[:99] + "…"


def choice(name: str, value: object, names: Sequence[str]) -> str:
    """One of these names."""
    if not isinstance(value, str) or value not in names:
        *most, last = [f'"{known}"' for known in names]
        error = ValueError if isinstance(value, str) else TypeError
        raise error(f"{name} is {brief(value)}; wanted {', '.join(most)} or {last}")
    return value


def text(name: str, value: object) -> str:
    """A string that UTF-8 can hold."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {brief(value)} ({type(value).__name__}); wanted a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is {brief(value)}; wanted a string without lone surrogates") from None
    return value


def path(name: str, value: Any) -> Path:
    """A path that the system can be asked for."""
    try:
        result = Path(value)
    except Exception:  # whatever an object's own methods raise
        raise TypeError(f"{name} is {brief(value)} ({type(value).__name__}); wanted a str or a path") from None
    try:
        encoded = os.fsencode(result)
    except UnicodeEncodeError:
        raise ValueError(f"{name} is {brief(str(result))}; wanted a path without lone surrogates") from None
    if b"\0" in encoded:
        raise ValueError(f"{name} is {brief(str(result))}; wanted a path without null characters")
    return result


def json_text(name: str, value: Mapping[str, object]) -> str:
    """The JSON text of a mapping."""
    try:
        return json.dumps(dict(value))
    except TypeError as error:
        raise TypeError(f"{name} is not made of what JSON has: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} cannot be written as JSON: {error}") from None
