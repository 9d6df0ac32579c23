"""Measured runs -> a scaling law that foretells larger ones, with an interval that holds.

**The law.** N parameters, D tokens, L held-out loss (nats per token, bits per byte: any unit):

    L(N, D) = E + (A / N**alpha + B / D**beta)**k               "power"; k = 1: "chinchilla" (Hoffmann et al. 2022, arXiv:2203.15556)
    L(N, D) = E + z / (1 + z / (H - E)), z the same term        "bounded": never above H, what knowing single tokens alone costs

Where tokens repeat, N and D stand for what they are worth (Muennighoff et al. 2023, arXiv:2305.16264): of D tokens only U differ,
R = D/U - 1, D' = U + U R_D (1 - exp(-R / R_D)), and N' likewise beyond the size that U tokens feed.

**The discrepancy.** No such formula is true to 1%: warm-up, batch size and schedule bend real ladders, smoothly. So a smooth, correlated
deviation is fitted with it (a Gaussian process over log N and log D, Matern 5/2; Kennedy & O'Hagan 2001, doi:10.1111/1467-9868.00294):

    log loss = log L(N, D) + discrepancy(N, D) + noise,   covariance s_i s_j matern(distance),   s_i = size * exp(fade * ln(C_top / C_i))

It does three things at once. What was left over at the frontier carries on beyond it and dies away; many runs close together count as
few; and the doubt about a forecast grows with its distance from what was measured. Size, noise and fade are averages over a small grid,
weighted by how well each explains the runs (Laplace's evidence, tempered: misfit is not independent between runs).

**What counts less.** A run beaten by a cheaper one (too little data for its size, still in its warm-up) gets noise of 0.3 of the log loss
it lacks, up to 9%; a run that its neighbours do not foretell (leave-one-out residual over two sd) gets more.

**The interval.** 1.28 sd of that posterior, times a stretch: the geometric mean of what published ladders show, PRIOR_STRETCH, and what a
rolling origin shows on this one (refit its cheapest part, foretell the rest, error over foretold sd). A bootstrap of the constants covers
33% where it claims 80%: it knows nothing of the formula being wrong.

Worked example: E = 1.5, A = 1000, B = 10,000, alpha = beta = 0.5, k = 1. At N = 10^6 and D = 10^8 both terms are 1 and L = 3.5; four times
the parameters halve the first: L = 3.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from cupola.errors import DataError, LadderTooShort

Column = Sequence[float] | np.ndarray

MIN_POINTS, MIN_SIZES, MIN_REACH = 6, 3, 8.0  # a ladder shorter than this foretells nothing
REACH = 100.0  # predict() goes no further than so many times the top run's compute
TOKENS_PER_PARAM = 20.0  # the size that U tokens feed is U / 20 (Hoffmann et al. 2022)
R_D, R_N = 15.4, 5.3  # repeats (Muennighoff et al. 2023, section 5)
NEVER = 1e6  # an R_N from which on a size loses nothing
NAMES = ("E", "A", "B", "alpha", "beta", "k", "R_D", "R_N")
Z80 = 1.2816  # 80% of a normal lies within so many sd

# The priors: medians and spreads (of the logarithm). E as a share of the lowest loss and alpha k, beta k from the published laws (1.69 of
# 2.9 at ladder scale; 0.34 and 0.28 in Hoffmann, 0.35 and 0.37 in Besiroglu et al. 2024, arXiv:2404.10102).
SHARE_E, SHARE_SD = 0.65, 0.25
EXPONENT, EXPONENT_SD = 0.3, 0.3
K, K_SD = 0.7, 0.7
TERM_SD, REPEATS_SD = 5.0, 0.5

# Of the discrepancy. Chosen on Porian's and Gadre's ladders (arXiv:2406.19146, arXiv:2403.08540), each family checked on the other; LOG.md,
# 2026-11-25, has what half and twice of each cost.
LENGTH = 5.0  # in log C, log D/N and twice the log of repetition
SIZES, NOISES, FADES = (0.003, 0.01, 0.03, 0.09), (0.002, 0.006, 0.018), (0.0, 0.2)
SIZE, NOISE = 0.03, 0.01  # medians of the priors of size and noise; a factor e either way is one sd
TEMPER = 0.5  # power of the evidence
BEATEN, BEATEN_MOST = 0.3, 0.3  # noise per log loss above the best cheaper run, and the most that counts
REPEATED = 0.1  # size of what repeats do beyond their term (overfitting), per log of repetition
PRIOR_STRETCH, FEW = 0.65, 25  # times sqrt(1 + FEW / n): few runs leave the grid's averages unsure
ORIGINS = (0.85, 0.7, 0.55, 0.4)  # shares of the log-compute range at which a rolling origin refits


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """An 80% interval and its middle, each (R,), in the unit of the losses that were fitted."""

    p10: np.ndarray
    p50: np.ndarray
    p90: np.ndarray


@dataclasses.dataclass(frozen=True)
class Repeats:
    """How fast repeats lose their worth: a repeat of the data is worth exp(-R / R_D) of a fresh pass, an excess of size likewise."""

    R_D: float
    R_N: float


@dataclasses.dataclass(frozen=True)
class OriginError:
    """One run as a refit of the cheaper ones foretold it: log(truth / middle), and that over the sd foretold before any stretch."""

    origin_flops: float
    flops: float
    error: float
    ratio: float
    beaten: float  # log loss above the best cheaper run's


@dataclasses.dataclass(frozen=True, eq=False)
class _Posterior:
    """What predict() needs beside the constants: the fit as solved, in coordinates centred on the runs."""

    theta: np.ndarray  # (8,) log E, log a, log b, log alpha, log beta, log k, log R_D, log R_N; a, b: the terms at the centre
    cov: np.ndarray  # (8, 8)
    at: np.ndarray  # (n, 3) where the runs are: log N, log D, and how much was repeated (_repeated)
    pull: np.ndarray  # (n,) inverse covariance times what the formula leaves over
    inverse: np.ndarray  # (n, n) of the runs' covariance
    jacobian: np.ndarray  # (n, 8)
    scale: np.ndarray  # (n,) size of the discrepancy at each run
    hyper: tuple[float, float, float]  # size, noise, fade
    centre: tuple[float, float]
    top: float  # log 6ND of the top run
    bound: float | None
    tokens: tuple[float, float]  # logs of the tokens between which the discrepancy may bend the curve
    bend: tuple[float, float] = (0.0, 0.0)  # (doubt about the slope, log of the most tokens), see _bend
    seed: float = 0.0  # relative sd over seeds, where measured: no interval claims less


@dataclasses.dataclass(frozen=True, eq=False)
class ScalingLaw:
    """A fitted law. The constants are those of the formula; loss() and predict() add the discrepancy to it."""

    form: str
    E: float
    A: float
    B: float
    alpha: float
    beta: float
    k: float
    a: float  # the best size for a compute C grows as C**a: along the curve as drawn, beta / (alpha + beta) where that cannot be read off
    repeats: Repeats | None
    intervals: dict[str, tuple[float, float]]
    top_flops: float
    n: int
    sizes: int
    notes: tuple[str, ...]
    size: float  # of the discrepancy, relative
    noise: float  # relative, of a single run
    stretch: float
    evidence: float  # log of it: how well these runs are explained; two fits to the same runs can be set against each other
    origin_errors: tuple[OriginError, ...] = dataclasses.field(repr=False)
    _fit: _Posterior = dataclasses.field(repr=False)

    def formula(self, params: Column, tokens: Column, unique_tokens: Column | None = None) -> np.ndarray:
        """The formula alone, without the discrepancy; broadcasts."""
        return np.exp(self._curve(*self._place(params, tokens, unique_tokens)))

    def loss(self, params: Column, tokens: Column, unique_tokens: Column | None = None) -> np.ndarray:
        """The middle forecast: formula and discrepancy; broadcasts. It does not rise with tokens: one could have stopped earlier."""
        place = self._place(params, tokens, unique_tokens)
        shape, (lN, lD, lU) = place[0].shape, (None if v is None else v.ravel() for v in place)
        here = self._raw(lN, lD, lU)
        pairs, which = np.unique(np.stack([lN, lN if lU is None else lU], 1), axis=0, return_inverse=True)
        which, steps = which.ravel(), np.linspace(*self._fit.tokens, 64)
        best = np.minimum.accumulate(self._raw(*np.broadcast_arrays(pairs[:, :1], steps), None if lU is None else pairs[:, 1:]), axis=1)
        after = np.searchsorted(steps, lD)  # the first step of at least so many tokens
        here = np.where(after < len(steps), np.maximum(here, best[which, np.minimum(after, len(steps) - 1)]), here)
        here = np.where(after > 0, np.minimum(here, best[which, np.maximum(after - 1, 0)]), here)
        return np.exp(here).reshape(shape)

    def predict(self, params: Column, tokens: Column, unique_tokens: Column | None = None, *, flops: Column | None = None) -> Prediction:
        """The 80% interval of the loss at a run's end, broadcast; unlike loss() it rises where repeats overfit.

        flops: as counted, where the law was fitted on such. Raises LadderTooShort beyond REACH times the top run's compute.
        """
        lN, lD, _ = self._place(params, tokens, None)
        asked = float(np.max(np.exp(lN + lD) * 6 if flops is None else np.asarray(flops, float), initial=0.0)) / self.top_flops
        if asked > REACH * 1.001:
            raise LadderTooShort(
                f"{asked:,.0f} times the compute of the largest run measured is too far to foretell",
                "law",
                f"ask for at most {REACH:.0f} times it, or measure larger runs first",
                self,
            )
        return self.interval(params, tokens, unique_tokens)

    def interval(self, params: Column, tokens: Column, unique_tokens: Column | None = None) -> Prediction:
        """As predict(), however far out: for drawing and for scoring, not for spending."""
        fit, place = self._fit, self._place(params, tokens, unique_tokens)
        cov, scale = self._covariance(*place)
        _, slope = _model(fit.theta[None], *(None if v is None else v.reshape(-1) for v in place), fit.centre, fit.bound)
        gain = cov.reshape(-1, len(fit.pull)) @ fit.inverse
        unsure = slope[0] - gain @ fit.jacobian
        var = scale.ravel() ** 2 - (gain * cov.reshape(gain.shape)).sum(1) + np.einsum("ri,ij,rj->r", unsure, fit.cov, unsure)
        bend = fit.bend[0] * np.maximum(place[1].ravel() - fit.bend[1], 0)
        var = np.maximum(self.stretch**2 * (np.maximum(var, 0) + fit.hyper[1] ** 2), fit.seed**2)
        half = Z80 * np.sqrt(var + bend**2).reshape(place[0].shape)
        middle = np.exp(self._raw(*place))
        return Prediction(middle * np.exp(-half), middle, middle * np.exp(half))

    def _place(self, params: Column, tokens: Column, unique_tokens: Column | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        lN, lD = np.broadcast_arrays(np.log(np.asarray(params, float)), np.log(np.asarray(tokens, float)))
        if unique_tokens is None or np.all(np.isnan(unique_tokens) | (unique_tokens >= np.asarray(tokens))):
            return lN, lD, None
        U = np.asarray(unique_tokens, float)  # a law that saw no repeats judges them by the published constants
        lN, lD, lU = np.broadcast_arrays(lN, lD, np.log(np.where(np.isnan(U), np.inf, U)))
        return lN, lD, np.minimum(lU, lD)

    def _raw(self, lN: np.ndarray, lD: np.ndarray, lU: np.ndarray | None) -> np.ndarray:
        return self._curve(lN, lD, lU) + self._covariance(lN, lD, lU)[0] @ self._fit.pull

    def _curve(self, lN: np.ndarray, lD: np.ndarray, lU: np.ndarray | None) -> np.ndarray:
        return _curve(self._fit.theta, *_worth(lN, lD, lU, self._fit.theta[6:], self._fit.centre)[:2], self._fit.bound)

    def _covariance(self, lN: np.ndarray, lD: np.ndarray, lU: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(..., n) covariance of the discrepancy here with the runs, and its own size here."""
        X, Y, Z = self._fit.at.T  # past the most tokens, and the most per parameter, that any run saw, it stays as it is there
        most = np.clip(lN + (Y - X).max(), Y.max(), Y.max() + 3)
        y, z = np.minimum(lD, most), _repeated(lD, lU)
        size, _, fade = self._fit.hyper
        scale = size * np.exp(fade * np.maximum(self._fit.top - lN - lD, 0))
        here = np.stack([lN, y, np.minimum(z, Z.max())], -1)
        return _kernel(here, self._fit.at, scale, self._fit.scale), np.hypot(scale, REPEATED * z)


