"""Noise schedules of diffusion models: how much noise is added to the data by when."""

from __future__ import annotations

import math
from dataclasses import dataclass

from typing_extensions import override

from wfr_pde.numerics.arguments import not_negative, number, positive
from wfr_pde.numerics.records import Record

ROUNDING = 1e-9  # of the range: a time further outside is a mistake, a closer one is rounding


class Schedule(Record):
    """A noise schedule: x_t = alpha(t) x_0 + sigma(t) z, with z standard normal, for times t in [0, t_end].

    It is the law of dX = f dt + g dW in another time, that of noise, tau = ½ ∫ g² dt, in which every schedule is
    dX = k X dtau + √2 dW with a drift factor k of -1 (variance preserving) or 0 (variance exploding). A new schedule is
    one class with the factor, and tau with its inverse.

    Attributes
    ----------
    t_end : float
        The last time.
    drift_factor : float
        k, -1 or 0.

    Examples
    --------
    A schedule whose noise time is the square of t: alpha(2) = e^-4.

    >>> import math
    >>> import wfr_pde as wfr
    >>> class Quadratic(wfr.targets.Schedule):
    ...     t_end, drift_factor = 2.0, -1.0
    ...     def noise_time_at(self, t):
    ...         return t**2
    ...     def time_at(self, noise_time):
    ...         return math.sqrt(noise_time)
    >>> round(math.log(Quadratic().alpha(2.0)), 6)
    -4.0
    """

    t_end: float
    drift_factor: float

    def noise_time_at(self, t: float) -> float:
        """Return tau at a time between 0 and t_end; it rises, from zero.

        Parameters
        ----------
        t : float
            In [0, t_end]; it need not be checked.

        Returns
        -------
        float
        """
        raise NotImplementedError(f"{type(self).__name__} must define noise_time_at(t)")

    def time_at(self, noise_time: float) -> float:
        """Return the time t at which tau is `noise_time`, between 0 and its value at t_end.

        Parameters
        ----------
        noise_time : float
            In [0, noise_time_at(t_end)]; it need not be checked.

        Returns
        -------
        float
        """
        raise NotImplementedError(f"{type(self).__name__} must define time_at(noise_time)")

    def noise_time(self, t: float) -> float:
        """Return tau = ½ ∫ g² dt from 0 to t, in units of length² of the data.

        Parameters
        ----------
        t : float
            In [0, t_end].

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If t is outside.
        """
        return self.noise_time_at(within("t", t, self.t_end, "times", self))

    def time(self, noise_time: float) -> float:
        """Return the time t at which tau is `noise_time`: the inverse of `noise_time`.

        Parameters
        ----------
        noise_time : float
            Between 0 and ``noise_time(t_end)``.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If it is outside.
        """
        last = self.noise_time_at(self.t_end)
        tau = within("noise_time", noise_time, last, "noise times", self)
        return min(max(self.time_at(tau), 0.0), self.t_end)

    def transition(self, noise_time: float) -> tuple[float, float]:
        """Return a and v of what noise does in a noise time: x becomes a x plus noise of the variance v per axis.

        Parameters
        ----------
        noise_time : float
            How long, >= 0.

        Returns
        -------
        (float, float)
        """
        tau = not_negative("noise_time", noise_time, "how long noise is added")
        if self.drift_factor == 0:
            return 1.0, 2 * tau
        return math.exp(self.drift_factor * tau), math.expm1(2 * self.drift_factor * tau) / self.drift_factor

    def alpha(self, t: float) -> float:
        """Return alpha(t), the factor of the data.

        Parameters
        ----------
        t : float
            In [0, t_end].

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If t is outside.
        """
        return self.transition(self.noise_time(t))[0]

    def sigma(self, t: float) -> float:
        """Return sigma(t), the standard deviation of the noise; right to rounding for tiny t, too.

        Parameters
        ----------
        t : float
            In [0, t_end].

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If t is outside.
        """
        return math.sqrt(self.transition(self.noise_time(t))[1])

    def log_snr(self, t: float) -> float:
        """Return log(alpha² / sigma²), the logarithm of the ratio of signal to noise; inf at t = 0.

        Parameters
        ----------
        t : float
            In [0, t_end].

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If t is outside.
        """
        tau = self.noise_time(t)
        variance = self.transition(tau)[1]
        return 2 * self.drift_factor * tau - math.log(variance) if variance > 0 else math.inf


