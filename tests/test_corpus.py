import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola import config, corpus, duplicates
from cupola.corpus import Corpus, CorpusConfig, build
from cupola.errors import ConfigError, DataError, LicenceError, MachineError
from cupola.media.base import Document
from cupola.media.code import Code
from cupola.media.text import Text, words
from cupola.scrub import Scrubber
from cupola.sources import Source

TEXT = Text()
WORDS = [a + b + c for a in ("bar", "mel", "tor", "win", "sel", "kan") for b in ("a", "e", "o") for c in ("n", "st", "lle", "rk", "ving")]
HERE = Source(source="texts", licence="own work")


def prose(seed: int, paragraphs: int = 3) -> str:
    """Paragraphs of sixty invented words; two seeds share nothing but words."""
    draw = random.Random(seed)
    return "\n\n".join(" ".join(draw.choices(WORDS, k=60)) + "." for _ in range(paragraphs)) + "\n"


def texts(folder: Path, count: int = 40) -> Path:
    """A project folder with texts/story 00.txt and so on, in subfolders."""
    for n in range(count):
        path = folder / "texts" / f"shelf {n % 3} 🎈" / f"story {n:02}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prose(n), "utf-8")
    return folder


def made(folder: Path, *sources: Source, medium=TEXT, **settings) -> Corpus:
    return build(medium, list(sources or [HERE]), CorpusConfig(**settings), folder, folder / "cache")


def refusal(folder: Path, *sources: Source, kind=DataError, **settings) -> str:
    with pytest.raises(kind) as caught:
        made(folder, *sources, **settings)
    return str(caught.value)


def everything(made: Corpus) -> list[Document]:
    return [document for split in (made.train, made.watch, made.held_out) for document in split]


# --- what comes out ---


def test_every_document_is_in_one_split_with_its_origin(tmp_path):
    found = made(texts(tmp_path))
    assert sorted(d.path for d in everything(found)) == sorted(
        p.relative_to(tmp_path / "texts").as_posix() for p in (tmp_path / "texts").rglob("*.txt")
    )
    record = found.held_out.record(0)
    path = tmp_path / "texts" / record["path"]
    assert record["text"] == path.read_text("utf-8")
    assert record["sha256"] == corpus.sha256(path)
    assert (record["source"], record["licence"], record["group"]) == ("texts", "own work", record["path"])
    assert found.held_out.document(0) == next(iter(found.held_out))
    assert found.medium == "text"


def test_documents_come_by_number_or_as_a_stream_in_the_order_of_their_paths(tmp_path):
    train = made(texts(tmp_path)).train
    assert [train.document(i) for i in range(len(train))] == list(train)
    assert [d.path for d in train] == sorted(d.path for d in train)
    assert list(train.texts()) == [d.text for d in train]
    assert train.bytes == sum(len(d.text.encode()) for d in train)
    with pytest.raises(IndexError, match=f"document {len(train)} of {len(train)}"):
        train.document(len(train))


def test_the_splits_hold_their_shares_of_bytes_and_share_no_group(tmp_path):
    found = made(texts(tmp_path, 200), held_out=0.2, watch=0.05)
    total = sum(split.bytes for split in (found.train, found.watch, found.held_out))
    assert found.held_out.bytes / total == pytest.approx(0.2, abs=0.01)
    assert found.watch.bytes / total == pytest.approx(0.05, abs=0.01)
    groups = [{d.group for d in split} for split in (found.train, found.watch, found.held_out)]
    assert not groups[0] & groups[1] | groups[1] & groups[2] | groups[0] & groups[2]


def test_the_same_files_give_the_same_split_anywhere_and_another_seed_another(tmp_path):
    one, two = made(texts(tmp_path / "a")), made(texts(tmp_path / "b" / "c"))
    assert one.fingerprint == two.fingerprint
    assert list(one.held_out) == list(two.held_out)
    other = made(tmp_path / "a", seed=1)
    assert {d.path for d in other.held_out} != {d.path for d in one.held_out}
    assert other.fingerprint != one.fingerprint


