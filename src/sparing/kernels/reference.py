"""Every operation of the decoder, written to be read.  numpy, in the precision of its inputs.

Tests hand in float64 to get the value that float32 code should come close to.
"""

import math

import numpy as np


def rms_norm(x_ND: np.ndarray, weight_D: np.ndarray, eps: float) -> np.ndarray:
    """Scale each row to unit root-mean-square, then by `weight_D`.

    y = x / sqrt(mean(x^2) + eps) * weight,  the mean over D.

    Shapes: x_ND, weight_D -> y_ND; any number of leading dimensions may stand for N.
    Source: Zhang & Sennrich 2019, arXiv:1910.07467.
    """
    mean_N1 = np.mean(np.square(x_ND), axis=-1, keepdims=True)
    return x_ND / np.sqrt(mean_N1 + eps) * weight_D


def layer_norm(
    x_ND: np.ndarray, weight_D: np.ndarray, bias_D: np.ndarray, eps: float
) -> np.ndarray:
    """Shift each row to mean 0 and scale it to variance 1, then by `weight_D`, then add `bias_D`.

    Shapes: x_ND, weight_D, bias_D -> y_ND.
    Source: Ba et al. 2016, arXiv:1607.06450.
    """
    centred_ND = x_ND - np.mean(x_ND, axis=-1, keepdims=True)
    variance_N1 = np.mean(np.square(centred_ND), axis=-1, keepdims=True)
    return centred_ND / np.sqrt(variance_N1 + eps) * weight_D + bias_D


def linear(x_ND: np.ndarray, weight_ZD: np.ndarray, bias_Z: np.ndarray | None = None) -> np.ndarray:
    """y = x W^T + bias.

    Shapes: x_ND, weight_ZD, bias_Z -> y_NZ.
    """
    y_NZ = x_ND @ weight_ZD.T
    return y_NZ if bias_Z is None else y_NZ + bias_Z


def rope(
    x_NHK: np.ndarray, position_N: np.ndarray, frequency_Y: np.ndarray, scale: float = 1.0
) -> np.ndarray:
    """Turn pair y of every head, (x[y], x[y + Y]), by position * frequency[y].

    Cosines and sines are multiplied by `scale`, which is 1 unless frequencies are stretched.

    Shapes: x_NHK, position_N, frequency_Y with Y = K / 2 -> y_NHK.
    Source: Su et al. 2021, arXiv:2104.09864; halves instead of neighbours form the pairs, as in
        Hugging Face folders.
    """
    angle_N1Y = (position_N[:, None] * frequency_Y)[:, None, :]
    cosine, sine = np.cos(angle_N1Y) * scale, np.sin(angle_N1Y) * scale
    a_NHY, b_NHY = np.split(x_NHK, 2, axis=-1)
    return np.concatenate((a_NHY * cosine - b_NHY * sine, b_NHY * cosine + a_NHY * sine), axis=-1)


def attention(
    q_THK: np.ndarray,
    k_SGK: np.ndarray,
    v_SGK: np.ndarray,
    *,
    position: int,
    scale: float | None = None,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0.0,
    slopes_H: np.ndarray | None = None,
    sinks_H: np.ndarray | None = None,
    bias_HTS: np.ndarray | None = None,
) -> np.ndarray:
    """Attention of T positions, the first of them `position`, over S positions.

    out[t, h] = sum_s softmax_s(cap(q[t, h] . k[s, g] * scale) + bias[h, t, s] - slope[h] |p - s|)
    v[s, g], where p = position + t, cap(x) = softcap * tanh(x / softcap), and g = h // R is the
    key-value head that R = H / G query heads share. Seen are s <= p where causal and, under a
    window, |p - s| < window. The logit sinks[h] joins the softmax's sum alone. A position that
    sees nothing gives zero. The scale is 1 / sqrt(K) unless given.

    Shapes: q_THK, k_SGK, v_SGK, slopes_H, sinks_H, bias_HTS -> out_THK.
    Source: Vaswani et al. 2017, arXiv:1706.03762; sharing: Ainslie et al. 2023, arXiv:2305.13245;
        slopes: Press et al. 2021, arXiv:2108.12409; sinks: Xiao et al. 2023, arXiv:2309.17453.
    """
    T, H, K = q_THK.shape
    S, G, _ = k_SGK.shape
    k_SHK, v_SHK = (np.repeat(x_SGK, H // G, axis=1) for x_SGK in (k_SGK, v_SGK))
    score_HTS = np.einsum("thk,shk->hts", q_THK, k_SHK)
    score_HTS = score_HTS * scale if scale else score_HTS / np.sqrt(K)
    if softcap:
        score_HTS = softcap * np.tanh(score_HTS / softcap)
    ahead_TS = np.arange(S) - (position + np.arange(T)[:, None])
    if bias_HTS is not None:
        score_HTS = score_HTS + bias_HTS
    if slopes_H is not None:
        score_HTS = score_HTS - slopes_H[:, None, None] * np.abs(ahead_TS)
    unseen_TS = (ahead_TS > 0) & causal | (np.abs(ahead_TS) >= (window or np.inf))
    score_HTS = np.where(unseen_TS, -np.inf, score_HTS)
    most_HT1 = score_HTS.max(axis=-1, keepdims=True)
    most_HT1 = np.where(np.isinf(most_HT1), 0.0, most_HT1).astype(score_HTS.dtype)
    weight_HTS = np.exp(score_HTS - most_HT1)
    sum_HT1 = weight_HTS.sum(axis=-1, keepdims=True)
    if sinks_H is not None:
        sum_HT1 = sum_HT1 + np.exp(sinks_H[:, None, None] - most_HT1)
    weight_HTS = np.divide(weight_HTS, sum_HT1, out=np.zeros_like(weight_HTS), where=sum_HT1 > 0)
    return np.einsum("hts,shk->thk", weight_HTS, v_SHK)


def swiglu(gate_NM: np.ndarray, up_NM: np.ndarray) -> np.ndarray:
    """silu(gate) * up, with silu(x) = x / (1 + exp(-x)).

    Source: Shazeer 2020, arXiv:2002.05202.
    """
    return gate_NM / (1.0 + np.exp(-gate_NM)) * up_NM


def activation(x: np.ndarray, kind: str) -> np.ndarray:
    """silu, gelu (the exact one), gelu_tanh, quick_gelu or relu of each element.

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415 (gelu and its approximation).
    """
    if kind == "silu":
        return x / (1.0 + np.exp(-x))
    if kind == "gelu":
        return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))
    if kind == "gelu_tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    if kind == "quick_gelu":
        return x / (1.0 + np.exp(-1.702 * x))
    return np.maximum(x, 0.0)
