"""Sampling: the distribution, the random streams, and what is left as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import trainer_kit
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper

from sgpo.data.prompts import guided_prompt
from sgpo.evaluation import evaluate
from sgpo.lab.model import build_model
from sgpo.lab.tokenizer import VOCAB_SIZE, build_tokenizer
from sgpo.models import Reply, Sampling, row_seeds, sampling
from sgpo.models.sampling import InverseSampler, draw_tokens, sample

torch.set_num_threads(1)
PROMPTS = ["Q 10 ; plus 23 ? A", "Q 3 ; double ; mean 5 ? A", "Q 9 ; minus 4 ? A", "1"]


@pytest.fixture(scope="module")
def model() -> Any:
    net = build_model(0)
    noise = torch.randn(VOCAB_SIZE, 96, generator=torch.Generator().manual_seed(0))
    net.lm_head.weight = torch.nn.Parameter(noise * 0.2)  # untied: else the model repeats its last token
    return net


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 0.95), (2.0, 0.5), (1.0, 1e-6)])
def test_draws_follow_the_warped_distribution(temperature: float, top_p: float) -> None:
    n = 4000
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)) * 3
    draws = (torch.arange(n, dtype=torch.float64) + 0.5) / n  # evenly spread: frequencies are exact to 1 / n
    tokens = draw_tokens(logits.expand(n, -1), draws, temperature, top_p)
    frequencies = torch.bincount(tokens, minlength=50) / n
    warped = TemperatureLogitsWarper(temperature)(None, logits) if temperature != 1 else logits
    if top_p < 1:
        warped = TopPLogitsWarper(top_p)(None, warped)
    assert (frequencies - warped.softmax(-1)[0]).abs().max() < 1.5 / n


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_token_of_probability_zero_is_never_drawn(top_p: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf, -torch.inf]] * 3)
    tokens = draw_tokens(logits, torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64), 1.0, top_p)
    assert set(tokens.tolist()) <= {1, 2}


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 8.0])
def test_a_nucleus_among_candidates_is_that_of_a_full_sort(spread: float) -> None:
    """Flat and steep rows over 5,000 tokens, with ties: the same tokens, to the bit, as by sorting all of them."""
    generator = torch.Generator().manual_seed(0)
    logits = (spread * torch.randn(40, 5000, generator=generator)).round(decimals=1)
    draws = torch.rand(40, dtype=torch.float64, generator=generator)
    probabilities, index = torch.softmax(logits, dim=-1).sort(dim=-1, descending=True, stable=True)
    for top_p in (0.05, 0.5, 0.95):
        outside = probabilities.cumsum(-1, dtype=torch.float64) - probabilities >= top_p
        cumulative = probabilities.masked_fill(outside, 0.0).cumsum(-1, dtype=torch.float64)
        expected = index.gather(1, torch.searchsorted(cumulative, draws[:, None] * cumulative[:, -1:], right=True))
        assert torch.equal(draw_tokens(logits, draws, 1.0, top_p), expected[:, 0])


def test_the_sampler_reads_the_draw_of_its_step() -> None:
    sampler = InverseSampler(torch.tensor([[0.0, 0.99]], dtype=torch.float64), prompt_width=3, temperature=1, top_p=1)
    scores = torch.zeros(1, 4)
    first, second = (sampler(torch.zeros(1, width, dtype=torch.long), scores).argmax().item() for width in (3, 4))
    assert (first, second) == (0, 3)


def test_samples_depend_on_the_seed_alone(model: Any, tokenizer: Any) -> None:
    settings: dict[str, Any] = {"k": 3, "max_new_tokens": 8, "temperature": 1.0}
    first = sample(model, tokenizer, PROMPTS, **settings, seed=1)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert sample(model, tokenizer, PROMPTS, **settings, seed=1, batch_size=5) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert sample(model, tokenizer, PROMPTS[::-1], **settings, seed=1, batch_size=1)[::-1] == first
    assert sample(model, tokenizer, PROMPTS, **settings, seed=2) != first
    assert len({one.text for one in first[0]}) > 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU in CUDA_VISIBLE_DEVICES")
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_gpu_draws_the_samples_of_the_cpu(temperature: float, model: Any, tokenizer: Any) -> None:
    k = 3 if temperature else 1
    settings: dict[str, Any] = {"k": k, "max_new_tokens": 8, "temperature": temperature, "seed": 1}
    state = torch.cuda.get_rng_state()
    on_gpu = sample(copy.deepcopy(model).double().to("cuda"), tokenizer, PROMPTS, **settings)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert on_gpu == sample(copy.deepcopy(model).double(), tokenizer, PROMPTS, **settings)


def test_more_samples_keep_the_first_ones(model: Any, tokenizer: Any) -> None:
    few = sample(model, tokenizer, PROMPTS, k=1, max_new_tokens=6)
    many = sample(model, tokenizer, PROMPTS, k=3, max_new_tokens=6)
    assert [row[:1] for row in many] == few


def test_seeds_differ_between_repetitions_of_a_prompt() -> None:
    seeds = [seed for row in row_seeds(["a", "a", "b"], 4, 0) for seed in row]
    assert len(set(seeds)) == 12
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert row_seeds(["b", "a"], 4, 0)[1] == row_seeds(["a"], 4, 0)[0]


def test_greedy_takes_the_most_likely_tokens(model: Any, tokenizer: Any) -> None:
    ids = tokenizer(PROMPTS[0])["input_ids"]
    start = len(ids)
    with torch.no_grad():
        for _ in range(6):
            ids.append(int(model.eval()(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
    expected = tokenizer.decode(ids[start:], skip_special_tokens=True)
    [one] = sample(model, tokenizer, PROMPTS, temperature=0, max_new_tokens=6, batch_size=4)[0]
    assert (one.text, one.tokens) == (expected, len(ids) - start)


class Ends:
    """A stand-in for a model: counts up from the last prompt token and ends after token 10."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __enter__(self) -> Any:
        self.forward = self.model.forward

        def forward(input_ids: torch.Tensor, **kwargs: Any) -> Any:
            out = self.forward(input_ids=input_ids, **kwargs)
            following = torch.where(input_ids == 13, 1, input_ids + 1)  # id 13 is the text "10", id 1 is <eos>
            out.logits = torch.nn.functional.one_hot(following, 256).float()[:, -1:] * 100
            return out

        self.model.forward = forward
        return self.model

    def __exit__(self, *_: object) -> None:
        self.model.forward = self.forward


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "gpt2"])
def test_a_longer_prompt_in_the_batch_cuts_no_response_shorter(family: str) -> None:
    """Where the model's positions are the limit, each row has those that its own prompt leaves, not its padding."""
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"pad_token_id": 0, "max_position_embeddings": 48}
    sizes |= {} if family == "gpt2" else {"num_key_value_heads": 1, "intermediate_size": 24}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes)).eval()
    model.generation_config.eos_token_id = []  # only the limit ends a response
    prompts, how = [[5, 6, 7], list(range(5, 35)), [5, 6, 7], [8, 9]], Sampling(1.0, 0.9, 1000)
    together = sampling._generate(model, prompts, list(range(4)), how)
    assert together == [sampling._generate(model, [prompt], [seed], how)[0] for seed, prompt in enumerate(prompts)]
    assert [len(tokens) for tokens, _ in together] == [45, 18, 45, 46]


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "mistral", "gpt2"])
def test_parts_and_a_shared_prefill_change_no_sample(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that leave the batch and prompts computed once, against a whole batch, row by row; windows fall back."""
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 64}
    sizes |= {} if family == "gpt2" else {"num_key_value_heads": 1, "intermediate_size": 24}
    window = {"sliding_window": 6} if family == "mistral" else {}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes, **window)).eval()
    model.generation_config.eos_token_id = [2]
    prompts = [[5, 6, 7], [8, 9], [5, 6, 7], [5, 6, 7], [8, 9], [10, 11, 12, 13]]
    how = Sampling(1.0, 0.9, 24)
    for part in (1, 5, 100):
        monkeypatch.setattr(sampling, "_PART", part)
        together = sampling._generate(model, prompts, list(range(6)), how)
        alone = [sampling._generate(model, [prompt], [seed], how)[0] for seed, prompt in enumerate(prompts)]
        assert together == alone, part
    assert len({len(tokens) for tokens, _ in together}) > 1


RECURRENT: dict[str, dict[str, Any]] = {
    "rwkv": {"attention_hidden_size": 16},
    "recurrent_gemma": {"num_hidden_layers": 3, "num_attention_heads": 2, "lru_width": 16, "attention_window_size": 8},
    "minimax": {
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "num_local_experts": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "block_size": 8,
    },
    "mamba": {"state_size": 4, "expand": 2},
    "qwen2": {"num_attention_heads": 2, "num_key_value_heads": 1},
}


@pytest.mark.parametrize("family", RECURRENT)
def test_the_other_rows_of_a_batch_change_no_sample_of_a_recurrent_model(family: str, tokenizer: Any) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32, **RECURRENT[family]}
    ids = {"vocab_size": VOCAB_SIZE, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes, **ids)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    settings: dict[str, Any] = {"k": 3, "max_new_tokens": 8}
    together = sample(model, tokenizer, PROMPTS[:3], **settings, batch_size=5)
    assert together == [sample(model, tokenizer, [prompt], **settings, batch_size=1)[0] for prompt in PROMPTS[:3]]
    # The others stay as fast as they were.
    assert sampling.rows_mix(model) is (family in ("rwkv", "recurrent_gemma", "minimax"))


@pytest.mark.parametrize("rounding", [1e-6, 1e-3])
def test_rounding_of_another_batch_size_is_no_mixing_of_rows(rounding: float) -> None:
    ids = {"vocab_size": 40, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes, **ids)).eval()
    with torch.no_grad():
        model.lm_head.weight[20:] = model.lm_head.weight[:20]  # two tokens are equally likely
    # As kernels of a GPU do, which differ by the number of rows; of float32 that may be TF32's.
    off = torch.zeros(40).index_fill(0, torch.arange(20, 40), rounding)
    model.lm_head.register_forward_hook(lambda _, args, out: out * (1 + off * (len(out) - 1.5)))
    assert not sampling.rows_mix(model)


def test_lengths_ends_and_truncation(model: Any, tokenizer: Any) -> None:
    with Ends(model) as counting:
        rows = sample(counting, tokenizer, ["8", "mean 3"], temperature=0, max_new_tokens=4)
    assert rows == [[Reply("9 10", "stop", 3, 1)], [Reply("4 5 6 7", "length", 4, 2)]]


def test_the_generation_config_of_the_model_is_left_out_and_put_back(model: Any, tokenizer: Any) -> None:
    plain = sample(model, tokenizer, PROMPTS, temperature=0, max_new_tokens=8)
    kept = model.generation_config
    own = GenerationConfig(eos_token_id=[1], repetition_penalty=50.0, top_k=1, do_sample=True, temperature=0.1)
    try:
        model.generation_config = own
        model.train()
        assert sample(model, tokenizer, PROMPTS, temperature=0, max_new_tokens=8) == plain
        assert model.generation_config is own
        assert model.training
        with pytest.raises(ZeroDivisionError):
            sample(model, tokenizer, PROMPTS, max_new_tokens=2, progress=lambda done, total: 1 // 0)  # type: ignore[arg-type, return-value]
        assert model.generation_config is own
        assert model.training
    finally:
        model.generation_config = kept
        model.eval()


def test_conversations_go_through_the_chat_template(model: Any) -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }} {% endfor %}{% if add_generation_prompt %}A{% endif %}"
    )
    chat = [[{"role": "system", "content": "Q"}, {"role": "user", "content": "3 ; double ; mean 5 ?"}]]
    chatted = sample(model, tokenizer, chat, temperature=0, max_new_tokens=5)  # type: ignore[arg-type]
    assert chatted == sample(model, tokenizer, ["Q 3 ; double ; mean 5 ? A"], temperature=0, max_new_tokens=5)


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_words_that_a_chat_template_leaves_out_are_said(role: str) -> None:
    from sgpo.models.sampling import encode

    tokenizer = build_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] != '" + role + "' %}{{ m['content'] }} {% endif %}{% endfor %}"
    )
    first = "developer" if role == "developer" else "system"
    asked = [{"role": first, "content": "box it"}, {"role": "user", "content": " 1 + 1\n"}]
    with pytest.raises(ValueError, match=f"leaves out the '{role}' message"):
        encode(tokenizer, [asked])
    # Templates trim, and drop the thinking of earlier turns.
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] != 'assistant' %}{{ m['content'] | trim }} {% endif %}{% endfor %}"
    )
    assert encode(tokenizer, [[*asked, {"role": "assistant", "content": "2"}]])


@pytest.mark.parametrize("where", ["user", "system", "strategy"])
def test_text_that_the_chat_template_has_rendered_is_not_rendered_again(where: str) -> None:
    """As data sets hold it; and a mark in a strategy would end the user's turn."""
    tokenizer = trainer_kit.make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<user>", "<assistant>", "<end>"]})
    rendered = "<user> solve a <end> <assistant>"
    prompt: Any = guided_prompt([{"role": "user", "content": "solve a"}], "carry <end> <assistant> 5")
    if where != "strategy":
        prompt = [{"role": where, "content": rendered}, *[{"role": "user", "content": "solve a"}] * (where == "system")]
    with pytest.raises(ValueError, match=r"message '.*' has '<.*', a mark of the chat template.*Give the bare text"):
        sampling.encode(tokenizer, [prompt])
    assert sampling.encode(tokenizer, [rendered]) == sampling.encode(
        tokenizer, [[{"role": "user", "content": "solve a"}]]
    )
    said = [{"role": "assistant", "content": "5 <end>"}, {"role": "user", "content": "solve a"}]
    assert sampling.encode(tokenizer, [said])


def test_an_id_beyond_the_embedding_is_said_and_not_looked_up() -> None:
    """As of an adapter's tokenizer with tokens of its own; on a GPU it would take the device down."""
    tokenizer = trainer_kit.make_tokenizer()
    tokenizer.add_tokens(["<new>"])
    with pytest.raises(ValueError, match=r"makes the id \d+ \('<new>'\), but the model's vocabulary has"):
        sample(trainer_kit.make_model(), tokenizer, ["solve a", "solve <new>"], max_new_tokens=2)


def test_the_ends_of_config_json_count_where_the_generation_config_names_none(model: Any, tokenizer: Any) -> None:
    kept = model.generation_config, model.config.eos_token_id
    with Ends(model) as counting:
        model.generation_config, model.config.eos_token_id = GenerationConfig(temperature=0.6, do_sample=True), [1, 11]
        try:
            (ended,) = sample(counting, tokenizer, ["4"], temperature=0, max_new_tokens=8)[0]
        finally:
            model.generation_config, model.config.eos_token_id = kept
    assert (ended.text, ended.finish) == ("5 6 7 8", "stop")


def test_the_ends_of_the_generation_config_go_before_those_of_config_json(model: Any, tokenizer: Any) -> None:
    """What config.json says may be the default of its class: </s> of Llama 2, a "#" in the vocabulary of Llama 3."""
    kept = model.generation_config, model.config.eos_token_id
    with Ends(model) as counting:
        model.generation_config, model.config.eos_token_id = GenerationConfig(eos_token_id=[1]), 11
        try:
            (whole,) = sample(counting, tokenizer, ["4"], temperature=0, max_new_tokens=8)[0]
        finally:
            model.generation_config, model.config.eos_token_id = kept
    assert whole.text == "5 6 7 8 9 10"


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_yarn_adds_positions(family: str) -> None:
    """It is switched on in config.json beside the old limit; models that came with it have the new one there."""
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 1, "intermediate_size": 24, "pad_token_id": 0, "max_position_embeddings": 40}
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    config = AutoConfig.for_model(family, **sizes, rope_scaling=rope)
    assert sampling.positions_of(config) == 128
    assert sampling.positions_of(AutoConfig.for_model(family, **{**sizes, "max_position_embeddings": 128})) == 128
    multiplied = {**sizes, "max_position_embeddings": 128, "rope_scaling": {**rope, "factor": None}}
    assert sampling.positions_of(AutoConfig.for_model(family, **multiplied)) == 128  # transformers divides the two
    net = AutoModelForCausalLM.from_config(config).eval()
    net.generation_config.eos_token_id = []
    ((tokens, cut),) = sampling._generate(net, [[5] * 50], [0], Sampling(1.0, 1.0, 100))
    assert (len(tokens), cut) == (78, True)