def test_a_document_more_moves_hardly_any_across_the_split(tmp_path):
    before = {d.path for d in made(texts(tmp_path, 100)).held_out}
    (tmp_path / "texts" / "new.txt").write_text(prose(1000))
    after = {d.path for d in made(tmp_path).held_out}
    assert len(before ^ after) <= 2


def test_the_report_says_it_in_one_line(tmp_path):
    texts(tmp_path, 60)
    shutil.copy(tmp_path / "texts/shelf 0 🎈/story 00.txt", tmp_path / "texts/twin.txt")
    (tmp_path / "texts/tiny.txt").write_text("hm\n")
    (tmp_path / "texts/void.txt").write_text("\n")
    (tmp_path / "texts/bad.txt").write_bytes(b"caf\xe9 au lait\n" * 10)
    (tmp_path / "texts/mail.txt").write_text(prose(99) + "Write to ann@books.org.\n")
    line = made(tmp_path, Source(source="texts", licence="CC0-1.0", credit="by Ann")).report.line()
    assert line == (
        "61 texts of 64 kept (1 duplicate, 1 too short, 1 empty) · 1 file left out · 1 secret or address replaced · 81 kB"
        " · 6 held out, by file · by Ann"
    )
    assert [corpus.plural(name) for name in ("tune", "text", "code", "mesh")] == ["tunes", "texts", "files", "meshes"]


def test_licences_are_kept_by_document_and_an_allowed_one_keeps_its_reason(tmp_path):
    texts(tmp_path, 20)
    (tmp_path / "more").mkdir()
    for n in range(20):
        (tmp_path / "more" / f"{n}.txt").write_text(prose(100 + n))
    assert "CC-BY-NC-4.0" in refusal(tmp_path, HERE, Source(source="more", licence="CC-BY-NC-4.0"), kind=LicenceError)
    found = made(tmp_path, HERE, Source(source="more", licence="CC-BY-NC-4.0", allow="a school, for teaching"))
    assert {name: part.documents for name, part in found.report.licences.items()} == {"own work": 20, "CC-BY-NC-4.0": 20}
    assert collections.Counter(d.licence for d in everything(found)) == {"own work": 20, "CC-BY-NC-4.0": 20}
    assert [(s.source, s.allow, s.files) for s in found.report.sources] == [("texts", None, 20), ("more", "a school, for teaching", 20)]


# --- the cache ---


def test_a_second_run_reads_nothing_again_and_an_edited_file_is_noticed(tmp_path):
    said = []
    first = made(texts(tmp_path))
    stamp = (first.folder / "report.json").stat().st_mtime_ns
    again = build(TEXT, [HERE], CorpusConfig(), tmp_path, tmp_path / "cache", lambda what, share: said.append(what))
    assert (again.folder, again.fingerprint) == (first.folder, first.fingerprint)
    assert (again.folder / "report.json").stat().st_mtime_ns == stamp
    assert not [what for what in said if what.startswith("reading")]
    path = tmp_path / "texts/shelf 0 🎈/story 00.txt"
    times = path.stat()
    path.write_text(path.read_text().replace("a", "e", 1))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same time: the content tells
    edited = made(tmp_path)
    assert edited.folder != first.folder
    assert edited.fingerprint != first.fingerprint
    assert Corpus.open(first.folder).fingerprint == first.fingerprint  # what was made from the old files is still there


def test_a_damaged_corpus_is_refused_by_name_and_a_half_deleted_one_is_made_again(tmp_path):
    found = made(texts(tmp_path))
    with (found.folder / "train.jsonl").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"the corpus is damaged: train\.jsonl has another size"):
        made(tmp_path)
    (found.folder / "report.json").unlink()
    with pytest.raises(DataError, match="no corpus here"):
        Corpus.open(found.folder)
    assert made(tmp_path).fingerprint == found.fingerprint
    with pytest.raises(DataError, match="no corpus here"):
        Corpus.open(tmp_path / "nowhere")


