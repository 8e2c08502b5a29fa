"""What callers have, as arrays that the module takes."""

from __future__ import annotations

from typing import Any

import numpy as np

_CPU = 1  # DLPack's number


def float_array(values: Any, name: str) -> Any:
    """`values` as something that has the buffer protocol or DLPack: floats, in the CPU's memory."""
    if hasattr(values, "detach"):  # a tensor of torch that has a gradient gives no DLPack
        values = values.detach()
    if not isinstance(values, np.ndarray) and hasattr(values, "__dlpack_device__"):
        try:
            kind = int(values.__dlpack_device__()[0])
        except Exception as error:  # as each library likes
            raise TypeError(f"{name}: expected an array in the CPU's memory: {error}") from error
        if kind != _CPU:
            raise TypeError(
                f"{name}: expected an array in the CPU's memory, found one on a device of kind {kind}"
                " (DLPack)"
            )
        return values
    array = np.asarray(values)
    if array.dtype.name == "bfloat16":  # ml_dtypes', which numpy does not export
        array = array.astype(np.float32)
    if array.dtype.kind != "f":
        raise TypeError(
            f"{name}: expected float16, bfloat16, float32 or float64, found {array.dtype}"
        )
    if not array.dtype.isnative or array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return array


def token_ids(values: Any) -> list[int]:
    """A sequence or a one-dimensional array of integers as a list."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"ids: expected one dimension, found {array.ndim}")
    if array.size == 0:
        return []
    if array.dtype.kind not in "iu":
        raise TypeError(f"ids: expected integers, found {array.dtype}")
    if array.min() < 0 or array.max() >= 2**31:
        raise ValueError(f"ids: expected 0 to 2^31 - 1, found {array.min()} to {array.max()}")
    return array.tolist()