def test_marks_of_thinking_among_the_special_tokens_stay() -> None:
    from sgpo.models.sampling import decode
    from sgpo.rewards.extract import extract

    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["[THINK]", "[/THINK]", "<|x|>"], special_tokens=True)
    rows = [tokenizer(text)["input_ids"] for text in ("[THINK] 1 [/THINK] 2 <|x|> <eos>", "[THINK] 1 2")]
    assert decode(tokenizer, rows) == ["[THINK] 1 [/THINK] 2", "[THINK] 1 2"]
    assert extract(decode(tokenizer, rows)[1]).text is None
    assert decode(build_tokenizer(), [[4, 1]]) == ["1"]


def test_thinking_that_the_prompt_begins_and_that_never_ends_is_no_answer() -> None:
    """Of DeepSeek-R1's template, say: what was cut has no mark of its own."""
    from sgpo.models.sampling import continued, encode
    from sgpo.models.thinking import strip_thinking
    from sgpo.rewards.extract import extract

    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])
    asked: Any = [{"role": "user", "content": "1 + 1"}]
    texts = ["so the answer is 2", "well </think> the answer is 2"]
    for template, begun in (("<think>\n", True), ("<think></think>", False), ("", False)):
        tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %} " + template
        for prompt in (asked, "1 + 1 " + template):
            ids = encode(tokenizer, [prompt])[0]
            cut, whole = continued(tokenizer, [prompt] * 2, [ids] * 2, texts)
            assert (cut, whole) == ("<think>" * begun + texts[0], "<think>" * begun + texts[1])
            assert extract(whole).text == "2"
            assert extract(cut).text == (None if begun else "2")
            assert strip_thinking(cut) == ("" if begun else texts[0])