CHILD = """
import os, resource, signal, sys
from pathlib import Path
from cupola.corpus import CorpusConfig, build
from cupola.errors import CupolaError
from cupola.media.text import Text
from cupola.sources import Source

base, limit, stop = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

def progress(what, share):
    if stop and what.startswith(stop):
        os.kill(os.getpid(), signal.SIGKILL)

try:
    print(build(Text(), [Source(source="texts", licence="own work")], CorpusConfig(), base, base / "cache", progress).fingerprint)
except CupolaError as e:
    print(type(e).__name__, e)
"""


def child(base: Path, limit: int = 0, stop: str = "") -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(base), str(limit), stop]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_full_disk_is_a_clear_error_and_loses_nothing_that_was_kept(tmp_path):
    first = made(texts(tmp_path))
    (tmp_path / "texts" / "new.txt").write_text(prose(1000))
    out, err = child(tmp_path, limit=20_000).communicate(timeout=60)
    assert err == ""
    assert out.startswith("MachineError ")
    assert "cannot write: File too large\n  free some space on the disk of " in out
    assert "what was kept before is untouched" in out
    assert [p.name for p in (tmp_path / "cache" / "corpora").iterdir()] == [first.folder.name]
    assert Corpus.open(first.folder).fingerprint == first.fingerprint


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (texts(tmp_path) / "cache").write_text("a file where the cache should be")
    assert "cannot write: Not a directory" in refusal(tmp_path, kind=MachineError)


@pytest.mark.parametrize("stop", ["reading shelf 1", "looking for near", "writing watch"])
def test_a_run_killed_at_any_step_leaves_nothing_half_made(tmp_path, stop):
    killed = child(texts(tmp_path), stop=stop)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert [p.name[0] for p in (tmp_path / "cache" / "corpora").iterdir()] == ["."]
    found = made(tmp_path)
    assert [p for p in (tmp_path / "cache" / "corpora").iterdir()] == [found.folder]


def test_two_at_once_make_one_corpus(tmp_path):
    both = [child(texts(tmp_path)), child(tmp_path)]
    (one, err), (two, err2) = (process.communicate(timeout=60) for process in both)
    assert (err, err2) == ("", "")
    assert one == two
    assert len(one) == 65
    assert len(list((tmp_path / "cache" / "corpora").iterdir())) == 1


# --- bad input ---


def test_an_empty_folder_says_so(tmp_path):
    (tmp_path / "texts").mkdir()
    said = refusal(tmp_path)
    assert said.startswith(f"{tmp_path / 'texts'}: no files at all; text is read from .txt .text .md ")
    assert "put some there, or check include and exclude" in said


def test_a_folder_without_the_medium_names_what_is_wanted_and_what_is_there(tmp_path):
    (tmp_path / "texts").mkdir()
    for name in ("a.pdf", "b.PDF", "c.docx", "README"):
        (tmp_path / "texts" / name).write_text("x")
    said = refusal(tmp_path)
    assert "no text among 4 files; there are .pdf (2), without suffix (1), .docx (1); text is read from .txt" in said
    assert "name another folder or another medium" in said


def test_too_few_documents_say_how_many_are_needed(tmp_path):
    assert refusal(texts(tmp_path, 9)).startswith(
        f"{tmp_path / 'texts'}: 9 texts left of 9 (none dropped), too few to split\n  add more: 10 are"
    )
    shutil.copy(tmp_path / "texts/shelf 0 🎈/story 00.txt", tmp_path / "texts/twin.txt")
    assert "9 texts left of 10 (1 duplicate), too few to split" in refusal(tmp_path)
    assert not list((tmp_path / "cache" / "corpora").iterdir())


