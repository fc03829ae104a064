"""The curl of vector fields."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.numerics.vector_fields import curl

TARGET_2D = wfr.Gaussian([0.5, 0.0], [[1.0, 0.3], [0.3, 0.6]])


def test_curl():
    points = np.random.default_rng(0).standard_normal((5, 4, 3))
    omega = np.array([0.3, -1.0, 2.0])
    rotation = curl(lambda x, t: t * np.cross(omega, x) + np.cos(x), points, 2.0)
    assert rotation.shape == (5, 4, 3, 3)
    vector = np.stack([rotation[..., 1, 2], rotation[..., 2, 0], rotation[..., 0, 1]], axis=-1)
    assert vector == pytest.approx(np.broadcast_to(4 * omega, vector.shape), abs=1e-11)  # rounding over the step
    assert np.abs(curl(lambda x, t: TARGET_2D.score(x), points[..., :2], 0.0)).max() < 1e-11
    with pytest.raises(ValueError, match="one vector per point"):
        curl(lambda x, t: x[..., :1], points, 0.0)
    with pytest.raises(ValueError, match="step must be"):
        curl(lambda x, t: x, points, 0.0, step=0.0)
