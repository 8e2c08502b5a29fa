"""What one does with files of models."""

from __future__ import annotations

import json
import os
from typing import Any

from . import _core
from ._progress import Progress, callback


def evaluate(
    model: str | os.PathLike[str],
    text: str | os.PathLike[str],
    *,
    reference: str | os.PathLike[str] | None = None,
    convention: str = "hf",
    context: int = 0,
    weights: str = "float32",
    wikitext: bool = False,
    threads: int = 0,
    progress: Progress = None,
) -> dict[str, Any]:
    """Scores a text, the path of a UTF-8 file, by a model: a checkpoint or a .wsic file.

    convention: "hf" or "llama.cpp"; context: tokens in a window (0: 2048, llama.cpp's 512). weights:
    "float32", "packed" or "exact". With a reference, a second model, also how far the two are from
    each other. Returns what `watersic eval --json` writes: perplexity, nll (nats a token),
    bits_per_byte, kl_bits (bits a token), ... (docs/conventions.md). Raises Error.
    """
    return json.loads(
        _core.evaluate(
            model,
            text,
            convention,
            context,
            reference,
            weights,
            wikitext,
            threads,
            callback(progress),
        )
    )


def run_task(
    model: str | os.PathLike[str],
    task: str,
    data: str | os.PathLike[str],
    *,
    shots: int = 0,
    examples: str | os.PathLike[str] | None = None,
    limit: int = 0,
    bos: bool = True,
    weights: str = "float32",
    reference: str | os.PathLike[str] | None = None,
    picks: str | os.PathLike[str] | None = None,
    threads: int = 0,
    progress: Progress = None,
) -> dict[str, Any]:
    """Answers a benchmark's questions: "hellaswag", "mmlu" or "multiple-choice", from files.

    Returns what `watersic eval --task --json` writes: accuracies and their standard errors
    (docs/conventions.md); with `picks` each question's answer is written there as CSV. limit: the
    first so many questions, 0 for all. Raises Error.
    """
    if picks is not None:
        _core.check_writable(picks)
    figures, answers = _core.run_task(
        model,
        task,
        data,
        shots,
        examples,
        limit,
        bos,
        weights,
        reference,
        threads,
        callback(progress),
    )
    if picks is not None:
        _core.write_file(picks, answers)
    return json.loads(figures)


def export(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    to: str,
    dtype: str = "bf16",
    pre: str = "",
    progress: Progress = None,
) -> None:
    """Writes a model for other programs, its weights as numbers again.

    to: "safetensors", a new or empty folder, or "gguf", a file. dtype: "bf16", "f16", "f32", for
    gguf also "q8_0". pre: for gguf llama.cpp's name of the pre-tokenizer, where it is not found.
    Raises Error.
    """
    _core.export(model, output, to, dtype, pre, callback(progress))


def finetune(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    reference: str | os.PathLike[str],
    calibration: str | os.PathLike[str] = "self",
    samples: int | None = None,
    sequence_length: int | None = None,
    held_out: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    final_learning_rate: float | None = None,
    seed: int = 1,
    threads: int = 0,
    progress: Progress = None,
) -> dict[str, Any]:
    """Trains the scales of a .wsic file on the KL to the original, `reference`; see docs/finetune.md.

    What is None is as `watersic finetune --help` says. Returns what its --report writes. Ctrl-C ends
    it, and nothing stands under `output`. Raises Error.
    """
    return json.loads(
        _core.finetune(
            model,
            output,
            reference,
            os.fspath(calibration),
            samples,
            sequence_length,
            held_out,
            epochs,
            batch,
            learning_rate,
            final_learning_rate,
            seed,
            threads,
            callback(progress),
        )
    )


def inspect(file: str | os.PathLike[str]) -> dict[str, Any]:
    """What a .wsic file holds, as `watersic inspect --json` writes it: tensors, bits, options."""
    return json.loads(_core.inspect(file))


def verify(file: str | os.PathLike[str]) -> None:
    """Checks every byte of a .wsic file against its checksums. Raises Error, naming what is damaged."""
    _core.verify(file)
