"""Calls of all that is public which work, small ones: what `hostile` spoils, one argument at a time."""

import dataclasses
import inspect
from functools import cache
from pathlib import Path

import numpy as np
from product_trees import small_tree
from used_calls import used_calls

import wfr_pde as wfr
from wfr_pde import diagnostics, energies, exact, flows, metrics, plotting, samplers, tables, targets

NAMESPACES = {
    "wfr": wfr,
    "targets": targets,
    "energies": energies,
    "flows": flows,
    "samplers": samplers,
    "metrics": metrics,
    "exact": exact,
    "diagnostics": diagnostics,
    "plotting": plotting,
    "tables": tables,
}
BASES = {  # to be inherited from, made by nobody
    *("Target", "Flow", "Energy", "Sampler", "Metric", "LogRatio", "Schedule"),
}
OF_THE_HOUSE = {  # methods that numerics call, and arguments of theirs are not looked at
    *("threads", "variables", "checkpoint", "coordinates", "from_variables", "is_finite", "holding"),
}


@dataclasses.dataclass(frozen=True)
class Call:
    """A function, and arguments with which it works."""

    function: object
    arguments: dict

    def __call__(self, **other):
        """Call it, with some of the arguments replaced."""
        named = {**self.arguments, **other}
        parameters = inspect.signature(self.function).parameters
        stars = [value for name, value in named.items() if self.kind(name) is inspect.Parameter.VAR_POSITIONAL]
        plain = {
            name: value
            for name, value in named.items()
            if self.kind(name) not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        }
        assert len(stars) <= 1, parameters
        return self.function(*(stars[0] if stars else ()), **plain)

    def kind(self, name):
        """The kind of a parameter."""
        return inspect.signature(self.function).parameters[name].kind

    def default(self, name):
        """The default of a parameter, or `inspect.Parameter.empty`."""
        return inspect.signature(self.function).parameters[name].default


def line(points):
    """A function of points."""
    return np.asarray(points)[..., 0]


def minus(points, t):
    """A drift."""
    return -np.asarray(points)


def growth(points, t):
    """A rate of growth."""
    return 0.1 * np.asarray(points)[..., 0]


def square(x):
    """A function of a coordinate."""
    return x**2 / 2


def twice_a_frame(target, positions, times, rng):
    """A sampler of one's own."""
    for t in times:
        yield t, positions + 0.01 * t, None


def run_of(shift):
    """A run for a convergence table."""
    return wfr.Grid(-6, 6, 48).density(wfr.Gaussian(min(shift, 0.5), 1))


@cache
def objects():
    """What arguments are made of: made once."""
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(0.5, 0.8)
    plane, plane_start = wfr.Gaussian([0, 0], 1), wfr.Gaussian([0.5, 0], 0.8)
    grid, square_grid = wfr.Grid(-6, 6, 48), wfr.Grid([-6, -6], [6, 6], (24, 24))
    flow = wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume())
    times = np.array([0.0, 0.1, 0.2])
    ds = wfr.solve(target, flow, grid.density(start), times, 0.1, record=[diagnostics.kl])
    ds2 = wfr.solve(plane, flow, square_grid.density(plane_start), times, 0.1)
    space, box = wfr.Gaussian([0, 0, 0], 1), wfr.Grid([-6] * 3, [6] * 3, 16)
    ds3 = wfr.solve(space, flow, box.density(space), times[:2], 0.1)
    truth = wfr.ground_truth(target, start, times, rtol=1e-3)
    sampler, five = wfr.samplers.Langevin(), wfr.Gaussian(np.zeros(5), 1)
    runs = [wfr.solve(target, sampler, start.sample(20, rng=k), times, 0.1, rng=k) for k in range(3)]
    compared = wfr.compare(truth, {"Langevin": runs}, [metrics.mean_error], floor_draws=2)
    return {
        "tree": small_tree(),
        "run_in_5": wfr.solve(five, sampler, five.sample(20, rng=0), times, 0.1, rng=0),
        "target": target,
        "start": start,
        "plane": plane,
        "space": space,
        "ds3": ds3,
        "grid": grid,
        "square_grid": square_grid,
        "flow": flow,
        "times": times,
        "ds": ds,
        "ds2": ds2,
        "truth": truth,
        "sampler": sampler,
        "runs": runs,
        "compared": compared,
        "density": grid.density(start),
        "particles": wfr.Particles(start.sample(20, rng=0)),
        "other": grid.density(target),
        "trajectory": wfr.Trajectory(truth, target),
        "kl": wfr.KL(target),
        "mixture": wfr.GaussianMixture([[-1.0], [1.0]], [0.4, 0.6], 0.5),
        "moving": wfr.GeometricPath(start, target),
        "back": wfr.Noised(start, wfr.VP()).reversed(),
        "well": wfr.CoshDoubleWell(2.0),
        "table": wfr.convergence_table(run_of, "shift", [0.4, 0.2, 0.1]),
    }


