"""What a flow does to a measure in the limit of small steps and many particles."""

from enum import StrEnum

from wfr_pde.numerics.arguments import shown


class Law(StrEnum):
    """The limit of a flow as dt goes to 0, and the number of particles to infinity; members are strings such as "w"."""

    W = "w"  # the Wasserstein flow of the energy: transport
    FR = "fr"  # its Fisher-Rao flow: reaction
    WFR = "wfr"  # both
    REST = "rest"  # nothing moves
    PI = "pi"  # it is led to pi, on a path of its own
    OWN = "own"  # anything else

    @classmethod
    def named(cls, name: str) -> "Law":
        """Return the law of that name.

        Raises
        ------
        ValueError
            If there is none; the message lists those that there are.
        """
        if not isinstance(name, str) or name not in set(cls):
            raise ValueError(f"law must be one of {', '.join(cls)}, got {shown(name)}")
        return cls(name)
