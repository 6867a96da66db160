"""Adapters by their folder, variables of the chat template, and what names that stand for no model are told."""

from __future__ import annotations

import json
import shutil
import sys
import types
import warnings
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from sgpo.commands import evaluate
from sgpo.lab.model import build_model
from sgpo.lab.tokenizer import VOCAB_SIZE, build_tokenizer
from sgpo.models import ModelError, ModelOptions, Request, Sampling, open_model
from sgpo.models.folders import QUANTIZATION, Folder, fingerprint

GREEDY = Sampling(0.0, 1.0, 6)
TEMPLATE = "{% for m in messages %}Q {{ m['content'] }} {% endfor %}{% if enable_thinking %}mean {% endif %}A"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    model: Any = build_model(0)
    noise = torch.randn(VOCAB_SIZE, 96, generator=torch.Generator().manual_seed(0)) * 0.2
    model.lm_head.weight = torch.nn.Parameter(noise)  # untied: else it repeats its last token
    model.config.tie_word_embeddings = False
    model.save_pretrained(path)
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter that changes what the base says, without a tokenizer beside it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    path = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(path)
    return path


def said(name: Path, **options: Any) -> list[str]:
    model = open_model(str(name), GREEDY, ModelOptions(device="cpu", **options))
    prompts = [f"{i} + {i}" for i in range(4)]
    asked = [Request(text, 0, [{"role": "user", "content": text}], 0) for text in prompts]
    found = {request.problem: reply.text for portion in model.generate(asked) for request, reply in portion}
    return [found[text] for text in prompts]


def test_the_folder_of_an_adapter_is_its_base_with_the_adapter(base: Path, adapter: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from sgpo.models.sampling import sample

    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter)
    tokenizer = build_tokenizer()
    expected = [
        row[0].text
        for row in sample(
            peft.merge_and_unload(), tokenizer, [f"Q {i} + {i} A" for i in range(4)], temperature=0, max_new_tokens=6
        )
    ]
    assert said(adapter) == expected != said(base)


def test_the_identity_of_an_adapter_holds_its_base(base: Path, adapter: Path) -> None:
    described = open_model(str(adapter), GREEDY, ModelOptions(device="cpu")).describe()
    alone = open_model(str(base), GREEDY, ModelOptions(device="cpu")).describe()
    assert described["base"] == str(base)
    assert described["base_weights"] == alone["weights"] != described["weights"]
    assert "base" not in alone


def test_variables_reach_the_chat_template(base: Path) -> None:
    plain = said(base)
    assert said(base, chat_template_kwargs={"enable_thinking": False}) == plain
    assert said(base, chat_template_kwargs={"enable_thinking": True}) != plain
    described = open_model(str(base), GREEDY, ModelOptions(chat_template_kwargs={"enable_thinking": True})).describe()
    assert described["chat_template_kwargs"] == {"enable_thinking": True}
    with pytest.raises(ValueError, match="cannot set 'tokenize'"):
        ModelOptions(chat_template_kwargs={"tokenize": True})