# The formula and its slopes.


def _worth(lN, lD, lU, log_r, centre):
    """Centred logs of the parameters and tokens that N and D are worth when U of the D differ, and their slopes in log R_N and log R_D."""
    if lU is None:
        return lN - centre[0], lD - centre[1], 0.0, 0.0

    def saturate(log_all, log_fresh, r):  # log(U + U r (1 - exp(-R / r)))
        more = np.expm1(np.maximum(log_all - log_fresh, 0))
        left = np.exp(-more / r)
        worth = 1 + r * (1 - left)
        return log_fresh + np.log(worth), (r * (1 - left) - more * left) / worth

    y, dy = saturate(lD, lU, np.exp(log_r[..., 0]))
    x, dx = saturate(lN, np.minimum(lN, lU - math.log(TOKENS_PER_PARAM)), np.exp(log_r[..., 1]))
    return x - centre[0], y - centre[1], dx, dy


def _terms(theta, x, y):
    """(A / N**alpha, B / D**beta)"""
    return np.exp(np.clip(theta[1] - np.exp(theta[3]) * x, -60, 60)), np.exp(np.clip(theta[2] - np.exp(theta[4]) * y, -60, 60))


def _curve(theta, x, y, bound):
    """log loss for one theta (8,) at any shape of x, y; theta's entries may be arrays that broadcast."""
    u, v = _terms(theta, x, y)
    E, z = np.exp(theta[0]), (u + v) ** np.exp(theta[5])
    return np.log(E + (z if bound is None else z / (1 + z / np.maximum(bound - E, 1e-9))))