def of_targets(o):
    """Targets, and their methods."""
    g = {"mean": [0.0, 1.0], "covariance": [1.0, 2.0]}
    values = np.exp(-(np.linspace(-3, 3, 40) ** 2))
    calls = {
        "Banana": (wfr.Banana, {"variance": 2.0}),
        "CoshDoubleWell": (wfr.CoshDoubleWell, {"gap": 1.0, "k": 1.0}),
        "DoubleWell": (wfr.DoubleWell, {"height": 1.0, "width": 1.0, "stiffness": [1.0], "coupling": 0.1}),
        "FourModes": (wfr.FourModes, {}),
        "Funnel": (wfr.Funnel, {"variance": 4.0, "ndim": 2}),
        "Gaussian": (wfr.Gaussian, g),
        "GaussianMixture": (
            wfr.GaussianMixture,
            {"means": [[0.0], [1.0]], "weights": [0.5, 0.5], "covariances": [1.0, 1.0]},
        ),
        "GeometricPath": (wfr.GeometricPath, {"start": o["start"], "target": o["target"], "schedule": np.tanh}),
        "GeometricMean": (targets.GeometricMean, {"start": o["start"], "target": o["target"], "weight": 0.5}),
        "GridTarget": (
            wfr.GridTarget,
            {"values": values, "lower": [-3.0], "upper": [3.0], "log": False, "periodic": False},
        ),
        "VP": (wfr.VP, {"beta_min": 0.1, "beta_max": 20.0}),
        "VE": (wfr.VE, {"sigma_min": 0.01, "sigma_max": 50.0}),
        "OU": (wfr.OU, {"t_end": 3.0}),
        "Noised": (wfr.Noised, {"data": o["start"], "schedule": wfr.VP()}),
        "ReversedPath": (
            targets.ReversedPath,
            {"path": wfr.Noised(o["start"], wfr.VP()), "t_start": 0.9, "t_stop": 0.1},
        ),
        "Posterior": (
            wfr.Posterior,
            {
                "prior": o["target"],
                "log_likelihood": lambda theta, data: -((data - theta) ** 2).sum() / 2,
                "data": [0.0, 1.0],
                "support": (-5.0, 5.0),
            },
        ),
        "Potential": (
            wfr.Potential,
            {
                "V": square,
                "ndim": 1,
                "gradient": lambda x: [x],
                "support": (-9.0, 9.0),
                "breaks": [0.5],
                "of": "coordinates",
            },
        ),
        "Product": (
            wfr.Product,
            {"factors": [wfr.Gaussian(0.0, 1.0)] * 2, "rotation": [[0.8, -0.6], [0.6, 0.8]], "shift": [1.0, 0.0]},
        ),
        "Radial": (wfr.Radial, {"profile": "x**4/4", "ndim": 3}),
        "Ring": (wfr.Ring, {"radius": 5.0, "width": 0.25, "ndim": 2}),
        "parse_distribution": (targets.parse_distribution, {"text": "gaussian(0, 1)"}),
        "stored_distribution": (targets.stored_distribution, {"ds": o["truth"], "attribute": "energy"}),
    }
    for name in ("target", "mixture"):
        target = o[name]
        kind = type(target).__name__
        calls |= {
            f"{kind}.log_density": (target.log_density, {"points": [[0.0], [1.0]]}),
            f"{kind}.score": (target.score, {"points": [[0.0], [1.0]]}),
            f"{kind}.sample": (target.sample, {"n": 3, "rng": 0}),
            f"{kind}.box": (target.box, {"tail": 1e-6}),
            f"{kind}.breaks": (target.breaks, {"lower": [-1.0], "upper": [1.0]}),
            f"{kind}.as_points": (target.as_points, {"points": [[0.0], [1.0]]}),
            f"{kind}.at": (target.at, {"t": 0.5}),
        }
    calls["GaussianMixture.component"] = (o["mixture"].component, {"k": 1})
    return calls | {"GeometricPath.at": (o["moving"].at, {"t": 0.5})}


