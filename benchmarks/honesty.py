"""An adversary of `ground_truth`: its error bounds against problems with known answers, drawn anew at every run.

    python benchmarks/honesty.py [--draws 5000] [--seed S] [--jobs 2] [--only FAMILY] [--out PATH] [--resume]
    python benchmarks/honesty.py --quick          60 draws of a committed seed judge, 60 of the day's are only printed
    python benchmarks/honesty.py --rows           the problems that were certified falsely once
    python benchmarks/honesty.py --case S:k       one draw, with everything
    python benchmarks/honesty.py --search SECONDS look for the largest error over bound, from the worst draws on

Problems are in honesty_families.py, their answers in honesty_answers.py. Draw k of a seed is a problem by itself. A
bound, of the L1 error over the whole space or of KL, is *false* where the error is above it by more than the doubt of
the answer and rounding, 1e-14 + 1e-15 of the value. Bounds above the tolerance are no offence but for controls, and
neither is a refusal (ValueError, NumericalError). A draw that hangs or crashes is a row. Rows are written as they come,
one JSON object a line, so that a run that was stopped goes on with --resume. The exit code is 1 after a false bound or
the refusal of a control.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import multiprocessing
import os
import secrets
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

if "numpy" not in sys.modules:  # where this is what runs: the processes are the parallel part
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

import honesty_answers as answers
import honesty_blocks as blocks
import honesty_families as families
import numpy as np
from honesty_rows import ROWS

import wfr_pde as wfr
from wfr_pde.errors import NumericalError
from wfr_pde.space.frame import stored_frame
from wfr_pde.truth.certified.attempt import PARTS

SECONDS = 20.0  # budget of one call
QUICK_SECONDS, QUICK_DRAWS, QUICK_SEED = 6.0, 60, 4711
HANGS = 3.0  # budgets after which a draw hangs
TASKS = 200  # draws of a process before a fresh one
FLOOR = 1e-12  # errors below count as this where bounds are compared with them
TIMES_ERROR = (30, 300)
ROUNDING = 1e-14, 1e-15
Row = dict[str, Any]


def judged(case: families.Case, seconds: float) -> Row:
    """What `ground_truth` says of a case, and what is true: lists over the save times."""
    row: Row = {"family": case.family, "name": case.name, "rtol": case.rtol, "control": case.control,
                "refusal_right": case.refusal_right, "times": list(case.times)}  # fmt: skip
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = wfr.ground_truth(
                case.target, case.start, case.times, transport_rate=case.alpha, reaction_rate=case.beta,
                rtol=case.rtol, seconds=seconds, strict=False, **case.options,
            )  # fmt: skip
    except (ValueError, NumericalError, MemoryError) as error:
        reason = f"{type(error).__name__}: {error}"
        late = isinstance(error, MemoryError) or "OutOfTime" in reason
        status = "out of budget" if late else "refused"  # how fast the machine is says nothing of honesty
        return row | {"status": status, "reason": reason, "seconds": time.process_time() - began}
    row["seconds"] = time.process_time() - began
    if isinstance(case.answer, blocks.Blocks):
        nodes = {name: node.sizes for name, node in ds.children.items()}
        row["cells"] = [f"{name}: {sizes.get('x', sizes.get('i'))}" for name, sizes in nodes.items()]
        each = blocks.errors_of_tree(case, ds, lambda node, part: true_errors(_of_block(case, part), node))
        return row | {"status": "answered", "parts_l1": {}, "parts_kl": {}} | each
    row["cells"] = list(ds["log_density"].shape[1:])
    try:
        errors = true_errors(case, ds)
    except ArithmeticError as error:
        return row | {"status": "no answer", "reason": str(error)}
    bounds = {f"bound_{of}": ds[f"error_{of}"].values.tolist() for of in ("l1", "kl")}
    parts = {f"parts_{of}": {part: ds[f"error_{of}_{part}"].values.tolist() for part in PARTS} for of in ("l1", "kl")}
    return row | {"status": "answered"} | bounds | parts | errors


def _of_block(case: families.Case, part: answers.Answer) -> families.Case:
    """The problem of one block, as far as its answer needs it."""
    return dataclasses.replace(case, answer=part, options={})


def true_errors(case: families.Case, ds: Any) -> dict[str, list[float]]:
    """Errors in L1 (with the mass outside the box) and KL, and the doubts of the answers, at every save time."""
    grid = wfr.Grid.from_dataset(ds)
    frame = stored_frame(ds, grid.ndim)
    points, volume = frame.outer(grid.points()), np.broadcast_to(np.asarray(grid.cell_volume), grid.shape)
    lower, upper = np.array(grid.lower), np.array(grid.upper)
    found: dict[str, list[float]] = {key: [] for key in ("l1", "kl", "doubt_l1", "doubt_kl", "kl_value")}
    for k, t in enumerate(case.times):
        since = float(t - case.times[0])
        log_known = case.answer.log_density(since, points)
        known, computed = np.exp(log_known), np.exp(np.asarray(ds["log_density"][k].values, dtype=float))
        answer = case.answer
        in_frame = frame.is_given or isinstance(answer, answers.Normal | answers.Product)
        if not frame.is_given and isinstance(answer, answers.Normal | answers.Product):
            answer = answer.turned(frame.rotation, frame.centre)
        outside = 0.0 if case.walls else answer.outside(since, lower, upper) if in_frame else None
        if outside is None:
            outside = max(0.0, 1.0 - float(np.sum(known * volume)))
        kl = case.answer.kl(since)
        # points are known to half a unit in the last place
        moved = np.exp(case.answer.log_density(since, np.nextafter(points, np.inf)))
        doubt = case.answer.doubt(since)
        found["l1"].append(float(np.sum(np.abs(known - computed) * volume)) + outside)
        found["kl"].append(abs(float(ds["kl"][k]) - kl))
        found["doubt_l1"].append(doubt[0] + float(np.nansum(np.abs(moved - known) * volume)))
        found["doubt_kl"].append(doubt[1])
        found["kl_value"].append(kl)
    return found


def excesses(row: Row) -> Iterator[tuple[str, int, float, float, float]]:
    """(of, index, error, bound, error over what the bound allows) of every bound of an answered draw."""
    for of in ("l1", "kl"):
        for k, (error, bound, doubt) in enumerate(zip(row[of], row[f"bound_{of}"], row[f"doubt_{of}"], strict=True)):
            rounding = ROUNDING[0] + ROUNDING[1] * (abs(row["kl_value"][k]) if of == "kl" else 1.0)
            allowed = bound + doubt + rounding
            ratio = error / allowed if allowed >= 0 else math.inf  # a bound that is no number is false
            yield of, k, error, bound, ratio


def worst(row: Row) -> float:
    """Largest error over what its bound allows."""
    return max((e[4] for e in excesses(row)), default=0.0) if row["status"] == "answered" else 0.0


def is_false(row: Row) -> bool:
    return worst(row) > 1


def is_above(row: Row) -> bool:
    return row["status"] == "answered" and not max(row["bound_l1"]) <= row["rtol"]


def run_one(task: dict[str, Any]) -> Row:
    """One task, in the process where this is called."""
    if "row" in task:
        case, key = ROWS[task["row"]](), {"row": task["row"]}
    elif "u" in task:
        case, key = families.case(task["draw_family"], np.array(task["u"])), {"u": task["u"]}
    else:
        case, key = families.draw(task["seed"], task["k"]), {"seed": task["seed"], "k": task["k"]}
    return key | {"draw_family": task.get("draw_family", "")} | judged(case, task["seconds"])


def warm_up() -> None:
    """What is compiled or imported at first use is no part of a budget."""
    wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(-1, 0.5), [0, 0.1], rtol=1e-3)
    wfr.ground_truth(wfr.Potential("x**2/2"), wfr.Gaussian(-1, 0.5), [0, 0.1], reaction_rate=0, rtol=1e-3)


def _serve(connection: Connection) -> None:
    """The loop of a process: tasks in, rows out."""
    warm_up()
    while (task := connection.recv()) is not None:
        try:
            row = run_one(task)
        except Exception as error:
            told = traceback.format_exception_only(error)[-1].strip()
            row = task | {"status": "error", "reason": told, "trace": traceback.format_exc(limit=-4)}
        connection.send(row)


class Worker:
    """A process that takes one task at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.task: dict[str, Any] | None = None
        self.done, self.deadline = 0, math.inf

    def give(self, task: dict[str, Any]) -> None:
        allowed = HANGS * task["seconds"] + 60  # the answer and the start of a process take time, too
        self.task, self.deadline = task, time.monotonic() + allowed
        self.connection.send(task)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()