def _model(theta, lN, lD, lU, centre, bound):
    """log loss (P, n) and its Jacobian (P, n, 8), for P vectors of constants at once."""
    t = theta.T[:, :, None]  # (8, P, 1)
    x, y, dx, dy = _worth(lN, lD, lU, np.moveaxis(t[6:], 0, -1), centre)
    u, v = _terms(t, x, y)
    E, k = np.exp(t[0]), np.exp(t[5])
    log_term = np.log(u + v)
    z = np.exp(np.clip(k * log_term, -60, 60))
    share = 1.0 if bound is None else 1 / (1 + z / np.maximum(bound - E, 1e-9))
    loss = E + z * share
    dz = z * np.square(share) / loss
    du, dv = dz * k * u / (u + v), dz * k * v / (u + v)
    J = np.zeros((*loss.shape, 8))
    J[..., 0] = E / loss * (1 - (1 - share) ** 2)
    J[..., 1], J[..., 2] = du, dv
    J[..., 3], J[..., 4] = -du * np.exp(t[3]) * x, -dv * np.exp(t[4]) * y
    J[..., 5] = dz * k * log_term
    if lU is not None:
        J[..., 6], J[..., 7] = -dv * np.exp(t[4]) * dy, -du * np.exp(t[3]) * dx
    return np.log(loss), J