def of_grids(o):
    """Grids and measures."""
    grid, density, particles = o["grid"], o["density"], o["particles"]
    points = {"points": [[0.0], [1.0]]}
    return {
        "Grid": (
            wfr.Grid,
            {
                "lower": [-1.0, -2.0],
                "upper": [1.0, 2.0],
                "shape": (8, 9),
                "boundary": "no-flux",
                "backend": "numpy",
                "names": ["x", "y"],
                "max_cut": 1e-6,
                "grading": [None, np.ones_like],
            },
        ),
        "Grid.covering": (
            wfr.Grid.covering,
            {"distributions": [o["target"]], "shape": 16, "tail": 1e-6, "graded": False},
        ),
        "Grid.from_edges": (wfr.Grid.from_edges, {"edges": [[0.0, 1.0, 2.0, 3.0, 4.5]]}),
        "Grid.from_dataset": (wfr.Grid.from_dataset, {"ds": o["ds"], "backend": "numpy"}),
        "Grid.density": (grid.density, {"distribution": o["target"]}),
        "Grid.evaluate": (grid.evaluate, {"function": line}),
        "Grid.graded": (grid.graded, {"distributions": [o["target"]]}),
        "Density": (wfr.Density, {"grid": grid, "log_values": density.log_values, "origin": "x", "log_mass": 0.5}),
        "Density.from_dataset": (
            wfr.Density.from_dataset,
            {"ds": o["ds"], "index": 0, "backend": "numpy", "t": None},
        ),
        "Density.from_dataset at a time": (
            wfr.Density.from_dataset,
            {"ds": o["ds"], "index": None, "backend": "numpy", "t": float(o["ds"].t[-1])},
        ),
        "Density.log_prob": (density.log_prob, points),
        "Density.score": (density.score, points),
        "Density.sample": (density.sample, {"n": 3, "rng": 0}),
        "Density.marginal": (o["square_grid"].density(o["plane"]).marginal, {"axes": (0,)}),
        "Density.on": (density.on, {"grid": wfr.Grid(-5, 5, 12)}),
        "Density.expectation": (density.expectation, {"function": line}),
        "Particles": (
            wfr.Particles,
            {"positions": [[0.0], [1.0]], "log_weights": [0.0, -1.0], "mixture": None, "auxiliary": [[1.0], [2.0]]},
        ),
        "Particles.sample": (particles.sample, {"n": 3, "rng": 0}),
        "Particles.expectation": (particles.expectation, {"function": line}),
        "KL": (wfr.KL, {"target": o["target"], "checked": True}),
        "KL.value": (o["kl"].value, {"state": density}),
        "NoEnergy": (energies.NoEnergy, {}),
    }


def of_trajectories(o):
    """A certified solution as a function of (x, t)."""
    trajectory = o["trajectory"]
    at = {"x": [[0.0], [1.0]], "t": 0.1}
    calls = {
        name: (getattr(trajectory, name), at)
        for name in ("growth", "log_prob", "log_prob_error", "score", "score_error", "velocity")
    }
    calls |= {name: (getattr(trajectory, name), {"t": 0.1}) for name in ("at", "covariance", "mean", "error_l1")}
    calls |= {name: (getattr(trajectory, name), {"t": 0.1}) for name in ("holds_within", "remedy")}
    calls |= {
        "helmholtz": (trajectory.helmholtz, {"field": lambda x, t: x, "t": 0.1}),
        "mode_masses": (trajectory.mode_masses, {"centres": [[-1.0], [1.0]], "t": 0.1}),
        "sample": (trajectory.sample, {"n": 3, "t": 0.1, "rng": 0}),
    }
    rates = {"transport_rate": 1.0, "reaction_rate": 1.0}
    return {f"Trajectory.{name}": call for name, call in calls.items()} | {
        "Trajectory": (wfr.Trajectory, {"ds": o["ds"], "target": o["target"], **rates})
    }


