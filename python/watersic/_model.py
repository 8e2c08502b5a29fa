"""A model that is open."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import numpy as np

from . import _core
from ._arrays import token_ids
from ._progress import Progress, callback

if TYPE_CHECKING:
    from typing_extensions import Unpack

Ids = Any  # integers: a sequence, or an array of one dimension


class WritingOptions(TypedDict, total=False):
    """How a text is written: what generate() and chat() take besides."""

    stop: str | Sequence[str]
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    seed: int
    cache: str


class Tensors(Mapping[str, np.ndarray]):
    """Names to float32 arrays, each decoded when it is asked for and not kept."""

    def __init__(self, model: _core.Model) -> None:
        self._model = model
        self._all = {info.name: info for info in model.tensors()}

    def __getitem__(self, name: str) -> np.ndarray:
        info = self._all[name]
        values = self._model.tensor(name)
        return values[0] if info.is_vector else values

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor, without decoding it."""
        info = self._all[name]
        return (info.cols,) if info.is_vector else (info.rows, info.cols)


class TextStream(Iterator[str]):
    """Pieces of a text, while a thread of its own writes it, up to 256 pieces ahead.

    close(), leaving a `with`, or losing the object ends the writing at the next token.
    """

    def __init__(self, stream: _core.TextStream, stop: Sequence[str]) -> None:
        self._stream = stream
        self._stop = stop
        self._held = ""  # what may be the beginning of a stop
        self._over = False

    def __iter__(self) -> TextStream:
        return self

    def __next__(self) -> str:
        while not self._over:
            try:
                self._held += next(self._stream)
            except StopIteration:
                self._over = True
                break
            found = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
            if found:
                self._held = self._held[: min(found)]
                self.close()
                break
            sure = len(self._held) - self._may_be_stop()
            if sure > 0:
                piece, self._held = self._held[:sure], self._held[sure:]
                return piece
        piece, self._held = self._held, ""
        if not piece:
            raise StopIteration
        return piece

    def _may_be_stop(self) -> int:
        """Characters at the end of what is held that may be the beginning of a stop."""
        for length in range(max(map(len, self._stop), default=1) - 1, 0, -1):
            if any(
                stop.startswith(self._held[-length:]) for stop in self._stop if length < len(stop)
            ):
                return min(length, len(self._held))
        return 0

    def close(self) -> None:
        """Ends the writing, and waits for it."""
        self._over = True
        self._stream.close()

    @property
    def result(self) -> _core.GenerateResult | None:
        """Token ids, seconds and what else came of it, once the text has ended; stops are in it."""
        return self._stream.result

    def __del__(self) -> None:
        # Here, where others may run while the writing ends.
        if hasattr(self, "_stream"):
            self.close()

    def __enter__(self) -> TextStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stops(stop: str | Sequence[str]) -> list[str]:
    stops = [stop] if isinstance(stop, str) else list(stop)
    if not all(isinstance(text, str) and text for text in stops):
        raise ValueError("stop: expected texts that are not empty")
    return stops


def _content(content: Any) -> str:
    """A text, or OpenAI's list of parts, a line each."""
    if isinstance(content, str):
        return content
    if isinstance(content, (list, tuple)):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        parts = [text for text in texts if isinstance(text, str)]
        if parts and len(parts) == len(content):
            return "\n".join(parts)
    raise TypeError("messages: expected content that is a text, or a list of parts with a text")