def rows_of(tasks: Iterable[dict[str, Any]], jobs: int) -> Iterator[Row]:
    """Rows of tasks as they come, in `jobs` processes of which none is waited for longer than a hang."""
    pending, workers = iter(tasks), [Worker() for _ in range(jobs)]

    def fed(worker: Worker) -> bool:
        task = next(pending, None)
        if task is not None:
            worker.give(task)
        return task is not None

    try:
        busy = [worker for worker in workers if fed(worker)]
        while busy:
            ready = wait([w.connection for w in busy], timeout=1.0)
            for worker in list(busy):
                if worker.connection in ready:
                    try:
                        row = worker.connection.recv()
                    except (EOFError, OSError):
                        row = dict(worker.task or {}) | {"status": "crashed", "reason": "the process died"}
                elif time.monotonic() > worker.deadline:
                    row = dict(worker.task or {}) | {"status": "hung", "reason": "no answer after three budgets"}
                else:
                    continue
                worker.done += 1
                busy.remove(worker)
                if row["status"] in ("crashed", "hung") or worker.done >= TASKS:
                    worker.stop()
                    workers.remove(worker)
                    worker = Worker()
                    workers.append(worker)
                if fed(worker):
                    busy.append(worker)
                yield {"family": row.get("draw_family", ""), "name": "", "control": False, "rtol": 0.0} | row
    finally:
        for worker in workers:
            worker.stop()