def of_flows(o):
    """Flows and samplers."""
    fr, fv, start = wfr.FisherRao(), wfr.FiniteVolume(), o["start"]
    rate = {"rate": 1.0}
    plain = {name: (getattr(flows, name), rate) for name in ("FisherRao", "LangevinKernel", "MALAKernel")}
    plain |= {name: (getattr(flows, name), rate) for name in ("SinkhornKernel", "SplitStep")}
    plain |= {name: (getattr(samplers, name), rate) for name in ("MALA", "Langevin")}
    return plain | {
        "FiniteVolume": (
            wfr.FiniteVolume,
            {
                **rate,
                "flux": "scharfetter-gummel",
                "tolerance": 1e-10,
                "drift": lambda points, t: -points,
                "diffusivity": 0.5,
                "growth": lambda points, t: points[..., 0],
            },
        ),
        "Lie": (wfr.Lie, {"first": fr, "second": fv}),
        "Advected": (wfr.Advected, {"drift": minus, "diffusivity": 0.5, "rate": growth}),
        "Advection": (flows.Advection, {"drift": minus, "rate": growth}),
        "Diffusion": (flows.Diffusion, {"diffusivity": 0.5}),
        "HTransform": (flows.HTransform, {"path": o["back"]}),
        "ProbabilityFlow": (wfr.ProbabilityFlow, {"path": o["back"], "score": o["back"]}),
        "ReverseSDE": (wfr.ReverseSDE, {"path": o["back"], "score": o["back"], "churn": 0.5}),
        "Strang": (wfr.Strang, {"outer": fr, "inner": fv}),
        "Repeated": (wfr.Repeated, {"flow": fr, "n": 2}),
        "Extrapolated": (wfr.Extrapolated, {"flow": wfr.Strang(fr, fv), "order": 4, "variable": "dt"}),
        "SMCWFR": (
            samplers.SMCWFR,
            {**rate, "reaction_rate": 1.0, "self_term": True, "threshold": 0.5, "scheme": "systematic"},
        ),
        "SVGD": (samplers.SVGD, {**rate, "bandwidth": 0.5}),
        "BirthDeath": (
            samplers.BirthDeath,
            {**rate, "bandwidth": None, "variant": "log-density", "density": samplers.MixtureDensity()},
        ),
        "Blackjax": (
            samplers.Blackjax,
            {"build": lambda log_density, time: None, **rate, "log_density": line, "name": "mine", "law": "pi"},
        ),
        "FeynmanKac": (samplers.FeynmanKac, {**rate, "density": samplers.KernelDensity()}),
        "KernelDensity": (samplers.KernelDensity, {"bandwidth": 0.5, "pairs": 1000}),
        "KernelFisherRao": (
            samplers.KernelFisherRao,
            {"start": start, **rate, "bandwidth": 0.5, "regularisation": 1e-6, "start_time": 0.0},
        ),
        "MixtureDensity": (samplers.MixtureDensity, {"self_term": True, "pairs": 1000}),
        "Oracle": (samplers.Oracle, {"truth": o["truth"]}),
        "ParallelTempering": (samplers.ParallelTempering, {**rate, "temperatures": (1.0, 2.0), "swap_rate": 1.0}),
        "ReverseDiffusion": (
            samplers.ReverseDiffusion,
            {
                "path": wfr.Noised(o["start"], wfr.VP()).reversed(),
                "score": None,
                "method": "ddim",
                "churn": 0.5,
                "variance": "posterior",
            },
        ),
        "Resample": (samplers.Resample, {"threshold": 0.5, "scheme": "systematic"}),
        "TeleportingWalkers": (samplers.TeleportingWalkers, {"bandwidth": 0.5, **rate}),
        "Tempering": (
            samplers.Tempering,
            {
                "start": start,
                **rate,
                "threshold": 0.5,
                "moves": 1,
                "scale": 0.5,
                "scheme": "systematic",
                "start_time": 0.0,
            },
        ),
        "UnderdampedLangevin": (samplers.UnderdampedLangevin, {**rate, "friction": 1.0}),
    }


