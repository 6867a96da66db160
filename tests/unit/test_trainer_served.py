"""A vLLM server that fails in the middle of a run: a scripted one on loopback, behind TRL's own client.

vLLM itself is not there, nor is NCCL: what TRL does over HTTP is real, the broadcast of weights is a stand-in.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse

import pytest
import torch
import trainer_kit as kit
from datasets import Dataset
from peft import IA3Config, LoraConfig, PeftConfig
from trl.generation.vllm_client import VLLMClient

from sgpo import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer, SGPOConfig, SGPOTrainer
from sgpo.trainer import vllm_server
from sgpo.trainer.own import swapped
from sgpo.trainer.vllm_server import BoundedClient, ServerError

SECONDS, PATIENCE = 0.6, 60.0  # for what does not answer in time, and for what does
TRAINERS = {"sgpo": (SGPOTrainer, SGPOConfig), "luffy": (LUFFYTrainer, LUFFYConfig), "hpt": (HPTTrainer, HPTConfig)}


class Server(ThreadingHTTPServer):
    """Does what vLLM does, until ``faults[path]``, a function of the handler and its answer, is called in its place."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.faults: dict[str, Callable[[Any, Any], None]] = {}
        self.asked: list[str] = []
        self.sampling: list[dict[str, Any]] = []  # what completions were asked for with
        self.released = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        size = int(self.headers.get("Content-Length") or 0)
        given = json.loads(self.rfile.read(size) or "{}") if size else {}
        self.server.sampling += [given] if "prompt" in given else []
        answers: dict[str, Any] = {
            "/v1/models": {"data": [{"id": "alias"}]},
            "/server_info": {
                "vllm_config": {"weight_transfer_config": {}, "model_config": {"logprobs_mode": "processed_logprobs"}}
            },
            "/v1/completions": {"choices": choices(given)} if "prompt" in given else None,
        }
        self.server.faults.get(path, send)(self, answers.get(path, {}))

    do_GET = do_POST = answer

    def log_message(self, *args: Any) -> None:
        pass


def choices(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Completions that have a digit, in the order in which vLLM sends them."""
    token = kit.WORDS.index("5")
    logprobs = {"tokens": [f"token_id:{token}"], "token_logprobs": [-1.0], "top_logprobs": [None]}
    return [
        {"prompt_token_ids": prompt, "token_ids": [token], "logprobs": logprobs}
        for prompt in given["prompt"]
        for _ in range(given["n"])
    ]


def send(handler: Any, answer: Any, *, status: int = 200) -> None:
    body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


# ---- faults


def stalls(handler: Any, answer: Any) -> None:
    handler.server.released.wait()


def trickles(handler: Any, answer: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.released.wait(0.05):
        handler.wfile.write(b" ")


def resets(handler: Any, answer: Any) -> None:
    handler.connection.close()


def html(handler: Any, answer: Any) -> None:
    send(handler, "<html>\n<h1>Internal Server Error</h1></html>", status=500)


def gateway(handler: Any, answer: Any) -> None:
    send(handler, "<html>\n<h1>Gateway</h1></html>", status=504)


def no_json(handler: Any, answer: Any) -> None:
    send(handler, "<html>Log in</html>")


def other_json(handler: Any, answer: Any) -> None:
    send(handler, {"error": "no"})


def a_list(handler: Any, answer: Any) -> None:
    send(handler, [1, 2])


def changed(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Any, Any], None]:
    def fault(handler: Any, answer: Any) -> None:
        send(handler, {"choices": change(answer["choices"])})

    return fault


GENERATE = {
    "stalls": (stalls, r"did not answer POST /v1/completions \(.* prompts, .* completions of .*\) within 0.6 s"),
    "trickles": (trickles, "did not answer POST /v1/completions .* within 0.6 s"),
    "resets": (resets, r"failed in POST /v1/completions .* \("),
    "HTML 500": (html, "failed in POST /v1/completions .*too many 500 error responses"),
    "HTML 504": (gateway, "answered POST /v1/completions .* with 504 .*: '<html> <h1>Gateway</h1></html>'"),
    "no JSON": (no_json, "answered /v1/completions .* with no JSON: '<html>Log in</html>'"),
    "other JSON": (other_json, "answered with something else than completions"),
    "a list": (a_list, "answered with something else than completions"),
    "too few": (changed(lambda all: all[:-1]), "sent 11 completions of 6 prompts, but 12 of 6 were asked for"),
    "too many": (changed(lambda all: [*all, all[0]]), "but 12 of 6 were asked for"),
    "none": (changed(lambda all: []), "something else than completions|sent 0 completions"),
    "no ids": (changed(lambda all: [{**c, "token_ids": None} for c in all]), "something else than completions"),
    "words": (changed(lambda all: [{**c, "token_ids": ["a"]} for c in all]), "something else than completions"),
    "short logprobs": (
        changed(lambda all: [{**c, "token_ids": c["token_ids"] * 2} for c in all]),
        "log-probabilities are fewer or more than its tokens",
    ),
}


def then_stalls(handler: Any, answer: Any) -> None:
    """The first request is answered."""
    handler.server.faults[handler.path.split("?")[0]] = stalls
    send(handler, answer)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server, and what of vLLM TRL looks for; retries wait for nothing. Only a stalled request has little time."""
    available = lambda **_: True  # noqa: E731
    monkeypatch.setattr("trl.generation.vllm_client.is_vllm_available", available)
    monkeypatch.setattr("trl.generation.vllm_generation.is_vllm_available", available)
    monkeypatch.setattr("trl.trainer.grpo_trainer.is_vllm_available", available, raising=False)
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda self: 0.0)
    transfer = SimpleNamespace(trainer_send_weights=lambda iterator, trainer_args: list(iterator))
    monkeypatch.setattr("trl.generation.vllm_client.NCCLWeightTransferEngine", transfer, raising=False)
    monkeypatch.setattr("trl.generation.vllm_client.NCCLTrainerSendWeightsArgs", dict, raising=False)
    monkeypatch.setattr(VLLMClient, "init_communicator", lambda self, device: self.get_server_info())
    running = Server()
    ask = vllm_server._Session._ask

    def bounded(self: Any, method: str, url: str, options: dict[str, Any]) -> Any:
        endless = running.faults.get(urlparse(url).path) in (stalls, trickles)
        with swapped(self._client, _seconds=SECONDS if endless else self._client._seconds):
            return ask(self, method, url, options)

    monkeypatch.setattr(vllm_server._Session, "_ask", bounded)
    monkeypatch.setattr(vllm_server, "_SECONDS", PATIENCE)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.released.set()
    running.shutdown()
    running.server_close()


