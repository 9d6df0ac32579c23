"""A project folder: cupola.toml, what cupola makes on the way (.cupola/) and what the person wanted (out/)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from cupola import config
from cupola.compose import ComposeConfig
from cupola.config import Config
from cupola.corpus import CorpusConfig
from cupola.errors import ConfigError, DataError, MachineError
from cupola.hardware import PriceConfig
from cupola.media import MEDIA
from cupola.media.base import Options
from cupola.meter import Budget
from cupola.sources import Source
from cupola.train import TrainConfig

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class ProjectTable(Config):
    """[project]"""

    name: str = Field(min_length=1)
    seed: int = 0


class BudgetTable(Config):
    """[budget]: the tightest binds."""

    minutes: float | None = None
    usd: float | None = None
    kwh: float | None = None
    ladder: float = Field(0.22, ge=0, le=0.5)  # share for the small runs that foretell the large one; 0: none, and quality is not forecast

    def limits(self) -> Budget:
        return Budget.of(self.minutes, self.usd, self.kwh)


class ModelTable(Config):
    """[models.NAME]: what it learns from and how, and what is to be made with it."""

    medium: str
    sources: tuple[Source, ...] = Field(min_length=1)
    count: int = Field(12, ge=0)  # pieces that `make` delivers
    notation: dict[str, Any] = Field({})  # the medium's own settings: docs/media.md
    corpus: CorpusConfig = CorpusConfig()
    train: TrainConfig = TrainConfig()  # where it says nothing, what the medium says
    compose: ComposeConfig = ComposeConfig()

    @property
    def options(self) -> Options:
        """[models.NAME.notation] as the medium has it."""
        return config.parse(MEDIA[self.medium].options, self.notation, "notation")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _by_medium(cls, table: Any) -> Any:
        """The medium's own defaults of training, and its settings checked."""
        medium = MEDIA.get(table.get("medium")) if isinstance(table, dict) else None
        if medium is None:
            return table
        notation, train = table.get("notation", {}), table.get("train", {})
        if isinstance(notation, dict):
            config.parse(medium.options, notation, f"[models.{medium.name}.notation]")
        if not isinstance(train, dict):
            return table
        train, compose = dict(medium.train) | train, table.get("compose", {})
        length, most = train.get("length"), ComposeConfig.model_fields["most_tokens"].default
        if isinstance(compose, dict) and isinstance(length, int) and length > most:  # a piece as long as the window is drawn whole
            compose = {"most_tokens": length} | compose
        return table | {"train": train, "compose": compose}

    @pydantic.field_validator("medium")
    @classmethod
    def _known(cls, medium: str) -> str:
        if medium not in MEDIA:
            raise ValueError(f"no medium of that name; there are {', '.join(MEDIA)}")
        return medium


class Settings(Config):
    """cupola.toml"""

    project: ProjectTable
    budget: BudgetTable = BudgetTable()
    price: PriceConfig = PriceConfig()
    models: dict[str, ModelTable] = Field(min_length=1)

    @pydantic.field_validator("models")
    @classmethod
    def _names(cls, models: dict[str, ModelTable]) -> dict[str, ModelTable]:
        for name in models:
            if not NAME.fullmatch(name):
                raise ValueError(f"a model is called by small letters, digits, dots and dashes, not {name!r}")
        return models


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder and its settings."""

    folder: Path
    settings: Settings

    @property
    def work(self) -> Path:
        return self.folder / ".cupola"

    @property
    def cache(self) -> Path:
        """Downloads and corpora: deleting it loses nothing."""
        return self.work / "cache"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def model(self, name: str | None = None) -> tuple[str, ModelTable]:
        """The model of that name, or the only one. Raises ConfigError otherwise."""
        models = self.settings.models
        if name is None and len(models) > 1:
            raise ConfigError(f"there are {len(models)} models", str(self.folder), f"say which: {', '.join(models)}")
        name = name or next(iter(models))
        if name not in models:
            raise ConfigError(f"no model {name!r}", str(self.folder / "cupola.toml"), f"there are {', '.join(models)}")
        return name, models[name]

    def fingerprint(self) -> str:
        """Of the settings but the budget: the same settings go on with the same unfinished work."""
        return hashlib.sha256(self.settings.model_dump_json(exclude={"budget"}).encode()).hexdigest()


def load(
    folder: Path, *, minutes: float | None = None, usd: float | None = None, kwh: float | None = None, seed: int | None = None
) -> Project:
    """The project in `folder` (or whose cupola.toml this is), with a budget or seed given on the command line in place of the file's.

    Raises ConfigError for a missing or wrong cupola.toml, naming key and nearest known key; for no budget at all.
    """
    path = folder if folder.name == "cupola.toml" else folder / "cupola.toml"
    if not path.exists() and not path.parent.is_dir():
        raise ConfigError(
            "no such folder", str(folder), "give the folder that holds cupola.toml, or make one: cupola new DIR --medium tune --from FOLDER"
        )
    tables = config.read(path)
    given = {key: value for key, value in (("minutes", minutes), ("usd", usd), ("kwh", kwh)) if value is not None}
    if given:
        kept = tables.get("budget")
        tables["budget"] = given | ({"ladder": kept["ladder"]} if isinstance(kept, dict) and "ladder" in kept else {})
    if seed is not None:
        tables.setdefault("project", {})["seed"] = seed
    settings = config.parse(Settings, tables, str(path))
    settings.budget.limits()  # zero and negative ones are refused here
    if settings.budget.limits() == Budget():
        raise ConfigError("no budget", str(path), "add [budget] minutes = 5 (or usd, or kwh), or pass --minutes 5")
    return Project(path.parent.resolve(), settings)


def find(path: Path) -> Project:
    """The project that a path lies in: the nearest cupola.toml upwards. Raises ConfigError when there is none."""
    path = path.resolve()
    for folder in (path, *path.parents):
        if (folder / "cupola.toml").is_file():
            return load(folder)
    raise ConfigError(
        "no cupola.toml here or above", str(path), "give a folder of a cupola project, such as out/model of one that was made"
    )


STARTER = """# A cupola project: `cupola make` trains a model of your own from the files below, inside the budget, and makes new
# ones with it.
[project]
name = {name}

