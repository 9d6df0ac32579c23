"""Files -> documents: read, cleaned of secrets, without duplicates, split by group into train, watch and held_out.

Everything streams: texts go to disk as they are read, and memory holds about 80 bytes a document. The corpus is a folder in the cache,
named by what went in (file hashes, settings, the code that reads), so that a second run finds it and an edited file makes another:

    corpora/tune-1a2b3c4d5e6f7a8b/
        train.jsonl  watch.jsonl  held_out.jsonl    a document a line: text, name, label, group, path, licence, source, sha256 of its file
        train.npy ...                               where each line begins, int64, and one past the last
        near_pairs.jsonl                            which documents were dropped for which, and how alike they are
        medium.json                                 what the medium decided from these files: sizes, palette, alphabet, codebook
    report.json                                 counts, licences, what was dropped and why
"""

from __future__ import annotations

import array
import collections
import dataclasses
import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import Field

from cupola import units
from cupola.config import Config
from cupola.duplicates import PERMUTATIONS, Signer, alike, same
from cupola.errors import DataError
from cupola.media.base import Apart, Document, Medium, Options
from cupola.scrub import Scrubber
from cupola.sources import Local, Progress, Source, fetch, fresh, sha256, writing

SPLITS = ("train", "watch", "held_out")
REASONS = ("duplicate", "near duplicate", "too short", "empty")  # why a document that was read is not kept
FEWEST = 10  # documents: with fewer there is nothing to hold out that would say anything
FEWEST_GROUPS = 12  # with fewer groups, or one that holds half of everything, blocks of the large ones are groups
BLOCKS = 40  # so many to the whole corpus
MOST_HELD_OUT, MOST_WATCHED = 2_000_000, 60_000  # bytes: the interval of a score over 2 MB is narrow, and scoring more takes minutes
KEPT_APART = 0.25  # share of the groups that no codebook is fitted on; what is held out and watched, 13%, lies among them
SHORTEST = 16  # characters without white space around: a document of less teaches nothing
CHECKED = 300  # documents that are checked for problems, evenly over the corpus
PLURALS = {"code": "files", "lines": "scenes", "names": "lists of names", "mesh": "meshes"}
_EXAMPLES = 10


class CorpusConfig(Config):
    """[models.NAME.corpus] in cupola.toml."""

    held_out: float = Field(0.10, gt=0, lt=0.5)  # share of bytes, for the final proof only; at most 2 MB
    watch: float = Field(0.03, gt=0, lt=0.5)  # share of bytes that training looks at to stop early; at most 60 kB
    near: float | None = Field(
        0.7, ge=0.3, le=1
    )  # documents with at least this much in common (Jaccard) count as one; 1 keeps all but the same
    seed: int = 0  # of the split


# --- what a corpus is, once made ---


class Dropped(Config):
    """Documents that were read and not kept, for one reason."""

    documents: int
    examples: tuple[str, ...]


class LeftOut(Config):
    """A file that could not be read as the medium."""

    path: str
    why: str
    fix: str = ""


class Part(Config):
    """How much of something."""

    documents: int
    bytes: int  # of UTF-8
    groups: int = 0


class Provenance(Config):
    """One source, as the card repeats it."""

    source: str
    licence: str
    allow: str | None
    credit: str
    digest: str  # sha256 of a package's wheel; "" for a folder
    notice: str
    files: int