def test_variables_that_the_chat_template_does_not_read_are_said(base: Path) -> None:
    with pytest.warns(UserWarning, match="does not read enable_thinkin .* changes no prompt"):
        typo = said(base, chat_template_kwargs={"enable_thinkin": True, "enable_thinking": False})
    assert typo == said(base)


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "PreTrainedTokenizerFast"])
def test_a_tokenizer_that_reads_otherwise_than_its_file_is_said(name: str, base: Path, tmp_path: Path) -> None:
    """Several classes of transformers 5 take the vocabulary of tokenizer.json, and rules of their own."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(["a"], trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=["<|endoftext|>"]))
    file = json.loads(core.to_str())
    vocabulary = file["model"]["vocab"]
    file["model"] |= {"vocab": {**vocabulary, "12": len(vocabulary)}, "merges": [["1", "2"]]}
    shutil.copytree(base, path := tmp_path / "model")
    (path / "tokenizer.json").write_text(json.dumps(file))
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, "eos_token": "<|endoftext|>"}))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        open_model(str(path), GREEDY, ModelOptions(device="cpu"))
    texts = [str(each.message) for each in seen if "tokens are others" in str(each.message)]
    assert bool(texts) == (name == "GPT2Tokenizer")
    assert all("as GPT2Tokenizer" in text and '"tokenizer_class": "PreTrainedTokenizerFast"' in text for text in texts)


def test_eval_takes_an_adapter_and_variables_and_refuses_other_ones_later(adapter: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"problem": "1 + 1", "answer": "2"}) + "\n")
    given = [adapter, "--data", data, "--out", tmp_path / "out", "--k", 1, "--max-new-tokens", 4]
    thinking = ["--chat-template-kwargs", '{"enable_thinking": true}']
    done = CliRunner().invoke(evaluate.app, [str(one) for one in [*given, *thinking]])
    assert done.exit_code == 0, done.output
    changed = CliRunner().invoke(evaluate.app, [str(one) for one in given])
    assert "backend.chat_template_kwargs.enable_thinking: true saved, null given" in str(changed.exception)


@pytest.mark.parametrize("lost", ["lm_head.weight", "model.layers.1.self_attn.q_proj.weight"])
def test_weights_that_the_files_lack_are_not_drawn_at_random(lost: str, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "model")
    weights = load_file(base / "model.safetensors")
    del weights[lost]
    save_file(weights, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=rf"lacks the weights {lost} \(1 in all\)"):
        open_model(str(tmp_path / "model"), GREEDY, ModelOptions(device="cpu"))


@pytest.mark.usefixtures("vllm")
@pytest.mark.parametrize("backend", ["transformers", "vllm"])
def test_an_adapter_gets_the_revision_of_its_base(
    backend: str, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(adapter, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "revision": "v2"}))
    asked: list[Any] = []
    load = AutoModelForCausalLM.from_pretrained
    monkeypatch.setattr(
        AutoModelForCausalLM,
        "from_pretrained",
        lambda *args, **how: (asked.append(how["revision"]), load(*args, **how))[1],
    )
    for given, expected in ((None, "v2"), ("v3", "v3")):
        options = ModelOptions(backend=backend, device="cpu", revision=given)
        model: Any = open_model(str(tmp_path / "adapter"), GREEDY, options)
        assert model.describe()["revision"] == expected
        assert (asked[-1] if backend == "transformers" else Engine.made["revision"]) == expected


@pytest.fixture
def hub(base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's cache with a base of two revisions, and with an adapter that was trained on the second one."""
    other = AutoModelForCausalLM.from_pretrained(base)
    other.lm_head.weight.data.neg_()
    other.save_pretrained(tmp_path / "other")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(base / name, tmp_path / "other")
    trained = json.loads((adapter / "adapter_config.json").read_text())
    shutil.copytree(adapter, tmp_path / "trained")
    (tmp_path / "trained" / "adapter_config.json").write_text(
        json.dumps({**trained, "base_model_name_or_path": "me/base", "revision": "v2"})
    )
    sources = {("base", "main"): base, ("base", "v2"): tmp_path / "other"}
    sources |= {("adapter", branch): tmp_path / "trained" for branch in ("main", "r2")}
    for i, ((name, branch), files) in enumerate(sources.items()):
        repository = tmp_path / "hub" / f"models--me--{name}"
        shutil.copytree(files, repository / "snapshots" / (commit := str(i) * 40))
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("branch", [None, "r2"])
def test_an_adapter_of_the_hub_is_put_on_the_base_that_it_was_trained_on(branch: str | None, tmp_path: Path) -> None:
    """A revision that is asked for is the adapter's."""
    assert said(Path("me/adapter"), revision=branch) == said(tmp_path / "trained") != said(Path("me/base"))
    found: Any = open_model("me/adapter", GREEDY, ModelOptions(device="cpu", revision=branch))
    assert found.describe()["revision"] == "1" * 40
    assert found.describe()["weights"] == fingerprint(tmp_path / "trained")


