"""Coordinates along other axes: where the grid of a turned run lies in the space of the target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.turned import checked_frame, original_points, turned_points, turned_vectors


@dataclass(frozen=True, eq=False)
class Frame:
    """Coordinates y = Q'(x - c).

    Attributes
    ----------
    rotation : array (d, d)
        Q: its columns are the axes.
    centre : array (d,)
        c.
    words : str
        Why.
    """

    rotation: Array
    centre: Array
    words: str

    @property
    def is_given(self) -> bool:
        """Whether these are the given coordinates."""
        return bool(np.array_equal(self.rotation, np.eye(len(self.centre))) and not self.centre.any())

    @property
    def attrs(self) -> dict[str, list[float]]:
        """What a Dataset on a grid in these coordinates says of them: Q row by row, and c; none of the given ones."""
        if self.is_given:
            return {}
        return {"rotation": self.rotation.ravel().tolist(), "centre": self.centre.tolist()}

    @classmethod
    def stored(cls, attrs: Mapping[str, Any], ndim: int) -> Frame:
        """Read the coordinates of the grid from the attributes of a Dataset.

        Raises
        ------
        ValueError
            If what is stored is no rotation.
        """
        if "rotation" not in attrs:
            return given_axes(ndim)
        rotation = np.asarray(attrs["rotation"], dtype=np.float64)
        if rotation.size != ndim**2:
            raise ValueError(f"the rotation of a {ndim}-dimensional run has {ndim**2} entries, got {rotation.size}")
        return cls(*checked_frame(rotation.reshape(ndim, ndim), attrs["centre"], ndim), "the axes are stored")

    def inner(self, points: ArrayLike) -> Array:
        """Map points x (..., d) to y = Q'(x - c), the coordinates of the grid."""
        return (
            np.asarray(points, dtype=np.float64) if self.is_given else turned_points(points, self.rotation, self.centre)
        )

    def outer(self, points: ArrayLike) -> Array:
        """Map points y (..., d) on the grid, such as draws and means, to x = c + Q y."""
        return (
            np.asarray(points, dtype=np.float64)
            if self.is_given
            else original_points(points, self.rotation, self.centre)
        )

    def outer_vectors(self, vectors: ArrayLike) -> Array:
        """Map vectors (..., d) on the grid, such as scores and velocities, to Q v."""
        return np.asarray(vectors, dtype=np.float64) if self.is_given else turned_vectors(vectors, self.rotation.T)


def stored_frame(ds: Any, ndim: int) -> Frame:
    """Read the coordinates of the grid of a Dataset, whose attributes are JSON lists.

    Raises
    ------
    ValueError
        If what is stored is no rotation.
    """
    if "rotation" not in ds.attrs:
        return given_axes(ndim)
    return Frame.stored({name: json.loads(ds.attrs[name]) for name in ("rotation", "centre")}, ndim)


def refuse_turned(ds: Any, what: str) -> None:
    """Refuse a Dataset on turned axes where its coordinates are taken for those of the target.

    Raises
    ------
    ValueError
    """
    if "rotation" in getattr(ds, "attrs", {}):
        raise ValueError(
            f"{what} cannot be had from this run in the coordinates of the target: the axes of its grid are the "
            "principal axes of the target (attributes rotation and centre). Use log_prob, score, sample, mean and "
            "covariance of Trajectory(ds), which are in the coordinates of the target, or compute the run with "
            "ground_truth(..., turn=False), --no-turn on the command line"
        )


def given_axes(ndim: int, words: str = "the axes are the given ones") -> Frame:
    """Return the frame of the given coordinates, which changes nothing."""
    return Frame(np.eye(ndim), np.zeros(ndim), words)