class Report(Config):
    """What went in, what was kept, and why the rest was not."""

    medium: str
    documents_read: int
    documents: int
    bytes: int  # of UTF-8, kept
    files: int  # read as the medium, at least one document each
    splits: dict[str, Part]
    split_by: str  # "tune", "file", "group", or "block of a file" when groups were too few
    dropped: dict[str, Dropped]  # by REASONS
    left_out: tuple[LeftOut, ...]
    scrubbed: dict[str, int]  # placeholder -> how many, over all documents read
    licences: dict[str, Part]
    sources: tuple[Provenance, ...]
    longest: str  # path and name of the longest document
    longest_bytes: int
    checked: int  # kept documents looked at for problems
    problems: int  # of those, how many have one: the yardstick for what the model makes
    problem_examples: tuple[str, ...]
    notes: tuple[str, ...]  # what the person should know
    seconds: dict[str, float]  # wall clock by step

    def line(self) -> str:
        """The corpus in one line, as `cupola make` prints it."""
        gone = [_many(d.documents, why) if why.endswith("duplicate") else f"{d.documents:,} {why}" for why, d in self.dropped.items()]
        parts = [f"{self.documents:,} {plural(self.medium)} of {self.documents_read:,} kept" + (f" ({', '.join(gone)})" if gone else "")]
        if self.left_out:
            parts.append(_many(len(self.left_out), "file") + " left out")
        if self.scrubbed:
            parts.append(_many(sum(self.scrubbed.values()), "secret or address", "secrets and addresses") + " replaced")
        parts.append(units.size(self.bytes))
        parts.append(f"{self.splits['held_out'].documents:,} held out, by {self.split_by}")
        parts.append("; ".join(dict.fromkeys(s.credit or s.licence for s in self.sources)))
        return " · ".join(parts)


def plural(medium: str) -> str:
    """What several documents of a medium are called."""
    if medium in PLURALS:
        return PLURALS[medium]
    return medium + ("es" if medium.endswith(("s", "sh", "ch", "x")) else "s")


def _many(n: int, one: str, more: str = "") -> str:
    return f"{n:,} {one if n == 1 else more or one + 's'}"


class Split:
    """The documents of one part: read from disk one at a time, in any order or as a stream; safe in threads and forks."""

    def __init__(self, folder: Path, name: str, n_bytes: int):
        self.name, self.path = name, folder / f"{name}.jsonl"
        self.bytes = n_bytes  # of UTF-8, over all texts
        try:
            self._starts = np.load(folder / f"{name}.npy")  # (len + 1,) int64
            whole = self.path.stat().st_size == self._starts[-1]
        except (OSError, ValueError, IndexError) as e:
            raise DataError(f"the corpus is damaged: {e}", str(folder), "delete that folder; it is made again") from None
        if not whole:
            raise DataError(f"the corpus is damaged: {name}.jsonl has another size", str(folder), "delete that folder; it is made again")

    def __len__(self) -> int:
        return len(self._starts) - 1

    def record(self, i: int) -> dict[str, str | None]:
        """Line `i` with all that is known: text, name, label, group, path, licence, source, sha256 of the file."""
        if not 0 <= i < len(self):
            raise IndexError(f"document {i} of {len(self)}")
        with self.path.open("rb") as file:
            file.seek(self._starts[i])
            return json.loads(file.read(self._starts[i + 1] - self._starts[i]))

    def document(self, i: int) -> Document:
        return _document(self.record(i))

    def __iter__(self) -> Iterator[Document]:
        with self.path.open("rb") as file:
            for line in file:
                yield _document(json.loads(line))

    def texts(self) -> Iterator[str]:
        return (document.text for document in self)


