"""Numbers of things in words."""

from __future__ import annotations


def counted(number: int, noun: str, several: str = "") -> str:
    """Write a number of things: "1 run", "2 runs"; `several` is the plural of a noun that takes more than an s."""
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"
