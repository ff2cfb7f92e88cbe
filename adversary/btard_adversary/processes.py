"""Processes that work for one command, and end with it."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from threading import Thread


def end_with_the_first() -> None:
    """Let this process end with the one that started it, even if that one is killed."""

    def wait() -> None:
        first = parent_process()
        if first is not None:
            first.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
