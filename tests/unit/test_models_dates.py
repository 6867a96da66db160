"""A chat template that prints today's date prints the same one every day, wherever prompts are rendered."""

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import trainer_kit as kit
from datasets import Dataset
from transformers import Qwen2ForSequenceClassification

from sgpo.models.dates import TEMPLATE_DATE, fix_date
from sgpo.models.local import LocalModel
from sgpo.models.options import LocalOptions
from sgpo.models.protocol import Sampling
from sgpo.models.sampling import encode
from sgpo.trainer.methods import KINDS

# As Llama 3's.
DATED = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{{ date_string }} " + kit.CHAT
)
ASKED = [{"role": "user", "content": "solve a"}]
SHOWN = "26 Jul 2024 "


def dated() -> Any:
    tokenizer = kit.make_tokenizer()
    tokenizer.add_tokens(["26", "Jul", "2024"])
    tokenizer.chat_template = DATED
    return tokenizer


def test_today_is_one_day_and_a_variable_goes_before_it() -> None:
    tokenizer = dated()
    assert not tokenizer.apply_chat_template(ASKED, tokenize=False).startswith(SHOWN)
    with pytest.warns(UserWarning, match="always prints 26 Jul 2024"):
        fix_date(tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fix_date(tokenizer)  # once
    for one in (tokenizer, copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert one.apply_chat_template(ASKED, tokenize=False).startswith(SHOWN)
        assert one.apply_chat_template(ASKED, tokenize=False, date_string="today").startswith("today ")
        assert one.decode(encode(one, [ASKED])[0]).startswith(SHOWN)


@pytest.mark.filterwarnings("ignore:The chat template prints")
@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d %B %Y", "%A, %-d %b %y", "%B %d, %Y"])
@pytest.mark.parametrize("before", ["", "\n", "   {% if true %}x{% endif %}", "{{ bos_token }}\n"])
def test_the_rest_of_the_template_is_as_it_was(form: str, before: str) -> None:
    tokenizer = dated()
    tokenizer.chat_template = f"{before}{TEMPLATE_DATE:{form}} {kit.CHAT}"
    plain = tokenizer.apply_chat_template(ASKED, tokenize=False)
    tokenizer.chat_template = f"{before}{{{{ strftime_now('{form}') }}}} {kit.CHAT}"
    fix_date(tokenizer)
    assert tokenizer.apply_chat_template(ASKED, tokenize=False) == plain


def test_a_template_without_a_date_is_left_alone() -> None:
    tokenizer = kit.make_tokenizer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fix_date(tokenizer)
    assert "apply_chat_template" not in vars(tokenizer)


@pytest.mark.filterwarnings("ignore:The chat template prints")
def test_an_evaluation_says_the_date_and_what_is_saved_asks_for_it(tmp_path: Path) -> None:
    tokenizer = dated()
    model = kit.make_model()
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    engine = LocalModel.load(str(tmp_path), Sampling(0.0, 1.0, 4), LocalOptions(device="cpu"))
    assert engine.describe()["template_date"] == engine.settings()["template_date"] == TEMPLATE_DATE.isoformat()
    shown = engine.tokenizer.decode(engine.prompt_ids([ASKED])[0])
    assert shown.replace(" ", "").startswith("26Jul2024")
    engine.tokenizer.save_pretrained(tmp_path / "again")
    assert "strftime_now" in (tmp_path / "again" / "chat_template.jinja").read_text()


@pytest.mark.filterwarnings("ignore:The chat template prints")
def test_a_reward_model_is_asked_on_that_date(tmp_path: Path) -> None:
    config = kit.make_model(num_labels=1).config
    judge, tokenizer = Qwen2ForSequenceClassification(config), dated()
    data = Dataset.from_dict({"prompt": [ASKED] * 4, "strategy": ["carry"] * 4})
    trainer = kit.SGPOTrainer(
        model=kit.make_model(),
        reward_funcs=judge,
        args=kit.make_config(tmp_path),
        train_dataset=data,
        processing_class=kit.make_tokenizer(),
        reward_processing_classes=tokenizer,
    )
    assert trainer.reward_processing_classes[0].apply_chat_template(ASKED, tokenize=False).startswith(SHOWN)


@pytest.mark.filterwarnings("ignore:The chat template prints")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_trainer_renders_that_date(kind: str, tmp_path: Path) -> None:
    tokenizer, method = dated(), KINDS[kind]
    model = kit.make_model()
    model.resize_token_embeddings(len(tokenizer))
    rows: dict[str, Any] = {"prompt": [ASKED] * 4, "strategy": ["carry"] * 4, "expert": [" ok"] * 4}
    if kind == "sft":
        config = method.config(str(tmp_path), use_cpu=True, report_to=[])
    else:
        config = kit.make_config(tmp_path, method.config)
    more = {} if kind == "sft" else {"reward_funcs": kit.has_ok}
    trainer = method.trainer(
        model=model, args=config, train_dataset=Dataset.from_dict(rows), processing_class=tokenizer, **more
    )
    if kind == "sft":
        prompts = [row["input_ids"] for row in trainer.train_dataset]
    else:
        prompts = trainer._tokenize_prompts([ASKED])[0]
    assert {tokenizer.decode(list(ids)[:3]) for ids in prompts} == {SHOWN.strip()}
