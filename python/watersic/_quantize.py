"""One matrix, and a whole model."""

from __future__ import annotations

import json
import os
from typing import Any

from . import _core
from ._arrays import float_array
from ._options import documented, settings
from ._progress import Progress, callback

_LAYER_OPTIONS = _core.layer_options()
_MODEL_OPTIONS = _core.model_options()


@documented(_LAYER_OPTIONS)
def quantize_matrix(
    W: Any, S: Any, bits: float = 2, *, output_metric: Any = None, threads: int = 0, **options: Any
) -> _core.QuantizedMatrix:
    """Quantizes the weights of one linear layer.

    W: a x n, outputs x inputs, as torch's nn.Linear.weight. S: n x n, symmetric, E[x x^T] of the
    layer's inputs x (numpy.eye(n) where nothing is known). Both anything with the array protocol,
    the buffer protocol or DLPack, in the CPU's memory: float16, bfloat16, float32 or float64, any
    strides; W is rounded to float32. bits: a weight, what the payload spends. output_metric: G,
    a x a, symmetric and positive semidefinite: errors e of the outputs count e^T G e. threads: 0
    takes all; the result does not depend on it.

    Returns a QuantizedMatrix. Raises Error, a ValueError, where shapes disagree, a value is not
    finite, S or G is not symmetric, or the rate can't be met; TypeError for other types and for
    options that there are none of.
    """
    return _core.quantize_matrix(
        float_array(W, "weights"),
        float_array(S, "covariance"),
        None if output_metric is None else float_array(output_metric, "output metric"),
        settings("quantize_matrix", _LAYER_OPTIONS, {"bits": bits, **options}),
        threads,
    )


@documented(_MODEL_OPTIONS)
def quantize(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    bits: float | None = None,
    *,
    size: int | str | None = None,
    memory: int | str | None = None,
    calibration: str | os.PathLike[str] = "self",
    samples: int | None = None,
    sequence_length: int | None = None,
    dry_run: bool = False,
    resume: bool = False,
    report: str | os.PathLike[str] | None = None,
    threads: int = 0,
    progress: Progress = None,
    **options: Any,
) -> dict[str, Any]:
    """Quantizes a model, a checkpoint's folder or a GGUF file, to one .wsic file.

    Either bits, a weight of the linear layers, or size, of the whole file: bytes, or "3G", "800M".
    memory: no more than this is taken; a run that needs more is refused.
    calibration: "self" (text that the model samples), the path of a text, or "none"; samples
    windows (128) of sequence_length tokens (2048, at most the model's context). progress: a
    function of a ProgressEvent (called in this thread), True, or a bar of tqdm's.

    Ctrl-C, and an exception of `progress`, stop the run at the next safe point and are raised then;
    what is finished stands in OUTPUT.work, and the same call with resume=True goes on from there
    and gives the same bytes.

    Returns the figures, as `watersic quantize --report` writes them (docs/conventions.md); with
    `report` they are written there, too. dry_run: what would be done, without doing it: layers with
    their bits, file_bytes, peak_bytes of memory, seconds. Raises Error, a ValueError.
    """
    if (bits is None) == (size is None):
        raise TypeError("quantize() needs either bits or size")
    run = _core.Run()
    run.calibration = os.fspath(calibration)
    run.samples = samples
    run.sequence_length = sequence_length
    if size is not None:
        run.size = _core.parse_size(str(size))
    if memory is not None:
        run.memory = _core.parse_size(str(memory))
    run.resume = resume
    run.threads = threads
    given = settings("quantize", _MODEL_OPTIONS, {"bits": bits, **options})
    if dry_run:
        return _core.plan(model, given, run)
    if report is not None:
        _core.check_writable(report)
    figures = _core.quantize(model, output, given, run, callback(progress))
    if report is not None:
        _core.write_file(report, figures)
    return json.loads(figures)
