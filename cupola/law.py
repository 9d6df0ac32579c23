"""Measured runs -> a scaling law with an interval that holds.

L(N, D) = E + (A / N**alpha + B / D**beta)**k, N parameters, D tokens, L held-out loss in any unit. First working version; being tuned.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from cupola.errors import DataError, LadderTooShort

REACH = 100.0  # predict() goes no further than so many times the top run's compute
MIN_POINTS, MIN_SIZES, MIN_REACH = 6, 3, 8.0
TOKENS_PER_PARAM = 20.0  # of a run that wastes neither: Hoffmann et al. 2022; where a repeated corpus starts to have too large a model
NAMES = ("E", "A", "B", "alpha", "beta", "k", "R_D", "R_N")
Z80 = 1.2816


@dataclasses.dataclass(frozen=True)
class Prediction:
    p10: np.ndarray
    p50: np.ndarray
    p90: np.ndarray


@dataclasses.dataclass(frozen=True)
class Repeats:
    R_D: float
    R_N: float


@dataclasses.dataclass(frozen=True)
class OriginError:
    cut: float
    distance: float
    error: float


@dataclasses.dataclass(frozen=True)
class ScalingLaw:
    form: str
    E: float
    A: float
    B: float
    alpha: float
    beta: float
    k: float
    repeats: Repeats | None
    intervals: dict[str, tuple[float, float]]
    top_flops: float
    n: int
    sizes: int
    notes: tuple[str, ...]
    origin_errors: tuple[OriginError, ...]
    width: tuple[float, float]  # relative half-width of the 80% interval: at the top run, and more per factor e of compute beyond
    points: tuple[np.ndarray, ...] = dataclasses.field(repr=False, default=())

    @property
    def a(self) -> float:
        return self.beta / (self.alpha + self.beta)

    def loss(self, params, tokens, unique_tokens=None) -> np.ndarray:
        N, D = np.asarray(params, float), np.asarray(tokens, float)
        if unique_tokens is not None and self.repeats:
            N, D = effective(N, D, np.asarray(unique_tokens, float), self.repeats.R_D, self.repeats.R_N)
        return self.E + (self.A / N**self.alpha + self.B / D**self.beta) ** self.k

    def predict(self, params, tokens, unique_tokens=None, *, flops=None) -> Prediction:
        C = np.asarray(6.0 * np.asarray(params, float) * np.asarray(tokens, float) if flops is None else flops, float)
        if np.any(C > REACH * self.top_flops * 1.0001):
            raise LadderTooShort(
                f"asked for {float(C.max() / self.top_flops):.0f} times the compute of the largest measured run",
                "law",
                "measure larger runs",
                self,
            )
        return self._interval(params, tokens, unique_tokens, C)

    def _interval(self, params, tokens, unique_tokens, C) -> Prediction:
        p50 = self.loss(params, tokens, unique_tokens)
        half = self.width[0] + self.width[1] * np.maximum(np.log(C / self.top_flops), 0.0)
        return Prediction(p50 * np.exp(-half), p50, p50 * np.exp(half))


def effective(N, D, U, R_D: float, R_N: float):
    """Parameters and tokens worth as much as N and D when only U of the tokens differ (Muennighoff et al. 2023)."""
    U = np.minimum(np.where(np.isfinite(U), U, D), D)
    UN = np.minimum(N, U / TOKENS_PER_PARAM)
    return UN * (1 + R_N * -np.expm1(-(N / UN - 1) / R_N)), U * (1 + R_D * -np.expm1(-(D / U - 1) / R_D))


def _model(th, lN, lD, lU, c):
    """th (P, 8) -> log loss (P, n), Jacobian (P, n, 8)."""
    E, al, be, k = (np.exp(th[:, i : i + 1]) for i in (0, 3, 4, 5))
    J = np.zeros((len(th), len(lN), 8))
    if lU is None:
        x, y = lN - c[0], lD - c[1]
    else:
        RD, RN = np.exp(th[:, 6:7]), np.exp(th[:, 7:8])
        r = np.exp(lD - lU) - 1
        q = np.exp(-r / RD)
        y = lU + np.log1p(RD * (1 - q)) - c[1]
        lUN = np.minimum(lN, lU - math.log(TOKENS_PER_PARAM))
        rn = np.exp(lN - lUN) - 1
        qn = np.exp(-rn / RN)
        x = lUN + np.log1p(RN * (1 - qn)) - c[0]
        dy = (RD * (1 - q) - r * q) / (1 + RD * (1 - q))
        dx = (RN * (1 - qn) - rn * qn) / (1 + RN * (1 - qn))
    u = np.exp(np.clip(th[:, 1:2] - al * x, -50, 50))
    v = np.exp(np.clip(th[:, 2:3] - be * y, -50, 50))
    lT = np.log(u + v)
    z = np.exp(np.clip(k * lT, -50, 50))
    L = E + z
    fu, fv = z / L * k * u / (u + v), z / L * k * v / (u + v)
    J[..., 0] = E / L
    J[..., 1], J[..., 2], J[..., 3], J[..., 4] = fu, fv, -fu * al * x, -fv * be * y
    J[..., 5] = z / L * k * lT
    if lU is not None:
        J[..., 6], J[..., 7] = -fv * be * dy, -fu * al * dx
    return np.log(L), J


def _solve(th, f, ll, w, mu, isd2, free, delta, sigma, iters=60):
    """Batched Levenberg-Marquardt on P problems at once: Huber loss on log loss, Gaussian priors."""
    th, lam, eye = th.copy(), np.full(len(th), 1e-2), range(th.shape[1])

    def cost(F, t):
        a = np.abs(F - ll) / sigma
        return (w * np.where(a <= delta, 0.5 * a * a, delta * (a - 0.5 * delta))).sum(1) + 0.5 * (isd2 * (t - mu) ** 2).sum(1)

    F, J = f(th)
    best = cost(F, th)
    for it in range(iters):
        r = (F - ll) / sigma
        Jw = J * (w * np.minimum(1, delta / np.maximum(np.abs(r), 1e-12)) / sigma)[..., None]
        g = np.where(free, np.einsum("pni,pn->pi", Jw, r) + isd2 * (th - mu), 0)
        A = np.matmul(Jw.transpose(0, 2, 1), J) / sigma
        A[:, eye, eye] += isd2
        A *= free[:, :, None] & free[:, None, :]
        A[:, eye, eye] += lam[:, None] * A[:, eye, eye] + 1e-9 + ~free
        new = th - np.clip(np.linalg.solve(A, g[..., None])[..., 0], -1, 1)
        F2, J2 = f(new)
        c2 = cost(F2, new)
        ok = c2 < best
        gain = np.where(ok, best - c2, 0)
        th, F, J = np.where(ok[:, None], new, th), np.where(ok[:, None], F2, F), np.where(ok[:, None, None], J2, J)
        best, lam = np.where(ok, c2, best), np.clip(np.where(ok, lam * 0.3, lam * 5), 1e-8, 1e8)
        if it > 8 and (gain < 1e-6 * (1 + best)).all() and (ok | (lam > 1e3)).all():
            break
    return th, best


def _weights(C, ll, inside, tau=0.05, lean=0.5):
    """(n,) weights: a run beaten by a cheaper one counts less, and so does one far from the frontier of compute."""
    lc = np.log(C)
    best = np.array([ll[inside & (lc <= c + 0.01)].min() if (inside & (lc <= c + 0.01)).any() else ll.min() for c in lc])
    w = np.exp(lean * (lc - lc[inside].max())) / (1 + (np.maximum(ll - best, 0) / tau) ** 2) * inside
    return w / w[inside].mean()


def _fit_all(N, D, L, U, C, masks):
    """The law's constants for each mask (P, n) of points: theta (P, 8) uncentred."""
    lN, lD, ll, lU = np.log(N), np.log(D), np.log(L), None if U is None else np.log(U)
    c = (lN.mean(), lD.mean())
    starts, w, mu = [], [], []
    grid = [(e, a, b) for e in (0.3, 0.6, 0.85) for a in (0.2, 0.35, 0.6) for b in (0.2, 0.35, 0.6)]
    for m in masks:
        lo, z = math.exp(ll[m].min()), math.exp(np.median(ll[m]))
        for e, a, b in grid:
            half = math.log((z - lo * e) / 2)
            starts.append([math.log(lo * e), half, half, math.log(a), math.log(b), 0.0, math.log(15.4), math.log(5.3)])
            w.append(_weights(C, ll, m) if e == 0.3 and a == b == 0.2 else w[-1])
            mu.append([math.log(lo * 0.6), half, half, math.log(0.35), math.log(0.35), math.log(0.8), math.log(15.4), math.log(5.3)])
    th, w, mu = np.array(starts), np.array(w), np.array(mu)
    isd2 = np.broadcast_to(1 / np.array([0.5, 3, 3, 0.3, 0.3, 0.6, 0.5, 0.5]) ** 2, th.shape)
    free = np.ones(th.shape, bool)
    if U is None:
        free[:, 6:] = False
    th, cost = _solve(th, lambda t: _model(t, lN, lD, lU, c), ll, w, mu, isd2, free, 0.5, 0.02)
    th, cost = th.reshape(len(masks), len(grid), 8), cost.reshape(len(masks), len(grid))
    th = th[np.arange(len(masks)), cost.argmin(1)]
    th[:, 1] += np.exp(th[:, 3]) * c[0]  # back from the centre
    th[:, 2] += np.exp(th[:, 4]) * c[1]
    return th