def _repeated(lD, lU):
    """How much was repeated, as the discrepancy sees it: 0 when all is fresh, 1 where R_D (e - 1) repeats are used up."""
    return np.zeros_like(lD) if lU is None else np.log1p(np.expm1(np.maximum(lD - lU, 0)) / R_D)


def _matern(r):
    return (1 + r + r * r / 3) * np.exp(-r)


def _kernel(here, at, scale_here, scale_at):
    """(..., m, n) covariance of the discrepancy between places here (m, 3) and at (n, 3) of these sizes (..., m), (..., n)."""
    x, y, z = np.moveaxis(here[..., None, :] - at, -1, 0)
    r = np.sqrt(5 * (np.square(x + y) + np.square(y - x) + np.square(2 * z))) / LENGTH
    return (scale_here[..., None] * scale_at[..., None, :] + REPEATED**2 * here[..., None, 2] * at[:, 2]) * _matern(r)


# The fit: one Levenberg-Marquardt for many problems at once (starts, or grid points of the discrepancy).


@dataclasses.dataclass(frozen=True, eq=False)
class _Runs:
    """The runs to fit, and the priors that go with them."""

    lN: np.ndarray
    lD: np.ndarray
    lU: np.ndarray | None
    ll: np.ndarray
    centre: tuple[float, float]
    at: np.ndarray
    beaten: np.ndarray  # (n,) log loss above the best run of no more compute
    mean: np.ndarray  # (8,) prior of theta, and its precision (8, 8)
    precision: np.ndarray
    free: np.ndarray  # (8,) which constants are fitted
    bound: float | None

    def model(self, theta):
        return _model(theta, self.lN, self.lD, self.lU, self.centre, self.bound)


def _beaten(lC, ll):
    return ll - np.array([ll[lC <= c + 0.01].min() for c in lC])


def _prepare(N, D, L, U, C, form: str, bound: float | None, r_n: float = R_N) -> _Runs:
    lN, lD, ll, lC, lU = np.log(N), np.log(D), np.log(L), np.log(C), None if U is None else np.log(U)
    x, y, *_ = _worth(lN, lD, lU, np.log([R_D, r_n]), (0.0, 0.0))
    centre = (float(x.mean()), float(y.mean()))
    low, k = math.exp(ll.min()), 1.0 if form == "chinchilla" else K
    half = math.log((math.exp(np.median(ll)) - SHARE_E * low) / 2)
    exponent = math.log(EXPONENT / k)
    mean = np.array([math.log(SHARE_E * low), half, half, exponent, exponent, math.log(k), math.log(R_D), math.log(r_n)])
    turn = np.eye(8)
    turn[3, 5] = turn[4, 5] = 1  # the prior is on alpha k and beta k, what the slopes are, not on alpha and beta
    sd = np.array([SHARE_SD, TERM_SD, TERM_SD, EXPONENT_SD, EXPONENT_SD, K_SD, REPEATS_SD, REPEATS_SD])
    free = np.array([True] * 5 + [form != "chinchilla", U is not None, U is not None and r_n < NEVER])
    at = np.stack([lN, lD, _repeated(lD, lU)], 1)
    return _Runs(lN, lD, lU, ll, centre, at, _beaten(lC, ll), mean, turn.T @ np.diag(sd**-2.0) @ turn, free, bound)


def _solve(runs: _Runs, theta, inverse, rounds: int):
    """Minimise half r' inverse r + half (theta - mean)' precision (theta - mean), r what the formula leaves over.

    theta (P, 8), inverse (P, n, n) or (1, n, n). Returns theta, costs (P,), r (P, n), Jacobian (P, n, 8).
    """
    theta, damp, diagonal = theta.copy(), np.full(len(theta), 1e-3), np.arange(8)

    def cost(f, t):
        r, d = f - runs.ll, t - runs.mean
        return 0.5 * (np.matmul(r[:, None], inverse)[:, 0] * r).sum(1) + 0.5 * (d @ runs.precision * d).sum(1)

    f, J = runs.model(theta)
    best = cost(f, theta)
    for _ in range(rounds):
        WJ = np.matmul(inverse, J)
        g = np.matmul((f - runs.ll)[:, None], WJ)[:, 0] + (theta - runs.mean) @ runs.precision
        H = (np.matmul(J.transpose(0, 2, 1), WJ) + runs.precision) * np.outer(runs.free, runs.free)
        H[:, diagonal, diagonal] += damp[:, None] * H[:, diagonal, diagonal] + 1e-9 + ~runs.free
        new = theta - np.clip(np.linalg.solve(H, (g * runs.free)[..., None])[..., 0], -1, 1)
        f_new, J_new = runs.model(new)
        c = cost(f_new, new)
        ok = c < best
        gain = np.where(ok, best - c, 0)
        theta, f, J = np.where(ok[:, None], new, theta), np.where(ok[:, None], f_new, f), np.where(ok[:, None, None], J_new, J)
        best, damp = np.where(ok, c, best), np.clip(np.where(ok, damp * 0.2, damp * 8), 1e-8, 1e8)
        if (gain < 1e-3).all() and (ok | (damp > 10)).all():
            break
    return theta, best, runs.ll - f, J


