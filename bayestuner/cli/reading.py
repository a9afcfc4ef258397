"""Commands that read studies: whatever a study of somebody else holds ends them with one sentence, not as an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an unforeseen error while a study is shown into `StoreError`: its columns have the right form, but may contradict each other."""
    from bayestuner.errors import BayesTunerError, StoreError

    try:
        yield
    except (BayesTunerError, OSError):
        raise
    except Exception as error:
        raise StoreError(
            f"{path} can't be shown ({type(error).__name__}: {error}): it holds what BayesTuner does not write, or this is a fault in "
            "BayesTuner; BAYESTUNER_DEBUG=1 shows where"
        ) from error