def _document(record: dict) -> Document:
    return Document(record["text"], record["group"], record["path"], record["licence"], record["label"], record["name"])


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus on disk."""

    folder: Path
    medium: str
    fingerprint: str  # sha256 over settings, canonical documents and the split: equal ones train equal models
    report: Report
    train: Split
    watch: Split
    held_out: Split
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)  # what the medium decided: `restore` makes the fitted one of it

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """A corpus that `build` made. Raises DataError if it is not there or not whole."""
        try:
            facts = json.loads((folder / "report.json").read_text("utf-8"))
            report = Report.model_validate(facts["report"])
            settings = json.loads((folder / "medium.json").read_text("utf-8"))
        except (OSError, ValueError, KeyError) as e:
            raise DataError(f"no corpus here: {e}".splitlines()[0], str(folder), "delete that folder, and it is made again") from None
        train, watch, held_out = (Split(folder, name, report.splits[name].bytes) for name in SPLITS)
        return cls(folder, report.medium, facts["fingerprint"], report, train, watch, held_out, settings)


# --- making one ---


@dataclasses.dataclass(frozen=True, slots=True)
class _File:
    path: Path
    relative: str  # below its source's root, with "/"
    source: int
    sha256: str  # "" if it could not be read
    size: int


def build(
    medium: Medium,
    sources: list[Source],
    config: CorpusConfig,
    base: Path,
    cache: Path,
    progress: Progress | None = None,
    options: Options | None = None,
) -> Corpus:
    """The corpus of these sources, made now or found in the cache; the medium is fitted to them first.

    base: the project folder, for relative sources. options: [models.NAME.notation].
    A file that cannot be read as the medium is left out and reported.
    Raises LicenceError, SourceError as `sources.fetch` does; DataError when no file of the medium is there, none could be read, or too few
    documents are left to split; MachineError for a disk that is full or read-only, after which the cache is as it was.
    """
    say = progress or (lambda what, share: None)
    begun = time.monotonic()
    local = [fetch(source, base, cache, progress) for source in sources]
    fetched = time.monotonic()
    options = options or medium.options()
    files = _find(medium, local, options.suffixes(medium.suffixes), say)
    hashed = time.monotonic()
    folder = cache / "corpora" / f"{medium.name}-{_key(medium, sources, files, config, options)[:16]}"
    there = folder.is_dir()
    if not (folder / "report.json").is_file():
        with writing(cache), fresh(folder, replace=there) as temporary:  # there without a report: damaged, since it appears whole
            say("sizes, palette, alphabet", None)
            fitted = medium.fit([file.path for file in files], options, _apart(files, config.seed))
            making = _Making(fitted, sources, local, config, temporary, say)
            making.seconds |= {"fetch": fetched - begun, "hash": hashed - fetched, "fit": time.monotonic() - hashed}
            making.read(files)
            making.deduplicate()
            making.split()
            making.write()
    return Corpus.open(folder)


def _apart(files: list[_File], seed: int) -> Apart:
    """Whether a medium's group is among those that nothing is fitted on: the first quarter in the order by which `_split` takes them."""
    by_name: dict[str, list[_File]] = {}
    for file in files:
        by_name.setdefault(file.path.name, []).append(file)

    def apart(group: str) -> bool:
        owners = by_name.get(group) or [file for name, some in by_name.items() if group.startswith(name) for file in some]
        names = [_below(group, file) for file in owners] or [group]
        return any(_hash(f"{seed}:{_hash(name)}") < KEPT_APART * 2**64 for name in names)

    return apart


def _find(medium: Medium, local: list[Local], suffixes: tuple[str, ...], say: Progress) -> list[_File]:
    """The medium's files of every source, hashed. Raises DataError for a source that has none."""
    found = []
    for number, source in enumerate(local):
        wanted = [path for path in source.files if path.suffix.lower() in suffixes]
        if not wanted:
            raise _nothing(medium, suffixes, source)
        found += [(number, source.root, path) for path in wanted]
    files = []
    for done, (number, root, path) in enumerate(found):
        if done % 100 == 0:
            say("looking for changes", done / len(found))
        try:
            digest, size = sha256(path), path.stat().st_size
        except OSError:  # named when it is read
            digest, size = "", 0
        files.append(_File(path, path.relative_to(root).as_posix(), number, digest, size))
    return files


def _nothing(medium: Medium, suffixes: tuple[str, ...], source: Local) -> DataError:
    wanted = " ".join(suffixes[:8]) + (" ..." if len(suffixes) > 8 else "")
    if not source.files:
        what, fix = "no files at all", "put some there, or check include and exclude"
    else:
        suffixes = collections.Counter(path.suffix.lower() or "without suffix" for path in source.files).most_common(5)
        there = ", ".join(f"{suffix} ({n:,})" for suffix, n in suffixes)
        what, fix = f"no {medium.name} among {len(source.files):,} files; there are {there}", "name another folder or another medium"
    return DataError(f"{what}; {medium.name} is read from {wanted}", str(source.root), fix)


