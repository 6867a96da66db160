"""The equations of arXiv 2606.24064 as slow plain Python: floats, lists and loops; no torch, nothing of sgpo.

Gradients are derived by hand and written out, not differentiated. With s, t the student's and the teacher's
probabilities at temperature 1/k, d log s_u / d z_v = k ([u = v] - s_v), so that

    forward  KL = sum_u t_u (log t_u - log s_u)      d KL / d z_v = k (s_v - t_v)
    reverse  KL = sum_u s_u (log s_u - log t_u)      d KL / d z_v = k s_v (log s_v - log t_v - KL)
"""

import math

Vector = list[float]
Matrix = list[Vector]


def log_probabilities(logits: Vector, temperature: float) -> Vector:
    scaled = [z / temperature for z in logits]
    top = max(scaled)
    log_sum = top + math.log(sum(math.exp(z - top) for z in scaled))
    return [z - log_sum for z in scaled]


def kl_and_gradient(student: Vector, teacher: Vector, direction: str, temperature: float) -> tuple[float, Vector]:
    """KL of one token and its gradient with respect to the student's logits."""
    log_s, log_t = log_probabilities(student, temperature), log_probabilities(teacher, temperature)
    s, t = [math.exp(x) for x in log_s], [math.exp(x) for x in log_t]
    kl, gradient = 0.0, []
    if direction == "forward":
        for v in range(len(s)):
            kl += t[v] * (log_t[v] - log_s[v])
        for v in range(len(s)):
            gradient.append((s[v] - t[v]) / temperature)
    else:
        for v in range(len(s)):
            kl += s[v] * (log_s[v] - log_t[v])
        for v in range(len(s)):
            gradient.append(s[v] * (log_s[v] - log_t[v] - kl) / temperature)
    return kl, gradient


def target_logits(student: Vector, teacher: Vector, temperature: float, sharpen: float, mix: float) -> Vector:
    """Logits of the target, at `temperature`: p^(1/sharpen) and then its geometric mixture with s, each from the
    probabilities themselves. (A constant: the student's part in it gets no gradient.)"""
    p = [math.exp(x) ** (1 / sharpen) for x in log_probabilities(teacher, temperature)]
    p = [x / sum(p) for x in p]
    s = [math.exp(x) for x in log_probabilities(student, temperature)]
    return [temperature * math.log(a ** (1 - mix) * b**mix) for a, b in zip(p, s, strict=True)]


def clip(kl: float, threshold: float | None, form: str) -> tuple[float, float]:
    """The clipped KL of a token, and what its gradient is multiplied by."""
    if threshold is None or kl <= threshold:
        return kl, 1.0
    return threshold, (0.0 if form == "hard" else threshold / kl)


def loss_and_gradient(
    student: list[Matrix],
    teacher: list[Matrix],
    mask: list[list[bool]],
    weights: Vector,
    normalizer: float,
    direction: str = "forward",
    temperature: float = 1.0,
    threshold: float | None = 1.0,
    form: str = "rescale",
    sharpen: float = 1.0,
    mix: float = 0.0,
) -> tuple[float, list[Matrix], dict[str, float]]:
    """Loss, its gradient with respect to the student's logits [N][T][V], and the sums that are logged."""
    loss = 0.0
    gradient = [[[0.0 for _ in token] for token in row] for row in student]
    sums = {"kl_sum": 0.0, "kl_clipped_sum": 0.0, "clipped_tokens": 0.0, "tokens": 0.0, "rows": 0.0}
    for n in range(len(student)):
        length = sum(mask[n])
        if length == 0 or weights[n] == 0:
            continue
        sums["rows"] += 1
        for t in range(len(student[n])):
            if not mask[n][t]:
                continue
            target = target_logits(student[n][t], teacher[n][t], temperature, sharpen, mix)
            kl, token_gradient = kl_and_gradient(student[n][t], target, direction, temperature)
            clipped, scale = clip(kl, threshold, form)
            share = weights[n] / length / normalizer
            loss += share * clipped
            for v in range(len(token_gradient)):
                gradient[n][t][v] = share * scale * token_gradient[v]
            sums["kl_sum"] += kl
            sums["kl_clipped_sum"] += clipped
            sums["clipped_tokens"] += kl > clipped
            sums["tokens"] += 1
    return loss, gradient, sums