def upper_limit(false: int, of: int) -> float:
    """Clopper-Pearson's 95 % limit from above (one-sided) of a share."""
    from scipy.stats import beta

    return 1.0 if of == 0 or false == of else float(beta.ppf(0.95, false + 1, of - false))


def rerun(row: Row) -> str:
    """How one draw is run again."""
    if "row" in row:
        return f"--row {row['row']}"
    if "u" in row:
        return "--point " + row["draw_family"] + ":" + ",".join(f"{x:.17g}" for x in row["u"])
    return f"--case {row['seed']}:{row['k']}"


def table(rows: list[Row]) -> str:
    """One line per family and one of all; then false bounds, and what was refused, above or without an answer."""
    head = f"{'family':22} {'draws':>5} {'bounds':>6} {'false':>5} {'95 %':>6} {'refused':>7} {'above':>5} "
    lines = [f"{head}{'late':>5} {'other':>5} {'<30x':>5} {'<300x':>5} {'median s':>8}"]
    for family in [*sorted({row["family"] for row in rows}), "all"]:
        lines.append(_line(family, [row for row in rows if family in (row["family"], "all")]))
    false = sorted((row for row in rows if is_false(row)), key=worst, reverse=True)
    lines.append(f"\n{len(false)} draws with a false bound")
    for row in false:
        of, k, error, bound, ratio = max(excesses(row), key=lambda e: e[4])
        lines.append(f"  {row['family']}: {row['name']}; rtol {row['rtol']:.1e}, t = {row['times'][k]:.4g}: true {of} "
                     f"{error:.3e}, bound {bound:.3e} ({ratio:.3g} x); {rerun(row)}")  # fmt: skip
    lines.append("\nrefused, by reason")
    reasons = Counter(f"{r['family']}{' (control)' if r['control'] else ''}: {r['reason'][:110]}" for r in rows
                      if r["status"] == "refused" and not r.get("refusal_right"))  # fmt: skip
    lines += [f"  {count:4d} {reason}" for reason, count in reasons.most_common(40)]
    lines.append("\ncontrols refused, out of budget or above their tolerance")
    for row in rows:
        if row["control"] and (row["status"] in ("refused", "out of budget") or is_above(row)):
            told = f"bound {max(row['bound_l1']):.1e}" if row["status"] == "answered" else row["reason"][:90]
            lines.append(f"  {row['family']}: {row['name']}; rtol {row['rtol']:.1e}: {told}; {rerun(row)}")
    lines.append("\nno answer, hung or crashed")
    for row in rows:
        if row["status"] not in ("answered", "refused", "out of budget"):
            lines.append(f"  {row['family']} {row['status']}: {row['reason'][:150]}; {rerun(row)}")
    return "\n".join(lines)


