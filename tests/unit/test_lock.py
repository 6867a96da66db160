"""requirements.lock agrees with constraints.txt and pyproject.toml; it has hashes and no address of an index."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OF_THE_MACHINE = {"torch"}  # which of its builds fits depends on the machine


def entries() -> dict[str, tuple[Requirement, list[str]]]:
    """Each package of the lock: its requirement, and the lines with its hashes."""
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line.startswith(("#", " ")):
            if not line.startswith("#"):
                next(reversed(found.values()))[1].append(line.strip(" \\"))
            continue
        requirement = Requirement(line.removesuffix(" \\"))
        found[canonicalize_name(requirement.name)] = (requirement, [])
    return found


def wanted() -> dict[str, Requirement]:
    """The requirements of the package and of its extra dev, which names other extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(text) for text in [*project["dependencies"], *extras["dev"]]]
    asked += [
        Requirement(text) for own in asked if own.name == "sgpo" for extra in own.extras for text in extras[extra]
    ]
    return {canonicalize_name(each.name): each for each in asked if each.name != "sgpo"}


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    known = {canonicalize_name(name): f"=={version}" for name, version in pinned.items()}
    for name, (requirement, _) in entries().items():
        # What constraints.txt has not is of another system or interpreter than the one on which it was made.
        assert known.get(name, str(requirement.specifier)) == str(requirement.specifier), f"{name}: run make lock"
        assert name in known or requirement.marker is not None, f"{name} is not in constraints.txt"


def test_the_lock_holds_what_the_package_asks_for() -> None:
    locked = entries()
    for name, requirement in wanted().items():
        if name not in OF_THE_MACHINE:
            assert name in locked, f"{name}: run make lock"
            (version,) = locked[name][0].specifier
            assert requirement.specifier.contains(version.version), f"{name}: run make lock"
    assert not OF_THE_MACHINE & set(locked)


def test_every_package_of_the_lock_has_hashes_and_no_address() -> None:
    assert len(entries()) > 100
    for name, (_, hashes) in entries().items():
        assert hashes, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), name
    assert not re.search(r"://|--index|--find-links", (ROOT / "requirements.lock").read_text())
