"""cupola.toml <-> frozen pydantic models, one a stage, each in that stage's file.

An unknown key is an error that names its nearest neighbour; so is a value of the wrong kind.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import tomlkit

from cupola.errors import ConfigError


class Config(pydantic.BaseModel):
    """Base of every stage's settings: frozen, and an unknown key is an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


C = TypeVar("C", bound=Config)


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError with line and column if it is missing, not UTF-8 or not TOML."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such file", str(path), "cupola new DIR --medium tune --from FOLDER writes one") from None
    except IsADirectoryError:
        raise ConfigError("is a folder, not a settings file", str(path), "give the folder that holds cupola.toml") from None
    except UnicodeDecodeError as e:
        raise ConfigError(f"not UTF-8: byte {e.start} is {e.object[e.start]:#04x}", str(path), "save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"not valid TOML: {e}", str(path), "mend that line; strings need quotes, tables [brackets]") from None


def parse(kind: type[C], table: dict[str, Any], where: str) -> C:
    """`table` as a `kind`. Raises ConfigError naming the first wrong key, and for an unknown one the nearest known."""
    try:
        return kind.model_validate(table)
    except pydantic.ValidationError as e:
        first = e.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        if first["type"] != "extra_forbidden":
            raise ConfigError(f"{place}: {_message(first)}", where, "see docs/config.md for every key and its default") from None
        known = _known(kind, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
        fix = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        raise ConfigError(f"unknown key {place!r}", where, fix) from None


def _message(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ")
    return message if error["type"] == "missing" else f"{message}, got {error['input']!r:.80}"


def _known(kind: Any, loc: tuple[Any, ...]) -> list[str]:
    """The keys that are known at `loc` below `kind`; dict and list levels are stepped through."""
    for part in loc:
        fields = getattr(kind, "model_fields", None)
        if fields is not None and part in fields:
            kind = fields[part].annotation
        kind = _inner(kind)
    return list(getattr(kind, "model_fields", {}))


def _inner(annotation: Any) -> Any:
    for arg in getattr(annotation, "__args__", ()):
        found = _inner(arg)
        if hasattr(found, "model_fields"):
            return found
    return annotation


def write(path: Path, settings: Config) -> None:
    """Save settings beside what they made, readable by `read` and `parse`."""
    path.write_text(tomlkit.dumps(_plain(settings.model_dump(mode="json"))), "utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):  # TOML has no null: an absent key is the default, and every default None is None
        return {k: _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
