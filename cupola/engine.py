"""llama.cpp in this process (xllamacpp): ids and a grammar in, text and log-probabilities out; and the proof of a GGUF.

Prompts are ids from our own tokenizer, never strings: llama.cpp reads control tokens out of every string. A grammar is tried before
anything is sampled with it, because some bad ones would be ignored without a word. What llama.cpp does otherwise than one would think is
said beside the line that answers it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import os
import queue
import re
import secrets
import shutil
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xllamacpp as _xllamacpp

from cupola import gguf as export
from cupola import modeldir
from cupola.errors import ConfigError, EngineError, ProofError
from cupola.tokens import BOS, CONTROL, EOS, Tokenizer

xllamacpp: Any = _xllamacpp  # it ships no types
Progress = Callable[[str, float | None], None]
BANNED = [i for i in range(len(CONTROL)) if i != EOS]  # never sampled: they are no text, yet a wide grammar would admit them by their names


@dataclasses.dataclass(frozen=True)
class Request:
    """One text to be written."""

    prompt_ids: list[int]  # from Tokenizer.prompt or Tokenizer.gap
    max_new_tokens: int
    temperature: float = 0.9  # 0 takes the likeliest id each time
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    stop: list[str] = dataclasses.field(default_factory=list)
    grammar: str | None = None  # GBNF
    logprobs: int = 0  # 1: Completion.logprob; more: that many alternatives of each id too, in Completion.top


@dataclasses.dataclass(frozen=True)
class Completion:
    """What came of a Request."""

    text: str  # without the stop string
    ids: list[int]  # all that was sampled: with EOS if it ended so, with the stop string
    stop: str  # "eos", "length" or "stop"
    logprob: float | None  # of ids under the model itself: nats, before temperature, grammar and truncation; see Engine
    seconds: float
    top: list[dict[int, float]] = dataclasses.field(default_factory=list)  # per id, nats; empty where logprob is None


class Engine:
    """One GGUF file, loaded and ready; a context manager.

    Each of `slots` requests at a time has a llama.cpp of its own (6 MB each at a million parameters, weights shared), at most one a core.
    So an answer depends on file and request alone, whatever else runs, and is the same bytes again on the same machine. One llama.cpp
    with many slots would be 1.4 times faster a core and would not: its float sums depend on what is batched together.

    `Completion.logprob` is what llama.cpp calls the log-probability before sampling: of the model at temperature 1, with no grammar.
    It is None where llama.cpp does not give one for every id: after a stop string, and for a character whose bytes are several ids.
    """

    def __init__(
        self, gguf: Path, tokenizer: Tokenizer, slots: int = 1, n_ctx: int | None = None, *, shift: bool = False, threads: int = 1
    ):
        """n_ctx: ids that fit in one request, prompt and answer (default and most: what the model was trained with).

        shift: past n_ctx forget the older half and go on, instead of ending with stop "length". threads: of each slot.
        Raises EngineError when llama.cpp cannot open the file, or it has another vocabulary than the tokenizer.
        """
        self.gguf, self.tokenizer, self.shift = gguf, tokenizer, shift
        if not gguf.is_file():
            raise EngineError("no such file", str(gguf), "give a GGUF file; cupola.gguf.export writes one")
        # Each server in a list of its own that close() empties: deleting the last reference is how a server is closed, and the traceback
        # of an error that somebody kept would hold one.
        self._idle: queue.Queue[list[Any]] = queue.Queue()
        self._tried: set[str] = set()
        self._closed = False
        self.slots = 0  # how many run
        self._folder = _room()
        self._tidy = weakref.finalize(self, shutil.rmtree, self._folder, True)
        self._key = secrets.token_hex(16)
        try:
            self._address = self._start(n_ctx or 0, threads)
            self.n_ctx = self._meet(n_ctx)
            while self.slots < min(slots, _cores()):
                self._start(self.n_ctx, threads)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is running, then unload; requests from now on are refused. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self.slots):
            self._idle.get().clear()
        self._idle.put([])
        self._tidy()

    # Asking

    def generate(self, requests: list[Request], progress: Progress | None = None) -> list[Completion]:
        """The completions, in the order of the requests. The same requests give the same completions, for any number of slots.

        Everything is checked before anything is sampled. Ctrl-C stops after the requests that are running.
        Raises EngineError for a bad grammar, a prompt that does not fit, ids or settings out of range, or a closed engine.
        """
        for request in requests:
            self._check(request)
        out: dict[int, Completion] = {}
        with concurrent.futures.ThreadPoolExecutor(self.slots) as pool:
            futures = {pool.submit(self._one, request): i for i, request in enumerate(requests)}
            try:
                left = set(futures)
                while left:  # a wait without end would sleep through a Ctrl-C that another thread caught
                    done, left = concurrent.futures.wait(left, 0.2, concurrent.futures.FIRST_COMPLETED)
                    for future in done:
                        out[futures[future]] = future.result()
                        if progress:
                            progress("sample", len(out) / len(requests))
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
        return [out[i] for i in range(len(requests))]

    def tokenize(self, text: str) -> list[int]:
        """The ids that llama.cpp itself gives a text, no control token parsed; for the proof, nothing else should need it."""
        return self._http("/tokenize", {"content": text, "add_special": False, "parse_special": False})["tokens"]

    def dtype(self) -> str:
        """What most of the file's weights are kept as: "f32", "f16", "q8_0"."""
        return self._about["ftype"].removeprefix("all ").lower()

    def _one(self, request: Request) -> Completion:
        if request.max_new_tokens == 0:  # llama.cpp would give one
            return Completion("", [], "length", 0.0 if request.logprobs else None, 0.0)
        with self._server() as slot:
            begun = time.monotonic()
            answer = self._ask(slot, request)
            return self._completion(request, answer, time.monotonic() - begun)

    @contextlib.contextmanager
    def _server(self) -> Iterator[list[Any]]:
        """A llama.cpp that nobody else uses meanwhile, in its list."""
        slot = self._idle.get()
        try:
            if not slot:
                raise EngineError("the engine is closed", str(self.gguf), "open another")
            yield slot
        finally:
            self._idle.put(slot)

    def _ask(self, slot: list[Any], request: Request) -> dict[str, Any]:
        """llama.cpp's own full answer; not streamed, because a stream loses ids inside characters of several."""
        body: dict[str, Any] = {
            "prompt": list(request.prompt_ids),
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_k": request.top_k,
            "top_p": request.top_p,
            "min_p": request.min_p,
            "seed": request.seed % 0xFFFFFFFF,  # that number itself would mean "by chance"
            "stop": list(request.stop),
            "logit_bias": [[i, False] for i in BANNED],
            "cache_prompt": False,  # what a slot saw before must not touch the float sums of what comes next
            "n_keep": 1,  # BOS, when shifting
            "verbose": True,
            "return_tokens": True,
        }
        if request.grammar is not None:
            body["grammar"] = request.grammar
        if request.logprobs:
            body["logprobs"] = request.logprobs
        answer = slot[0].handle_completions(body)
        if "error" in answer:  # returned, not raised
            raise EngineError(f"llama.cpp refused: {answer['error'].get('message', answer['error'])}", str(self.gguf), "see the request")
        return answer["__verbose"]

    def _completion(self, request: Request, answer: dict[str, Any], seconds: float) -> Completion:
        ids = answer["tokens"]
        text = self.tokenizer.decode(ids)
        if answer["stop_type"] == "word":
            text = text[: min((at for s in request.stop if (at := text.find(s)) >= 0), default=len(text))]
        given = answer.get("completion_probabilities") or []
        whole = request.logprobs > 0 and [g["id"] for g in given] == ids
        return Completion(
            text,
            ids,
            {"eos": "eos", "limit": "length", "word": "stop"}[answer["stop_type"]],
            sum(g["logprob"] for g in given) if whole else None,
            seconds,
            [{t["id"]: t["logprob"] for t in g["top_logprobs"]} for g in given] if whole and request.logprobs > 1 else [],
        )

    # Refusing

    def _check(self, r: Request) -> None:
        where = str(self.gguf)
        if self._closed:
            raise EngineError("the engine is closed", where, "open another")
        if not r.prompt_ids or not all(0 <= i < self.tokenizer.vocab_size for i in r.prompt_ids):
            raise EngineError(
                "the prompt is empty or has ids outside the vocabulary", where, "make it with Tokenizer.prompt or Tokenizer.gap"
            )
        if len(r.prompt_ids) >= self.n_ctx:
            raise EngineError(
                f"the prompt has {len(r.prompt_ids)} ids, {self.n_ctx - 1} fit", where, "shorten it, or use a model with a longer context"
            )
        for name, value, low, high in (
            ("temperature", r.temperature, 0, 100),
            ("top_p", r.top_p, 0, 1),
            ("min_p", r.min_p, 0, 1),
            ("top_k", r.top_k, 0, 1 << 30),
            ("max_new_tokens", r.max_new_tokens, 0, 1 << 30),
            ("logprobs", r.logprobs, 0, self.tokenizer.vocab_size),
        ):
            if not low <= value <= high:  # also refuses NaN
                raise EngineError(f"{name} is {value}", where, f"use {low} to {high}")
        if "" in r.stop:
            raise EngineError("an empty stop string", where, "leave it out")
        if r.grammar is not None and r.grammar not in self._tried:
            self._try_grammar(r.grammar)
            self._tried.add(r.grammar)

    def _try_grammar(self, grammar: str) -> None:
        """Raises EngineError, with llama.cpp's reason, for a grammar that it would refuse or, worse, ignore."""
        fix = "mend the GBNF; it needs a rule named root, and strings in double quotes"
        if not grammar.strip():
            raise EngineError("the grammar is empty: anything would be written", "grammar", "pass None for no grammar")
        if grammar.lstrip().startswith("%"):  # Lark for LLGuidance: faults in it are ignored and the text comes out unconstrained
            raise EngineError("only GBNF grammars are taken", "grammar", fix)
        asked = {"prompt": [BOS], "max_tokens": 1, "grammar": grammar, "logit_bias": [[i, False] for i in BANNED]}
        with self._server() as slot, _stderr() as said:  # reasons go to stderr, whatever the verbosity
            answer = slot[0].handle_completions(asked)
            text = said()
        if "error" not in answer:
            os.write(2, text.encode())  # what others said meanwhile
            return
        if found := re.search(r"parse: error parsing grammar: (.*)", text):
            reason = found[1].strip()
        elif not re.search(r"^\s*root\s*::=", grammar, re.MULTILINE):
            reason = "there is no rule named root"
        elif "parse grammar" in answer["error"]["message"]:
            reason = "a rule begins with itself (left recursion)"
        else:
            reason = answer["error"]["message"]
        raise EngineError(f"llama.cpp cannot use the grammar: {reason}", "grammar", fix)

    # Loading

    def _start(self, n_ctx: int, threads: int) -> str:
        """One more server among the idle ones; returns where it listens."""
        try:
            server = xllamacpp.Server(self._params(n_ctx, threads, verbosity=-1))
        except RuntimeError:  # says no more than that it failed: ask again, louder
            with _stderr() as said:
                with contextlib.suppress(RuntimeError):
                    server = xllamacpp.Server(self._params(n_ctx, threads, verbosity=1))
                    server.handle_completions({"prompt": [BOS], "max_tokens": 1})
                deadline = time.monotonic() + 2
                while "exiting" not in said() and time.monotonic() < deadline:
                    time.sleep(0.01)  # a thread of llama.cpp's own prints what it logs
                errors = [line.split(" E ", 1)[1] for line in said().splitlines() if " E " in line] or ["no reason given"]
            cause = next((e for e in errors if "gguf_init" in e or "error loading model" in e), errors[0])  # the first is it
            reason = re.sub(r"^.*?(gguf_init\w*|error loading model): ", "", cause)
            raise EngineError(f"llama.cpp cannot open it: {reason}", str(self.gguf), "export the model again") from None
        # A server deleted before its loop has begun never returns: one answer proves that it runs, and that the file can be sampled from.
        answer = server.handle_completions({"prompt": [BOS], "max_tokens": 1})
        if "error" in answer:
            raise EngineError(f"llama.cpp cannot use it: {answer['error'].get('message')}", str(self.gguf), "export the model again")
        self._idle.put([server])
        self.slots += 1
        return server.listening_address

    def _params(self, n_ctx: int, threads: int, verbosity: int) -> Any:
        p = xllamacpp.CommonParams()
        p.model.path = str(self.gguf)
        p.n_ctx, p.n_parallel, p.ctx_shift = n_ctx, 1, self.shift
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
        # Exact: with these an f32 file gives Transformers' log-probabilities within 3e-6, and a few KB a token is all that they cost.
        p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        p.n_gpu_layers, p.fit_params, p.warmup = 0, False, True
        p.verbosity, p.ui = verbosity, False
        p.cache_ram_mib = 0  # its default keeps old prompts, up to 8 GiB
        p.sse_ping_interval, p.n_threads_http = 1, 2  # an open stream would hold up closing until the next ping, every thread with it
        if hasattr(socket, "AF_UNIX"):  # no port: the listener would answer any web page that finds it
            p.hostnames = [os.path.join(self._folder, f"{self.slots}.{verbosity}.sock")]
        else:
            p.hostnames, p.api_keys = ["127.0.0.1"], [self._key]
        return p

    def _meet(self, n_ctx: int | None) -> int:
        """Ids that fit in a request. Raises EngineError when file and tokenizer do not belong together or n_ctx was never trained."""
        self._about = self._http("/v1/models")["data"][0]["meta"]
        if self._about["n_vocab"] != self.tokenizer.vocab_size:
            what = f"it has {self._about['n_vocab']} ids, the tokenizer {self.tokenizer.vocab_size}"
            raise EngineError(what, str(self.gguf), "use the tokenizer of the folder it was exported from")
        if n_ctx is not None and not 1 < n_ctx <= self._about["n_ctx_train"]:
            raise EngineError(
                f"n_ctx is {n_ctx}", str(self.gguf), f"use 2 to {self._about['n_ctx_train']}, the longest it was trained with"
            )
        return n_ctx or self._about["n_ctx_train"]

    def _http(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the first server's listener, for the few things that are not to be had in process."""
        connection = _Connection(self._address)
        headers = {"Connection": "close", "Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise EngineError(f"llama.cpp refused {path}: {answer['error'].get('message')}", str(self.gguf), "see the request")
        return answer


def _room() -> str:
    """A folder for sockets that only this user can enter (mode 0700); the path of a socket may have about 100 bytes."""
    long = len(os.fsencode(tempfile.gettempdir())) > 70
    return tempfile.mkdtemp(prefix="cupola-", dir="/tmp" if long and os.path.isdir("/tmp") else None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Connection(http.client.HTTPConnection):
    """To a server's listening_address, "unix:///path" or "http://host:port"."""

    def __init__(self, address: str):
        self.path = address.removeprefix("unix://") if address.startswith("unix://") else None
        super().__init__("localhost" if self.path else address.removeprefix("http://"), timeout=60)

    def connect(self) -> None:
        if self.path is None:
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


_stderr_lock = threading.Lock()


@contextlib.contextmanager
def _stderr() -> Iterator[Callable[[], str]]:
    """A function that gives what C code, or anyone, has printed to stderr in the block so far."""
    with _stderr_lock, tempfile.TemporaryFile(buffering=0) as file:

        def said() -> str:
            file.seek(0)  # and reading to the end puts it back: descriptor 2 shares the position
            return file.read().decode("utf-8", "replace")

        try:
            kept = os.dup(2)
        except OSError:  # no stderr to speak of
            yield str
            return
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


# --- the proof ----------------------------------------------------------------------------------------------------------------------

# Texts that tokenizers disagree on when they disagree at all.
PROBES = [
    "",
    " ",
    "  ",
    "\n",
    "\n\n\n",
    "\t",
    "\r",
    "\r\n",
    " \n \n",
    "a",
    " a",
    "a ",
    "  a  b   c    d",
    "a\tb\t\tc",
    "one\r\ntwo\rthree\n",
    "0",
    "7 42 365 1024 65536 1000000 123456789012",
    "3.14159, -2e10, 0x1F, 1/2, ½ ² ٣ 四",
    "I'm you're they've we'll he'd it's DON'T",
    "x=y+z;if(a<b){return[c];}//end",
    "snake_case CamelCase kebab-case SCREAMING_CASE",
    "....,,,,;;;;!!!!????----____####",
    '|: G2 B>d e^fg | [CEG]2 z4 :| "Am"(3abc {g}A ~B',
    "#####\n#..@#\n#.~^#\n#####\n",
    "été naïve Ærø ß ĳ",
    "e\u0301te\u0301 n\u0303 a\u0308\u0323",
    "Привет, мир! Γειά σου",
    "東京タワー 서울 ภาษาไทย",
    "שלום עולם مرحبا",
    "🙂🙃 👩‍👩‍👧‍👦 🇩🇰 👍🏽",
    "\u200b\u200d\ufeff\u00a0\u2003\u3000",
    "\x00\x01\x1f\x7f\x80",
    "\ufffd \U0010ffff \ue000",
    "▁ ▁▁ a▁b",
    "<0x41> <0x0A> <unk> <s> </s> <eos> [EOS] [PAD]",
    "<|endoftext|> <|im_start|>user<|im_end|> <|eot_id|> <|fim_prefix|>",
    "".join(CONTROL),
    f"a{CONTROL[EOS]}b {CONTROL[BOS]} <|cupola:eos",
    "a" * 300,
    "ab " * 100,
    "1" * 100,
    " " * 100 + "\n" * 50,
]
# Nats. f32: over the whole vocabulary; else over ids of at least one in ten thousand. Measured on a 0.9 M model after 640 steps: 1e-5,
# 0.004 and 0.13, and they grow with the logits. The first shows that the export is right, the others that a file is of these weights.
TOLERANCE = {"f32": 1e-4, "f16": 0.05, "q8_0": 0.5}


@dataclasses.dataclass(frozen=True)
class Proof:
    """That a GGUF gives what its folder gives in Transformers."""

    texts: int  # tokenised alike by cupola, Transformers and llama.cpp
    prompts: int  # whose next-token log-probabilities were compared
    difference: float  # nats, the largest of them, for this file
    exact_difference: float  # and for the same weights written as f32
    greedy_same: int
    greedy_total: int
    dtype: str

    @property
    def summary(self) -> str:
        """The line that a person reads."""
        ties = self.greedy_total - self.greedy_same
        tail = f", {ties} within rounding of a tie" if ties else ""
        return f"GGUF and Transformers agree on {self.greedy_same} of {self.greedy_total} greedy tokens{tail}"


def prove(
    folder: Path, gguf: Path, probes: list[str] = PROBES, documents: list[str] | None = None, progress: Progress | None = None
) -> Proof:
    """Load the GGUF in llama.cpp and its folder in Transformers in float32, and compare what they do.

    Token ids: identical on every probe and document. Next-token log-probabilities: within TOLERANCE of the file's dtype. Greedy tokens,
    given the same text before them: the same, but for places where Transformers' two likeliest are closer together than three times the
    difference just measured; those are counted. Weights rounded to f16 could hide small faults of the export, so log-probabilities and
    greedy tokens are asked of a temporary f32 export too, at 1e-4.
    Raises ProofError naming the first thing that differs.
    """
    documents = documents or []
    model, tokenizer = modeldir.load(folder)
    prompts = _prompts(tokenizer, probes, documents, model.config.max_position_embeddings)
    if progress:
        progress("prove", 0.0)
    with Engine(gguf, tokenizer) as engine:
        dtype = engine.dtype()
        if dtype not in TOLERANCE:
            raise ConfigError(f"a {dtype} file", str(gguf), f"proofs are for {', '.join(TOLERANCE)}")
        _same_ids(folder, engine, [*probes, *documents])
        if progress:
            progress("prove", 0.4)
        difference = _same_logprobs(model, engine, prompts, TOLERANCE[dtype])
        same, total = _same_greedy(model, engine, prompts, difference)
    if progress:
        progress("prove", 0.7)
    with tempfile.TemporaryDirectory(prefix="cupola-") as room:
        whole = export.export(folder, Path(room) / "exact.gguf", "f32")
        with Engine(whole, tokenizer) as engine:
            exact = _same_logprobs(model, engine, prompts, TOLERANCE["f32"])
            _same_greedy(model, engine, prompts, exact)
    if progress:
        progress("prove", 1.0)
    return Proof(len(probes) + len(documents), len(prompts), difference, exact, same, total, dtype)


def _prompts(tokenizer: Tokenizer, probes: list[str], documents: list[str], n_ctx: int) -> list[list[int]]:
    """Up to 16 prompts: nothing, beginnings of documents and gaps in them, longer and longer; probes where there are too few documents."""
    texts = [t for t in documents if t][:15]
    texts += [p for p in probes if len(p) > 2][: 15 - len(texts)]
    room = max(1, n_ctx - GREEDY - 8)
    out = [tokenizer.prompt("")]
    for i, text in enumerate(texts):
        ids = tokenizer.encode(text)[: room * (i + 1) // len(texts)]
        third = len(ids) // 3
        gap = tokenizer.gap(tokenizer.decode(ids[:third]), tokenizer.decode(ids[2 * third :]))
        out.append(gap if i % 3 == 2 and len(gap) <= room else [BOS, *ids])
    return out


GREEDY = 16  # tokens a prompt, until 64 are compared


def _same_ids(folder: Path, engine: Engine, texts: list[str]) -> None:
    """Raises ProofError at the first text that cupola, Transformers and llama.cpp do not tokenise alike."""
    import transformers

    theirs: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in texts:
        ours = engine.tokenizer.encode(text)
        for who, ids in (("Transformers", theirs(text)["input_ids"]), ("llama.cpp", engine.tokenize(text) if text else [])):
            if list(ids) != ours:
                at = next((i for i, (a, b) in enumerate(zip(ids, ours, strict=False)) if a != b), min(len(ids), len(ours)))
                what = f"{who} tokenises {text[:60]!r} otherwise: from id {at} on {list(ids)[at : at + 5]}, not {ours[at : at + 5]}"
                raise ProofError(what, str(engine.gguf), "do not use this file; pretokenizer and vocabulary disagree")


def _logprobs(model: Any, ids: list[int]) -> np.ndarray:
    """(T, V) nats after each id, by Transformers in float32."""
    import torch

    with torch.inference_mode():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1).numpy()


def _same_logprobs(model: Any, engine: Engine, prompts: list[list[int]], tolerance: float) -> float:
    """The largest difference in nats over prompts and vocabulary. Raises ProofError past the tolerance."""
    size = engine.tokenizer.vocab_size
    # For an id that is only part of a character llama.cpp gives no log-probabilities: let it choose an ASCII one; all are given beside it.
    answers = engine.generate([Request(p, 1, temperature=0, logprobs=size, grammar="root ::= [\\n -~]") for p in prompts])
    largest = 0.0
    for prompt, answer in zip(prompts, answers, strict=True):
        theirs = np.full(size, np.nan, np.float32)
        theirs[list(answer.top[0])] = list(answer.top[0].values())
        ours = _logprobs(model, prompt)[-1]
        apart = np.abs(theirs - ours)
        if tolerance > TOLERANCE["f32"]:
            apart[ours < np.log(1e-4)] = 0  # far out in the tail rounding shows most and matters least
        i = int(apart.argmax())  # NaN, which is no proof either, counts as largest
        if not apart[i] <= tolerance:
            what = f"after {len(prompt)} ids, id {i} has log-probability {theirs[i]:.4f} in llama.cpp and {ours[i]:.4f} in Transformers"
            raise ProofError(what, str(engine.gguf), f"more than {tolerance} apart: do not use this file; export the folder again")
        largest = max(largest, float(apart[i]))
    return largest


def _same_greedy(model: Any, engine: Engine, prompts: list[list[int]], difference: float) -> tuple[int, int]:
    """(alike, compared) of 64 greedy tokens, each after what llama.cpp had written. Raises ProofError at one that is no near-tie."""
    same = total = 0
    for prompt in prompts:
        (answer,) = engine.generate([Request(prompt, min(GREEDY, 64 - total), temperature=0)])
        logprobs = _logprobs(model, [*prompt, *answer.ids])[len(prompt) - 1 : -1].copy()
        logprobs[:, BANNED] = -np.inf  # as in the engine
        for got, row in zip(answer.ids, logprobs, strict=True):
            gap = float(row.max() - row[got])
            if gap > 3 * difference + 1e-6:  # twice it could part them here; it was measured elsewhere
                what = f"greedy token {total + 1}: llama.cpp takes id {got}, Transformers id {int(row.argmax())}, {gap:.4f} nats likelier"
                raise ProofError(what, str(engine.gguf), "do not use this file; export the folder again")
            same, total = same + (int(row.argmax()) == got), total + 1
        if total >= 64:
            break
    return same, total