def test_a_bad_file_is_left_out_with_its_reason_and_the_rest_goes_on(tmp_path):
    texts(tmp_path)
    (tmp_path / "texts" / "latin.txt").write_bytes(b"caf\xe9 au lait, " * 20)
    (tmp_path / "texts" / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "texts" / "later.txt").write_bytes((prose(7, 300) + "caf\xe9").encode("latin-1"))  # its good beginning is left out too
    found = made(tmp_path)
    assert {left.path: left.why for left in found.report.left_out} == {
        "latin.txt": "byte 3 (line 1) is 0xe9, which is not UTF-8",
        "picture.txt": "looks binary: byte 0 is 0x89",
        "later.txt": f"byte {len(prose(7, 300)) + 3:,} (line 600) is 0xe9, which is not UTF-8",
    }
    assert "iconv" in found.report.left_out[0].fix
    assert found.report.documents == len(everything(found)) == 40


def test_if_nothing_can_be_read_the_first_reasons_are_said(tmp_path):
    (tmp_path / "texts").mkdir()
    for n in range(5):
        (tmp_path / "texts" / f"{n}.txt").write_bytes(b"\0\1\2")
    said = refusal(tmp_path)
    assert "no text could be read from 5 files: 0.txt: looks binary: byte 0 is 0x00; 1.txt: looks binary" in said
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.txt").write_text("\n\n")
    assert "no text could be read from 1 file: 1 empty" in refusal(tmp_path, Source(source="more", licence="own work"))


def test_a_file_that_vanishes_between_looking_and_reading_is_left_out(tmp_path):
    texts(tmp_path)

    def progress(what, share):
        if what.startswith("reading"):
            (tmp_path / "texts/shelf 1 🎈/story 01.txt").unlink(missing_ok=True)

    found = build(TEXT, [HERE], CorpusConfig(), tmp_path, tmp_path / "cache", progress)
    assert [left.why for left in found.report.left_out] == ["cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("key", "said"),
    [("near", "near: Input should be less than or equal to 1, got 7"), ("held_out", "held_out: "), ("helt_out", "did you mean 'held_out'")],
)
def test_settings_out_of_range_or_unknown_are_refused(key, said):
    with pytest.raises(ConfigError, match=said.replace("?", ".")):
        config.parse(CorpusConfig, {key: 7}, "cupola.toml")


# --- duplicates ---


def test_duplicates_and_near_duplicates_go_and_the_pairs_are_kept(tmp_path):
    texts(tmp_path)
    for n in (3, 4):
        original = prose(n, 12)
        (tmp_path / "texts" / f"long {n}.txt").write_text(original)
        (tmp_path / "texts" / f"long {n} again.txt").write_text(original.replace(".", "!").replace("bar", "Bar"))
        (tmp_path / "texts" / f"long {n} revised.txt").write_text(original.replace(original.split()[100], "Something", 1))
    found = made(tmp_path)
    assert {why: d.documents for why, d in found.report.dropped.items()} == {"near duplicate": 4}
    pairs = [json.loads(line) for line in (found.folder / "near_pairs.jsonl").read_text().splitlines()]
    assert [(p["kept"]["path"], p["dropped"]["path"]) for p in pairs][:2] == [
        ("long 3 again.txt", "long 3 revised.txt"),
        ("long 3 again.txt", "long 3.txt"),
    ]
    assert all(0.7 <= p["similarity"] <= 1 for p in pairs)
    kept_all = made(tmp_path, near=None)
    assert kept_all.report.documents == 46
    assert not (kept_all.folder / "near_pairs.jsonl").exists()


def test_exact_duplicates_are_found_through_newlines_and_the_first_stays(tmp_path):
    texts(tmp_path)
    (tmp_path / "texts" / "a copy.txt").write_bytes(prose(11).replace("\n", "\r\n").encode("utf-16"))
    found = made(tmp_path)
    assert found.report.dropped["duplicate"].examples == ("shelf 2 🎈/story 11.txt: story 11 (as a copy.txt: a copy)",)
    assert "a copy.txt" in {d.path for d in everything(found)}