def of_metrics(o):
    """Metrics and records."""
    pair = {"reference": o["other"], "other": o["particles"]}
    of_grid = {"reference": o["other"], "other": o["density"]}
    state = {"state": o["density"], "energy": o["kl"]}
    calls = {
        "KSD": (metrics.KSD, {"target": o["target"], "length": 1.0, "power": -0.5, "squared": False, "name": "k"}),
        "MMD": (metrics.MMD, {"scale": 1.0, "kernel": "gaussian", "unbiased": False, "squared": False, "name": "m"}),
        "BinnedHellinger": (metrics.BinnedHellinger, {"bins": 8, "name": "h"}),
        "BinnedTotalVariation": (metrics.BinnedTotalVariation, {"bins": 8, "name": "t"}),
        "ByDraws": (metrics.ByDraws, {"metric": metrics.EnergyDistance(), "draws": 20, "seed": 1, "name": "b"}),
        "EnergyDistance": (metrics.EnergyDistance, {"squared": False, "name": "e"}),
        "MarginalQuantiles": (metrics.MarginalQuantiles, {"coordinates": [0], "levels": [0.2, 0.5], "name": "q"}),
        "MarginalTotalVariation": (metrics.MarginalTotalVariation, {"coordinates": [0], "bins": 8, "name": "t"}),
        "MarginalWasserstein": (metrics.MarginalWasserstein, {"coordinates": [0], "order": 1, "name": "w"}),
        "ExpectationError": (
            metrics.ExpectationError,
            {"function": line, "name": "f", "long_name": "mean of f", "units": "1"},
        ),
        "KernelKL": (metrics.KernelKL, {"variance": 0.3, "name": "k"}),
        "ModeMasses": (metrics.ModeMasses, {"centres": [[-1.0], [1.0]], "name": "m"}),
        "NeighbourKL": (metrics.NeighbourKL, {"neighbours": 5, "name": "k"}),
        "SlicedWasserstein": (metrics.SlicedWasserstein, {"n_directions": 8, "order": 2, "seed": 0, "name": "s"}),
        "Wasserstein": (metrics.Wasserstein, {"order": 2, "atoms": 50, "name": "w"}),
        "described": (diagnostics.described, {"long_name": "a", "units": "1", "dims": ("axis",), "name": "b"}),
        "mode_masses": (diagnostics.mode_masses, {"centres": [[-1.0], [1.0]], "name": "m"}),
        "region_mass": (diagnostics.region_mass, {"region": lambda x: x[..., 0] < 0, "name": "r"}),
        "l1": (metrics.l1, of_grid),
        "MMD.__call__": (metrics.MMD(), pair),
    }
    names = ("covariance_error", "effective_sample_size", "hellinger", "kl_estimate", "mean_error")
    for name in (*names, "total_variation", "wasserstein_1", "wasserstein_2"):
        calls[name] = getattr(metrics, name), pair
    of_state = ("mass", "mean", "covariance", "kl", "reverse_kl", "jeffreys", "chi_squared", "log_chi_squared")
    of_state += ("fisher_information", "variance_of_log_ratio", "oscillation", "entropy", "target_mass_below_floor")
    return calls | {name: (getattr(diagnostics, name), state) for name in of_state}


def of_closed_forms(o):
    """Closed forms."""
    two = {"target": o["target"], "start": o["start"]}
    rates = {"transport_rate": 1.0, "reaction_rate": 1.0}
    steps = {"dt": 0.1, "n_steps": 2, "scheme": "W-FR-W", "transport": "exact"}
    well = {"target": o["well"], "eps": 0.1, "t": 0.5, "transport_rate": 1.0}
    return {
        "cosh_double_well_flow": (exact.cosh_double_well_flow, well),
        "cosh_double_well_kl": (exact.cosh_double_well_kl, well),
        "fisher_rao": (exact.fisher_rao, {**two, "t": 0.5, "rate": 1.0}),
        "fisher_rao_kl": (exact.fisher_rao_kl, {**two, "t": 0.5, "rate": 1.0, "grid": o["grid"]}),
        "gaussian_flow": (exact.gaussian_flow, {**two, "t": 0.5, **rates}),
        "gaussian_flow_by_ode": (exact.gaussian_flow_by_ode, {**two, "t": 0.5, **rates, "start_time": 0.0}),
        "gaussian_kl": (exact.gaussian_kl, {"p": o["target"], "q": o["start"]}),
        "gaussian_split": (exact.gaussian_split, {**two, **steps, **rates}),
        "mixture_transport": (
            exact.mixture_transport,
            {"target": o["target"], "start": o["mixture"], "t": 0.5, "rate": 1.0},
        ),
    }


