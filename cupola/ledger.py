"""The ledger: every run, spend, forecast, measurement, artefact and choice, as it happened, in one SQLite file that only grows.

One table, `rows`: what happened, when, in which run, under an id that its writer made, and the rest as JSON. A changed mind is a new row;
the database itself refuses updates and deletes. Views (`spends`, `artefacts`, ...) show rows by column to any program that opens the file.

A row is on the disk when the call returns (WAL, synchronous=FULL). A call that failed may be made again with the same id: it counts once,
even if the failed one had been stored after all. One process writes, held by a lock that dies with it; any number read.

Money is kept as whole nano-dollars, so that sums are exact in any order and no spend rounds to nothing: a candidate may cost $0.000004,
of which a micro-dollar would be a quarter. 64 bits of them reach nine billion dollars. Times are UTC; durations come from the meter's
monotonic clock and order from the row number, so that a wall clock that jumps changes neither.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import math
import os
import sqlite3
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cupola
from cupola import units
from cupola.errors import Busy, CupolaError, DataError, MachineError

NANO = 1_000_000_000
APPLICATION_ID = 0x6375706F  # "cupo": what `file ledger.db` shows, and how another program's database is told from ours
NEEDS_SQLITE = (3, 37, 0)  # STRICT tables
# Two connections that write and checkpoint at once can corrupt a file before these (sqlite.org/wal.html, "the WAL-reset bug").
# One process writes here, and readers open the file read-only, so an older SQLite is safe; `doctor` says so.
WAL_RESET_MENDED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))

_FIRST = ("run", "end", "note", "spend", "forecast", "outcome", "artefact", "choice")  # the kinds of rows of version 1
WHAT = (*_FIRST, "point", "probe")


def _table(name: str, kinds: tuple[str, ...]) -> str:
    return f"""CREATE TABLE {name} (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  at TEXT NOT NULL,
  what TEXT NOT NULL CHECK (what IN {kinds}),
  run TEXT,
  body TEXT NOT NULL CHECK (json_valid(body)),
  CHECK (what <> 'spend' OR (json_extract(body, '$.usd_nano') >= 0 AND json_extract(body, '$.seconds') >= 0
         AND json_extract(body, '$.joules') >= 0))
) STRICT"""


_GUARDS = (
    "CREATE INDEX rows_by_run ON rows (run, what)",
    "CREATE TRIGGER no_update BEFORE UPDATE ON rows BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    "CREATE TRIGGER no_delete BEFORE DELETE ON rows BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
)


def _view(name: str, what: str, *columns: str) -> str:
    fields = ", ".join(f"json_extract(body, '$.{c}') AS {c}" for c in columns)
    usd = ", json_extract(body, '$.usd_nano') / 1e9 AS usd" if "usd_nano" in columns else ""
    return f"CREATE VIEW {name} AS SELECT seq, id, at, run, {fields}{usd} FROM rows WHERE what = '{what}'"


# Each entry takes a ledger from its number to the next. Never change one that was released; add one.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE migrations (number INTEGER PRIMARY KEY, at TEXT NOT NULL, cupola TEXT NOT NULL) STRICT",
        _table("rows", _FIRST),
        *_GUARDS,
        _view("runs", "run", "kind", "name", "folder", "settings"),
        _view("ends", "end", "status", "outcome"),
        _view("notes", "note", "note", "detail"),
        _view("spends", "spend", "kind", "seconds", "joules", "joules_by", "usd_nano", "usd_by"),
        _view("forecasts", "forecast", "quantity", "p10", "p50", "p90", "unit", "law"),
        _view("outcomes", "outcome", "forecast", "value"),
        _view(
            "artefacts", "artefact", "artefact", "medium", "model", "text", "prompt", "seed", "seconds", "joules", "usd_nano", "distance"
        ),
        _view("choices", "choice", "artefact", "kept", "why", "by"),
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
    # Points and probes. The list of kinds is a CHECK of the table, which SQLite cannot change: a new table takes over the rows and the
    # number of the next one (sqlite.org/lang_altertable.html#otheralter). Index and triggers go with the old table. Views stay, somebody's
    # own too: the old way of renaming a table does not ask whether what they speak of is there at that moment.
    (
        _table("new_rows", WHAT),
        "INSERT INTO new_rows (seq, id, at, what, run, body) SELECT seq, id, at, what, run, body FROM rows ORDER BY seq",
        "UPDATE sqlite_sequence AS new SET seq = old.seq FROM sqlite_sequence AS old WHERE new.name = 'new_rows' AND old.name = 'rows'",
        "DROP TABLE rows",
        "PRAGMA legacy_alter_table = ON",
        "ALTER TABLE new_rows RENAME TO rows",
        "PRAGMA legacy_alter_table = OFF",
        *_GUARDS,
        _view(
            "points",
            "point",
            *"key params tokens unique_tokens bits_per_byte flops seconds seed learning_rate share status purpose".split(),
        ),
        _view("probes", "probe", "key", "params", "dtype", "tokens_per_second", "flops_per_second", "watts"),
    ),
)


# -- what goes in and comes out ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Artefact:
    """One made thing. Its id is the hash of its notation, so the same notation is the same thing whoever made it."""

    id: str  # artefact_id(text)
    medium: str
    model: str
    run: str
    text: str
    prompt: str = ""
    pins: dict = dataclasses.field(default_factory=dict)
    seed: int = 0
    parent: str | None = None  # the artefact that it varies, repaints or extends
    seconds: float = 0.0  # its share of what making it and its neighbours cost; the spends count, not these
    joules: float = 0.0
    usd: float = 0.0
    logprob_per_byte: float | None = None  # nats
    valid: bool = True
    problems: list[str] = dataclasses.field(default_factory=list)
    kept: bool | None = None  # None: nobody has chosen yet
    why: str = ""
    nearest_name: str = ""  # the nearest document of the corpus
    nearest_path: str = ""
    distance: float | None = None  # to it: 0 the same, 1 nothing shared
    files: list[str] = dataclasses.field(default_factory=list)


def artefact_id(text: str) -> str:
    """SHA-256 of a notation, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Spent:
    """What a kind of work has used."""

    seconds: float = 0.0
    joules: float = 0.0
    usd: float = 0.0


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over the spends, and what they bought."""

    seconds: float
    joules: float
    usd: float
    by_kind: dict[str, Spent]  # in the order in which the kinds first appeared
    joules_by: dict[str, float]  # joules by the meter that counted them
    runs: int
    kept: int  # things whose last choice was to keep them
    rejected: int
    kept_by_medium: dict[str, int]
    usd_per_kept: float | None  # all the dollars over all the kept things; None while nothing is kept

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return dataclasses.asdict(self)


def open(project: Path) -> Book:
    """The ledger of a project folder, to write in; made if there is none. Use as a context manager: closing gives up the lock.

    Raises Busy naming the process that holds it; MachineError for a folder that can't be written, a full disk or a SQLite that is too
    old; DataError for a file that is damaged, is not a ledger, or was written by a newer cupola.
    """
    _check_sqlite()
    project = Path(project)
    if not project.is_dir():
        raise MachineError("no such folder", str(project), "give the folder that holds cupola.toml")
    path = project / ".cupola" / "ledger.db"
    try:
        path.parent.mkdir(exist_ok=True)
        lock = _lock(path.with_suffix(".lock"))
    except OSError as e:
        raise MachineError(
            f"cannot write here: {e.strerror}", str(path.parent), "make the folder writable, or free space on its disk"
        ) from e
    with contextlib.ExitStack() as on_error:
        on_error.callback(lock.close)
        _check_header(path)
        connection = _connect(path, str(path), on_error)
        with _plainly(path):
            _check_version(connection, path, MIGRATIONS)  # before WAL, which changes the file: it may not be ours
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(connection, path)
        on_error.pop_all()
    return Book(connection, path, lock)


def read(project: Path) -> Book:
    """The ledger of a project folder, to read only, also while another process writes it.

    One that an older cupola wrote is read as it is. Raises DataError where there is none yet, it is damaged, or a newer cupola wrote it.
    """
    _check_sqlite()
    path = Path(project) / ".cupola" / "ledger.db"
    none_yet = DataError("no ledger yet: nothing was run or spent here", str(path), "cupola make begins one")
    if not path.is_file():
        raise none_yet
    _check_header(path)
    uri = path.resolve().as_uri()
    with contextlib.ExitStack() as on_error, _plainly(path):
        connection = _connect(path, f"{uri}?mode=ro", on_error)
        try:
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            if path.with_name(path.name + "-wal").exists():
                raise
            # a folder that we may not write: SQLite can't make its index beside the file, and nobody else writes there either
            connection = _connect(path, f"{uri}?immutable=1", on_error)
        if not _check_version(connection, path, MIGRATIONS):  # its writer died before the first table was on the disk
            raise none_yet
        on_error.pop_all()
    return Book(connection, path, None)


class Book:
    """An open ledger. Every method that writes returns once its row is on the disk. Safe in threads, not in forked children."""

    def __init__(self, connection: sqlite3.Connection, path: Path, lock: BinaryIO | None):
        self.db_path = path
        self._connection, self._lock, self._guard, self._pid = connection, lock, threading.RLock(), os.getpid()
        self._broken = ""

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file and the lock back; twice is fine."""
        with self._guard:
            self._connection.close()
            if self._lock:
                self._lock.close()

    # writing

    def start_run(self, kind: str, name: str, folder: str = "", settings: dict | None = None, id: str | None = None) -> str:
        """Begin a run, or go on with it where `id` has begun before. Returns its id."""
        id = id or _new_id(kind)
        self._append("run", id, id, {"kind": kind, "name": name, "folder": str(folder), "settings": settings or {}})
        return id

    def finish_run(self, run: str, status: str, outcome: dict | None = None, id: str | None = None) -> None:
        """How a run ended: "done", "stopped" or "failed". A run that went on and ended again has two ends; the last counts."""
        self._append("end", id or _new_id("end"), run, {"status": status, "outcome": outcome or {}})

    def note(self, run: str | None, what: str, detail: dict | None = None, id: str | None = None) -> None:
        """Something worth knowing: a late machine, an early stop, a resumed run, a checkpoint that was thrown away."""
        self._append("note", id or _new_id("note"), run, {"note": what, "detail": detail or {}})

    def spend(
        self, run: str, kind: str, seconds: float, joules: float, joules_by: str, usd: float, usd_by: str, id: str | None = None
    ) -> None:
        """Time, energy and money used by a kind of work (corpus, plan, train, proof, evaluate, candidates, page).

        id: give your own to be able to call again after an error; the same id with another amount is a ValueError, as are negative figures
        and time that cost nothing.
        """
        body = {"kind": kind, "seconds": seconds, "joules": joules, "joules_by": joules_by, "usd_nano": _nano(usd), "usd_by": usd_by}
        for key, amount in (("seconds", seconds), ("joules", joules), ("usd", usd)):
            if not 0 <= amount < math.inf:
                raise ValueError(f"a spend of {amount} {key}")
        if seconds > 0 and not usd > 0:
            raise ValueError(f"{units.seconds(seconds)} of {kind} at $0: nothing is free, give the meter a price")
        id = id or _new_id("spend")
        if not self._append("spend", id, run, body):
            stored = self._one("SELECT body FROM rows WHERE id = ?", id)
            if json.loads(stored[0]) != json.loads(_json(body)):
                raise ValueError(f"spend {id} is in the ledger with another amount: {stored[0]}")

    def forecast(self, run: str, quantity: str, p10: float, p50: float, p90: float, unit: str, law: str, id: str | None = None) -> str:
        """What is expected before it is known, as an 80% interval and a middle; `law` says how it was made. Returns its id."""
        if not p10 <= p50 <= p90:
            raise ValueError(f"forecast of {quantity}: {p10} <= {p50} <= {p90} does not hold")
        id = id or _new_id("forecast")
        self._append("forecast", id, run, {"quantity": quantity, "p10": p10, "p50": p50, "p90": p90, "unit": unit, "law": law})
        return id

    def outcome(self, forecast: str, value: float, id: str | None = None) -> None:
        """What came of a forecast. Raises ValueError for a forecast that was never made."""
        found = self._one("SELECT run FROM rows WHERE id = ? AND what = 'forecast'", forecast)
        if not found:
            raise ValueError(f"no forecast {forecast!r} in the ledger")
        self._append("outcome", id or _new_id("outcome"), found[0], {"forecast": forecast, "value": value})

    def point(self, run: str | None, key: str, facts: dict, id: str | None = None) -> str:
        """One run of a ladder, also one that diverged or came late: what it was and what came of it. Returns its id.

        key: of all that decides whether another ladder may use it (corpus, tokenizer, code, settings). facts: what JSON can hold, by names
        as in the view `points`; None for a number that there is none of. An id that is there already stands as it was first written.
        """
        return self._measured("point", run, key, facts, id)

    def probe(self, run: str | None, key: str, facts: dict, id: str | None = None) -> str:
        """What was measured of a machine, which `key` names; as `point`, with names as in the view `probes`. Returns its id."""
        return self._measured("probe", run, key, facts, id)

    def _measured(self, what: str, run: str | None, key: str, facts: dict, id: str | None) -> str:
        own = {"seq", "id", "at", "what", "run"} & facts.keys() | ({"key"} if facts.get("key", key) != key else set())
        if own:
            raise ValueError(f"every row has its own {', '.join(sorted(own))}: the facts of a {what} need another name for theirs")
        id = id or _new_id(what)
        self._append(what, id, run, {**facts, "key": key})
        return id

    def artefact(self, made: Artefact) -> None:
        """Record one made thing; once per run and notation. Where `kept` is not None it counts as cupola's own choice."""
        body = dataclasses.asdict(made)
        body["artefact"], body["usd_nano"] = body.pop("id"), _nano(body.pop("usd"))
        run, kept, why = body.pop("run"), body.pop("kept"), body.pop("why")
        self._append("artefact", f"{run}:{made.id}", run, body)
        if kept is not None:
            self._append("choice", f"{run}:{made.id}:first", run, {"artefact": made.id, "kept": kept, "why": why, "by": "cupola"})

    def keep(self, artefact: str, kept: bool, why: str, by: str, id: str | None = None) -> None:
        """Keep or reject; the last choice about a thing counts. Raises ValueError for a thing that is not in the ledger."""
        found = self._one("SELECT run FROM artefacts WHERE artefact = ? ORDER BY seq DESC", artefact)
        if not found:
            raise ValueError(f"no artefact {artefact!r} in the ledger")
        self._append("choice", id or _new_id("choice"), found[0], {"artefact": artefact, "kept": kept, "why": why, "by": by})

    def ingest(self, path: Path) -> int:
        """Take in the lines that a worker wrote with `jot`; returns how many rows were new. All of a file goes in, or none of it.

        A line that was in already counts once. A last line that is cut short is left for the next time; one cut short before others (the
        worker was killed and went on) is noted. Raises DataError naming file and line for a whole line that is not a ledger row.
        """
        before = self._count()
        with self._together():
            lines = path.read_bytes().split(b"\n")
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line) if line.strip() else None
                except ValueError:
                    if number < len(lines):
                        name = hashlib.sha256(f"{path.name}:{number}:".encode() + line).hexdigest()[:16]
                        self.note(None, "a line of a worker was cut short", {"file": path.name, "line": number}, id=f"cut-{name}")
                    continue
                if row is not None:
                    self._take(row, f"{path}:{number}")
        return self._count() - before

    def _take(self, row: Any, where: str) -> None:
        try:
            method = {"spend": self.spend, "note": self.note, "end": self.finish_run}[row["call"]]
            method(row["run"], **row["with"], id=row["id"])
        except (ValueError, TypeError, KeyError) as e:
            fix = "the file was edited, or a newer cupola wrote it; move it out of the run folder to go on without it"
            raise DataError(f"not a ledger row: {e}", where, fix) from e

    # reading

    def totals(self, run: str | None = None) -> Totals:
        """Sums over all spends, or over one run's."""
        where, values = ("WHERE run = ?", (run,)) if run else ("", ())
        with self._snapshot():
            kinds = self._all(
                f"SELECT kind, sum(seconds), sum(joules), sum(usd_nano) FROM spends {where} GROUP BY kind ORDER BY min(seq)", *values
            )
            meters = self._all(f"SELECT joules_by, sum(joules) FROM spends {where} GROUP BY joules_by ORDER BY min(seq)", *values)
            runs = self._all(f"SELECT count(*) FROM runs {where}", *values)[0][0]
            things = self.artefacts(run)
        usd = sum(row[3] for row in kinds) / NANO
        media = [medium for medium, _ in {(made.medium, made.id) for made in things if made.kept}]
        return Totals(
            seconds=sum(row[1] for row in kinds),
            joules=sum(row[2] for row in kinds),
            usd=usd,
            by_kind={kind: Spent(s, j, nano / NANO) for kind, s, j, nano in kinds},
            joules_by=dict(meters),
            runs=runs,
            kept=len(media),
            rejected=len({made.id for made in things if made.kept is False}),
            kept_by_medium={medium: media.count(medium) for medium in sorted(set(media))},
            usd_per_kept=usd / len(media) if media else None,
        )

    def artefacts(self, run: str | None = None, kept: bool | None = None) -> list[Artefact]:
        """Made things, oldest first, with the last choice about each; kept: only those kept (True) or rejected (False)."""
        with self._snapshot():
            chosen = {id: (bool(k), why) for id, k, why in self._all("SELECT artefact, kept, why FROM choices ORDER BY seq")}
            rows = self._all("SELECT run, body FROM rows WHERE what = 'artefact' AND (?1 IS NULL OR run = ?1) ORDER BY seq", run)
        made = []
        for made_in, text in rows:
            body = json.loads(text)
            id, usd = body.pop("artefact"), body.pop("usd_nano") / NANO
            state, why = chosen.get(id, (None, ""))
            if kept is None or state is kept:
                made.append(Artefact(id=id, run=made_in, usd=usd, kept=state, why=why, **body))
        return made

    def forecasts(self, run: str | None = None) -> list[dict[str, Any]]:
        """Each forecast beside its last outcome, oldest first; `inside` says whether the truth fell within p10 to p90, None if unknown."""
        with self._snapshot():
            values = dict(self._all("SELECT forecast, value FROM outcomes ORDER BY seq"))
            columns = ("id", "run", "at", "quantity", "p10", "p50", "p90", "unit", "law")
            rows = self._all(f"SELECT {', '.join(columns)} FROM forecasts WHERE ?1 IS NULL OR run = ?1 ORDER BY seq", run)
        made = [dict(zip(columns, row, strict=True)) for row in rows]
        for one in made:
            value = one["outcome"] = values.get(one["id"])
            one["inside"] = None if value is None else one["p10"] <= value <= one["p90"]
        return made

    def points(self, key: str | None = None) -> list[dict[str, Any]]:
        """The facts of each point, with its id, run, at and key, oldest first; key: only those that a ladder of that key may use."""
        return self._measurements("point", key)

    def probes(self, key: str | None = None) -> list[dict[str, Any]]:
        """What was measured of machines, or of the one that `key` names, newest last; as `points`."""
        return self._measurements("probe", key)

    def _measurements(self, what: str, key: str | None) -> list[dict[str, Any]]:
        # from the table, not from the views: a ledger that an older cupola wrote and that may only be read has none
        sql = "SELECT id, run, at, body FROM rows WHERE what = ?1 AND (?2 IS NULL OR json_extract(body, '$.key') = ?2) ORDER BY seq"
        return [{"id": id, "run": run, "at": at, **json.loads(body)} for id, run, at, body in self._all(sql, what, key)]

    def lines(self, run: str | None = None) -> list[dict[str, Any]]:
        """Everything as it happened, oldest first: seq, id, at, what, run, and what each kind of row holds, money in dollars."""
        rows = self._all("SELECT seq, id, at, what, run, body FROM rows WHERE ?1 IS NULL OR run = ?1 ORDER BY seq", run)
        lines = []
        for seq, id, at, what, of, text in rows:
            body = json.loads(text)
            if "usd_nano" in body:
                body["usd"] = body.pop("usd_nano") / NANO
            lines.append({"seq": seq, "id": id, "at": at, "what": what, "run": of, **body})
        return lines

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file, empty if nothing; reads all of it."""
        try:
            found = [row[0] for row in self._all("PRAGMA integrity_check")]
        except CupolaError as e:
            return [e.what]
        return [] if found == ["ok"] else found

    def copy(self, to: Path) -> Path:
        """A whole, compact copy in a new file, taken while the ledger is in use. Raises MachineError if `to` exists or can't be written."""
        if to.exists():
            raise MachineError("there is a file of that name already", str(to), "give a new name: a copy never overwrites")
        part = to.with_name(to.name + ".part")
        part.unlink(missing_ok=True)
        with self._guard, _plainly(to):
            self._connection.execute("VACUUM INTO ?", (str(part),))
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        return part.rename(to)

    # the one way in and the one way out

    def _append(self, what: str, id: str, run: str | None, body: dict) -> bool:
        """Insert one row; False if `id` was there already. The row is on the disk when this returns, unless inside `_together`."""
        self._may_write()
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        if what != "run" and run is not None and not self._one("SELECT 1 FROM rows WHERE id = ? AND what = 'run'", run):
            raise ValueError(f"no run {run!r} in the ledger: start_run comes first")
        with self._together():
            sql = "INSERT INTO rows (id, at, what, run, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
            new = self._connection.execute(sql, (id, at, what, run, _json(body))).rowcount == 1
            if not new and not self._one("SELECT 1 FROM rows WHERE id = ? AND what = ?", id, what):
                raise ValueError(f"id {id!r} is in the ledger already, for something that is not a {what}")
        return new

    def _may_write(self) -> None:
        if self._lock is None:
            raise Busy("this ledger was opened to be read", str(self.db_path), "open it with ledger.open to write")
        if os.getpid() != self._pid:
            raise Busy("a child process may not write its parent's ledger", str(self.db_path), "let it write lines with ledger.jot")
        if self._broken:
            raise MachineError(f"not written, since an earlier write failed: {self._broken}", str(self.db_path), _AFTER_IO_ERROR)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """One transaction; inside another it is part of that one. After an I/O error this book writes no more: see _plainly."""
        with self._guard:
            if self._connection.in_transaction:
                yield
                return
            try:
                with _plainly(self.db_path):
                    self._connection.execute("BEGIN IMMEDIATE")
                    try:
                        yield
                        self._connection.execute("COMMIT")
                    except BaseException:
                        if self._connection.in_transaction:
                            self._connection.execute("ROLLBACK")
                        raise
            except MachineError as e:
                self._broken = "" if e.what == _DISK_FULL else e.what
                raise

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Several reads of one state of the file."""
        with self._guard, _plainly(self.db_path):
            inside = self._connection.in_transaction
            if not inside:
                self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if not inside:
                    self._connection.execute("ROLLBACK")

    def _all(self, sql: str, *values: Any) -> list[tuple]:
        with self._guard, _plainly(self.db_path):
            return self._connection.execute(sql, values).fetchall()

    def _one(self, sql: str, *values: Any) -> tuple | None:
        with self._guard, _plainly(self.db_path):
            return self._connection.execute(sql, values).fetchone()

    def _count(self) -> int:
        return self._all("SELECT count(*) FROM rows")[0][0]


# -- a worker's lines ----------------------------------------------------------------------------------------------------------------------


def jot(path: Path, call: str, run: str, **fields: Any) -> str:
    """Append one line to a worker's file, synced, for Book.ingest; call is "spend", "note" or "end", fields as that method takes them.

    Returns the row's id. A line that a killed worker left unfinished is closed first, so that it spoils nothing but itself.
    """
    id = fields.pop("id", None) or _new_id(call)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(_json({"call": call, "run": run, "id": id, "with": fields}).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return id


# -- for people ----------------------------------------------------------------------------------------------------------------------------


def summary(spent: Book | Totals) -> str:
    """One line: "$0.0041 in all: corpus 3%, training 92%, candidates 5% · $0.00034 a kept tune"."""
    totals = spent.totals() if isinstance(spent, Book) else spent
    if not totals.usd:
        return "nothing spent yet"
    names = {"train": "training"}
    shares = ", ".join(f"{names.get(kind, kind)} {units.percent(part.usd / totals.usd)}" for kind, part in totals.by_kind.items())
    thing = next(iter(totals.kept_by_medium)) if len(totals.kept_by_medium) == 1 else "thing"
    thing = "file" if thing == "code" else thing
    each = "nothing kept yet" if totals.usd_per_kept is None else f"{units.usd(totals.usd_per_kept)} a kept {thing}"
    return f"{units.usd(totals.usd)} in all: {shares} · {each}"


def sqlite_note() -> str:
    """For doctor: the SQLite at hand, and whether its age matters here."""
    version = sqlite3.sqlite_version_info
    mended = version >= WAL_RESET_MENDED[0] or any(version[:2] == fixed[:2] and version >= fixed for fixed in WAL_RESET_MENDED)
    if mended:
        return f"SQLite {sqlite3.sqlite_version}"
    return f"SQLite {sqlite3.sqlite_version}: safe here, where one process writes; several writers would need 3.51.3"


# -- the file ------------------------------------------------------------------------------------------------------------------------------

_DISK_FULL = "the disk is full"
_AFTER_IO_ERROR = "mend the disk and start again: rows before this one are kept, and the same row written again counts once"


def _new_id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}"


def _nano(usd: float) -> int:
    return round(usd * NANO) if math.isfinite(usd) else -1


def _json(body: dict) -> str:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _check_sqlite() -> None:
    if sqlite3.sqlite_version_info < NEEDS_SQLITE:
        need = ".".join(map(str, NEEDS_SQLITE))
        raise MachineError(f"SQLite {sqlite3.sqlite_version} is too old: {need} is needed", "ledger", "use a newer build of Python")


def _connect(path: Path, database: str, on_error: contextlib.ExitStack) -> sqlite3.Connection:
    """A connection in autocommit, so that every BEGIN is ours; closed if what comes next fails."""
    with _plainly(path):
        uri = database.startswith("file:")
        connection = sqlite3.connect(database, timeout=10, isolation_level=None, check_same_thread=False, uri=uri)
    on_error.callback(connection.close)
    return connection


def _check_header(path: Path) -> None:
    """An existing file must begin as SQLite files do; an empty one is one that was never written."""
    if path.exists():
        try:
            with path.open("rb") as file:
                start = file.read(16)
        except OSError as e:
            raise MachineError(
                f"cannot open the ledger: {e.strerror}", str(path), "make the file and its folder readable and writable"
            ) from e
        if start and start != b"SQLite format 3\0":
            raise _damaged("it does not begin as a SQLite file does", path)


def _damaged(what: str, path: Path) -> DataError:
    fix = f"move {path.name} and its -wal and -shm aside and put back a copy, or save what can be read: sqlite3 {path.name} .recover"
    return DataError(f"the ledger is damaged: {what}", str(path), fix)


def _check_version(connection: sqlite3.Connection, path: Path, migrations: tuple[tuple[str, ...], ...]) -> int:
    """The ledger's number of migrations. Raises DataError for another program's file and for a newer cupola's."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and owner != APPLICATION_ID:
        raise DataError("a SQLite file, but not a ledger", str(path), "move it out of the way; cupola makes its own")
    if number > len(migrations):
        (writer,) = connection.execute("SELECT cupola FROM migrations WHERE number = ?", (number,)).fetchone() or ("unknown",)
        ours = f"this is cupola {cupola.__version__}, which knows version {len(migrations)}"
        what = f"cupola {writer} wrote this ledger in its version {number}; {ours}"
        raise DataError(what, str(path), f"use cupola {writer} or newer; nothing was changed")
    return number