def _given(runs: _Runs, hyper, theta, rounds: int = 15):
    """The best constants for each row (size, noise, fade) of hyper (P, 3), from the start theta (P, 8).

    Solved twice: after the first, runs that their neighbours do not foretell get more noise.
    Returns theta, log evidence (P,), r, Jacobian, inverse covariance, scale, covariance of theta.
    """
    size, noise, fade = hyper.T[:, :, None]
    top = (runs.lN + runs.lD).max()
    scale = size * np.exp(fade * (top - runs.lN - runs.lD))
    kernel = _kernel(runs.at, runs.at, scale, scale)
    own = noise**2 + np.square(BEATEN * np.minimum(runs.beaten, BEATEN_MOST) * np.exp(-runs.at[:, 2]))
    diagonal = np.arange(len(runs.ll))

    def invert(variance):
        K = kernel.copy()
        K[:, diagonal, diagonal] += variance
        return np.linalg.inv(K)

    inverse, more = invert(own), 0.0
    theta, cost, r, J = _solve(runs, theta, inverse, rounds)
    pull = np.matmul(inverse, r[..., None])[..., 0]
    odd = np.maximum(1, pull**2 / np.einsum("pii->pi", inverse) / 4)
    if (odd > 1).any():
        inverse, more = invert(own * odd), 0.25 * np.log(odd).sum(1)  # the more noise has its price in evidence
        theta, cost, r, J = _solve(runs, theta, inverse, rounds)
    free = np.flatnonzero(runs.free)
    H = (np.matmul(J.transpose(0, 2, 1), np.matmul(inverse, J)) + runs.precision)[:, free][:, :, free]
    cov = np.zeros((len(theta), 8, 8))
    cov[:, free[:, None], free] = np.linalg.inv(H)
    if not runs.free[6]:
        cov[:, 6, 6] = cov[:, 7, 7] = REPEATS_SD**2
    evidence = 0.5 * (np.linalg.slogdet(inverse)[1] - np.linalg.slogdet(H)[1]) - cost - more
    evidence -= 0.5 * (np.log(size / SIZE) ** 2 + np.log(noise / NOISE) ** 2)[:, 0]
    return theta, evidence, r, J, inverse, scale, cov


def _starts(runs: _Runs) -> np.ndarray:
    """(24, 8): a coarse grid over E, the exponents and k; the two terms share what is left of the median loss."""
    low, mid, rows = math.exp(runs.ll.min()), math.exp(np.median(runs.ll)), []
    for share, (a, b), k in itertools.product((0.3, 0.6, 0.85), ((0.2, 0.2), (0.5, 0.5), (0.2, 0.5), (0.5, 0.2)), (0.35, 0.9)):
        k = k if runs.free[5] else 1.0
        half = math.log((mid - share * low) / 2) / k
        rows.append([math.log(share * low), half, half, math.log(a / k), math.log(b / k), math.log(k), *runs.mean[6:]])
    return np.array(rows)


def _posterior(runs: _Runs, hyper, theta) -> tuple[_Posterior, float]:
    """The fit under one (size, noise, fade), and its log evidence."""
    t, evidence, r, J, inverse, scale, cov = _given(runs, np.array([hyper]), theta[None])
    pull = inverse[0] @ r[0]
    span = (float(runs.lD.min()), float(runs.lD.max() + 3))
    top = float((runs.lN + runs.lD).max())
    made = _Posterior(t[0], cov[0], runs.at, pull, inverse[0], J[0], scale[0], tuple(hyper), runs.centre, top, runs.bound, span)
    return made, float(evidence[0])


def _choose(runs: _Runs, noise: float | None) -> tuple[_Posterior, float]:
    """Constants from a grid of starts, then size, noise and fade of the discrepancy as averages weighted by evidence."""
    noises = NOISES if noise is None else sorted({max(noise, v) for v in NOISES})
    grid = np.array(list(itertools.product(SIZES, noises, FADES)))
    first = np.array([[SIZE, max(noise or 0, NOISE), 0.0]])
    inverse = _given(runs, first, runs.mean[None], 0)[4]
    theta, cost, *_ = _solve(runs, _starts(runs), inverse, 25)
    theta, evidence, *_ = _given(runs, grid, np.repeat(theta[[cost.argmin()]], len(grid), 0))
    w = np.exp(TEMPER * (evidence - evidence.max()))
    w /= w.sum()
    hyper = (math.exp(w @ np.log(grid[:, 0])), math.exp(w @ np.log(grid[:, 1])), float(w @ grid[:, 2]))
    return _posterior(runs, hyper, theta[evidence.argmax()])


# From a posterior to a law: the interval's stretch, what a person should know.