def test_thousands_of_near_copies_are_dropped_for_the_first_and_strangers_stay(tmp_path):
    class Numbered(Text):  # one file, a document a line; the last word is a number, so that none is an exact copy
        def read(self, path):
            for n, line in enumerate(path.read_text().splitlines()):
                yield Document(line + "\n", str(n), path.name)

    (tmp_path / "texts").mkdir()
    same = prose(1, 1).strip()
    lines = [f"{same} {n}" for n in range(2000)] + [prose(n, 1).strip() for n in range(100, 200)]
    random.Random(0).shuffle(lines)
    (tmp_path / "texts" / "log.txt").write_text("\n".join(lines))
    found = made(tmp_path, medium=Numbered())
    assert found.report.documents == 101
    assert found.report.dropped["near duplicate"].documents == 1999
    assert found.report.split_by == "text"


def test_a_document_is_dropped_only_for_one_that_stays(tmp_path):
    class Bags(Text):  # a document is its words
        def shingles(self, text):
            return set(text.split())

    texts(tmp_path)
    for n in range(3):  # neighbours share 90 of 110 words, the outer two 80 of 120
        (tmp_path / "texts" / f"{n}.txt").write_text(" ".join(f"w{k}" for k in range(10 * n, 100 + 10 * n)))
    found = made(tmp_path, medium=Bags(), near=0.75)
    assert {"0.txt", "2.txt"} == {d.path for d in everything(found)} & {"0.txt", "1.txt", "2.txt"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=60))