@dataclass(frozen=True)
class VP(Schedule):
    """Variance preserving schedule: dX = -½ beta X dt + √beta dW, beta linear from beta_min to beta_max, t in [0, 1].

    alpha = e^-tau, sigma² = 1 - e^-2tau with tau = ½ (beta_min t + (beta_max - beta_min) t²/2).

    Parameters
    ----------
    beta_min, beta_max : float
        Rates of the noise at the times 0 and 1; 0 <= beta_min <= beta_max.

    Raises
    ------
    ValueError
        If the rates are out of order, negative or not finite, or there is no noise.

    References
    ----------
    Ho, Jain, Abbeel (2020), arXiv:2006.11239; Song et al. (2021), arXiv:2011.13456, in continuous time.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> schedule = wfr.VP()
    >>> round(schedule.alpha(1.0), 6), round(schedule.noise_time(1.0), 6)
    (0.006572, 5.025)
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    t_end = 1.0
    drift_factor = -1.0

    def __post_init__(self) -> None:
        least = not_negative("beta_min", self.beta_min, "the rate of the noise at time 0")
        most = positive("beta_max", self.beta_max, "the rate of the noise at time 1")
        if least > most:
            raise ValueError(f"beta_min must be at most beta_max, got {least} and {most}: exchange them")
        object.__setattr__(self, "beta_min", least)
        object.__setattr__(self, "beta_max", most)

    @override
    def noise_time_at(self, t: float) -> float:
        return t * (2 * self.beta_min + (self.beta_max - self.beta_min) * t) / 4

    @override
    def time_at(self, noise_time: float) -> float:
        rise = self.beta_max - self.beta_min
        root = math.sqrt(self.beta_min**2 + 4 * rise * noise_time)  # of the quadratic equation, without cancellation
        return 4 * noise_time / (self.beta_min + root) if noise_time > 0 else 0.0


@dataclass(frozen=True)
class VE(Schedule):
    """Variance exploding schedule: x_t = x_0 + sigma(t) z with a geometric growth of sigma, t in [0, 1].

    sigma(t)² = sigma_min² ((sigma_max / sigma_min)^2t - 1), so that p_0 is the law of the data.

    Parameters
    ----------
    sigma_min, sigma_max : float
        Lengths in the units of the data, 0 < sigma_min < sigma_max; sigma(1)² = sigma_max² - sigma_min².

    Raises
    ------
    ValueError
        If the lengths are out of order, not positive or not finite.

    References
    ----------
    Song et al. (2021), arXiv:2011.13456.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> schedule = wfr.VE(sigma_min=0.01, sigma_max=50.0)
    >>> schedule.alpha(1.0), round(schedule.sigma(1.0), 3)
    (1.0, 50.0)
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    t_end = 1.0
    drift_factor = 0.0

    def __post_init__(self) -> None:
        least = positive("sigma_min", self.sigma_min, "a standard deviation")
        most = positive("sigma_max", self.sigma_max, "a standard deviation")
        if least >= most:
            raise ValueError(f"sigma_min must be below sigma_max, got {least} and {most}: exchange them")
        object.__setattr__(self, "sigma_min", least)
        object.__setattr__(self, "sigma_max", most)

    @property
    def _growth(self) -> float:
        return 2 * math.log(self.sigma_max / self.sigma_min)

    @override
    def noise_time_at(self, t: float) -> float:
        return self.sigma_min**2 * math.expm1(self._growth * t) / 2

    @override
    def time_at(self, noise_time: float) -> float:
        return math.log1p(2 * noise_time / self.sigma_min**2) / self._growth


@dataclass(frozen=True)
class OU(Schedule):
    """Ornstein-Uhlenbeck schedule dX = -X dt + √2 dW, whose time is the noise time: alpha = e^-t, sigma² = 1 - e^-2t.

    Parameters
    ----------
    t_end : float
        The last time.

    Raises
    ------
    ValueError
        If it is not positive and finite.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> round(wfr.OU(t_end=3.0).alpha(1.0), 6)
    0.367879
    """

    t_end: float = 3.0

    drift_factor = -1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "t_end", positive("t_end", self.t_end, "the last time"))

    @override
    def noise_time_at(self, t: float) -> float:
        return t

    @override
    def time_at(self, noise_time: float) -> float:
        return noise_time


def within(name: str, value: float, most: float, what: str, of: object) -> float:
    """Return a time in [0, most]; one that is outside by rounding counts as the end.

    Raises
    ------
    ValueError
        If it is outside.
    """
    time = number(name, value)
    if not -ROUNDING * most <= time <= (1 + ROUNDING) * most:
        raise ValueError(
            f"{name} must be in [0, {most:.6g}], the {what} of {of!r} from one end to the other, got {time:.6g}"
        )
    return min(max(time, 0.0), most)