def _law(made: _Posterior, form: str, flops: np.ndarray, sizes: int, repeats: bool, **more) -> ScalingLaw:
    """The posterior with its constants spelt out; `more` overrides the plain stretch, notes and errors."""
    t, p = made.theta, np.exp(made.theta)
    A, B = math.exp(t[1] + p[3] * made.centre[0]), math.exp(t[2] + p[4] * made.centre[1])
    E, alpha, beta, k, r_d, r_n = (float(p[i]) for i in (0, 3, 4, 5, 6, 7))
    plain = {"intervals": {}, "notes": (), "stretch": 1.0, "evidence": -math.inf, "origin_errors": (), "a": beta / (alpha + beta)}
    plain |= {"repeats": Repeats(r_d, r_n) if repeats else None, "size": made.hyper[0], "noise": made.hyper[1], "_fit": made}
    return ScalingLaw(form, E, A, B, alpha, beta, k, top_flops=float(flops.max()), n=len(flops), sizes=sizes, **(plain | more))


def _rolling(made: _Posterior, form: str, columns, bound: float | None) -> list[OriginError]:
    """Refit the cheapest part of the runs, foretell the rest; from the dearest origin back until four runs worth counting were foretold.

    "Worth counting": not beaten by a cheaper run by over 10%. Errors of the beaten ones say nothing of the frontier's: with them the
    correlation of a ladder's rolling error with what came true was -0.18 on 117 splits, without them and from the last origin 0.54.
    """
    N, D, L, U, C = columns
    lC, errors, before = np.log(C), [], len(N)
    beaten = _beaten(lC, np.log(L))
    for share in ORIGINS:
        m = lC <= lC.min() + share * np.ptp(lC) + 1e-9
        if m.sum() == before or m.sum() < MIN_POINTS or len(np.unique(N[m])) < MIN_SIZES:
            continue
        before = m.sum()
        runs = _prepare(N[m], D[m], L[m], None if U is None else U[m], C[m], form, bound, math.exp(made.theta[7]))
        theta = made.theta.copy()  # the same curve about another centre
        theta[1] -= math.exp(theta[3]) * (runs.centre[0] - made.centre[0])
        theta[2] -= math.exp(theta[4]) * (runs.centre[1] - made.centre[1])
        law = _law(_posterior(runs, made.hyper, theta)[0], form, C[m], 0, U is not None)
        said = law.interval(N[~m], D[~m], None if U is None else U[~m])
        error = np.log(L[~m] / said.p50)
        rows = zip(C[~m], error, error / np.log(said.p90 / said.p50) * Z80, beaten[~m], strict=True)
        errors += [OriginError(law.top_flops, *(float(v) for v in row)) for row in rows]
        if sum(e.beaten < 0.1 for e in errors) >= 4:
            break
    return errors


def _stretch(errors: list[OriginError], n: int) -> float:
    """sd that came true over sd foretold: the prior's, and from four runs on its geometric mean with this ladder's own (0.2 to 3)."""
    ratios = [abs(e.ratio) for e in errors if e.beaten < 0.1]
    prior = PRIOR_STRETCH * math.sqrt(1 + FEW / n)
    if not ratios:
        return prior
    own = min(3.0, max(0.2, float(np.median(ratios)) / 0.6745))
    trust = 0.5 * min(1.0, len(ratios) / 4)
    return prior ** (1 - trust) * own**trust


def _intervals(law: ScalingLaw) -> dict[str, tuple[float, float]]:
    """80%, of E, A, B, alpha, beta, k, a: from the posterior of their logarithms (a: of its logit, as far as the formula's own)."""
    t, cov, out = law._fit.theta, law._fit.cov, {}
    rows = np.eye(8)
    rows[1, 3], rows[2, 4] = law.alpha * law._fit.centre[0], law.beta * law._fit.centre[1]
    for name, row in zip(NAMES[:6], rows, strict=False):
        factor = math.exp(Z80 * law.stretch * math.sqrt(max(row @ cov @ row, 0)))
        out[name] = (getattr(law, name) / factor, getattr(law, name) * factor)
    own, logit = t[4] - t[3], math.log(law.a / (1 - law.a))
    half = max(Z80 * law.stretch * math.sqrt(max(cov[3, 3] + cov[4, 4] - 2 * cov[3, 4], 0)), abs(own - logit))
    out["a"] = (1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit)))
    return out


def _best_sizes(law: ScalingLaw, N: np.ndarray, D: np.ndarray) -> float:
    """a of N* ~ C**a: the slope of the best sizes for twelve computes across the ladder's, all fresh; the formula's where under six show.

    Porian et al. 2024 (arXiv:2406.19146) read theirs off the runs' own curves; the formula alone, with one pair of exponents, is 0.08 off.
    """
    C, sizes = np.geomspace((N * D).min(), (N * D).max(), 12), np.geomspace(N.min() / 2, 4 * N.max(), 481)
    best = law._raw(*np.broadcast_arrays(np.log(sizes), np.log(C)[:, None] - np.log(sizes)), None).argmin(1)
    inside = (best > 0) & (best < len(sizes) - 1)
    slope = np.polyfit(np.log(C[inside]), np.log(sizes[best[inside]]), 1)[0] if inside.sum() >= 6 else 0.0
    return float(slope) if 0.05 < slope < 0.95 else law.beta / (law.alpha + law.beta)


