"""Samplers that know the density, on two modes: their laws, orders in dt, and spreads."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.samplers import BirthDeath, FeynmanKac, Langevin, Oracle

RECORDS = {
    "mean": lambda state, energy: state.mean()[0],
    "variance": lambda state, energy: state.covariance()[0, 0],
    "right": lambda state, energy: float(state.weights @ (state.positions[:, 0] > 0)),
}


@pytest.fixture(scope="module")
def two_modes():
    target, start = wfr.GaussianMixture([[-1.5], [1.5]], [0.3, 0.7], 0.3), wfr.Gaussian(-0.5, 1.0)
    times = np.linspace(0, 1, 21)
    found = {}
    for rates in ((1, 1), (1, 0), (0, 1)):
        ds = wfr.ground_truth(target, start, times, transport_rate=rates[0], reaction_rate=rates[1], rtol=1e-6)
        last = wfr.Density.from_dataset(ds)
        mass = float(last.expectation(lambda x: (x[:, 0] > 0).astype(float)))
        found[rates] = Oracle(wfr.Trajectory(ds, target)), np.array([last.mean()[0], last.covariance()[0, 0], mass])
    return target, start, found


@pytest.mark.parametrize(
    "name", ["Langevin", "weights", "births and deaths", "weights, moves", "births, deaths, moves"]
)
def test_oracles_follow_their_laws_on_two_modes(name, two_modes):
    target, start, truths = two_modes
    rates = {"Langevin": (1, 0), "weights": (0, 1), "births and deaths": (0, 1)}.get(name, (1, 1))
    oracle, true = truths[rates]
    flow = {
        "Langevin": Langevin(),
        "weights": FeynmanKac(density=oracle),
        "births and deaths": BirthDeath(density=oracle),
        "weights, moves": wfr.Strang(FeynmanKac(density=oracle), Langevin()),
        "births, deaths, moves": wfr.Strang(BirthDeath(density=oracle), Langevin()),
    }[name]

    def errors(n, dt, seeds):
        found = []
        for seed in seeds:
            ds = wfr.solve(target, flow, start.sample(n, rng=seed), [0, 1], dt, rng=seed, record=RECORDS, keep=[1])
            found.append([float(ds[key][-1]) for key in RECORDS])
        return np.array(found) - true

    seeds = range(8)
    coarse, fine = (errors(20_000, dt, seeds) for dt in (0.1, 0.05))
    noise = np.hypot(*(e.std(axis=0, ddof=1) / math.sqrt(len(seeds)) for e in (coarse / 2, fine)))
    # of order one or better in dt; Student's t with some 14 degrees, three numbers: one in two thousand at 4.8
    assert np.all(np.abs(fine.mean(axis=0) - coarse.mean(axis=0) / 2) < 4.8 * noise + 0.1 * 0.05)
    spread = [errors(n, 0.1, range(200)).std(axis=0) for n in (100, 800, 6400)]
    slopes = np.polyfit(np.log([100, 800, 6400]), np.log(spread), 1)[0]
    assert np.all(np.abs(slopes + 0.5) < 0.05)  # spreads of 200 runs are known to 5 %, slopes to 0.017
