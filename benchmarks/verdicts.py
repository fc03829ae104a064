"""Error rates of `validate`: false alarms of correct samplers, and how often planted faults are caught.

    python benchmarks/verdicts.py [--quick] [--jobs N] [--only WORD] [--out PATH]

Samplers and faults are those of experiments/verdicts.py: two modes on the line, and in the plane, times 0.5 and 1, all
statistics of `observables` at a joint level of 5 %. Correct samplers are held against the law of their scheme or, where
that has none on the grid, against the truth; a fault against the law of the correct scheme. BlackJAX's MALA is held
against the law of `MALA`, and so is a copy of it that was broken with BlackJAX's own building blocks: it accepts as if
its proposals were symmetric. "effect" is the largest deviation in standard deviations of a statistic, of the mean over
the trials: how large the fault is. Every trial has seeds of its own. Bounds are those of Clopper and Pearson, each of
95 % confidence. Exits with 1 if more than 5 % of all correct samplers are called inconsistent, or fewer than 95 % of
the trials of a fault. Writes results/benchmarks/verdicts.json.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

if "numba" not in sys.modules:
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # a process has a core of its own

import numpy as np

from wfr_pde import samplers
from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.storage import files, provenance

FILE = Path(__file__).parent.parent / "experiments" / "verdicts.py"
LEVEL, CAUGHT = 0.05, 0.95  # most false alarms, fewest faults found
TRIALS = {  # of correct samplers: 215
    "Langevin": 40,
    "MALA": 40,
    "MALA in the plane": 15,
    "UnderdampedLangevin": 30,
    "Tempering": 30,
    "birth-death, Strang": 15,
    "birth-death, Lie, Scott": 15,
    "weights, resampled": 15,
    "SMC-WFR": 15,
}
CHEAP, DEAR, BLACKJAX = 60, 40, (20, 40)  # trials of faults without and with interaction; of BlackJAX, and broken
QUICK = ("Langevin", "MALA", "noise off by √2", "MALA's correction reversed", "un-resampled ones move")
FIRST = 1000  # seed of the first trial


def uncorrected(log_density: Any, step: float) -> Any:
    """BlackJAX's MALA that accepts as if its proposals were symmetric."""
    import blackjax
    import jax
    from blackjax.mcmc import diffusions, proposal
    from blackjax.mcmc.mala import MALAState, init

    ratio = proposal.compute_asymmetric_acceptance_ratio(lambda state, new: -new.logdensity)
    move = diffusions.overdamped_langevin(jax.value_and_grad(log_density))

    def kernel(key: Any, state: Any) -> Any:
        key_move, key_accept = jax.random.split(key)
        new = MALAState(*move(key_move, state, step))
        return proposal.static_binomial_sampling(key_accept, ratio(state, new), state, new)

    return blackjax.base.SamplingAlgorithm(lambda x, rng_key=None: init(x, log_density), kernel)


def mala(log_density: Any, step: float) -> Any:
    """BlackJAX's MALA."""
    import blackjax

    return blackjax.mala(log_density, step)


@functools.lru_cache
def experiment() -> dict[str, Any]:
    """What experiments/verdicts.py defines."""
    return load_experiment(FILE).run.__globals__


@functools.lru_cache
def cases() -> dict[str, tuple[Any, float, int]]:
    """By name: the case, the strength of its fault, and the number of trials."""
    module = experiment()
    found = {case.name: (case, 0.0, TRIALS[case.name]) for case in module["CORRECT"]}
    for case in module["FAULTS"]:
        found[case.name] = case, 1.0, DEAR if case.scheme.interacting else CHEAP
    for name, build, strength, trials in (
        ("blackjax.mala", mala, 0.0, BLACKJAX[0]),
        ("blackjax.mala, uncorrected", uncorrected, 1.0, BLACKJAX[1]),
    ):
        flow = samplers.Blackjax(build, law="w")
        constant = functools.partial(lambda flow, strength: flow, flow)
        found[name] = module["Case"](name, constant, samplers.MALA(), "w", 0.1), strength, trials
    return found