def _bend(N: np.ndarray, D: np.ndarray, L: np.ndarray, noise: float) -> tuple[float, float]:
    """(doubt about the slope in log tokens, log of the most tokens) where no flattening was seen, else (0, 0).

    Every form here flattens as tokens grow. Small models on small corpora may fall faster again after some tokens, and a fit to the runs
    before that errs by 6 to 10% in both directions. The doubt is a quarter of the last slope at the two largest sizes, and by how much it
    grew there; it is there too where no size has three lengths, so that nobody could have seen it flatten.
    """
    found, seen = [], False
    for size in np.unique(N)[::-1]:
        lengths = np.unique(D[size == N])
        lD, ll = np.log(lengths), np.array([np.log(L[(size == N) & (one == D)]).mean() for one in lengths])
        gaps, slopes = np.diff(lD), -np.diff(ll) / np.diff(lD)
        seen |= len(gaps) >= 2
        if size < np.unique(N)[-2:].min() or not len(gaps) or min(gaps[-2:]) < 0.25 or slopes[-1] < 4 * noise / gaps[-1]:
            continue
        if len(gaps) == 1 or slopes[-1] > 0.97 * slopes[-2]:
            found.append((len(gaps) > 1, slopes[-1] / 4 + max(slopes[-1] - slopes[-2:].min(), 0)))
    doubts = [doubt for bent, doubt in found if bent or not seen]
    return (float(np.mean(doubts)), float(np.log(D.max()))) if doubts else (0.0, 0.0)


def _notes(made: _Posterior, N: np.ndarray, D: np.ndarray, L: np.ndarray, runs: _Runs) -> tuple[str, ...]:
    """What a person should know about this fit."""
    notes, sd = [], np.sqrt(np.diag(made.cov))
    if sd[0] > 0.8 * SHARE_SD:
        notes.append("the floor E is not determined by these runs: its value is mostly the prior's")
    slopes = [math.sqrt(made.cov[i, i] + made.cov[5, 5] + 2 * made.cov[i, 5]) for i in (3, 4)]
    names = [name for name, s in zip(("alpha (size)", "beta (tokens)"), slopes, strict=True) if s > 0.8 * EXPONENT_SD]
    if names:
        notes.append(f"the exponent {' and '.join(names)} is not determined by these runs: vary that side more")
    worse = pairs = 0
    for i, j in itertools.combinations(np.argsort(N), 2):
        if N[j] > 1.2 * N[i] and abs(math.log(D[j] / D[i])) < 0.05:
            pairs, worse = pairs + 1, worse + (L[j] > L[i])
    if worse * 2 > pairs:
        notes.append(f"larger models are worse at equal tokens in {worse} of {pairs} pairs of runs: check learning rates and warm-up")
    if made.bend[0]:
        notes.append(
            "the largest models' loss does not flatten as tokens grow: it may fall faster than foretold, the interval is wider for it"
        )
    odd = int((runs.beaten > BEATEN_MOST).sum())
    if odd:
        notes.append(f"{odd} of {len(N)} runs are beaten by cheaper ones by over {BEATEN_MOST:.0%} and hardly count")
    return tuple(notes)


# What is called from outside.


def _check(params, tokens, loss, unique_tokens, flops):
    """The columns as arrays, or a DataError that names the row. A missing (NaN) unique_tokens or flops falls back to D and 6ND."""
    columns = []
    for name, values in zip(
        ("params", "tokens", "loss", "unique_tokens", "flops"), (params, tokens, loss, unique_tokens, flops), strict=True
    ):
        if values is None:
            columns.append(None)
            continue
        column = np.asarray(values, float).ravel()
        if columns and len(column) != len(columns[0]):
            raise DataError(
                f"{len(column)} values of {name} for {len(columns[0])} of params", "law", "give one value of each for every run"
            )
        optional = name in ("unique_tokens", "flops")
        bad = np.flatnonzero(~(np.isfinite(column) & (column > 0)) & ~(np.isnan(column) & optional))
        if len(bad):
            fix = "every count and every loss must be a number above zero; leave out runs that diverged"
            raise DataError(f"{name} is {column[bad[0]]:g} in run {bad[0] + 1}", "law", fix)
        columns.append(column)
    N, D, L, U, C = columns
    if not len(N):
        raise DataError("there are no runs", "law", "give the params, tokens and loss of at least six finished runs")
    if len(L) > 1 and np.ptp(L) <= 1e-9 * L.max():
        raise DataError(
            f"all {len(L)} losses are {L[0]:g}, from run 1 to run {len(L)}", "law", "runs of different sizes differ: check that column"
        )
    C = 6 * N * D if C is None else np.where(np.isnan(C), 6 * N * D, C)
    U = D if U is None else np.minimum(np.where(np.isnan(U), D, U), D)
    return N, D, L, U if (U < D).any() else None, C


