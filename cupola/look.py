"""`cupola data`: a corpus as a person wants to see it, down to the rows that are trained on."""

from __future__ import annotations

import collections
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from cupola import sources, units
from cupola.errors import DataError
from cupola.tokens import BOS, EOS, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, PAD

if TYPE_CHECKING:
    from cupola.make import Foundry

SHOWN = 5  # documents
MEASURED = 40  # files, evenly over the corpus, on which the medium's promise is measured
COUNTS = ("pictures", "pieces", "clips", "maps", "effects", "names", "seconds")  # of a promise's figures those that add up
MARKS = {PAD: "⟨pad⟩", BOS: "⟨bos⟩", EOS: "⟨eos⟩", FIM_PREFIX: "⟨prefix⟩", FIM_SUFFIX: "⟨suffix⟩", FIM_MIDDLE: "⟨middle⟩"}


def look(f: Foundry) -> dict[str, Any]:
    """Say what the corpus holds, and return it as JSON has it."""
    report, train = f.corpus.report, f.corpus.train
    for name, part in report.splits.items():
        f.say(name.replace("_", " "), f"{part.documents:,} documents, {units.size(part.bytes)}, {part.groups:,} groups")
    for why, dropped in report.dropped.items():
        f.say("dropped", f"{dropped.documents:,} {why}: {'; '.join(dropped.examples[:3])}")
    for out in report.left_out[:SHOWN]:
        f.say("left out", f"{out.path}: {out.why}")
    for placeholder, count in report.scrubbed.items():
        f.say("replaced", f"{count:,} by {placeholder}")
    kept = promise(f)
    if kept:
        f.say("kept", ", ".join(f"{name.replace('_', ' ')} {value:,.3g}" for name, value in kept.items()))
    for source in report.sources:
        f.say("source", f"{source.source}: {source.files:,} files, {source.licence}{f' (allowed: {source.allow})' if source.allow else ''}")
    f.say(
        "checked",
        f"{report.checked:,} documents, {report.problems:,} with a problem{''.join(f': {p}' for p in report.problem_examples[:1])}",
    )
    f.say("longest", f"{report.longest}, {units.size(report.longest_bytes)}")
    picked = [train.document(i * len(train) // SHOWN) for i in range(min(SHOWN, len(train)))]
    for document in picked:
        f.say("document", f"{document.name or document.path}\n{document.text.rstrip()}\n")
    rows = shown_rows(f)
    for row in rows:
        f.say("row", row)
    f.say(
        "tokens",
        f"{f.tokenizer.vocab_size:,} ids ({f.medium.pretokenizer}); every one of a row but its first is trained on, none is ignored",
    )
    return {
        **json.loads(report.model_dump_json()),
        "promise": kept,
        "documents_shown": [d.text for d in picked],
        "rows": rows,
        "fingerprint": f.corpus.fingerprint,
    }


def promise(f: Foundry) -> dict[str, float]:
    """What the medium keeps of its files, measured on some of them: counts added up, the rest as means weighed by them."""
    local = [sources.fetch(source, f.project.folder, f.project.cache) for source in f.table.sources]
    suffixes = f.table.options.suffixes(f.medium.suffixes)
    files = [path for each in local for path in each.files if path.suffix.lower() in suffixes]
    found: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
    for at in sorted({i * len(files) // MEASURED for i in range(MEASURED)} if len(files) > MEASURED else range(len(files))):
        f.progress("what is kept of the files", at / len(files))
        try:
            figures = f.medium.promise(files[at]).figures
        except DataError:
            continue
        weight = next((figures[name] for name in COUNTS if name in figures), 1.0)
        for name, value in figures.items():
            found[name].append((value, weight))
    return {
        name: float(sum(v for v, _ in some))
        if name in COUNTS
        else float(np.average([v for v, _ in some], weights=[max(w, 1e-9) for _, w in some]))
        for name, some in found.items()
    }


def shown_rows(f: Foundry, count: int = 2) -> list[str]:
    """Of the first rows those with most control tokens: tokens parted by ·, control tokens by name, the one that is context only in [ ]."""
    first = f.stream.batch(0, 8 * count, f.table.train.length).tolist()
    out = []
    for row in sorted(first, key=lambda ids: -sum(i in MARKS for i in ids))[:count]:
        pieces = [MARKS.get(i) or f.tokenizer.decode([i]).replace("\n", "⏎") for i in row]
        out.append(f"[{pieces[0]}]" + "·".join(pieces[1:]))
    return out
