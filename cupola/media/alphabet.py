"""Which letter stands for which character or tile of a person's maps, and what it is.

The usual characters of text maps have their roles (# wall, . floor, + door, < entrance ...); `symbols` in cupola.toml says the others', and
goes before. The commonest character of a role gets the role's own letter, each other character one of the letters without a role, so that
what is written has the person's own characters again (but a second character for an entrance, @ beside <, is written as the commoner one).
The same goes for the tiles of a Tiled map, whose class or property says the role.

Worked example: maps of # . % > with symbols = { "%" = "wall" } have # = w, . = f, > = s, and % = b, a wall too. Entrances are put where
there are none, as <.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from cupola.errors import ConfigError, DataError
from cupola.media.grid import DECORATION, ROLES, WORDS

OTHERS = "".join(c for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in ROLES)  # 40
LETTERS = ROLES + OTHERS
MOST = len(LETTERS)
USUAL = dict(zip(ROLES, " #.+~^TM!$<>", strict=True))  # the character written for a role that the corpus has no character for
_SIGNS = (
    {" ": "x", "#": "w", "|": "w", "-": "w", ".": "f", ",": "f", "'": "d", "+": "d", "~": "a", "=": "a", "^": "l", "&": "t"}
    | {"!": "i", "?": "i", "*": "i", "/": "i", "%": "i", "$": "c", "<": "u", "@": "u", ">": "s"}
    | dict.fromkeys("0123456789", "m")
)
_DAMAGED = "the medium's settings are damaged; make the corpus again"


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """Letters of a corpus, with what they stand for."""

    letters: str = ROLES
    roles: Mapping[str, str] = dataclasses.field(default_factory=lambda: {c: c for c in ROLES})  # letter -> role, "" for none
    characters: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(USUAL))  # letter -> what text maps have for it
    also: Mapping[str, str] = dataclasses.field(
        default_factory=dict
    )  # further characters and tile numbers of an entrance or exit -> letter
    gids: Mapping[str, int] = dataclasses.field(default_factory=dict)  # letter -> what Tiled maps have for it
    tilesets: tuple[Mapping[str, Any], ...] = ()  # of the person's Tiled maps, as they stand in them; () for our own
    enclosed: bool = False  # a space inside walls is floor, outside them outside
    known: bool = True  # there is floor, so that entrance, exit and the way between them mean something

    @classmethod
    def fit(
        cls,
        characters: Mapping[str, int],
        gids: Mapping[int, int],
        classes: Mapping[int, str],
        symbols: Mapping[str, str],
        *,
        tilesets: tuple[Mapping[str, Any], ...] = (),
        drawn: bool = False,
        stairs_and_player: bool = False,
    ) -> Self:
        """From how often each character and each tile occurs, the tiles' classes and what the person says.

        drawn: there are maps of other kinds (WADs, vaults), whose letters are the roles themselves.
        stairs_and_player: some map has both < and @, so that @ is no entrance.
        Raises DataError for more than 52 letters, ConfigError for symbols that say no role.
        """
        said = {_symbol(key): role_of(word, f"symbols.{key}") for key, word in symbols.items()}
        enclosed = _enclosed(characters, said)
        own = {c: said.get(c) or ("" if c == "@" and stairs_and_player else _usual(c, characters)) for c in characters} | (
            {" ": "x"} if characters else {}
        )
        tiles = {gid: said.get(str(gid)) or _role_in(classes.get(gid, "")) or ("x" if gid == 0 else "") for gid in gids}
        by_text = _assign(characters, own, {" ": "x"} if own.get(" ") == "x" else {}, "")
        by_tile = _assign(gids, tiles, {0: "x"} if 0 in gids else {}, "".join(by_text.values()))
        letters = "".join(c for c in LETTERS if c in ROLES or c in by_text.values() or c in by_tile.values())
        roles = {c: c if c in ROLES else "" for c in letters}
        roles |= {letter: own[c] for c, letter in by_text.items()} | {letter: tiles[g] for g, letter in by_tile.items()}
        written, tiles_written = _first(by_text) | ({"f": " "} if enclosed else {}), _first(by_tile)
        also = {
            str(c): letter
            for c, letter in [*by_text.items(), *by_tile.items()]
            if c not in (written.get(letter), tiles_written.get(letter))
        }
        known = drawn or enclosed or "f" in {*own.values(), *tiles.values()} or not (characters or gids)
        return cls(
            letters,
            roles,
            _spread(letters, written),
            also,
            tiles_written,
            tilesets,
            enclosed,
            known,
        )

    def table(self) -> np.ndarray:
        """(256,) uint8: a letter's code -> its role's, or DECORATION."""
        out = np.arange(256, dtype=np.uint8)
        for letter, role in self.roles.items():
            out[ord(letter)] = ord(role) if role else DECORATION
        return out

    def letter_of(self) -> dict[str, str]:
        """Character -> letter, for reading text maps."""
        return {**self.also, **{c: letter for letter, c in self.characters.items()}} | ({" ": "x"} if self.enclosed else {})

    def letter_of_tile(self) -> dict[int, str]:
        """Tile number -> letter, for reading Tiled maps."""
        more = {int(key): letter for key, letter in self.also.items() if key.isascii() and key.isdigit()}
        return more | {gid: letter for letter, gid in self.gids.items()} | {0: "x"}

    def plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"tilesets": list(self.tilesets)}

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> Self:
        """Raises DataError for what `plain` does not give."""
        try:
            found = cls(**{**plain, "tilesets": tuple(plain["tilesets"])})
            good = set(found.letters) == set(found.roles) == set(found.characters) and set(found.letters) <= set(LETTERS)
            good &= set(ROLES) <= set(found.letters) and all(len(c) == 1 for c in found.characters.values())
            good &= set(found.roles.values()) <= {*ROLES, ""} and all(isinstance(gid, int) for gid in found.gids.values())
        except (KeyError, TypeError, AttributeError) as e:
            raise DataError(f"no alphabet: {e}", "settings", _DAMAGED) from None
        if not good:
            raise DataError("no alphabet: letters, roles and characters do not go together", "settings", _DAMAGED)
        return found


def role_of(word: str, where: str) -> str:
    """The letter of a role by any of its words, or by itself. Raises ConfigError for another word."""
    if word in ROLES and len(word) == 1:
        return word
    if role := _role_in(word):
        return role
    raise ConfigError(f"no role {word!r}", where, "one of " + ", ".join(words[0] for words in WORDS.values()))


def _symbol(key: str) -> str:
    if len(key) != 1 and not (key.isascii() and key.isdigit()):
        raise ConfigError(f"{key!r} is neither a character nor the number of a tile", "symbols", 'write it as symbols = { "%" = "wall" }')
    return key


def _role_in(name: str) -> str:
    """The role that a name says: "Wall_3" is w; "" for none."""
    found = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return next((letter for word in found for letter, words in WORDS.items() if word in words), "")


def _usual(character: str, there: Mapping[str, int]) -> str:
    """The role that a character has by custom; "" for none. Letters are monsters and @ is the player only among signs that say walls."""
    if character in _SIGNS:
        return _SIGNS[character]
    if character == "T" and "#" in there:
        return "t"
    return "m" if character.isascii() and character.isupper() and "#" in there else ""


def _enclosed(characters: Mapping[str, int], said: Mapping[str, str]) -> bool:
    """Whether a space within walls has to be the floor: there is no other."""
    return " " in characters and " " not in said and "f" not in {said.get(c) or _SIGNS.get(c, "") for c in characters}


def _assign(counts: Mapping[Any, int], roles: Mapping[Any, str], given: dict[Any, str], taken: str) -> dict[Any, str]:
    """Symbol -> letter: what is `given`; then the commonest of a role gets its letter, the others what is left and not `taken`.

    All entrances are u and all exits s, since a level has one of each.
    """
    out = dict(given)
    left = [c for c in OTHERS if c not in taken]
    homeless = []
    for symbol in sorted(counts, key=lambda s: (-counts[s], str(s))):
        role = roles[symbol]
        if symbol in out:
            continue
        if role and (role not in out.values() or role in "us"):
            out[symbol] = role
        elif left:
            out[symbol] = left.pop(0)
        else:
            homeless.append(symbol)
    if homeless:
        shown = " ".join(map(str, homeless[:20])) + (" ..." if len(homeless) > 20 else "")
        what = f"{len(counts)} different characters or tiles, and letters for {len(out)}; without one: {shown}"
        raise DataError(what, "symbols", "replace the rare ones in the maps by commoner ones, or leave the files that have them out")
    return out


def _first(letters: Mapping[Any, str]) -> dict[str, Any]:
    """Letter -> the first symbol that has it."""
    out: dict[str, Any] = {}
    for symbol, letter in letters.items():
        out.setdefault(letter, symbol)
    return out


def _spread(letters: str, written: dict[str, str]) -> dict[str, str]:
    """Each letter's character: the corpus's, else the usual one, else any that is free."""
    out = dict(written)
    free = [chr(c) for c in range(33, 127) if chr(c) not in out.values()]
    for letter in letters:
        if letter not in out:
            wish = next((c for c in (USUAL.get(letter, ""), letter) if c and c not in out.values()), free[0])
            out[letter] = wish
            free = [c for c in free if c != wish]
    return {letter: out[letter] for letter in letters}