def _migrate(connection: sqlite3.Connection, path: Path, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Bring a ledger up to date, each step whole or not at all."""
    for number in range(_check_version(connection, path, migrations), len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migrations[number]:
                connection.execute(statement)
            at = datetime.datetime.now(datetime.UTC).isoformat()
            connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (number + 1, at, cupola.__version__))
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def _plainly(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: what happened, to which file, what to do.

    An I/O error from COMMIT does not mean "not stored": the kernel may have written the row, or dropped the page. So nothing is retried
    here; whoever opens the ledger again finds out, and the row's id keeps a second try from counting twice.
    """
    try:
        yield
    except sqlite3.Error as e:
        code = getattr(e, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise MachineError(_DISK_FULL, str(path), "free some space and go on: every row before this one is kept") from e
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "file format" in str(e):
            raise _damaged(str(e), path) from e
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Busy("another program holds the ledger's file", str(path), "close what has it open, a database browser perhaps") from e
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise MachineError(f"cannot open the ledger: {e}", str(path), "make the file and its folder readable and writable") from e
        if code == sqlite3.SQLITE_IOERR:
            raise MachineError(f"the disk failed: {e}", str(path), _AFTER_IO_ERROR) from e
        raise


def _lock(path: Path) -> BinaryIO:
    """Hold `path` for this process until it closes the file or dies, however it dies. Raises Busy naming the holder."""
    file = path.open("ab+")
    try:
        _lock_file(file)
    except OSError:
        file.seek(0)
        holder = file.read(32).decode("ascii", "replace").strip() or "unknown"  # unknown: it has only just begun
        file.close()
        who = "this process" if holder == str(os.getpid()) else f"process {holder}, or one that it started,"
        fix = "wait until it is done, or stop it; `cupola ledger` may read meanwhile"
        raise Busy(f"{who} is writing this project's ledger", str(path.parent.parent), fix) from None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


if sys.platform == "win32":
    import msvcrt

    def _lock_file(file: BinaryIO) -> None:
        file.seek(1 << 30)  # Windows locks bytes against reading too: lock one far past the holder's number
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock_file(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