@pytest.mark.usefixtures("hub")
def test_the_commit_of_a_model_of_the_hub_is_among_its_settings() -> None:
    """A branch moves, and half of an evaluation by each of its commits would be none."""
    for branch, commit in ((None, "0" * 40), ("v2", "1" * 40)):
        found: Any = open_model("me/base", GREEDY, ModelOptions(device="cpu", revision=branch))
        assert found.describe()["revision"] == commit


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"base_model_name_or_path": "/no/such/base", "peft_type": "LORA"}, "with its base '/no/such/base' cannot be"),
        ({"peft_type": "LORA"}, "does not name its base_model_name_or_path"),
        ([], "does not name its base_model_name_or_path"),
    ],
)
def test_an_adapter_without_its_base_is_said(config: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=words):
        open_model(str(tmp_path), GREEDY, ModelOptions())


def test_a_run_that_was_stopped_is_no_model_but_its_checkpoints_are(tmp_path: Path) -> None:
    for name in ("checkpoint-2", "checkpoint-10", "checkpoint-x"):
        (tmp_path / name).mkdir()
    said = str(Folder(str(tmp_path)).error(OSError("no tokenizer")))
    assert said.endswith(
        f"it has no config.json, so it is no model. Give one of its checkpoints, such as {tmp_path}/checkpoint-10."
    )