def test_new_tokens_stay_within_the_positions_of_the_model(model: Any, tokenizer: Any) -> None:
    with Ends(model) as counting:
        [[one]] = sample(counting, tokenizer, ["20 " * 250], temperature=0, max_new_tokens=50)
    assert (one.tokens, one.truncated) == (6, True)
    with pytest.raises(ValueError, match="256 tokens and the model 256 positions"):
        sample(model, tokenizer, ["20 " * 256], max_new_tokens=1)


def test_progress_counts_rows(model: Any, tokenizer: Any) -> None:
    seen: list[tuple[int, int]] = []
    sample(model, tokenizer, PROMPTS, k=2, max_new_tokens=1, batch_size=3, progress=lambda *at: seen.append(at))
    assert seen == [(3, 8), (6, 8), (8, 8)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k = 0"),
        ({"temperature": -1.0}, "temperature = -1"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_p": 0.0}, "top_p = 0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
        ({"max_new_tokens": 0}, "max_new_tokens = 0"),
        ({"temperature": 0.0, "k": 2}, "2 greedy samples"),
    ],
)
def test_settings_out_of_range_are_refused(model: Any, tokenizer: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(model, tokenizer, PROMPTS, **{"max_new_tokens": 4, **settings})


def test_an_empty_prompt_is_refused(model: Any, tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="has no tokens"):
        sample(model, tokenizer, ["1", ""], max_new_tokens=2)


def test_evaluate_by_hand(model: Any, tokenizer: Any) -> None:
    problems = [
        {"prompt": "8", "answer": "9 10", "family": "up", "id": "a"},
        {"prompt": "3", "answer": "4 5 6", "family": "up"},
        {"prompt": "9", "answer": "11", "family": "down"},
    ]

    def grade(texts: list[str], answers: list[str]) -> list[bool]:
        return [text == answer for text, answer in zip(texts, answers, strict=True)]

    with Ends(model) as counting:
        result = evaluate(
            counting,
            tokenizer,
            problems,
            grade=grade,
            k=2,
            temperature=0.1,
            max_new_tokens=4,
            extract=lambda text: text,
        )
    assert result.accuracy == pytest.approx(1 / 3)
    assert (result.n_problems, result.k, result.sampled_tokens) == (3, 2, 2 * (3 + 4 + 2))
    assert result.per_group["up"].accuracy == 0.5
    assert result.per_group["down"].to_json() == {"accuracy": 0.0, "ci95": [0.0, 1.0], "n_problems": 1}
    assert result.pass_at_k == {1: pytest.approx(1 / 3), 2: pytest.approx(1 / 3)}
    assert result.maj_at_k == pytest.approx(1 / 3)
    assert result.truncated == pytest.approx(1 / 3)
    assert [problem.id for problem in result.problems] == ["a", "1", "2"]
    record = result.to_dict()
    assert record["problems"][0]["samples"][0] == {
        "correct": 1.0,
        "answer": "9 10",
        "tokens": 3,
        "truncated": False,
        "timed_out": False,
    }
    assert result.to_dict(completions=True)["problems"][1]["samples"][1]["text"] == "4 5 6 7"


def test_evaluate_says_what_is_missing(model: Any, tokenizer: Any) -> None:
    settings: dict[str, Any] = {"grade": lambda texts, answers: [], "max_new_tokens": 1}
    with pytest.raises(ValueError, match="no problems"):
        evaluate(model, tokenizer, [], **settings)
    with pytest.raises(ValueError, match=r"Problem 0 \('x'\) has no 'answer'"):
        evaluate(model, tokenizer, [{"prompt": "1", "id": "x"}], **settings)
    with pytest.raises(ValueError, match="0 verdicts for 1 completions"):
        evaluate(model, tokenizer, [{"prompt": "1", "answer": "2"}], **settings)