def of_runs(o):
    """What computes for a while."""
    target, times = o["target"], o["times"]
    run = {"problem": target, "flow": o["flow"], "start": o["density"], "t": times, "dt": 0.1}
    run |= {"record": [diagnostics.kl], "keep": "all", "rng": 0}
    problem = {"target": target, "start": o["start"], "t": times}
    table = {"run": run_of, "knob": "shift", "values": [0.2, 0.1], "reference": None, "metric": metrics.l1}
    modes = {"target": target, "grid": o["grid"], "n": 3, "order": 2, "flux": "scharfetter-gummel", "progress": False}
    return {
        "solve": (wfr.solve, {**run, "out": None, "progress": False, "accept_other_code": False}),
        "estimate": (wfr.estimate, {**run, "written": False}),
        "convergence_table": (wfr.convergence_table, table),
        "ground_truth": (wfr.ground_truth, {**problem, **of_a_truth(), "flow": None}),
        "load_callable": (wfr.load_callable, {"where": "math:sqrt"}),
        "open_run": (wfr.open_run, {"path": str(o["folder"] / "run")}),
        "read_samples": (wfr.read_samples, {"path": str(o["folder"] / "samples.npz")}),
        "run_sampler": (wfr.run_sampler, {"sampler": twice_a_frame, **problem, "n": 5, "rng": 0}),
        "spectrum": (wfr.spectrum, modes),
    }


def of_a_truth():
    """What is chosen for a certified solution."""
    return {
        "transport_rate": 1.0,
        "reaction_rate": 1.0,
        "rtol": 1e-2,
        "box": (-8.0, 8.0),
        "boundary": "no-flux",
        "names": ["x"],
        "max_cut": 1e-6,
        "seconds": 20.0,
        "memory": 1e9,
        "strict": True,
        "cross_check": False,
        "turn": True,
        "progress": False,
    }


def of_validation(o):
    """What judges samplers."""
    given = {"sampler": o["sampler"], "truth": o["truth"], "target": o["target"], "start": None}
    given |= {"dt": 0.1, "n": 10, "seeds": 20, "t": [0.2], "modes": [[-1.0], [1.0]], "statistics": None}
    given |= {"rng": 0, "progress": False}
    verdict = {"scheme": None, "options": None, "effect": 0.5, "level": 0.05, "confirm": False}
    compared = {"truth": o["truth"], "runs": {"a": o["runs"]}, "metrics": [metrics.mean_error], "t": [0.2]}
    compared |= {"floor_draws": 2, "confidence": 0.9, "rng": 0, "progress": False}
    return {
        "compare": (wfr.compare, compared),
        "validate": (wfr.validate, {**given, **verdict}),
        "error_budget": (wfr.error_budget, {**given, "t": 0.2, "confidence": 0.9}),
    }


def of_tables(o):
    """Tables."""
    return {
        "to_dataframe": (tables.to_dataframe, {"ds": o["compared"]}),
        "to_latex": (tables.to_latex, {"ds": o["table"], "caption": "A caption.", "label": "tab:a"}),
        "to_text": (tables.to_text, {"ds": o["verdict"]}),
    }


