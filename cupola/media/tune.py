"""Tunes (being written)."""

from __future__ import annotations


class Tune:
    """Stub while being written."""

    name = "tune"
