"""Quantizes the linear layers of language models to 1-4 bits a weight, and runs them.

    r = watersic.quantize_matrix(W, S, bits=2)             # one matrix, numpy or torch
    watersic.quantize("MODEL_DIR", "out.wsic", bits=2)     # a checkpoint
    m = watersic.load("out.wsic")                          # to write, to score, to look into

`watersic.transformers` and `watersic.lm_eval` are for those packages, and are imported by name.
All work is done without the GIL, and all of it may be called from many threads at once.
"""

import atexit as _atexit

from . import _core
from ._core import BitCount, Error, Interrupted, Layer, ProgressEvent, QuantizedMatrix
from ._files import evaluate, export, finetune, inspect, run_task, verify
from ._model import Model, TextStream, load
from ._quantize import quantize, quantize_matrix

__version__ = _core.version
__all__ = [
    "BitCount",
    "Error",
    "Interrupted",
    "Layer",
    "Model",
    "ProgressEvent",
    "QuantizedMatrix",
    "TextStream",
    "evaluate",
    "export",
    "finetune",
    "inspect",
    "load",
    "quantize",
    "quantize_matrix",
    "run_task",
    "verify",
]

for _class in (BitCount, Error, Interrupted, Layer, ProgressEvent, QuantizedMatrix):
    _class.__module__ = __name__

# A thread that writes must not outlive what it writes with.
_atexit.register(_core.close_all_streams)
