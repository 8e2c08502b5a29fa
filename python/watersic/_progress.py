"""Progress: a function of the caller's, or a bar of tqdm's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._core import ProgressEvent

Progress = Any  # None, True, a class or an object of tqdm's, or a function of a ProgressEvent


def _bar(bar: Any) -> Callable[[ProgressEvent], None]:
    stage = None

    def show(event: ProgressEvent) -> None:
        nonlocal stage
        if event.stage != stage:
            stage = event.stage
            bar.unit = f" {event.unit}"
            bar.set_description(stage, refresh=False)
            bar.reset(total=event.total or None)
        if event.detail:
            bar.set_postfix_str(event.detail, refresh=False)
        if event.total:
            bar.total = event.total
            bar.update(event.done - bar.n)
        bar.refresh()

    return show


def callback(progress: Progress) -> Callable[[ProgressEvent], None] | None:
    """What the library calls for `progress`, or None."""
    if progress is None or progress is False:
        return None
    if progress is True:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError(
                "progress=True needs tqdm: pip install tqdm, or give a function"
            ) from error
        return _bar(tqdm())
    if isinstance(progress, type) and hasattr(progress, "set_description"):
        return _bar(progress())
    if hasattr(progress, "set_description"):
        return _bar(progress)
    if callable(progress):
        return progress
    raise TypeError(
        f"progress: expected a function, True or a bar of tqdm's, found {type(progress).__name__}"
    )
