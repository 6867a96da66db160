"""The seam to TRL: it holds every private name that is used, and refuses a TRL that has changed one of them."""

import ast
import inspect
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trainer_kit as kit
import transformers
import trl
from trl import GRPOTrainer

import sgpo.trainer
from sgpo import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer, SGPOConfig, SGPOTrainer
from sgpo.trainer import trl_seam

FILES = sorted(Path(sgpo.trainer.__file__).parent.glob("*.py"))


@pytest.fixture(autouse=True)
def _looked_at_anew() -> Iterator[None]:
    trl_seam.check.cache_clear()
    yield
    trl_seam.check.cache_clear()


def test_the_installed_release_fits() -> None:
    assert trl_seam.faults() == []


# ---------------------------------------------------------------- the seam is whole


def test_every_overridden_name_is_in_the_seam() -> None:
    held = {contract.name.split(".")[-1] for contract in trl_seam.CONTRACTS}
    classes = {c for t in (SGPOTrainer, LUFFYTrainer, HPTTrainer) for c in t.__mro__ if "sgpo." in c.__module__}
    public = {"_tag_names", "_name"}  # of TRL's model cards, read with a default
    overridden = {n for c in classes for n in vars(c) if hasattr(GRPOTrainer, n) and not n.startswith("__")}
    assert overridden - held - public == set()


def test_every_private_attribute_that_trl_sets_is_in_the_seam() -> None:
    sources = inspect.getsource(trl.trainer.grpo_trainer) + inspect.getsource(transformers.trainer)
    theirs = set(re.findall(r"self\.(_\w+)(?: *:[^=\n]+)? =[^=]", sources))
    held = {name for names in trl_seam.ATTRIBUTES.values() for name in names.split()}
    used = {
        node.attr
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    assert (used & theirs) - held == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_the_seam_imports_what_trl_keeps_to_itself(path: Path) -> None:
    modules = [n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    assert path.name == "trl_seam.py" or [m for m in modules if m.startswith("trl.")] == []


def test_what_is_put_on_trls_object_has_one_name(tmp_path: Path) -> None:
    ours = kit.make_trainer(tmp_path)
    plain = kit.make_trainer(tmp_path, trainer_class=GRPOTrainer)
    assert vars(ours).keys() - vars(plain).keys() == {"_sgpo"}
    assert not hasattr(plain, "_sgpo")


@pytest.mark.parametrize("trainer_class", [SGPOTrainer, LUFFYTrainer, HPTTrainer])
def test_positional_arguments_stand_in_trls_order(trainer_class: Any) -> None:
    ours, theirs = (list(inspect.signature(each).parameters) for each in (trainer_class, GRPOTrainer))
    assert ours[:6] == theirs[:6]


def test_no_reward_function_is_trls_own_error(tmp_path: Path) -> None:
    for trainer_class in (SGPOTrainer, LUFFYTrainer, HPTTrainer):
        config = {SGPOTrainer: SGPOConfig, LUFFYTrainer: LUFFYConfig, HPTTrainer: HPTConfig}[trainer_class]
        with pytest.raises(ValueError, match="No reward source"):
            trainer_class(
                kit.make_model(),
                args=kit.make_config(tmp_path, config),
                train_dataset=kit.make_problems().add_column("expert", ["ok"] * 4),
                processing_class=kit.make_tokenizer(),
            )


# ---------------------------------------------------------------- what has changed is refused by its name


def of_a_release(patch: pytest.MonkeyPatch, method: Any) -> None:
    """Put a method into TRL as if it had been released so."""
    method.__module__ = "trl.trainer.grpo_trainer"
    patch.setattr(GRPOTrainer, method.__name__, method)


def renamed(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(GRPOTrainer, "_compute_loss")


def another_signature(patch: pytest.MonkeyPatch) -> None:
    def _calculate_rewards(self: Any, inputs: Any, prompts: Any, completions: Any, ids: Any, step: int) -> Any: ...

    of_a_release(patch, _calculate_rewards)


def parameter_gone(patch: pytest.MonkeyPatch) -> None:
    def _generate_single_turn(self: Any, prompt_ids: Any, images: Any, multimodal_fields: Any) -> Any:
        return prompt_ids, images

    of_a_release(patch, _generate_single_turn)


def batch_key_gone(patch: pytest.MonkeyPatch) -> None:
    def _compute_loss(self: Any, model: Any, inputs: Any) -> Any:
        return inputs["completion_mask"], {"advantage": "advantages"}, self._metrics["train"]["entropy"]

    of_a_release(patch, _compute_loss)


def one_more_value(patch: pytest.MonkeyPatch) -> None:
    def _tokenize_prompts(self: Any, prompts: list) -> Any:
        return prompts, None, {}, []

    of_a_release(patch, _tokenize_prompts)


def attribute_gone(patch: pytest.MonkeyPatch) -> None:
    source = inspect.getsource(trl.trainer.grpo_trainer)
    original = inspect.getsource
    changed = source.replace("self._buffered_inputs", "self._inputs")
    patch.setattr(inspect, "getsource", lambda of: changed if of is trl.trainer.grpo_trainer else original(of))


def helper_gone(patch: pytest.MonkeyPatch) -> None:
    patch.delattr("trl.trainer.utils.pad")


CHANGES: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    renamed: "trl.GRPOTrainer._compute_loss is missing",
    another_signature: "GRPOTrainer._calculate_rewards takes (inputs, prompts, completions, ids, step), not (inputs, ",
    parameter_gone: "GRPOTrainer._generate_single_turn has no parameter num_generations; it has (prompt_ids, images, ",
    batch_key_gone: "GRPOTrainer._compute_loss has no key 'advantages'",
    one_more_value: "GRPOTrainer._tokenize_prompts returns 4 values, not 3",
    attribute_gone: "trl.trainer.grpo_trainer sets no attribute _buffered_inputs",
    helper_gone: "trl.trainer.utils.pad is missing",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("version", ["1.16.0", "1.19.0"])
def test_a_change_is_refused_before_anything_is_loaded(
    change: Callable[[pytest.MonkeyPatch], None], version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trl, "__version__", version)
    with monkeypatch.context() as patch:
        change(patch)
        with pytest.raises(trl_seam.SeamError) as error:
            kit.make_trainer(tmp_path, model="no-such-model")
    said = str(error.value)
    assert CHANGES[change] in said
    assert f"TRL {version}" in said
    assert "pip install 'trl==1.16.*'" in said


def test_a_patch_of_the_user_is_no_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", lambda self, ids, *rest: (ids, None))
    assert trl_seam.faults() == []


def test_a_helper_that_is_gone_is_named_by_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    helper_gone(monkeypatch)
    with pytest.raises(ImportError, match=r"cannot train on TRL .*pad is missing"):
        runpy.run_path(trl_seam.__file__)


def test_an_untried_release_that_fits_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(trl, "__version__", "1.17.2")
    trl_seam.check()
    trl_seam.check()
    said = [str(w.message) for w in recwarn if "tried on TRL" in str(w.message)]
    assert len(said) == 1
    assert "this is TRL 1.17.2" in said[0]


def test_a_tried_release_is_not_warned_of(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    monkeypatch.setattr(trl, "__version__", "1.16.3")
    trl_seam.check()
    assert [str(w.message) for w in recwarn if "tried on TRL" in str(w.message)] == []