def fit(
    params: Column,
    tokens: Column,
    loss: Column,
    unique_tokens: Column | None = None,
    *,
    flops: Column | None = None,
    entropy: float | None = None,
    noise: float | None = None,
    form: str | None = None,
    excess: bool = True,
) -> ScalingLaw:
    """Fit a ladder of R finished runs.

    params, tokens, loss: (R,), and unique_tokens where the training text repeats. flops: as counted, else 6ND; they order the runs.
    entropy: loss of a model that knows single tokens alone; with it the bounded form is tried too, and taken where it explains more.
    noise: relative sd of a loss over seeds, where measured: the least that an interval may claim. form: to force one.
    excess: whether a size beyond what U tokens feed is worth less too; False for models so small that a corpus is never too small for them.
    Raises LadderTooShort under six runs, three sizes or a factor 8 of compute (the rough law is on it as .law, or None under three
    runs), DataError for what cannot be a run.
    """
    columns = N, D, L, U, C = _check(params, tokens, loss, unique_tokens, flops)
    sizes, reach = len(np.unique(N)), float(C.max() / C.min())
    short = f"{len(N)} runs of {sizes} sizes over a factor {reach:.3g} of compute are too few to foretell from"
    fix = f"measure at least {MIN_POINTS} runs of {MIN_SIZES} sizes over a factor {MIN_REACH:.0f} of compute"
    if len(N) < 3:
        raise LadderTooShort(short, "law", fix)
    if form not in (None, "power", "chinchilla", "bounded") or (form == "bounded" and not (entropy and entropy > L.max())):
        raise DataError(f"the form {form} cannot be fitted", "law", "power, chinchilla, or bounded with an entropy above every loss")
    forms = [form] if form else ["power", "bounded"] if entropy and entropy > L.max() else ["power"]
    bounds = [entropy if name == "bounded" else None for name in forms]
    r_n = R_N if excess else NEVER
    fits = [(_choose(_prepare(*columns, name, bound, r_n), noise), name, bound) for name, bound in zip(forms, bounds, strict=True)]
    (made, evidence), name, bound = max(fits, key=lambda one: one[0][1])
    errors = _rolling(made, name, columns, bound)
    made = dataclasses.replace(made, bend=_bend(N, D, L, made.hyper[1]), seed=noise or 0.0)
    stretch = _stretch(errors, len(N))
    notes = _notes(made, N, D, L, _prepare(*columns, name, bound, r_n))
    law = _law(made, name, C, sizes, U is not None, stretch=stretch, evidence=evidence, origin_errors=tuple(errors), notes=notes)
    law = dataclasses.replace(law, a=_best_sizes(law, N, D))
    law = dataclasses.replace(law, intervals=_intervals(law))
    if len(N) < MIN_POINTS or sizes < MIN_SIZES or reach < MIN_REACH:
        raise LadderTooShort(short, "law", fix, law)
    return law


@dataclasses.dataclass(frozen=True)
class Score:
    """How a ladder's dear runs came out against a law of its cheap ones. Errors are relative to the truth, widths to the middle."""

    fitted: int
    predicted: int
    median_error: float
    p90_error: float
    coverage: float
    width: float
    points: list[dict]


def score(
    params: Column, tokens: Column, loss: Column, unique_tokens: Column | None = None, *, flops: Column | None = None, cut: float
) -> Score:
    """Fit the runs up to `cut` of the range of log compute, foretell the dearer ones.

    All dearer ones count, those beyond REACH too (their point says "beyond": True). Where the cheap part is too short, its rough law is
    scored. Raises DataError where a part is empty, LadderTooShort where not even a rough law can be had.
    """
    N, D, L, U, C = _check(params, tokens, loss, unique_tokens, flops)
    lC = np.log(C)
    cheap = lC <= lC.min() + cut * np.ptp(lC) + 1e-9
    if cheap.all() or not 0 < cut < 1:
        raise DataError(f"a cut at {cut:g} leaves no dearer run to foretell", "law", "cut between 0 and 1, for example 0.6")
    part = [[None if v is None else v[m] for v in (N, D, L, U, C)] for m in (cheap, ~cheap)]
    try:
        law = fit(*part[0][:4], flops=part[0][4])
    except LadderTooShort as short:
        if short.law is None:
            raise
        law = short.law
    N, D, truth, U, C = part[1]
    said = law.interval(N, D, U)
    error, beyond = np.abs(said.p50 / truth - 1), REACH * law.top_flops < C
    names = ("params", "tokens", "flops", "p10", "p50", "p90", "truth", "beyond")
    rows = zip(*(v.tolist() for v in (N, D, C, said.p10, said.p50, said.p90, truth, beyond)), strict=True)
    inside, width = (said.p10 <= truth) & (truth <= said.p90), (said.p90 - said.p10) / said.p50
    return Score(
        fitted=int(cheap.sum()),
        predicted=len(truth),
        median_error=float(np.median(error)),
        p90_error=float(np.quantile(error, 0.9)),
        coverage=float(inside.mean()),
        width=float(np.median(width)),
        points=[dict(zip(names, row, strict=True)) for row in rows],
    )


def refit_errors(law: ScalingLaw) -> np.ndarray:
    """(n,) relative error on each fitted run when it alone is left out, constants and discrepancy's size kept (in closed form)."""
    return np.abs(np.expm1(law._fit.pull / np.diag(law._fit.inverse)))
