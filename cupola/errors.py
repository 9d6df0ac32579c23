"""What cupola raises on purpose: everything here can be mended by the person who reads it.

CupolaError
  ConfigError       cupola.toml or a flag is wrong: unknown key, bad value, missing table
  SourceError       a source cannot be fetched, or what came is not what was pinned
  LicenceError      a source's licence is unknown or forbids the use, and nobody allowed it
  DataError         files that cannot be read as the medium they are said to be, or too few of them
    Diverged        a run's loss became infinite or not a number
  LadderTooShort    too few or too small runs to foretell from; the rough law is on the exception
  OverBudget        the budget is too small, or is used up; what was planned or made is kept
  CheckpointError   a run cannot be resumed: damaged, or made under other data, versions or settings
  ProofError        an exported model does not give what the trained one gave
  EngineError       llama.cpp refused a request, a grammar or a file
  MachineError      this machine lacks something: a package, disk space, a writable folder
  Busy              another cupola holds this project
"""

from __future__ import annotations

from typing import Any


class CupolaError(Exception):
    """Something the user can mend. Terminal, HTTP and studio all show the same three parts."""

    def __init__(self, what: str, where: str = "", fix: str = ""):
        super().__init__(what, where, fix)  # positional, so it survives a worker process's pickle
        self.what, self.where, self.fix = what, str(where), fix

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  {self.fix}".removeprefix(": ").rstrip()


class ConfigError(CupolaError):
    """A setting is wrong."""


class SourceError(CupolaError):
    """A source is out of reach, or its bytes are not the pinned ones."""


class LicenceError(CupolaError):
    """A source's licence is unknown or forbids this use."""


class DataError(CupolaError):
    """Files that cannot be read as what they are said to be."""


class Diverged(DataError):
    """A run's loss became infinite or not a number; its last checkpoint stands."""


class LadderTooShort(CupolaError):
    """The measured runs do not reach far enough to foretell what was asked; what they do say is on `.law`."""

    def __init__(self, what: str, where: str = "", fix: str = "", law: Any = None):
        super().__init__(what, where, fix)
        self.args = (what, where, fix, law)  # a pickle makes it anew from these
        self.law = law


class OverBudget(CupolaError):
    """The budget is too small for anything useful, or used up."""


class CheckpointError(CupolaError):
    """A run cannot be resumed as asked."""


class ProofError(CupolaError):
    """The exported model and the trained one disagree."""


class EngineError(CupolaError):
    """llama.cpp refused something."""


class MachineError(CupolaError):
    """This machine lacks something the work needs."""


class Busy(CupolaError):
    """Another cupola works on this project."""