def test_exact_duplicates_pair_with_the_first_of_their_kind(values):
    digests = np.array([[v // 4, v % 4] for v in values], np.uint64)
    expected = [(values.index(v), i, 1.0) for i, v in enumerate(values) if values.index(v) < i]
    assert list(duplicates.same(digests)) == expected


@pytest.mark.parametrize("near", [0.5, 0.7, 0.9])
def test_near_duplicates_agree_with_true_jaccard_outside_the_estimates_error(tmp_path, near):
    """Sets made to overlap by known shares: well above `near` nearly all pairs are found, well below none."""
    sign, draw = duplicates.Signer(), random.Random(0)
    truth = []
    with (tmp_path / "signatures").open("wb") as file:
        for pair in range(300):
            share = draw.random()
            common, own = round(200 * share), round(200 * (1 - share) / 2)
            base = {f"{pair} {n}" for n in range(common)}
            sets = [base | {f"{pair} {side} {n}" for n in range(own)} for side in "ab"]
            truth.append(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
            for shingles in sets:
                file.write(sign(shingles).tobytes())
    found = {(i, j): s for i, j, s in duplicates.alike(tmp_path / "signatures", np.arange(600), near, lambda *a: None)}
    error = 3 * (near * (1 - near) / duplicates.PERMUTATIONS) ** 0.5
    clear = [k for k, jaccard in enumerate(truth) if jaccard > near + error]
    assert sum((2 * k, 2 * k + 1) in found for k in clear) >= 0.98 * len(clear)
    assert not [pair for pair in found if pair[1] != pair[0] + 1 or truth[pair[0] // 2] < near - 1.5 * error]
    assert max(abs(similarity - truth[i // 2]) for (i, _), similarity in found.items()) < 0.16


# --- the split where groups are few ---


def test_one_large_file_is_split_in_blocks_of_neighbours_and_the_report_says_so(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "novel.txt").write_text(prose(5, 1500))
    found = made(tmp_path)
    assert found.report.split_by == "block of a file"
    assert "blocks of neighbouring documents were split instead" in found.report.notes[0]
    assert len(found.held_out) >= 3
    assert {d.group.rpartition(" #")[0] for d in everything(found)} == {"novel.txt"}
    groups = [{d.group for d in split} for split in (found.train, found.watch, found.held_out)]
    assert not groups[0] & groups[1] | groups[1] & groups[2] | groups[0] & groups[2]
    held = [d.text for d in found.held_out]
    whole = (tmp_path / "texts" / "novel.txt").read_text()
    assert all(text.strip() in whole for text in held)
    total = found.report.bytes
    assert 0.05 < found.held_out.bytes / total < 0.16


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5000)), min_size=10, max_size=120), st.integers(0, 5))
def test_any_corpus_is_split_in_three_parts_by_whole_groups(documents, seed):
    groups = np.array([corpus._hash(str(g)) for g, _ in documents], np.uint64)
    sizes = np.array([size for _, size in documents])
    blocks = corpus._blocks(groups, sizes)
    groups = np.array([corpus._hash(f"{g}:{b}") if b >= 0 else g for g, b in zip(groups.tolist(), blocks, strict=True)], np.uint64)
    part, counts = corpus._split(groups, sizes, CorpusConfig(seed=seed))
    assert all(len({*part[groups == group]}) == 1 for group in groups)
    assert sum(counts) == len(set(groups.tolist()))
    if len(set(groups.tolist())) >= 3:
        assert min(counts) >= 1


# --- secrets ---

AWS = "AKIA" + "QRSTUVWX23456789"[:16]
SECRETS = {
    f"aws_access_key_id = {AWS}\n": ("AWS_KEY", AWS),
    f"token: ghp_{'a1B2c3D4e5F6' * 3}\n": ("GITHUB_TOKEN", "a1B2c3D4e5F6"),
    "xoxb-123456789012-1234567890123-abcdefGHIJ1234\n": ("SLACK_TOKEN", "abcdef"),
    f"key = sk_live_{'4eC39HqLyjWDarjtT1zdp7dc'}\n": ("STRIPE_ACCESS_KEY", "4eC39H"),
    'db = "postgres://anna:kiq7-Lo_p@db.host/x"\n': ("PASSWORD", "kiq7-Lo_p"),
    'password = "correcthorsebattery"\n': ("SECRET", "correcthorse"),
    'config["api_key"] = "s3cr3t-v4lue-0f-mine"\n': ("SECRET", "s3cr3t-v4lue"),
    'nonce = "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MEFCQ0RFRkdI"\n': ("SECRET", "Zm9vYmFy"),
    "auth: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U end\n": ("TOKEN", "dozjgNry"),
    "-----BEGIN RSA PRIVATE KEY-----\n" + ("MIIEpAIBAAKCAQEA" * 4 + "\n") * 3 + "-----END RSA PRIVATE KEY-----\n": ("PRIVATE_KEY", "MIIE"),
    "-----BEGIN OPENSSH PRIVATE KEY-----\n" + ("b3BlbnNzaC1rZXktdjEA" * 3 + "\n") * 3: ("PRIVATE_KEY", "b3Blb"),
    "From: Anna Berg <anna.berg+lists@mail.example.museum>\n": ("EMAIL", "anna.berg"),
    "write to o_o.k@firma.co.uk, please\n": ("EMAIL", "firma"),
}


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_and_addresses_become_typed_placeholders(text):
    name, value = SECRETS[text]
    found = collections.Counter()
    before, after = "def a():\n    pass\n\n", "\nand more text\n"
    out = Scrubber()(before + text + after, found)
    assert found == {name: 1}
    assert f"<{name}>" in out
    assert value not in out
    assert out.startswith(before)
    assert out.endswith(after)


def test_a_placeholder_takes_only_the_secrets_place():
    text = 'a = 1\nlogin("https://anna:hunter2@host/x")\npassword = "pass-word-1"  # pass-word-1\nmail bob@x.org and (eve@y.net).\n'
    out = Scrubber()(text, collections.Counter())
    assert out == 'a = 1\nlogin("https://anna:<PASSWORD>@host/x")\npassword = "<SECRET>"  # pass-word-1\nmail <EMAIL> and (<EMAIL>).\n'


def test_ordinary_code_and_prose_are_left_alone():
    text = """
    scores = q @ k.transpose(-2, -1); y = x@w.T; z = a@b.shape; h = m@self.net.to(x)
    @app.route("/login")
    password = getpass("Password: ")
    parser.add_argument("--password", help="the password of your account")
    uuid = "123e4567-e89b-12d3-a456-426614174000"
    git clone git@host.org:me/repo.git  # version 10.5.1.2
    if "-----BEGIN RSA PRIVATE KEY-----" in text: raise ValueError("-----END RSA PRIVATE KEY-----")
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    url = "https://{user}:{password}@{host}"; other = "https://$USER:$PASSWORD@host"
    the secret is "never tell", and her password: 'open sesame' she said; the İstanbul password
    """
    found = collections.Counter()
    assert Scrubber()(text, found) == text
    assert found == {}


def test_hostile_text_is_scrubbed_in_time():
    for text in (
        "@" * 50_000,
        "a" * 64_000,
        "a@" * 30_000,
        "-----BEGIN PRIVATE KEY-----" * 2000,
        "password = " * 6000,
        "eyJ" * 20_000,
        "1-" * 30_000,
    ):
        Scrubber()(text, collections.Counter())


def test_secrets_are_counted_in_the_report_and_gone_from_every_file(tmp_path):
    texts(tmp_path)
    for n, text in enumerate(SECRETS):
        (tmp_path / "texts" / f"s{n}.txt").write_text(prose(200 + n) + text)
    found = made(tmp_path)
    assert found.report.scrubbed == dict(collections.Counter(name for name, _ in SECRETS.values()).most_common())
    kept = b"".join(p.read_bytes() for p in found.folder.iterdir())
    assert not [value for _, value in SECRETS.values() if value.encode() in kept]


def test_other_media_are_not_scrubbed(tmp_path):
    class Letters(Text):
        scrub = False

    texts(tmp_path)
    (tmp_path / "texts" / "x.txt").write_text(prose(300) + "a@bcd.org\n")
    assert "a@bcd.org" in "".join(d.text for d in everything(made(tmp_path, medium=Letters())))


# --- size ---


def test_code_that_does_not_parse_is_kept_and_counted(tmp_path):
    for n in range(20):
        (tmp_path / "texts").mkdir(exist_ok=True)
        name = words(prose(n))[0] + str(n)
        (tmp_path / "texts" / f"{n}.py").write_text(f"def {name}(x):\n    return x + {n}" + (")" if n == 7 else "") + "\n")
    report = made(tmp_path, medium=Code()).report
    assert (report.checked, report.problems) == (20, 1)
    assert report.problem_examples == ("7.py: line 2, column 17: not Python: unmatched ')' (mend the syntax)",)
    assert report.line().startswith("20 files of 20 kept · ")


MEMORY = """
import resource, sys
from pathlib import Path
from cupola.corpus import CorpusConfig, build
from cupola.media.text import Text
from cupola.sources import Source

class Plain(Text):
    scrub = False
    def shingles(self, text):
        return {{text[1000:1200]}}

base = Path(sys.argv[1])
build({medium}(), [Source(source="warm", licence="own work")], CorpusConfig(), base, base / "cache")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = build({medium}(), [Source(source="texts", licence="own work")], CorpusConfig(), base, base / "cache")
assert sum(1 for _ in found.train.texts()) == len(found.train)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, found.report.bytes, len(found.train))
"""


def grown(folder: Path, medium: str, megabytes: int) -> tuple[int, int, int]:
    """(bytes of memory more than a small corpus takes, bytes of text kept, documents)."""
    draw, paragraphs = random.Random(0), [prose(n, 1) for n in range(500)]
    for name, size in (("warm", 400_000), ("texts", megabytes * 1_000_000)):
        (folder / name).mkdir()
        for number in range(4):
            with (folder / name / f"{number}.txt").open("w") as file:
                while file.tell() < size / 4:
                    file.write("\n".join(draw.choices(paragraphs, k=200)))
    command = [sys.executable, "-c", MEMORY.format(medium=medium), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return tuple(map(int, done.stdout.split()))


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    more, size, documents = grown(tmp_path, "Plain", 40)
    assert size > 36_000_000
    assert documents > 300
    assert more < 16_000_000


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus_when_all_is_scrubbed_and_compared(tmp_path):
    more, _, _ = grown(tmp_path, "Text", 40)
    assert more < 24_000_000
