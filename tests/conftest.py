"""A small real corpus and run that several files' tests share: sentences of a made-up grammar, learnable in seconds."""

import io
import os
import random
import sys
from pathlib import Path

import pytest

from cupola import cli, corpus, model, tokens, train
from cupola.media import MEDIA
from cupola.sources import Source

WHO = ["the fox", "a crow", "one snail", "my aunt"]
DOES = ["sees", "paints", "forgets", "sings to"]
WHAT = ["the moon", "a door", "two pears", "the sea"]


def write_sentences(folder: Path, files: int = 40, lines: int = 30, seed: int = 0) -> Path:
    """`files` text files of sentences, every one different."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(files):
        said = [f"{rng.choice(WHO)} {rng.choice(DOES)} {rng.choice(WHAT)} on day {rng.randrange(1000)}." for _ in range(lines)]
        (folder / f"story {i:02d} 🦊.txt").write_text("\n".join(said) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="session")
def sentences(tmp_path_factory) -> Path:
    return write_sentences(tmp_path_factory.mktemp("stories"))


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory, sentences) -> corpus.Corpus:
    base = tmp_path_factory.mktemp("corpus")
    source = Source(source=str(sentences), licence="own work")
    return corpus.build(MEDIA["text"], [source], corpus.CorpusConfig(near=None), base, base / "cache")


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory, small_corpus) -> tuple[tokens.Tokenizer, Path]:
    folder = tmp_path_factory.mktemp("tokenizer")
    made = tokens.train_tokenizer(small_corpus.train.texts(), "qwen2", 300)
    made.save(folder)
    return made, folder


@pytest.fixture
def make_run(small_corpus, small_tokenizer, tmp_path):
    """make_run(name, **changes of the plan) -> a run folder of a tiny model, ready to train in two seconds."""
    tokenizer, folder = small_tokenizer

    def make(name: str = "run", **changes) -> Path:
        run = tmp_path / name
        shape = model.dial(40_000, tokenizer.vocab_size, 64)
        plan = train.RunPlan(
            model=shape,
            train=train.TrainConfig(length=64, **changes.pop("train", {})),
            medium="text",
            corpus=os.path.relpath(small_corpus.folder, run),
            tokenizer=os.path.relpath(folder, run),
            rows=4,
            max_steps=changes.pop("max_steps", 24),
            eval_every=changes.pop("eval_every", 6),
            data={"corpus": small_corpus.fingerprint, "tokenizer": tokenizer.fingerprint},
            versions=train.versions(),
            **changes,
        )
        train.write_plan(run, plan)
        return run

    return make


class Terminal(io.StringIO):
    """Standard input with somebody in front of it."""

    def isatty(self):
        return True


@pytest.fixture
def cupola(monkeypatch, capsys):
    """cupola(*arguments, typed=None) -> (exit code, stdout, stderr), in this process; typed: what a person at a terminal answers."""

    def run(*arguments, typed=None):
        monkeypatch.setattr(sys, "argv", ["cupola", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", Terminal(typed) if typed is not None else io.StringIO())
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as e:
            code = e.code or 0
        return code, *capsys.readouterr()

    return run