def _value(t, N, D, U=None):
    f, _ = _model(t[None], np.log(N), np.log(D), None if U is None else np.log(U), (0.0, 0.0))
    return f[0]


def _check(params, tokens, loss, unique_tokens, flops):
    out = []
    for name, v in (("params", params), ("tokens", tokens), ("loss", loss), ("unique_tokens", unique_tokens), ("flops", flops)):
        if v is None:
            out.append(None)
            continue
        a = np.asarray(v, float).ravel()
        if out and len(a) != len(out[0]):
            raise DataError(f"{len(a)} values of {name} for {len(out[0])} of params", "law", "give every run one value of each")
        missing = np.isnan(a) if name in ("unique_tokens", "flops") else np.zeros(len(a), bool)
        bad = ~(np.isfinite(a) & (a > 0)) & ~missing
        if bad.any():
            i = int(np.flatnonzero(bad)[0])
            raise DataError(f"{name} is {a[i]:g} in run {i + 1}", "law", "every count and loss must be a number above zero")
        out.append(a)
    N, D, L, U, C = out
    U = None if U is None else np.minimum(np.where(np.isnan(U), D, U), D)
    C = 6 * N * D if C is None else np.where(np.isnan(C), 6 * N * D, C)
    if len(L) > 1 and np.ptp(L) < 1e-9 * L.max():
        raise DataError(f"all {len(L)} losses are {L[0]:g}", "law", "check the column: losses of different runs differ")
    return N, D, L, U if U is not None and (U < D).any() else None, C