[budget]
minutes = {minutes:g}   # the tightest of minutes, usd and kwh binds
# usd = 0.01

[models.{model}]
medium = {medium}
count = 12   # new pieces to make

[[models.{model}.sources]]
source = {source}   # {files}
licence = {licence}   # who may use these files, and how; "own work" if they are yours
{notation}"""


def new(folder: Path, medium: str, source: Path, *, licence: str = "own work", minutes: float = 5, name: str | None = None) -> Path:
    """Write a starter cupola.toml for a folder of one's own files; returns its path.

    Raises ConfigError for an unknown medium or a project that is there already, DataError when the folder holds no file of the medium.
    """
    if medium not in MEDIA:
        raise ConfigError(f"no medium {medium!r}", "--medium", f"use one of {', '.join(MEDIA)}")
    Budget.of(minutes=minutes)  # refuses zero and less
    path = folder / "cupola.toml"
    if path.exists():
        raise ConfigError("there is a project here already", str(path), "choose another folder, or edit that file")
    if not source.exists():
        raise DataError("no such folder", str(source), "give the folder that holds your files")
    count = sum(1 for _ in _of(medium, source))
    if not count:
        raise DataError(f"no {medium} files in it", str(source), f"a {medium} is read from {', '.join(MEDIA[medium].suffixes[:12])}")
    known = MEDIA[medium].options.model_fields
    lines = [f"# {key} = {json.dumps(default)}" for key, field in known.items() if (default := _plain_default(field)) is not None]
    notation = f"\n[models.{{model}}.notation]   # docs/media.md says what each does\n{chr(10).join(lines)}\n" if lines else ""
    title = name or folder.resolve().name
    model = re.sub(r"[^a-z0-9._-]+", "-", title.lower()).strip("-._")[:64] or medium
    text = STARTER.format(
        name=_quoted(title),
        minutes=minutes,
        model=_quoted(model) if "." in model else model,
        medium=_quoted(medium),
        source=_quoted(str(source.resolve())),
        files=f"{count:,} files",
        licence=_quoted(licence),
        notation=notation.replace("{model}", _quoted(model) if "." in model else model),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as e:
        raise MachineError(f"cannot write: {e.strerror}", str(path), "choose a folder you may write to") from None
    return path


def _of(medium: str, source: Path) -> Iterable[Path]:
    files = [source] if source.is_file() else source.rglob("*")
    return (p for p in files if p.suffix.lower() in MEDIA[medium].suffixes and p.is_file())


def _plain_default(field: Any) -> Any:
    """A setting's default as TOML can say it on one line, an example where it is nothing (a sheet's cells), or None."""
    default = field.get_default(call_default_factory=True)
    if default is None and "tuple[int, int]" in str(field.annotation):
        return (16, 16)
    return default if isinstance(default, (bool, int, float, str, tuple)) else None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string
