"""Time and peak memory of the fused distillation loss against unfused ones and TRL's kernel.

Every measurement is one loss with its backward, forward KL, threshold 1.0, with gradients of the hidden
states and (unless --frozen-head) of the head, in a process of its own: the peak is what the process (or the
GPU) held at most, above what it held when the inputs were there. The contenders take turns within each
repeat, so that a busy machine slows all of them; ratios are taken within a repeat and printed as
median [lowest to highest]. The last line is one JSON object.

    python benchmarks/fused_kl.py                                          # the size of Qwen2.5-0.5B
    python benchmarks/fused_kl.py --tokens 32768 --only fused --repeats 1  # cost is linear in the tokens

    python benchmarks/fused_kl.py --states states.safetensors              # of a real model: hidden_states.py
    python benchmarks/fused_kl.py --chunk-size default 64 32               # what memory costs in time

Contenders: `naive` (full logits, F.linear, F.kl_div: the leanest plain torch we know), `unfused` (full
logits, this package's token_kl), `trl` (trl.kernels.chunked_divergence, clip applied outside), `trl_tiled` (the
same with tiles that are best here), `fused` (ours, exact), `tolerant` (ours with --tolerance), and `liger` where
liger-kernel is installed (`pip install --no-deps liger-kernel`; no clip: it gives no value per token). `floor` is no
loss: the four matrix products that an exact kernel cannot do without (two projections and the gradients of hidden
states and head) at the chunk size of `fused`, and nothing else. Errors are those of the gradients against `fused`.
With several chunk sizes these three stand once for each, as `fused@64`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import device

CONTENDERS = ("naive", "unfused", "trl", "trl_tiled", "liger", "fused", "tolerant", "floor")
OURS = ("fused", "tolerant")
CHUNKED = (*OURS, "floor")
MEASURES = {"memory": "peak_mib", "time": "seconds", "cpu_time": "cpu_seconds"}
ERRORS = ("error_hidden", "error_weight")
MIB = 1 << 20


def main() -> None:
    args = parse_arguments()
    if args.worker:
        print(json.dumps(measure(args)))
        return
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {vars(args)}")
    contenders = dict(named(args))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for repeat in range(args.repeats):
        for name in list(runs):
            result = run_worker(*contenders[name])
            if "skipped" in result:
                print(f"  {name}: {result['skipped']}")
                del runs[name]
                continue
            runs[name].append(result)
            print(
                f"  repeat {repeat} {name:12s} {result['seconds']:7.2f} s {result['cpu_seconds']:7.2f} CPU s "
                f"{result['peak_mib']:6.0f} MiB  loss {result['loss']:.7f}  |dW| {result['norm_weight']:.6e}  "
                f"|dh| {result['norm_hidden']:.6e}",
                flush=True,
            )
    print(json.dumps(summary(runs)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", help="file of hidden_states.py; else random states of the sizes below")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--vocabulary", type=int, default=151936)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    device.add_option(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--chunk-size",
        type=lambda text: None if text == "default" else int(text),
        nargs="+",
        default=[None],
        help="tokens of a chunk of the fused loss; default: its own",
    )
    parser.add_argument("--tolerance", type=float, default=0.02, help="of `tolerant`")
    parser.add_argument("--trl-token-chunk", type=int, default=256)
    parser.add_argument("--trl-vocabulary-chunk", type=int, default=1024, help="of trl_tiled")
    parser.add_argument("--frozen-head", action="store_true")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.states:
        read_sizes(args)
    return args


def read_sizes(args: argparse.Namespace) -> None:
    """The sizes of the file of states, in the place of those of random ones."""
    from safetensors import safe_open

    with safe_open(args.states, framework="pt") as file:
        (found, _), (args.vocabulary, args.hidden) = (file.get_slice(name).get_shape() for name in ("student", "head"))
    if args.tokens > found:
        raise SystemExit(f"{args.states} has states of {found} tokens, fewer than --tokens {args.tokens}; lower it.")


def named(args: argparse.Namespace) -> Iterator[tuple[str, tuple[str, int | None]]]:
    """What a line is called, with the contender and the chunk size that it is measured with."""
    for name in args.only:
        chunked = name in CHUNKED and len(args.chunk_size) > 1
        for size in args.chunk_size if chunked else args.chunk_size[:1]:
            yield f"{name}@{size or 'default'}" if chunked else name, (name, size)


def run_worker(name: str, chunk_size: int | None) -> dict[str, Any]:
    size = str(chunk_size or "default")
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", name, "--chunk-size", size]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"skipped": f"failed ({done.returncode}): {done.stderr.strip()[-300:]}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One contender: seconds, peak MiB above the inputs, and what it computed."""
    import torch

    torch.set_num_threads(args.threads)
    try:
        loss_of = contender(args)
    except ImportError as error:
        return {"skipped": f"not installed ({error})"}

    def inputs(tokens: int, vocabulary: int) -> tuple[Any, ...]:
        torch.manual_seed(0)
        kind = {"device": args.device, "dtype": getattr(torch, args.dtype)}
        if args.states:
            from safetensors.torch import load_file

            states = load_file(args.states)
            shape = (args.rows, tokens // args.rows, -1)
            # Copies, since safetensors maps its file: what is read only during the measurement would count as peak.
            student, teacher = (
                states[name][:tokens].reshape(shape).to(**kind, copy=True) for name in ("student", "teacher")
            )
            head = states["head"].to(**kind, copy=True)
        else:
            shape = (args.rows, tokens // args.rows, args.hidden)
            student = torch.randn(shape, **kind)
            # Close enough to the student that some, not all, of the tokens lie above the threshold.
            teacher = (student + 1.5 * torch.randn(shape, **kind)).detach()
            head = torch.empty(vocabulary, args.hidden, **kind).normal_(std=args.hidden**-0.5)
        return student.requires_grad_(), teacher, head.requires_grad_(not args.frozen_head)

    def once(values: tuple[Any, ...]) -> Any:
        loss = loss_of(*values)
        loss.backward()
        return loss.detach()

    once(inputs(args.rows * 8, 512))  # threads, libraries, kernels
    if args.device == device.CUDA:  # which loads a kernel when a size first asks for it
        once(inputs(args.tokens, args.vocabulary))
    values = inputs(args.tokens, args.vocabulary)
    before = device.reset_peak(args.device)
    start, cpu_start = device.now(args.device), time.process_time()
    loss = once(values)
    seconds, cpu_seconds = device.now(args.device) - start, time.process_time() - cpu_start
    peak = device.read_peak(args.device)
    student, _, head = values
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mib": (peak - before) / MIB,
        "loss": loss.item(),
        "norm_hidden": student.grad.double().norm().item(),
        "norm_weight": 0.0 if head.grad is None else head.grad.float().norm().item(),
        **(errors(args, values, inputs(args.tokens, args.vocabulary)) if args.worker == "tolerant" else {}),
    }


def errors(args: argparse.Namespace, found: tuple[Any, ...], exact: tuple[Any, ...]) -> dict[str, float]:
    """|gradient - exact gradient| / |exact gradient| of hidden states and head."""
    contender(argparse.Namespace(**{**vars(args), "worker": "fused"}))(*exact).backward()
    pairs = {"error_hidden": (found[0], exact[0]), "error_weight": (found[2], exact[2])}
    return {
        name: ((a.grad.float() - b.grad.float()).norm() / b.grad.float().norm()).item()
        for name, (a, b) in pairs.items()
        if b.grad is not None
    }


def contender(args: argparse.Namespace) -> Callable[..., Any]:
    """(student hidden, teacher hidden, head) -> loss. Only what is measured gets imported."""
    import torch
    import torch.nn.functional as F

    from sgpo.objectives import (
        Divergence,
        Head,
        Kernel,
        Rows,
        distillation_loss,
        fused_linear_distillation_loss,
        token_kl,
    )

    mask = torch.ones(args.rows, args.tokens // args.rows, dtype=torch.bool, device=args.device)
    weights = torch.full((args.rows,), 0.5, device=args.device)

    def from_kl(kl: Any) -> Any:
        return distillation_loss(kl, mask[:, : kl.shape[1]], weights, normalizer=args.rows)[0]

    def naive(student: Any, teacher: Any, head: Any) -> Any:
        log_p = F.log_softmax(F.linear(student, head).float(), dim=-1)
        with torch.no_grad():
            log_q = F.log_softmax(F.linear(teacher, head).float(), dim=-1)
        return from_kl(F.kl_div(log_p, log_q, log_target=True, reduction="none").sum(-1))

    def unfused(student: Any, teacher: Any, head: Any) -> Any:
        with torch.no_grad():
            teacher_logits = F.linear(teacher, head)
        return from_kl(token_kl(F.linear(student, head), teacher_logits))

    def fused(student: Any, teacher: Any, head: Any) -> Any:
        kernel = Kernel(args.chunk_size[0], args.tolerance if args.worker == "tolerant" else 0.0)
        rows = Rows(student, teacher, mask[:, : student.shape[1]], weights, args.rows)
        return fused_linear_distillation_loss(rows, Head(head), Divergence(), kernel).loss

    if args.worker in ("trl", "trl_tiled"):
        return trl_contender(args, from_kl)
    if args.worker == "liger":
        return liger_contender()
    return {"naive": naive, "unfused": unfused, "fused": fused, "tolerant": fused, "floor": floor(args)}[args.worker]


def floor(args: argparse.Namespace) -> Callable[..., Any]:
    """The four products alone, with what they read and write."""
    import torch

    from sgpo.objectives._fused_chunks import chunk_tokens

    def products(student: Any, teacher: Any, head: Any) -> Any:
        size = args.chunk_size[0] or chunk_tokens(head, torch.float32)
        with torch.no_grad():
            both = head.new_empty(2 * size, len(head))
            head.grad = torch.empty_like(head) if head.requires_grad else None
            student.grad = torch.empty_like(student)
            parts = (states.flatten(0, 1).split(size) for states in (student, teacher, student.grad))
            for i, (hidden, guided, gradient) in enumerate(zip(*parts, strict=True)):
                logits = torch.mm(torch.cat([hidden, guided]), head.t(), out=both[: 2 * len(hidden)])[: len(hidden)]
                torch.mm(logits, head, out=gradient)
                if head.requires_grad:
                    head.grad.addmm_(logits.t(), hidden, beta=1 if i else 0)
        return torch.zeros((), requires_grad=True)

    return products


def trl_contender(args: argparse.Namespace, from_kl: Callable[[Any], Any]) -> Callable[..., Any]:
    from trl.kernels import chunked_divergence

    chunked_divergence.TOKEN_CHUNK_SIZE = args.trl_token_chunk
    if args.worker == "trl_tiled":
        chunked_divergence.VOCAB_CHUNK_SIZE = args.trl_vocabulary_chunk

    def trl(student: Any, teacher: Any, head: Any) -> Any:
        kl, _ = chunked_divergence.ChunkedDivergenceFunction.apply(
            student.flatten(0, 1), head, None, teacher.flatten(0, 1), head.detach(), None, 0.0
        )
        return from_kl(kl.view(student.shape[:2]))

    return trl


def liger_contender() -> Callable[..., Any]:
    import torch
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss  # type: ignore[import-not-found]

    loss = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.0, compiled=False)

    def liger(student: Any, teacher: Any, head: Any) -> Any:
        labels = torch.zeros(student.shape[:2], dtype=torch.long, device=student.device).flatten()
        return loss(student.flatten(0, 1), head, teacher.flatten(0, 1), head.detach(), labels)

    return liger


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of each contender, and the ratios of our two losses to the others within each repeat."""
    report: dict[str, Any] = {
        name: {
            key: float(f"{statistics.median(r[key] for r in results):.4g}")
            for key in (*MEASURES.values(), *ERRORS)
            if key in results[0]
        }
        for name, results in runs.items()
        if results
    }
    for ours, other in itertools.product(list(report), list(report)):
        # One chunk size is compared with the rivals, and with what has the same size.
        (name, _, size), (rival, _, its_size) = ours.partition("@"), other.partition("@")
        if name not in OURS or ours == other or (rival in CHUNKED and size != its_size):
            continue
        for short, key in MEASURES.items():
            ratios = [a[key] / b[key] for a, b in zip(runs[ours], runs[other], strict=True)]
            median = statistics.median(ratios)
            report[ours][f"{short}_over_{other}"] = round(median, 4)
            print(f"{ours} / {other}: {short} {median:.3f} [{min(ratios):.3f} to {max(ratios):.3f}]")
    return report


if __name__ == "__main__":
    main()