def of_figures(o):
    """Figures."""
    line_ds, plane, ax = o["ds"], o["ds2"], None
    goal = {"t": 0.1, "target": o["target"]}
    over = {"t": 0.1, "target": o["plane"]}
    return {
        "budget": (plotting.budget, {"ds": o["budget"], "statistic": str(o["budget"]["statistic"].values[0])}),
        "comparison": (plotting.comparison, {"ds": o["compared"], "metrics": ["mean_error"], "n": 20}),
        "convergence": (plotting.convergence, {"table": o["table"], "ax": ax, "names": None, "fit": slice(0.5, 0.05)}),
        "density_contours": (plotting.density_contours, {"ds": plane, **over, "ax": ax, "colour": "#0072B2"}),
        "density_curve": (plotting.density_curve, {"ds": line_ds, **goal, "ax": ax}),
        "density_image": (plotting.density_image, {"ds": line_ds, "ax": None}),
        "product_marginals": (
            plotting.product_marginals,
            {"truth": o["tree"], "t": 0.1, "coordinates": [0, 1], "runs": o["run_in_5"]},
        ),
        "radial_profile": (
            plotting.radial_profile,
            {"truth": o["tree"], "t": [0.0, 0.1], "factor": 1, "runs": o["run_in_5"], "ax": ax},
        ),
        "density_joint": (plotting.density_joint, {"ds": plane, **over}),
        "density_marginals": (plotting.density_marginals, {"ds": plane, **over, "axes": ["x", "y"]}),
        "density_ridge": (plotting.density_ridge, {"ds": line_ds, "times": [0.1], "target": o["target"], "ax": ax}),
        "density_slices": (
            plotting.density_slices,
            {"ds": o["ds3"], "point": [0.0, 0.0, 0.0], "t": 0.1, "target": o["space"]},
        ),
        "error_band": (plotting.error_band, {"ds": o["truth"], "name": "kl", "bound": None, "ax": ax, "log": False}),
        "fitted_orders": (plotting.fitted_orders, {"table": o["table"], "fit": slice(0.5, 0.05), "floor": 0.0}),
        "label": (plotting.label, {"variable": line_ds["kl"]}),
        "marginal": (plotting.marginal, {"ds": plane, "axes": ["x"]}),
        "movie": (
            plotting.movie,
            {
                "ds": line_ds,
                "path": str(o["folder"] / "movie.gif"),
                "target": None,
                "t": [0.1],
                "fps": 2.0,
                "dpi": 30.0,
            },
        ),
        "panel_letters": (plotting.panel_letters, {"figure": plotting.new_figure()}),
        "new_figure": (plotting.new_figure, {"width": 3.0, "height": 2.0}),
        "particles": (plotting.particles, {"runs": o["runs"][0], "truth": o["truth"], "t": 0.2, "axes": "x", "ax": ax}),
        "record": (plotting.record, {"variable": line_ds["kl"], "ax": ax}),
        "seed_band": (
            plotting.seed_band,
            {"variable": o["of_seeds"], "ax": ax, "confidence": 0.9, "spread": False, "log": False},
        ),
        "style": (plotting.style, {}),
        "verdict": (plotting.verdict, {"ds": o["verdict"]}),
        "waterfall": (plotting.waterfall, {"cell": o["budget"].isel(dt=0, n=0).isel(statistic=0), "ax": ax}),
    }


def valid_calls(folder):
    """All calls by name; `folder` is one to write files in."""
    import xarray as xr

    folder = Path(folder)
    o = {**objects(), "folder": folder}
    np.savez(folder / "samples.npz", positions=np.zeros((2, 3, 1)), times=[0.0, 1.0])
    wfr.solve(o["target"], o["flow"], o["density"], o["times"], 0.1, out=folder / "run")
    settings = {"dt": 0.1, "n": 10, "seeds": 20, "t": 0.2}
    o["budget"] = wfr.error_budget(o["sampler"], o["truth"], o["target"], **settings)
    o["verdict"] = wfr.validate(o["sampler"], o["truth"], o["target"], dt=0.1, n=20, seeds=20, effect=0.5)
    o["of_seeds"] = xr.concat([o["ds"]["kl"] * s for s in (1.0, 1.1, 1.2)], "seed")
    parts = (of_targets, of_grids, of_trajectories, of_flows, of_metrics, of_closed_forms, of_runs, of_validation)
    parts += (of_figures, of_tables, used_calls)
    return {name: Call(*call) for part in parts for name, call in part(o).items()}


def public():
    """Names of all that is public and can be called, and of methods of what users hold: each needs a valid call."""
    names = set()
    for space in NAMESPACES.values():
        listed = getattr(space, "__all__", None)
        assert listed, f"{space.__name__} has no __all__"
        for name in listed:
            item = getattr(space, name)
            is_error = inspect.isclass(item) and issubclass(item, BaseException)
            if callable(item) and not is_error and name not in BASES and not inspect.ismodule(item):
                names.add(name)
    for cls in (wfr.Density, wfr.Particles, wfr.Trajectory, wfr.Gaussian, wfr.GaussianMixture):
        for name, method in inspect.getmembers(cls, callable):
            hidden = name.startswith("_") or name in OF_THE_HOUSE
            if not hidden and [p for p in inspect.signature(method).parameters if p != "self"]:
                names.add(f"{cls.__name__}.{name}")
    return names
