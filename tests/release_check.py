"""Is this tree fit to be released? ``make release-check``: builds wheel and sdist, and uses them as a stranger would.

It needs a package index, and minutes: torch is installed into a clean environment. Checked are the metadata, what is in
the wheel, the import without any extra, every command's --help, and the commands of README.md, of which those that need
neither a network nor a GPU are run.

    python tests/release_check.py                       # all of it, with this interpreter
    python tests/release_check.py --python python3.13 --light    # without torch: what starts without it
    python tests/release_check.py --python python3.13 --uv uv    # by uv, in seconds for minutes of pip
"""

from __future__ import annotations

import argparse
import email
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIGHT = ("typer", "rich", "pydantic", "jinja2", "psutil")  # what the command line itself imports
# What is run of the kinds of commands in README.md, without a network or a GPU; {run} is a folder. The commands
# themselves are compared with their --help.
RUN = (
    "sgpo --version",
    "sgpo plan --config recipes/qwen2.5-1.5b-lora-1gpu.yaml --hardware h100",
    "sgpo train --config recipes/lab.yaml --learning_rate 8e-4 --max_steps 1 --output_dir {run}",
    "sgpo report {run}",
)
WITHOUT_EXTRAS = ("peft", "vllm", "matplotlib", "pytest")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the clean environment")
    parser.add_argument("--light", action="store_true", help="leave torch out, and what needs it")
    parser.add_argument("--uv", metavar="UV", help="install with this uv in place of pip")
    options = parser.parse_args()
    os.environ.pop("PYTHONPATH", None)  # the tree's own source must not be seen
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(prefix="sgpo-release-") as folder:
        work = Path(folder)
        wheel = build(work, options.uv)
        check_wheel(wheel)
        clean = install(work, wheel, options.python, light=options.light, uv=options.uv)
        check_help(clean)
        if not options.light:
            check_without_extras(clean)
            run_readme(clean, work)
    print("All well.")
    return 0


def build(work: Path, uv: str | None) -> Path:
    """The wheel, made from the sdist, so that the sdist is known to be whole; twine judges both."""
    tools = environment(work / "tools", sys.executable, uv)
    pip(tools, uv, "install", "--quiet", "build[uv]" if uv else "build", "twine")
    by = ["--installer", "uv"] if uv else []
    say("build", tools, "build", *by, "--outdir", str(work / "dist"), str(ROOT))
    made = sorted((work / "dist").iterdir())
    say("metadata", tools, "twine", "check", "--strict", *map(str, made))
    return next(path for path in made if path.suffix == ".whl")


def check_wheel(wheel: Path) -> None:
    """Extras, Python and files of the wheel are those of the tree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        text = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    metadata = email.message_from_string(text)
    assert metadata["Requires-Python"] == project["requires-python"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    for extra, wanted in project["optional-dependencies"].items():
        held = [line for line in metadata.get_all("Requires-Dist", []) if f'extra == "{extra}"' in line]
        assert len(held) == len(wanted), (extra, held, wanted)
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    missing = [name for name in tracked.split() if name.removeprefix("src/") not in names]
    assert not missing, f"not in the wheel: {missing}"
    extras = ", ".join(sorted(project["optional-dependencies"]))
    print(f"wheel: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB, extras {extras}")


def install(work: Path, wheel: Path, python: str, *, light: bool, uv: str | None) -> Path:
    """The interpreter of a new environment that has the wheel and no extra."""
    began = time.monotonic()
    clean = environment(work / "clean", python, uv)
    if light:
        pip(clean, uv, "install", "--quiet", *LIGHT)
        pip(clean, uv, "install", "--quiet", "--no-deps", str(wheel))
        say("compile", clean, "compileall", "-q", str(clean.parents[1] / "lib"))
    else:
        pip(clean, uv, "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel))
        pip(clean, uv, "check")
    print(f"installed with {python} by {'pip' if uv is None else 'uv'} in {time.monotonic() - began:.0f} s")
    return clean


def check_help(clean: Path) -> None:
    """Every command of README.md is there, with the options that stand behind it."""
    found = list(readme_commands())
    assert found, "README.md has no command of sgpo"
    for words in found:
        names = [word.split("=")[0] for word in words if word.startswith("--")]
        command = [word for word in words[1:3] if re.fullmatch(r"[a-z]+", word)]
        said = ""
        for depth in range(len(command), -1, -1):  # the second word may be an argument
            done = sgpo(clean, *command[:depth], "--help", check=False)
            if done.returncode == 0:
                said = done.stdout
                break
        # A recipe's fields beyond those of the short help are train's own parser's to judge.
        lacking = [name for name in names if name not in said and name[2:] not in said]
        assert not lacking, f"README.md: {shlex.join(words)}: {lacking} is not among its options"
    print(f"README.md: {len(found)} commands, all with their options")


def check_without_extras(clean: Path) -> None:
    """Every module imports in an environment without extras, but for those that are an extra's own."""
    code = (
        "import importlib, importlib.util, pkgutil, sgpo\n"
        f"there = [name for name in {WITHOUT_EXTRAS!r} if importlib.util.find_spec(name)]\n"
        "assert not there, f'the environment is not clean: {there}'\n"
        "names = [m.name for m in pkgutil.walk_packages(sgpo.__path__, 'sgpo.') if not m.name.endswith('__main__')]\n"
        "failed = []\n"
        "for name in names:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ImportError as error:\n"
        f"        if error.name is None or error.name.split('.')[0] not in {WITHOUT_EXTRAS!r}: raise\n"
        "        failed.append(name)\n"
        "print(f'{len(names)} modules import without extras, but for {failed}')\n"
    )
    subprocess.run([clean, "-c", code], check=True, cwd=clean.parent)


def run_readme(clean: Path, work: Path) -> None:
    """Run those of README's commands that need neither a network nor a GPU, on a copy of the recipes."""
    for command in RUN:
        words = shlex.split(command.format(run=work / "run"))
        began = time.monotonic()
        sgpo(clean, *words[1:])
        print(f"{time.monotonic() - began:5.0f} s  {command}")


def readme_commands() -> Iterator[list[str]]:
    """The words of each ``sgpo`` command in the shell blocks of README.md."""
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL):
        for line in block.splitlines():
            if line.startswith("sgpo "):
                yield shlex.split(line, comments=True)


def environment(folder: Path, python: str, uv: str | None = None) -> Path:
    """The interpreter of a new virtual environment."""
    made_by = [python, "-m", "venv"] if uv is None else [uv, "venv", "--quiet", "--python", python]
    subprocess.run([*made_by, str(folder)], check=True)
    return folder / "bin" / "python"


def pip(python: Path, uv: str | None, verb: str, *words: str) -> None:
    """``pip VERB`` in the environment of an interpreter, by pip itself or by uv."""
    if uv is None:
        say("install", python, "pip", verb, *words)
    else:
        run("install", [uv, "pip", verb, "--python", str(python), *words])


def sgpo(clean: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the installed command, in the tree's folder for its recipes."""
    command = [str(clean.with_name("sgpo")), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"sgpo {shlex.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def say(what: str, python: Path, module: str, *words: str) -> None:
    """Run a module of an environment, see :func:`run`."""
    run(what, [str(python), "-m", module, *words])


def run(what: str, command: Sequence[str]) -> None:
    """Run a command, naming the step; its output is shown where it fails."""
    print(f"{what}: {shlex.join(command)}"[:160], flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
