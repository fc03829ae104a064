"""Distributions that a DataTree of independent blocks was computed of, put together from its nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.targets.product import Product
from wfr_pde.targets.radial import Radial

RADIUS = re.compile(r"Radius\(target=(.*), space=(\d+)\)")  # how the law of a radius is spelled


def stored_product(tree: Any, attribute: str, parse: Callable[[str], Target]) -> Target:
    """Build the target or the start of a DataTree of `ground_truth`, factor by factor.

    Parameters
    ----------
    tree : DataTree
    attribute : {"energy", "start"}
    parse : function
        Text to distribution, of names as classes have them.

    Returns
    -------
    Target
        A `Product`; the factor alone where there is one, in the given coordinates.

    Raises
    ------
    ValueError
        If a factor is no text to make it from.
    """
    entries = json.loads(tree.attrs["factors"])
    known = {name: _factor(tree[name], attribute, parse) for name in {entry["node"] for entry in entries}}
    factors = [known[entry["node"]] for entry in entries]
    frame = [tree[name].values if name in tree else None for name in ("rotation", "shift")]
    return factors[0] if len(factors) == 1 and frame == [None, None] else Product(factors, *frame)


def _factor(node: Any, attribute: str, parse: Callable[[str], Target]) -> Target:
    """Return the target or the start of a node."""
    if "covariance" in node:
        if attribute == "start":
            return Gaussian(node["mean"].values[0], np.asarray(node["covariance"].values[0]))
        if "target_mean" in node:
            return Gaussian(node["target_mean"].values, node["target_covariance"].values)
    said = re.sub(r"^KL\(target=(.*)\)$", r"\1", str(node.attrs.get(attribute, "")))
    radius = RADIUS.fullmatch(said)
    return Radial(parse(radius[1]), int(radius[2])) if radius else parse(said)