def _line(family: str, rows: list[Row]) -> str:
    answered = [row for row in rows if row["status"] == "answered"]
    bounds = [e for row in answered for e in excesses(row)]
    false = sum(is_false(row) for row in answered)
    refused, late = (sum(row["status"] == status for row in rows) for status in ("refused", "out of budget"))
    above, other = sum(is_above(row) for row in rows), len(rows) - len(answered) - refused - late
    close = [sum(b <= times * max(e, FLOOR) for _, _, e, b, _ in bounds) / max(1, len(bounds)) for times in TIMES_ERROR]
    seconds = float(np.median([row["seconds"] for row in rows if "seconds" in row] or [math.nan]))
    return (
        f"{family:22} {len(rows):5d} {len(bounds):6d} {false:5d} {upper_limit(false, len(answered)):6.1%} {refused:7d} "
        f"{above:5d} {late:5d} {other:5d} {close[0]:5.0%} {close[1]:5.0%} {seconds:8.2f}"
    )


def offences(rows: list[Row]) -> int:
    """Draws that make the run fail: false bounds, and controls that were refused."""
    return sum(is_false(row) or (row["control"] and row["status"] == "refused") for row in rows)


def tasks_of(seed: int, draws: int, seconds: float, only: str, known: set[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Draws of a seed that are not known yet."""
    for k in range(draws):
        family = families.point(seed, k)[0]
        if only in family and (seed, k) not in known:
            yield {"seed": seed, "k": k, "draw_family": family, "seconds": seconds}


def run(seed: int, draws: int, seconds: float, jobs: int, only: str, out: Path, resume: bool) -> list[Row]:
    """Rows of all draws of a seed, old ones from the file and new ones to it."""
    rows = [row for row in read(out) if row.get("seed") == seed] if resume else []
    known = {(row["seed"], row["k"]) for row in rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}, {draws} draws, {len(rows)} of them known; rows in {out}", flush=True)
    with out.open("a" if resume else "w", encoding="utf-8") as file:
        for row in rows_of(tasks_of(seed, draws, seconds, only, known), jobs):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            if is_false(row) or sys.stdout.isatty():
                mark = f"FALSE {worst(row):.3g} x" if is_false(row) else row["status"]
                print(f"  {len(rows):5d} {row['family']}: {row['name']}: {mark}; {rerun(row)}", flush=True)
    return [row for row in rows if only in row["draw_family"]]


def read(path: Path) -> list[Row]:
    """Rows of a file; the last line of a run that was stopped may be half of one."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def score(row: Row) -> float:
    """log of error over bound, the larger the worse; refusals and vacuous bounds are the least interesting."""
    return math.log(max(worst(row), 1e-12)) if row["status"] == "answered" else -40.0


def search(seed: int, budget: float, seconds: float, out: Path, only: str, resume: bool) -> list[Row]:
    """Points of the unit cube with an ever larger error over bound, from the worst draws of a file on.

    Restarts from one of the worst points, with a probability that falls with its rank, or a fresh one; from there steps
    of random coordinates, of sizes that shrink by failures and grow by successes (a random pattern search: the cube has
    no gradient, and questions with discrete answers). Every evaluation is a line of the file.
    """
    rng, ended = np.random.default_rng(None if resume else seed), time.monotonic() + budget
    pool: list[tuple[float, str, np.ndarray]] = []
    rows = read(out) if resume else []
    for row in rows:
        if "u" in row and only in row["draw_family"]:
            pool.append((score(row), row["draw_family"], np.array(row["u"])))
        elif "seed" in row and only in row["draw_family"]:
            pool.append((score(row), *families.point(row["seed"], row["k"])))
    out.parent.mkdir(parents=True, exist_ok=True)
    worker = Worker()
    try:
        with out.open("a" if resume else "w", encoding="utf-8") as file:

            def evaluated(family: str, u: Any) -> float:
                nonlocal worker
                u = u[: families.spent(family, u)]
                task = {"u": u.tolist(), "draw_family": family, "seconds": seconds}
                worker.give(task)
                try:
                    if not worker.connection.poll(HANGS * seconds + 60):
                        raise EOFError
                    row = worker.connection.recv()
                except (EOFError, OSError):
                    worker.stop()
                    worker, row = Worker(), task | {"status": "hung", "reason": "no answer"}
                row = {"family": family, "name": "", "control": False, "rtol": 0.0} | row
                rows.append(row)
                file.write(json.dumps(row) + "\n")
                file.flush()
                value = score(row)
                pool.append((value, family, u))
                if value > 0:
                    print(f"  FALSE {math.exp(value):.3g} x {row['family']}: {row['name']}; {rerun(row)}", flush=True)
                return value

            while time.monotonic() < ended:
                pool.sort(key=lambda entry: -entry[0])
                if pool and rng.random() < 0.7:
                    value, family, u = pool[min(len(pool) - 1, int(rng.exponential(4.0)))]
                else:
                    family, u = families.point(int(rng.integers(2**31)), int(rng.integers(families.SELDOM)))
                    if only not in family:
                        continue
                    value = evaluated(family, u)
                size, failures = 0.1, 0
                while failures < 8 and time.monotonic() < ended:
                    u = u[: families.spent(family, u)]
                    step = np.where(rng.random(u.size) < 0.3, size * rng.normal(size=u.size), 0.0)
                    other = np.abs(u + step)
                    other = np.clip(np.where(other > 1, 2 - other, other), 0, 1)
                    new = evaluated(family, other)
                    better = new > value
                    value, u = (new, other) if better else (value, u)
                    size, failures = (min(0.3, 1.5 * size), 0) if better else (0.7 * size, failures + 1)
    finally:
        worker.stop()
    return rows


def explain(case: families.Case, seconds: float) -> Row:
    """One case with everything."""
    print(case)
    row: Row = {"seed": -1, "k": -1} | judged(case, seconds)
    print(f"{row['status']} after {row['seconds']:.2f} s, {row.get('cells')} cells {row.get('reason', '')}")
    if "l1" in row:
        for of, k, error, bound, ratio in excesses(row):
            doubt = row[f"doubt_{of}"][k]
            mark = "FALSE" if ratio > 1 else ""
            print(f"  t = {case.times[k]:<12.6g} {of}: true {error:.3e} bound {bound:.3e} doubt {doubt:.1e} "
                  f"ratio {ratio:.3g} {mark}")  # fmt: skip
        print(f"  kl {row['kl_value']}")
    return row


def quick(jobs: int, out: Path) -> int:
    """60 draws of the committed seed, which judge, and 60 of the day's, which do not."""
    rows = run(QUICK_SEED, QUICK_DRAWS, QUICK_SECONDS, jobs, "", out, False)
    print(table(rows))
    day = int(datetime.datetime.now(datetime.UTC).strftime("%Y%m%d"))
    fresh = run(day, QUICK_DRAWS, QUICK_SECONDS, jobs, "", out.with_suffix(".day.jsonl"), False)  # fmt: skip
    print(f"\nThe day's draws, without a say\n{table(fresh)}")
    return offences(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=5000)
    parser.add_argument("--seed", type=int, help="a fresh one by default")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="budget of one call")
    parser.add_argument("--only", default="", help=f"one of {', '.join(families.FAMILIES)}, or a part of the word")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/honesty.jsonl"))
    parser.add_argument("--resume", action="store_true", help="go on with the rows of --out; the seed is theirs")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", action="store_true", help="the problems that were certified falsely once")
    parser.add_argument("--row", help=f"one of them: {', '.join(ROWS)}")
    parser.add_argument("--case", help="seed:k, one draw")
    parser.add_argument("--point", help="family:u1,u2,..., a point that a search found")
    parser.add_argument("--search", type=float, metavar="SECONDS")
    chosen = parser.parse_args(arguments)
    out: Path = chosen.out
    if chosen.quick:
        return int(quick(chosen.jobs, out) > 0)
    if chosen.case or chosen.point or chosen.row or chosen.rows:
        return int(offences(one_by_one(chosen)) > 0)
    seed = chosen.seed
    if seed is None and chosen.resume:
        seed = next((row["seed"] for row in read(out) if "seed" in row), None)
    seed = secrets.randbelow(2**31) if seed is None else seed
    print(f"seed {seed}", flush=True)
    if chosen.search:
        rows = search(seed, chosen.search, chosen.seconds, out, chosen.only, chosen.resume)
    else:
        rows = run(seed, chosen.draws, chosen.seconds, chosen.jobs, chosen.only, out, chosen.resume)
    print(table(rows))
    return int(offences(rows) > 0)


def one_by_one(chosen: Any) -> list[Row]:
    """Cases by name, each printed with everything."""
    makers: list[Callable[[], families.Case]]
    if chosen.case:
        seed, k = map(int, chosen.case.split(":"))
        makers = [lambda: families.draw(seed, k)]
    elif chosen.point:
        family, _, text = chosen.point.partition(":")
        makers = [lambda: families.case(family, np.array([float(x) for x in text.split(",")]))]
    else:
        makers = [ROWS[chosen.row]] if chosen.row else list(ROWS.values())
    warm_up()
    return [explain(make(), chosen.seconds) for make in makers]


if __name__ == "__main__":
    sys.exit(main())