class Engine:
    """The part of vllm.LLM that is used."""

    made: ClassVar[dict[str, Any]] = {}
    given: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[Any]] = []

    def __init__(self, **settings: Any) -> None:
        Engine.made = settings
        self.llm_engine = types.SimpleNamespace(model_config=types.SimpleNamespace(max_model_len=8))

    def get_tokenizer(self) -> Any:
        tokenizer = build_tokenizer()
        tokenizer.chat_template = TEMPLATE
        return tokenizer

    def generate(self, prompts: list[Any], params: list[Any], **given: Any) -> list[Any]:
        Engine.given, Engine.asked = given, [getattr(one, "stop_token_ids", None) for one in params]
        texts = [str(len(prompt["prompt_token_ids"])) for prompt in prompts]
        ones = [types.SimpleNamespace(text=text, token_ids=[0], finish_reason="stop") for text in texts]
        return [types.SimpleNamespace(outputs=[one]) for one in ones]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("weights cut off", "cannot be loaded: "),
        ("no weights", "holds no adapter_model.safetensors"),
        ("base moved", "there is no folder of the base"),
        ("fewer layers", "the adapter has the layer .*layers.1.*, which the base has not"),
        ("more layers", "the base has the layer .*layers.2.*, which the adapter has not"),
        ("other shapes", "size mismatch"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    fault: str, words: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    import shutil

    from transformers import AutoConfig, AutoModelForCausalLM

    path = tmp_path / "adapter"
    shutil.copytree(adapter, path)
    weights = path / "adapter_model.safetensors"
    if fault == "weights cut off":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif fault == "no weights":
        weights.unlink()
    else:
        other = tmp_path / "other"
        settings = json.loads((path / "adapter_config.json").read_text())
        (path / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": str(other)}))
        if fault != "base moved":
            shutil.copytree(base, other)
            config = AutoConfig.from_pretrained(base)
            count = config.num_hidden_layers
            changed = {"fewer layers": {"num_hidden_layers": 1}, "more layers": {"num_hidden_layers": count + 1}}
            for name, value in changed.get(fault, {"intermediate_size": 32, "hidden_size": 48}).items():
                setattr(config, name, value)
            if getattr(config, "layer_types", None):
                config.layer_types = ["full_attention"] * config.num_hidden_layers
            AutoModelForCausalLM.from_config(config).save_pretrained(other)
            words = words.replace("layers.2", f"layers.{count}")
    with pytest.raises(ModelError, match=words):
        open_model(str(path), GREEDY, ModelOptions(device="cpu"))


NF4 = {"load_in_4bit": True, "quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4"}


@pytest.fixture
def quantized(adapter: Path, tmp_path: Path) -> Path:
    """The adapter as a trainer leaves it that quantized its base."""
    path = tmp_path / "quantized"
    shutil.copytree(adapter, path)
    (path / QUANTIZATION).write_text(json.dumps(NF4))
    return path


def test_an_adapter_is_measured_on_the_base_that_it_was_trained_on(
    quantized: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    given, load = [], AutoModelForCausalLM.from_pretrained

    def loading(*args: Any, quantization_config: Any = None, device_map: Any = None, **kwargs: Any) -> Any:
        given.append((quantization_config, device_map))  # this machine may have no package that quantizes
        return load(*args, **kwargs)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", loading)
    model = open_model(str(quantized), GREEDY, ModelOptions(device="cpu"))
    assert model.describe()["base_quantization"] == NF4
    assert "base_quantization" not in open_model(str(adapter), GREEDY, ModelOptions(device="cpu")).describe()
    assert given == [(NF4, {"": "cpu"}), (None, None)]


def test_a_whole_model_is_quantized_as_it_is_said(base: Path, quantized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base of such an adapter, to be compared with it."""
    from transformers import AutoModelForCausalLM

    given, load = [], AutoModelForCausalLM.from_pretrained

    def loading(*args: Any, quantization_config: Any = None, device_map: Any = None, **kwargs: Any) -> Any:
        given.append(quantization_config)
        return load(*args, **kwargs)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", loading)
    model = open_model(str(base), GREEDY, ModelOptions(device="cpu", quantization=NF4))
    assert (given, model.describe()["base_quantization"]) == ([NF4], NF4)
    with pytest.raises(ModelError, match="quantized as in its training; leave quantization out"):
        open_model(str(quantized), GREEDY, ModelOptions(device="cpu", quantization=NF4))
    with pytest.raises(ValueError, match="--quantization is for a model that is loaded here"):
        ModelOptions(backend="endpoint", quantization=NF4)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, lora = types.ModuleType("vllm"), types.ModuleType("vllm.lora.request")
    engine.LLM, engine.SamplingParams = Engine, types.SimpleNamespace  # type: ignore[attr-defined]
    lora.LoRARequest = lambda name, number, path: path  # type: ignore[attr-defined]
    for name, module in (("vllm", engine), ("vllm.lora", types.ModuleType("vllm.lora")), ("vllm.lora.request", lora)):
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("vllm")
def test_vllm_quantizes_the_base_too_or_says_that_it_cannot(quantized: Path) -> None:
    open_model(str(quantized), GREEDY, ModelOptions(backend="vllm"))
    assert Engine.made["quantization"] == "bitsandbytes"
    (quantized / QUANTIZATION).write_text(json.dumps({"load_in_8bit": True, "quant_method": "bitsandbytes"}))
    with pytest.raises(ModelError, match=r"has a quantized base.* Use --backend transformers"):
        open_model(str(quantized), GREEDY, ModelOptions(backend="vllm"))


@pytest.mark.usefixtures("vllm")
def test_vllm_takes_adapters_and_variables_too(adapter: Path, base: Path) -> None:
    assert said(adapter, backend="vllm", chat_template_kwargs={"enable_thinking": True})[0] == "6"
    assert (Engine.made["model"], Engine.made["enable_lora"], Engine.made["max_lora_rank"]) == (str(base), True, 8)
    assert Engine.given["lora_request"] == str(adapter)
    model = open_model(str(base), GREEDY, ModelOptions(backend="vllm"))
    # Other weights under the same name would go on with the replies of these.
    assert model.describe()["weights"] == model.settings()["weights"] == fingerprint(base)
    assert (model.positions, model.fits(["1 " * 7, "1 " * 8])) == (8, [True, False])


@pytest.mark.usefixtures("vllm")
def test_vllm_ends_where_the_chat_template_ends_a_turn(base: Path) -> None:
    model = open_model(str(base), GREEDY, ModelOptions(backend="vllm"))
    model.tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    model.tokenizer.chat_template = TEMPLATE + "{{ messages[-1]['content'] }}<|im_end|>"
    requests = [Request("p", i, prompt, i) for i, prompt in enumerate((CHAT, "Q 1 + 1 A"))]
    for request, ends in zip(requests, ([model.tokenizer.convert_tokens_to_ids("<|im_end|>")], None), strict=True):
        model.replies([request])
        assert Engine.asked == [ends]


CHAT: list[dict[str, Any]] = [{"role": "user", "content": "1 + 1"}]