def _messages(messages: str | Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    if isinstance(messages, str):
        return [("user", messages)]
    out = []
    for message in messages:
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise TypeError("messages: expected a list of {'role': ..., 'content': ...}")
        if message["role"] not in ("system", "user", "assistant"):
            raise ValueError(
                f"messages: expected the role system, user or assistant, found {message['role']!r}"
            )
        out.append((message["role"], _content(message["content"])))
    if not out:
        raise ValueError("messages: expected one or more, found none")
    return out


class Model:
    """A model that is open: a .wsic file, a checkpoint's folder or a GGUF file.

    May be used by many threads at once; what they compute takes turns on the model's threads. The
    weights are loaded by the first call that needs them. Not for use in a process that was forked
    after it was opened: its threads are not there.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, weights: str = "packed", threads: int = 0
    ) -> None:
        self._model = _core.Model.open(path, weights, threads)
        self._info = self._model.info()
        self.weights = weights

    def __repr__(self) -> str:
        return (
            f"Model({self._info.name!r}, {self._info.architecture}, context={self.context}, "
            f"vocabulary={self.vocabulary})"
        )

    @property
    def name(self) -> str:
        """The path, as it was given."""
        return self._info.name

    @property
    def architecture(self) -> str:
        """As config.json names it: "LlamaForCausalLM"."""
        return self._info.architecture

    @property
    def context(self) -> int:
        """Tokens that a text may have."""
        return self._info.context

    @property
    def vocabulary(self) -> int:
        """Tokens that there are."""
        return self._info.vocabulary

    @property
    def first_token(self) -> int | None:
        """What a text begins with: the BOS token, or where there is none one that ends a text."""
        return self._info.first_token

    @property
    def ends(self) -> list[int]:
        """Tokens that end a text."""
        return self._info.ends

    @property
    def model_id(self) -> str:
        """Names the content. Of a checkpoint all of it is read."""
        return self._model.model_id()

    def memory(self) -> _core.MemoryUse:
        """Bytes that a text of full length takes: weights, cache, scratch, and the machine's."""
        return self._model.memory()

    def text(self, file: str) -> str | None:
        """What the model carries as "config.json", "tokenizer.json", ...; None where it does not."""
        return self._model.text(file)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids as Hugging Face's encode gives them; special: with those that are added."""
        return self._model.tokenize(text, special)

    def detokenize(self, ids: Ids) -> str:
        """Their text as Hugging Face's decode gives it, special tokens in it; U+FFFD for bytes that
        are no UTF-8, as where a token ends within a character.
        """
        return self._model.detokenize(token_ids(ids))

    def chat_tokens(self, messages: str | Sequence[Mapping[str, Any]]) -> list[int]:
        """A conversation by the model's template, up to where it is to answer."""
        return self._model.chat_tokens(_messages(messages))

    def chat_text(self, messages: str | Sequence[Mapping[str, Any]], *, open: bool = True) -> str:
        """The same as text, special tokens in it; open=False: all that is said, and no more."""
        return self._model.chat_text(_messages(messages), open)

    @overload
    def generate(
        self,
        prompt: str | Ids,
        max_tokens: int = 0,
        *,
        stream: Literal[True],
        **options: Unpack[WritingOptions],
    ) -> TextStream: ...
    @overload
    def generate(
        self,
        prompt: str | Ids,
        max_tokens: int = 0,
        *,
        stream: Literal[False] = False,
        **options: Unpack[WritingOptions],
    ) -> str: ...

    def generate(
        self,
        prompt: str | Ids,
        max_tokens: int = 0,
        *,
        stream: bool = False,
        **options: Unpack[WritingOptions],
    ) -> str | TextStream:
        """What the model writes behind a prompt: a text, or token ids.

        max_tokens: 0 for 256, or what the context leaves. The text ends where the model ends it, or
        before one of the texts stop=[...]. temperature=0: always the most likely token; what of
        temperature, top_k, top_p and min_p is not given is as the model's generation_config.json
        says. The same seed=1 gives the same text. cache: bits of keys and values, "16", "32" or "8".

        Returns a str; with stream=True a TextStream, an iterator over its pieces, while a thread of
        its own writes. Raises Error where prompt and max_tokens are more than the context.
        """
        if not isinstance(prompt, str):
            prompt = token_ids(prompt)
        return self._write(prompt, max_tokens, stream, **options)

    @overload
    def chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        max_tokens: int = 0,
        *,
        stream: Literal[True],
        **options: Unpack[WritingOptions],
    ) -> TextStream: ...
    @overload
    def chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        max_tokens: int = 0,
        *,
        stream: Literal[False] = False,
        **options: Unpack[WritingOptions],
    ) -> str: ...

    def chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        max_tokens: int = 0,
        *,
        stream: bool = False,
        **options: Unpack[WritingOptions],
    ) -> str | TextStream:
        """The model's answer in a conversation, by the template that it carries; else as generate().

        messages: what the user says, or a list of {"role": "system" | "user" | "assistant",
        "content": a text}. Raises Error where the model has no template.
        """
        return self._write(_messages(messages), max_tokens, stream, **options)

    def _write(
        self,
        prompt: Any,
        max_tokens: int,
        stream: bool,
        *,
        stop: str | Sequence[str] = (),
        cache: str = "16",
        seed: int = 1,
        **open_options: Any,
    ) -> str | TextStream:
        sampling = _core.Sampling()
        sampling.seed = seed
        for name, value in open_options.items():
            if name not in ("temperature", "top_k", "top_p", "min_p"):
                raise TypeError(f"generate() got an unexpected option '{name}'")
            setattr(sampling, name, value)
        stops = _stops(stop)
        text = TextStream(self._model.write(prompt, max_tokens, sampling, cache), stops)
        if stream:
            return text
        with text:
            return "".join(text)

    def logits(self, ids: str | Ids, *, progress: Progress = None) -> np.ndarray:
        """len(ids) x vocabulary, float32: row t is what is expected behind the first t + 1 tokens.

        A text is tokenized first. By the weights as the model was opened with; docs/python.md says
        how far those are from float32's.
        """
        given = self.tokenize(ids) if isinstance(ids, str) else token_ids(ids)
        return self._model.logits(given, callback(progress))

    def score(
        self, sequences: Sequence[tuple[Ids, int]], *, progress: Progress = None
    ) -> list[tuple[np.ndarray, list[bool]]]:
        """Of each sequence (ids, first): ln p of its tokens from `first` (1 or more) on, float64, and
        whether each is the most likely one. What neighbours begin with alike is computed once.
        """
        given = [(token_ids(ids), first) for ids, first in sequences]
        return self._model.score(given, callback(progress))

    def perplexity(self, text: str, *, context: int = 0, progress: Progress = None) -> float:
        """exp of the mean of -ln p, in windows of `context` tokens (0: 2048, at most the model's).

        As `watersic eval` and evaluate() define it, but by the weights as the model was opened with
        (weights="float32" for the same number), and a text shorter than a window is one.
        """
        return self._model.perplexity(text, context, callback(progress))

    def tensors(self) -> Tensors:
        """Its tensors by their names in a checkpoint of the same function: float32, decoded one at a
        time. Of a file with a principal basis the layers stand in that basis, and the rest fits them.
        """
        return Tensors(self._model)

    def layer(self, weight: str) -> _core.Layer:
        """A matrix, by the name of its tensor, that multiplies as the model holds it; with its bias."""
        return self._model.layer(weight)


def load(path: str | os.PathLike[str], *, weights: str = "packed", threads: int = 0) -> Model:
    """Opens a model: a .wsic file, a checkpoint's folder or a GGUF file.

    weights: "packed", integers as they are stored times inputs in 8 bits; "exact", the same times
    inputs as they are; "float32". threads: 0 takes all. Raises Error.
    """
    return Model(path, weights=weights, threads=threads)