def head(hidden: list[Matrix], weight: Matrix, bias: Vector, scale: float, softcap: float | None) -> list[Matrix]:
    """Logits [N][T][V] of hidden states [N][T][H]."""
    logits = []
    for row in hidden:
        logits.append([])
        for h in row:
            token = []
            for v in range(len(weight)):
                y = scale * (sum(weight[v][i] * h[i] for i in range(len(h))) + bias[v])
                token.append(y if softcap is None else softcap * math.tanh(y / softcap))
            logits[-1].append(token)
    return logits


def head_gradients(
    logits_gradient: list[Matrix],
    logits: list[Matrix],
    hidden: list[Matrix],
    weight: Matrix,
    scale: float,
    softcap: float | None,
) -> tuple[list[Matrix], Matrix, Vector]:
    """Gradients of hidden, weight and bias from that of the logits. d (c tanh(y/c)) / dy = 1 - (logit / c)^2."""
    d_hidden = [[[0.0 for _ in h] for h in row] for row in hidden]
    d_weight = [[0.0 for _ in entry] for entry in weight]
    d_bias = [0.0 for _ in weight]
    for n in range(len(hidden)):
        for t in range(len(hidden[n])):
            for v in range(len(weight)):
                slope = 1.0 if softcap is None else 1.0 - (logits[n][t][v] / softcap) ** 2
                d = logits_gradient[n][t][v] * slope * scale
                d_bias[v] += d
                for i in range(len(hidden[n][t])):
                    d_hidden[n][t][i] += d * weight[v][i]
                    d_weight[v][i] += d * hidden[n][t][i]
    return d_hidden, d_weight, d_bias


def trimmed(logps: Vector, drop: float) -> float:
    """Mean of the log-probabilities of a response without the lowest, `drop` of them, rounded down."""
    if not logps:
        return 0.0
    kept = sorted(logps)[math.floor(len(logps) * drop) :]
    return sum(kept) / len(kept)


def select(logps: Matrix, correct: list[list[bool]], lengths: list[list[int]], mode: str) -> list[int]:
    """Index of the likeliest correct response of each problem, -1 without one; the first of equals."""
    chosen = []
    for b in range(len(logps)):
        best, best_score = -1, None
        for g in range(len(logps[b])):
            if not correct[b][g] or lengths[b][g] == 0:
                continue
            score = logps[b][g] / lengths[b][g] if mode == "mean" else logps[b][g]
            if not math.isfinite(score):
                score = -math.inf
            if best_score is None or score > best_score:
                best, best_score = g, score
        chosen.append(best)
    return chosen


def alpha(p: float, guided: float, form: str, alpha_0: float, gamma: float, alpha_max: float) -> float:
    if math.isnan(guided):
        return 0.0
    value = {"relative_gap": alpha_0 * (guided - p) / (p + gamma), "gap": alpha_0 * (guided - p), "constant": alpha_0}
    value |= {"all_wrong": alpha_0 if p == 0 else 0.0, "deviation": alpha_0 * (p - p * p) ** 0.5}
    assert form in value, f"the form {form!r} is not here yet: write it into `alpha`, in plain numbers"
    return min(max(value[form], 0.0), alpha_max)


def guiding(p: float, expected: float, rollouts: int, floor: float, form: str, **constants: float) -> float:
    """The probability with which a problem is guided."""
    largest = max(alpha(k / rollouts, 1.0, form, **constants) for k in range(rollouts + 1))
    if alpha(p, 1.0, form, **constants) == 0:
        return 0.0
    return max(floor, min(1.0, alpha(p, expected, form, **constants) / largest))