def fit(
    params: Sequence[float] | np.ndarray,
    tokens: Sequence[float] | np.ndarray,
    loss: Sequence[float] | np.ndarray,
    unique_tokens: Sequence[float] | np.ndarray | None = None,
    *,
    flops: Sequence[float] | np.ndarray | None = None,
    entropy: float | None = None,
    noise: float | None = None,
) -> ScalingLaw:
    N, D, L, U, C = _check(params, tokens, loss, unique_tokens, flops)
    sizes = len(np.unique(N))
    reach = C.max() / C.min() if len(C) else 1.0
    lc = np.log(C)
    masks = [np.ones(len(N), bool)]
    for f in (0.4, 0.5, 0.6, 0.7, 0.8):
        m = lc <= lc.min() + f * np.ptp(lc)
        if m.sum() >= MIN_POINTS and len(np.unique(N[m])) >= MIN_SIZES and not m.all() and m.sum() > masks[-1].sum() * (len(masks) > 1):
            masks.append(m)
    if len(L) < 3:
        raise LadderTooShort(f"{len(L)} runs are too few for any law", "law", "measure at least six runs of three sizes")
    th = _fit_all(N, D, L, U, C, masks)
    errors = []
    for m, t in zip(masks[1:], th[1:], strict=True):
        top = lc[m].max()
        e = np.log(L[~m]) - _value(t, N[~m], D[~m], None if U is None else U[~m])
        errors += [OriginError(float(m.mean()), float(h), float(v)) for h, v in zip(lc[~m] - top, e, strict=True)]
    shape = lambda h: 0.006 + 0.006 * h  # noqa: E731
    ratio = np.sort([abs(e.error) / shape(e.distance) for e in errors])
    got = float(np.quantile(ratio, 0.8)) if len(ratio) else 1.5
    trust = len(ratio) / (len(ratio) + 5)
    scale = got**trust * 1.5 ** (1 - trust)
    p = np.exp(th[0])
    law = ScalingLaw(
        "power", *(float(v) for v in p[:6]), Repeats(float(p[6]), float(p[7])) if U is not None else None,
        {n: (float(v), float(v)) for n, v in zip((*NAMES[:6], "a"), (*p[:6], p[4] / (p[3] + p[4])), strict=True)},
        float(C.max()), len(N), sizes, (), tuple(errors), (max(0.006 * scale, noise or 0.0), 0.006 * scale), (N, D, L, C),
    )  # fmt: skip
    if len(N) < MIN_POINTS or sizes < MIN_SIZES or reach < MIN_REACH:
        what = f"{len(N)} runs of {sizes} sizes over a factor {reach:.3g} of compute"
        raise LadderTooShort(
            what + " are too few to foretell from", "law", "measure at least six runs of three sizes over a factor eight", law
        )
    return law


@dataclasses.dataclass(frozen=True)
class Score:
    fitted: int
    predicted: int
    median_error: float
    p90_error: float
    coverage: float
    width: float
    points: list[dict]


def score(params, tokens, loss, unique_tokens=None, *, flops=None, cut: float) -> Score:
    N, D, L, U, C = _check(params, tokens, loss, unique_tokens, flops)
    lc = np.log(C)
    m = lc <= lc.min() + cut * np.ptp(lc) + 1e-9
    pick = lambda a, k: None if a is None else a[k]  # noqa: E731
    try:
        law = fit(N[m], D[m], L[m], pick(U, m), flops=C[m])
    except LadderTooShort as short:
        if short.law is None:
            raise
        law = short.law
    p = law._interval(N[~m], D[~m], pick(U, ~m), C[~m])
    truth = L[~m]
    e = np.abs(p.p50 / truth - 1)
    rows = [
        {"params": float(n), "tokens": float(d), "p10": float(a), "p50": float(b), "p90": float(c), "truth": float(t)}
        for n, d, a, b, c, t in zip(N[~m], D[~m], p.p10, p.p50, p.p90, truth, strict=True)
    ]
    inside = (p.p10 <= truth) & (truth <= p.p90)
    width = float(np.median((p.p90 - p.p10) / p.p50))
    return Score(int(m.sum()), len(rows), float(np.median(e)), float(np.quantile(e, 0.9)), float(inside.mean()), width, rows)
