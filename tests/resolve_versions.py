"""Do the constraint files, and the floors of pyproject.toml, still resolve? Run by hand: it asks the package index.

uv reads metadata alone: nothing is downloaded or installed. With --write the GPU file is made anew, from the newest
releases that fit together; check it on a GPU before it is committed. With --lock, ``make lock``, the versions of
constraints.txt are written into requirements.lock with the hashes of their files.

    pip install uv
    python tests/resolve_versions.py            # every supported Python, both files and the floors
    python tests/resolve_versions.py --write    # constraints-gpu.txt anew
    python tests/resolve_versions.py --lock     # requirements.lock anew
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")  # the GPU file is made for the first, and must do for all
GPU_EXTRAS = "dev,vllm"
SETS = (
    ("constraints.txt", "dev", ("--constraints", "constraints.txt")),
    ("constraints-gpu.txt", GPU_EXTRAS, ("--constraints", "constraints-gpu.txt")),
    ("the floors", "dev", ("--resolution", "lowest-direct")),
)
SHOWN = ("torch", "transformers", "trl", "vllm", "peft", "numpy", "huggingface-hub")
HEADER = """\
# Versions for a Linux machine with NVIDIA GPUs, vLLM included; how to install them: docs/install.md.
# Made and checked by tests/resolve_versions.py. vLLM holds torch, transformers and numpy where they are.
"""
LOCK_HEADER = """\
# The versions of constraints.txt with the hashes of their files, for every system; to install them: docs/install.md.
# Made by `make lock`. Which build of torch fits depends on the machine, so torch is not here, nor what it alone needs.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make constraints-gpu.txt anew")
    parser.add_argument("--lock", action="store_true", help="make requirements.lock anew")
    options = parser.parse_args()
    if options.lock:
        lock()
        return 0
    if options.write:
        versions = resolve(PYTHONS[0], GPU_EXTRAS)
        # vLLM asks for another setuptools under each Python, so none is held.
        versions = [version for version in versions if not version.startswith("setuptools==")]
        (ROOT / "constraints-gpu.txt").write_text(HEADER + "\n".join(versions) + "\n")
    failed = False
    for name, extras, options in SETS:
        for python in PYTHONS:
            try:
                versions = resolve(python, extras, *options)
            except subprocess.CalledProcessError as error:
                print(f"{name}, Python {python}: no set of versions fits\n{error.stderr}")
                failed = True
                continue
            known = dict(version.split("==") for version in versions if "==" in version)
            shown = ", ".join(f"{package} {known[package]}" for package in SHOWN if package in known)
            print(f"{name}, Python {python}: {len(versions)} packages; {shown}")
    return int(failed)


def lock() -> None:
    """Write requirements.lock: exact versions with hashes, and no address of an index, which may differ by user."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as left_out:
        left_out.write("torch\n")
        left_out.flush()
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "pyproject.toml", "--extra", "dev"]
        command += ["--constraints", "constraints.txt", "--excludes", left_out.name, "--generate-hashes"]
        command += ["--universal", "--python-version", PYTHONS[0], "--no-python-downloads"]
        command += ["--no-emit-index-url", "--no-header", "--no-annotate"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    (ROOT / "requirements.lock").write_text(LOCK_HEADER + done.stdout)


def resolve(python: str, extras: str, *options: str) -> list[str]:
    """The versions, as `name==version`, that pyproject.toml with `extras` gets on Linux under one Python."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "pyproject.toml"]
    command += [option for extra in extras.split(",") for option in ("--extra", extra)]
    command += ["--only-binary", ":all:", "--python-version", python, "--python-platform", "x86_64-manylinux_2_35"]
    command += ["--no-header", "--no-annotate", "--no-python-downloads"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line and not line.startswith(("#", " "))]


if __name__ == "__main__":
    sys.exit(main())