def trial(task: tuple[str, int]) -> dict[str, Any]:
    """One verdict: of a case, by name, with a seed."""
    name, seed = task
    case, strength, _ = cases()[name]
    began = time.process_time()
    ds = case.judged(strength, seed)
    deviation = ds["deviation"].values
    t, k = np.unravel_index(np.argmax(ds["score"].values), deviation.shape)
    return {
        "case": name,
        "seed": seed,
        "verdict": ds.attrs["verdict"],
        "score": float(ds["score"].max()),
        "statistic": f"{ds['statistic'].values[k]} at t = {ds['t'].values[t]:g}",
        "resolution": float(ds["resolution"].max()),
        "margin": float(ds["margin"].max()),
        "reference": ds.attrs["reference"].split()[1],
        "deviation": deviation.ravel().tolist(),
        "seconds": time.process_time() - began,
    }


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Verdicts of all trials of a case."""
    case, strength, _ = cases()[name]
    counts = {word: sum(row["verdict"] == word for row in rows) for word in VERDICTS}
    bounds = experiment()["bounds"]
    low, high = bounds(counts[VERDICTS[0]], len(rows))
    statistics = [row["statistic"] for row in rows]
    effect = np.abs(np.mean([row["deviation"] for row in rows], axis=0)).max()
    return {
        "case": name, "faulty": strength > 0, "n": case.n, "dt": case.dt, "seeds": case.seeds, "trials": len(rows),
        **counts, "low": low, "high": high, "effect": float(effect),
        "where": max(statistics, key=statistics.count), "reference": rows[0]["reference"],
        "resolution": float(np.mean([row["resolution"] for row in rows])),
        "median_score": float(np.median([row["score"] for row in rows])),
        "seconds": float(np.mean([row["seconds"] for row in rows])),
    }  # fmt: skip


VERDICTS = ("inconsistent", "consistent", "not enough power")
HEAD = f"{'':28}{'N':>5}{'dt':>6}{'runs':>5}{'trials':>7} | inconsistent, consistent, no power | {'share, bound':>14}"


def show(one: dict[str, Any]) -> None:
    """A line of the table."""
    share = one[VERDICTS[0]] / one["trials"]
    bound = f"> {one['low']:.3f}" if one["faulty"] else f"< {one['high']:.3f}"
    counts = "".join(f"{one[word]:>{width}}" for word, width in zip(VERDICTS, (12, 12, 10), strict=True))
    numbers = f"{one['n']:>5}{one['dt']:>6g}{one['seeds']:>5}{one['trials']:>7}"
    effect = f"effect {one['effect']:.3f}, resolution {one['resolution']:.2f}"
    where = one["where"] if one["faulty"] else f"against the {one['reference']}"
    print(f"{one['case']:28}{numbers} | {counts} | {share:>5.3f} {bound} | {effect} | {where}", flush=True)


def results(tasks: list[tuple[str, int]], jobs: int) -> Iterator[dict[str, Any]]:
    """Of all trials, in order."""
    if jobs == 1:
        yield from map(trial, tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(trial, tasks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two trials of five cases")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", help="only cases whose name holds this word")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/verdicts.json"))
    arguments = parser.parse_args()
    chosen = [name for name in (QUICK if arguments.quick else cases()) if arguments.only in name]
    tasks = [(name, FIRST + k) for name in chosen for k in range(2 if arguments.quick else cases()[name][2])]
    print(HEAD)
    began, rows, table = time.perf_counter(), [], []
    for row in results(tasks, arguments.jobs):
        rows.append(row)
        own = [one for one in rows if one["case"] == row["case"]]
        if len(own) == sum(name == row["case"] for name, _ in tasks):
            table.append(summary(row["case"], own))
            show(table[-1])
    passed = verdict(table)
    print(f"{sum(row['seconds'] for row in rows):.0f} s of CPU, {time.perf_counter() - began:.0f} s")
    content = {"table": table, "rows": rows, "passed": passed, "versions": dict(provenance.versions())}
    print(f"written to {files.write_json(content, arguments.out)}")
    return 0 if passed else 1


def verdict(table: list[dict[str, Any]]) -> bool:
    """Whether the error rates are what they should be; prints them."""
    correct = [one for one in table if not one["faulty"]]
    alarms, total = (sum(one[key] for one in correct) for key in (VERDICTS[0], "trials"))
    if total:
        high = experiment()["bounds"](alarms, total)[1]
        print(f"false alarms: {alarms} of {total} correct samplers, less than {high:.3f} with 95 % confidence")
    missed = [one["case"] for one in table if one["faulty"] and one[VERDICTS[0]] < CAUGHT * one["trials"]]
    print(f"caught in less than {CAUGHT:.0%} of trials: {', '.join(missed) or 'none'}")
    return alarms <= LEVEL * total and not missed


if __name__ == "__main__":
    sys.exit(main())