def made(
    out: Path,
    url: str,
    name: str = "sgpo",
    tokenizer: Any = None,
    chat: bool = False,
    model: Any = None,
    peft_config: PeftConfig | None = None,
    **options: Any,
) -> Any:
    trainer_class, config_class = TRAINERS[name]
    rows = [{**row, "answer": "5", "expert": " 5"} for row in kit.make_problems(4, chat=chat)]
    fields = {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": url, "vllm_request_timeout": PATIENCE}
    config = kit.make_config(out, config_class, **{**fields, "save_strategy": "steps", "save_steps": 1, **options})
    return trainer_class(
        model=model or kit.make_model(),
        reward_funcs=kit.has_digit,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer or kit.make_tokenizer(),
        peft_config=peft_config,
    )


def client(out: Path, url: str, **options: Any) -> BoundedClient:
    given = {"output_dir": str(out), "vllm_request_timeout": PATIENCE, "vllm_server_timeout": PATIENCE, **options}
    return BoundedClient(SimpleNamespace(**given), base_url=url)


@pytest.mark.parametrize("name", GENERATE)
def test_completions_that_do_not_come_or_are_not_what_was_asked_for(name: str, server: Server, out: Path) -> None:
    server.faults["/v1/completions"], words = GENERATE[name]
    (out / "checkpoint-7").mkdir(parents=True)
    with pytest.raises(ServerError, match=words) as error:
        client(out, server.url).generate(prompts=[[4, 5]] * 6, n=2, max_tokens=8)
    for part in (server.url, "Look into its log", f"{out / 'checkpoint-7'}: go on with resume_from_checkpoint=True"):
        assert part in str(error.value)
    assert len(str(error.value)) < 900


@pytest.mark.parametrize("name", TRAINERS)
def test_the_server_ends_completions_where_the_chat_template_ends_a_turn(name: str, server: Server, out: Path) -> None:
    tokenizer = kit.make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    made(out, server.url, name, tokenizer, chat=True, max_steps=1).train()
    assert {tuple(asked["stop_token_ids"]) for asked in server.sampling} == {(1, kit.WORDS.index("<end>"))}


@pytest.mark.parametrize("name", TRAINERS)
def test_a_head_that_vllm_would_take_from_the_embeddings_is_refused(name: str, server: Server, out: Path) -> None:
    """modules_to_save makes a copy of the embeddings, and the head stays what it was; vLLM knows them as one."""
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    with pytest.raises(ValueError, match=r"vLLM would take the embeddings for the head.*ensure_weight_tying=True"):
        made(out, server.url, name, peft_config=config)
    config.ensure_weight_tying = True
    made(out, server.url, name, peft_config=config)


ADAPTERS = {
    "LoRA": LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_bias=True),
    "DoRA": LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False, use_dora=True),
    "IA3": IA3Config(target_modules=["k_proj"], feedforward_modules=[], init_ia3_weights=False),
}


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_base_of_an_adapter_stays_what_it_is_when_the_server_gets_the_merged_weights(
    adapter: str, name: str, server: Server, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEFT adds the adapter to a bfloat16 base and takes it off again: rounded, that is another base each time."""
    sent: list[dict[str, torch.Tensor]] = []
    transfer = SimpleNamespace(
        trainer_send_weights=lambda iterator, trainer_args: sent.append({n: w.clone() for n, w in iterator})
    )
    monkeypatch.setattr("trl.generation.vllm_client.NCCLWeightTransferEngine", transfer)
    model = kit.make_model(dtype=torch.bfloat16)
    base = kit.weights_of(model)
    options = {"vllm_request_timeout": 60.0, "max_steps": 3, "save_strategy": "no"}
    trainer = made(out, server.url, name, model=model, peft_config=ADAPTERS[adapter], **options)
    trainer.train()
    trainer.vllm_generation.sync_weights()
    now = {n.replace("base_layer.", ""): w for n, w in kit.weights_of(trainer.model.base_model.model).items()}
    assert all(torch.equal(now[n], weight) for n, weight in base.items())
    ids = torch.tensor([[8, 9, 10, 11]])
    with torch.no_grad():
        wanted = trainer.model.eval()(input_ids=ids).logits
        merged = trainer.model.merge_and_unload()
        assert {n: w.tolist() for n, w in merged.named_parameters()} == {n: w.tolist() for n, w in sent[-1].items()}
        assert len(sent) >= 4
        assert torch.allclose(merged(input_ids=ids).logits.float(), wanted.float(), atol=0.3)


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("path", ["/v1/completions", "/update_weights", "/start_weight_update", "/reset_prefix_cache"])
def test_a_server_that_stalls_in_a_run(path: str, name: str, server: Server, out: Path) -> None:
    trainer = made(out, server.url, name, max_steps=3)
    server.faults[path] = then_stalls
    with pytest.raises(ServerError, match=f"did not answer POST {path}.* within 0.6 s") as error:
        trainer.train()
    assert f"The last checkpoint is {out / 'checkpoint-1'}" in str(error.value)
    assert (out / "checkpoint-1" / "trainer_state.json").is_file()


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("path", ["/v1/models", "/server_info"])
def test_a_server_that_stalls_while_the_trainer_is_made(path: str, name: str, server: Server, out: Path) -> None:
    # The models are asked for once before, by a check that lets silence pass.
    server.faults[path] = then_stalls if path == "/v1/models" else stalls
    with pytest.raises(ServerError, match=rf"did not answer GET {path} within 0.6 s.*No checkpoint was written yet"):
        made(out, server.url, name)


@pytest.mark.parametrize("name", TRAINERS)
def test_another_model_is_refused_by_every_trainer(name: str, server: Server, out: Path) -> None:
    model = kit.make_model()
    model.config._name_or_path = "Qwen/Qwen2.5-7B"
    trainer_class, config_class = TRAINERS[name]
    fields = {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": server.url}
    config = kit.make_config(out, config_class, **fields)
    data = Dataset.from_list([{**row, "expert": " 5"} for row in kit.make_problems(4)])
    with pytest.raises(ValueError, match="serves alias, but the policy is"):
        trainer_class(model, kit.has_digit, args=config, train_dataset=data)


def test_long_completions_may_take_long_on_the_defaults(server: Server, out: Path) -> None:
    asking = client(out, server.url, vllm_request_timeout=None)
    given: list[float] = []
    server.faults["/v1/completions"] = lambda handler, answer: (given.append(asking._seconds), send(handler, answer))
    asking.generate(prompts=[[4]] * 100, n=3, max_tokens=1000)
    assert given == [PATIENCE + 2 * 1000 / 5]
    server.faults["/reset_prefix_cache"] = stalls
    with pytest.raises(ServerError, match=r"did not answer POST /reset_prefix_cache within 0.6 s"):
        asking.reset_prefix_cache()


def test_a_deadline_must_be_over_zero(out: Path) -> None:
    with pytest.raises(ValueError, match="vllm_request_timeout is 0, but must be above 0"):
        kit.make_config(out, vllm_request_timeout=0)


STUCK = """
import sys, threading, time
from types import SimpleNamespace
from trl.generation import vllm_client
from sgpo.trainer import vllm_server
vllm_client.is_vllm_available = lambda **_: True
vllm_server._STUCK = 0.2
stuck = SimpleNamespace(trainer_send_weights=lambda **_: time.sleep(600))
vllm_client.NCCLWeightTransferEngine, vllm_client.NCCLTrainerSendWeightsArgs = stuck, dict
args = SimpleNamespace(output_dir="nowhere", vllm_request_timeout=60, vllm_server_timeout=60)
client = vllm_server.BoundedClient(args, base_url=sys.argv[1])
client._seconds = 3
client.update_named_params([("w", "float32", [1])], iter([]))
"""


def test_a_broadcast_that_no_exception_reaches_ends_the_process(server: Server) -> None:
    server.faults["/update_weights"] = stalls
    done = subprocess.run([sys.executable, "-c", STUCK, server.url], capture_output=True, text=True, timeout=500)
    assert done.returncode == 1
    assert "error: The vLLM server at" in done.stderr
    assert "did not answer POST /update_weights within 3 s" in done.stderr