def _key(medium: Medium, sources: list[Source], files: list[_File], config: CorpusConfig, options: Options) -> str:
    """Names the corpus by all that its content depends on, the code that reads included."""
    here = Path(__file__).parent
    code = [sha256(path) for path in sorted([*here.glob("media/*.py"), here / "corpus.py"])]
    libraries = [importlib.metadata.version(name) for name in ("datasketch", "detect-secrets")]
    settings = {k: v for k, v in getattr(medium, "__dict__", {}).items() if isinstance(v, (str, int, float, bool, tuple, type(None)))}
    whence = [source.model_dump(mode="json", exclude={"include", "exclude"}) for source in sources]
    entries = [[file.source, file.relative, file.sha256] for file in files]
    facts = [medium.name, type(medium).__qualname__, settings, code, libraries, whence, config.model_dump(), entries]
    facts.append(options.model_dump(mode="json"))
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class _Making:
    """One corpus while it is made: texts in files of the temporary folder, a few numbers a document in memory."""

    def __init__(self, medium: Medium, sources: list[Source], local: list[Local], config: CorpusConfig, folder: Path, say: Progress):
        self.medium, self.sources, self.local, self.config, self.folder, self.say = medium, sources, local, config, folder, say
        self.starts = array.array("q", [0])  # byte offset of each line in spool.jsonl, and one past the last
        self.sizes = array.array("q")  # bytes of UTF-8 of each text
        self.digests = array.array("Q")  # two a document: 16 bytes of a hash of the text
        self.groups = array.array("Q")  # hash of each group
        self.licences = array.array("H")  # index into licence_names
        self.licence_names: list[str] = []
        self.shingled = array.array("b")  # whether it has shingles: without, it is like nothing
        self.dropped: dict[str, list[str]] = {}  # reason -> examples
        self.counts: collections.Counter[str] = collections.Counter()  # reason -> documents
        self.scrubbed: collections.Counter[str] = collections.Counter()
        self.left_out: list[LeftOut] = []
        self.notes: list[str] = []
        self.files = 0
        self.per_file = False  # some document's group is its file
        self.near_pairs = 0
        self.seconds: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.sizes)

    # reading

    def read(self, files: list[_File]) -> None:
        """Every file's documents into the spool; a file with a fault leaves nothing there. Raises DataError if all have one."""
        begun, total, done = time.monotonic(), sum(file.size for file in files) or 1, 0
        scrub = Scrubber() if self.medium.scrub else None
        sign = Signer() if self.config.near is not None else None
        with (self.folder / "spool.jsonl").open("wb") as spool, (self.folder / "signatures").open("wb") as signatures:
            for file in files:
                self.say(f"reading {file.relative}", done / total)
                self._read_file(file, scrub, sign, spool, signatures)
                done += file.size
        self.seconds["read"] = time.monotonic() - begun
        if not len(self):
            raise self._nothing_left(files)

    def _read_file(self, file: _File, scrub: Scrubber | None, sign: Signer | None, spool: BinaryIO, signatures: BinaryIO) -> None:
        before, gone, found = len(self), [], collections.Counter()
        try:
            for document in _documents(self.medium, file.path):
                text = scrub(document.text, found) if scrub else document.text
                name = document.name or self.medium.title(text)
                if len(text.strip()) < SHORTEST:
                    gone.append(("too short" if text.strip() else "empty", f"{file.relative}: {name}"))
                    continue
                self._add(dataclasses.replace(document, text=text, name=name), file, spool)
                if sign is not None:
                    shingles = self.medium.shingles(text)
                    self.shingled.append(bool(shingles))
                    signatures.write(sign(shingles).tobytes())
        except DataError as e:
            self._forget(before, spool, signatures)
            self.left_out.append(LeftOut(path=file.relative, why=e.what, fix=e.fix))
            return
        self.scrubbed.update(found)
        self.files += len(self) > before
        for why, example in gone or ([("empty", file.relative)] if len(self) == before else []):
            self._drop(why, example)

    def _drop(self, why: str, example: str) -> None:
        self.counts[why] += 1
        examples = self.dropped.setdefault(why, [])
        if len(examples) < _EXAMPLES:
            examples.append(example)

    def _add(self, document: Document, file: _File, spool: BinaryIO) -> None:
        encoded = document.text.encode()
        group = _below(document.group or file.path.name, file)
        licence = document.licence or self.local[file.source].licence
        if licence not in self.licence_names:
            self.licence_names.append(licence)
        record = {"text": document.text, "name": document.name, "label": document.label, "group": group, "licence": licence}
        record |= {"path": _below(document.path, file), "source": self.local[file.source].origin, "sha256": file.sha256}
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        spool.write(line)
        self.per_file |= group == file.relative
        self.starts.append(self.starts[-1] + len(line))
        self.sizes.append(len(encoded))
        self.digests.frombytes(hashlib.blake2b(encoded, digest_size=16).digest())
        self.groups.append(_hash(group))
        self.licences.append(self.licence_names.index(licence))

    def _forget(self, length: int, spool: BinaryIO, signatures: BinaryIO) -> None:
        """Back to the first `length` documents."""
        for column, each in ((self.sizes, 1), (self.digests, 2), (self.groups, 1), (self.licences, 1), (self.shingled, 1)):
            del column[length * each :]
        del self.starts[length + 1 :]
        for file, end in ((spool, self.starts[-1]), (signatures, length * PERMUTATIONS * 4)):
            if file.tell() > end:
                file.seek(end)
                file.truncate()

    def _nothing_left(self, files: list[_File]) -> DataError:
        reasons = [f"{left.path}: {left.why}" for left in self.left_out] + [f"{n:,} {why}" for why, n in self.counts.items()]
        where = ", ".join(str(source.root) for source in self.local)
        what = f"no {self.medium.name} could be read from {_many(len(files), 'file')}: " + "; ".join(reasons[:3])
        return DataError(what, where, (self.left_out[0].fix if self.left_out else "") or "add files with something in them")

    # duplicates

    def deduplicate(self) -> None:
        """Marks all but the first of documents that are the same, or nearly; `self.kept` has the indices of the rest."""
        begun = time.monotonic()
        self.say("looking for duplicates", None)
        kept = np.ones(len(self), dtype=bool)
        self._drop_pairs(same(np.frombuffer(self.digests, dtype=np.uint64).reshape(-1, 2)), kept, "duplicate")
        if self.config.near is not None:
            rows = np.flatnonzero(kept & np.frombuffer(self.shingled, dtype=bool))
            pairs = alike(self.folder / "signatures", rows, self.config.near, self.say)
            with (self.folder / "near_pairs.jsonl").open("w", encoding="utf-8") as out:
                self._drop_pairs(pairs, kept, "near duplicate", out.write)
        (self.folder / "signatures").unlink()
        self.kept = np.flatnonzero(kept)
        self.seconds["deduplicate"] = time.monotonic() - begun
        if len(self.kept) < FEWEST:
            gone = ", ".join(f"{n:,} {why}" for why, n in self.counts.items()) or "none dropped"
            what = f"{len(self.kept)} {plural(self.medium.name)} left of {self._seen():,} ({gone}), too few to split"
            where = ", ".join(str(source.root) for source in self.local)
            fix = f"add more: {FEWEST} are the least that leaves some to train on and some to prove it on; a thousand make a useful model"
            raise DataError(what, where, fix)

    def _seen(self) -> int:
        return len(self) + self.counts["empty"] + self.counts["too short"]

    def _drop_pairs(
        self, pairs: Iterator[tuple[int, int, float]], kept: np.ndarray, why: str, write: Callable[[str], object] | None = None
    ) -> None:
        """Of each pair (earlier, later, similarity), ordered by the later: drops the later one if the earlier is kept."""
        with (self.folder / "spool.jsonl").open("rb") as spool:
            for first, second, similarity in pairs:
                if not (kept[first] and kept[second]):
                    continue
                kept[second] = False
                if write is None and self.counts[why] >= _EXAMPLES:
                    self.counts[why] += 1
                    continue
                a, b = ({k: self._record(spool, i)[k] for k in ("name", "path")} for i in (first, second))
                self._drop(why, f"{b['path']}: {b['name']} (as {a['path']}: {a['name']})")
                if write is not None:
                    write(json.dumps({"similarity": round(similarity, 3), "kept": a, "dropped": b}, ensure_ascii=False) + "\n")

    def _record(self, spool: BinaryIO, i: int) -> dict:
        spool.seek(self.starts[i])
        return json.loads(spool.read(self.starts[i + 1] - self.starts[i]))

    # splitting

    def split(self) -> None:
        """`self.part`: 0 train, 1 watch, 2 held out for each kept document; `self.block`: its block, -1 where the group was left whole."""
        begun = time.monotonic()
        sizes, groups = self._of(self.sizes, np.int64), self._of(self.groups, np.uint64)
        self.block = _blocks(groups, sizes)
        if (self.block >= 0).any():
            pairs = zip(groups.tolist(), self.block.tolist(), strict=True)
            groups = np.array([_hash(f"{group}:{block}") if block >= 0 else group for group, block in pairs], np.uint64)
            self.notes.append("too few groups to split by, or one too large: blocks of neighbouring documents were split instead")
        self.part, self.group_counts = _split(groups, sizes, self.config)
        self.seconds["split"] = time.monotonic() - begun
        if (self.block >= 0).any():
            self.split_by = "block of a file"
        elif self.per_file:
            self.split_by = "file"
        else:
            self.split_by = self.medium.name if sum(self.group_counts) == len(self.kept) else "group"

    def _of(self, column: array.array, dtype: type) -> np.ndarray:
        """A column's values for the documents that are kept."""
        return np.frombuffer(column, dtype=dtype)[self.kept]

    # writing

    def write(self) -> None:
        """The three splits, their indices and the report; then the spool goes."""
        begun = time.monotonic()
        digests = np.frombuffer(self.digests, dtype=np.uint64).reshape(-1, 2)[self.kept]
        settings = self.medium.settings()
        (self.folder / "medium.json").write_text(json.dumps(settings, ensure_ascii=False, sort_keys=True), "utf-8")
        seen = hashlib.sha256(json.dumps([self.medium.name, settings, self.config.model_dump()], sort_keys=True).encode())
        checks = _Checks(self.medium, max(1, len(self.kept) // CHECKED))
        for number, name in enumerate(SPLITS):
            chosen = np.flatnonzero(self.part == number)
            self._write_split(name, chosen, checks)
            seen.update(name.encode() + digests[chosen].tobytes())
        (self.folder / "spool.jsonl").unlink()
        self.seconds["write"] = time.monotonic() - begun
        facts = {"fingerprint": seen.hexdigest(), "report": self._report(checks).model_dump(mode="json")}
        (self.folder / "report.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")

    def _write_split(self, name: str, chosen: np.ndarray, checks: _Checks) -> None:
        starts = array.array("q", [0])
        with (self.folder / "spool.jsonl").open("rb") as spool, (self.folder / f"{name}.jsonl").open("wb") as out:
            for done, k in enumerate(chosen.tolist()):
                if done % 1000 == 0:
                    self.say(f"writing {name}", done / len(chosen))
                i = int(self.kept[k])
                spool.seek(self.starts[i])
                line = spool.read(self.starts[i + 1] - self.starts[i])
                if self.block[k] >= 0:
                    record = json.loads(line)
                    record["group"] += f" #{self.block[k] + 1}"
                    line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
                checks.look(k, line)
                out.write(line)
                starts.append(starts[-1] + len(line))
        np.save(self.folder / f"{name}.npy", np.array(starts, dtype=np.int64))

    def _report(self, checks: _Checks) -> Report:
        sizes, licences = self._of(self.sizes, np.int64), self._of(self.licences, np.uint16)

        def part(chosen: np.ndarray, groups: int = 0) -> Part:
            return Part(documents=int(chosen.sum()), bytes=int(sizes[chosen].sum()), groups=groups)

        by_licence = {name: part(licences == n) for n, name in enumerate(self.licence_names)}
        return Report(
            medium=self.medium.name,
            documents_read=self._seen(),
            documents=len(self.kept),
            bytes=int(sizes.sum()),
            files=self.files,
            splits={name: part(self.part == n, self.group_counts[n]) for n, name in enumerate(SPLITS)},
            split_by=self.split_by,
            dropped={why: Dropped(documents=self.counts[why], examples=tuple(self.dropped[why])) for why in REASONS if self.counts[why]},
            left_out=tuple(self.left_out),
            scrubbed=dict(self.scrubbed.most_common()),
            licences={name: part for name, part in by_licence.items() if part.documents},
            sources=tuple(self._provenance(*pair) for pair in zip(self.sources, self.local, strict=True)),
            longest=checks.longest,
            longest_bytes=int(sizes.max()),
            checked=checks.looked,
            problems=checks.faulty,
            problem_examples=tuple(checks.examples),
            notes=tuple(self.notes),
            seconds={step: round(seconds, 3) for step, seconds in self.seconds.items()},
        )

    def _provenance(self, source: Source, local: Local) -> Provenance:
        source = local.used or source  # its fallback, where that was needed
        kept = {"source": source.source, "licence": source.licence, "allow": source.allow, "credit": source.credit}
        return Provenance(**kept, digest=local.digest, notice=local.notice, files=len(local.files))


class _Checks:
    """Problems in every `every`-th of the documents that are written, and which of all is the longest."""

    def __init__(self, medium: Medium, every: int):
        self.medium, self.every = medium, every
        self.looked = self.faulty = self.length = 0
        self.examples: list[str] = []
        self.longest = ""

    def look(self, number: int, line: bytes) -> None:
        if len(line) > self.length or number % self.every == 0:
            record = json.loads(line)
            if len(line) > self.length:
                self.length, self.longest = len(line), f"{record['path']}: {record['name']}"
            if number % self.every == 0:
                self.looked += 1
                if problems := self.medium.check(record["text"]):
                    self.faulty += 1
                    if len(self.examples) < _EXAMPLES:
                        self.examples.append(f"{record['path']}: {problems[0]}")


def _documents(medium: Medium, path: Path) -> Iterator[Document]:
    """`medium.read` with every fault of the file as a DataError; faults of whoever takes the documents pass by."""
    try:
        yield from medium.read(path)
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror or e}", str(path), "check that it exists and that you may read it") from None
    except RecursionError:
        raise DataError("nested too deeply to be read", str(path), "leave it out") from None


def _below(text: str, file: _File) -> str:
    """A group or path that a medium made from the file's name alone, with the folders that lead there from the source."""
    for name in (str(file.path), file.path.name):
        if text.startswith(name):
            return file.relative + text[len(name) :]
    return text


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


# --- the split ---


def _blocks(groups: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """For each document its block within its group, or -1 where the group stays whole; (N,) int64.

    Groups stay whole unless there are fewer than FEWEST_GROUPS or one holds over half of all bytes. Then those with over a twelfth of the
    bytes are cut into runs of neighbours, BLOCKS to the whole corpus.
    """
    names, inverse = np.unique(groups, return_inverse=True)
    weights = np.bincount(inverse, weights=sizes)
    blocks = np.full(len(groups), -1, dtype=np.int64)
    if len(names) >= FEWEST_GROUPS and weights.max() <= sizes.sum() / 2:
        return blocks
    for group in np.flatnonzero(weights > sizes.sum() / FEWEST_GROUPS):
        members = np.flatnonzero(inverse == group)
        if len(members) > 1:
            begin = np.cumsum(sizes[members]) - sizes[members]
            blocks[members] = begin * BLOCKS // sizes.sum()
    return blocks


def _split(groups: np.ndarray, sizes: np.ndarray, config: CorpusConfig) -> tuple[np.ndarray, tuple[int, ...]]:
    """(N,) part of each document, and how many groups each part has. Which groups go first is drawn from (seed, group) alone."""
    names, inverse = np.unique(groups, return_inverse=True)
    weights = np.bincount(inverse, weights=sizes)
    order = sorted(range(len(names)), key=lambda g: _hash(f"{config.seed}:{names[g]}"))
    part = np.zeros(len(names), dtype=np.int8)
    for number, share, most in ((2, config.held_out, MOST_HELD_OUT), (1, config.watch, MOST_WATCHED)):
        free = [g for g in order if part[g] == 0]
        part[_take(free, weights, min(share * sizes.sum(), most))] = number
    return part[inverse], tuple(int((part == n).sum()) for n in range(len(SPLITS)))


def _take(order: list[int], weights: np.ndarray, target: float) -> list[int]:
    """Groups from the front that bring the bytes closest to `target`, one at least; a group too large is passed over."""
    taken, total = [], 0.0
    for group in order:
        if total + weights[group] / 2 <= target:
            taken.append(group)
            total += weights[group]
    return taken or [min(order, key=lambda g: weights[g])]
