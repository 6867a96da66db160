"""The Python API: the options of the commands without argv, results as frames, plots and pages of a notebook."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import report_kit
import strategies_kit
import trainer_kit

import sgpo
from sgpo import api, results
from sgpo.commands.evaluate import EvalCommand
from sgpo.compare.options import CompareOptions
from sgpo.strategies.options import ExtractOptions

HOSTILE = '<script>alert("x")</script>'


def test_every_name_is_there_whatever_was_imported_before_and_nothing_heavy_with_it() -> None:
    """`compare` and `report` are packages, too; both stay what they are."""
    code = (
        "import sys, sgpo\n"
        "names = ('extract', 'rank', 'export', 'train', 'evaluate', 'compare', 'report')\n"
        "assert all(callable(getattr(sgpo, name)) for name in names)\n"
        "assert not {'torch', 'pandas', 'matplotlib', 'transformers'} & set(sys.modules)\n"
        "from sgpo.compare.options import CompareOptions; import sgpo.report.text; from sgpo import compare\n"
        "assert callable(compare) and callable(sgpo.report) and sgpo.compare.options.CompareOptions is CompareOptions\n"
        "assert set(sgpo.__all__) <= set(dir(sgpo))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        sgpo.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_options_are_those_of_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "of-the-environment")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    found = api._options(ExtractOptions, {"source": "a.jsonl", "store": "s.db", "omit": "seed", "concurrency": 4})
    assert (found.model, found.store, found.access.omit) == ("of-the-environment", Path("s.db"), ("seed",))
    assert found.access.concurrency == 4
    assert found.n == ExtractOptions.__dataclass_fields__["n"].default
    plan = api._options(EvalCommand, {"model": "m", "benchmark": ("lab",), "data": "d.jsonl", "k": 2})
    assert (plan.evaluation.data, plan.evaluation.k, plan.benchmark) == (Path("d.jsonl"), 2, ("lab",))
    both = api._options(CompareOptions, {"methods": ("sgpo", "sgpo:kl_clip=0.3,teacher=ema"), "set_": ()})
    assert both.method_names == ("sgpo", "sgpo:kl_clip=0.3,teacher=ema")
    monkeypatch.delenv("OPENAI_MODEL")
    with pytest.raises(ValueError, match="--model is missing: give the name of the model to ask, or set OPENAI_MODEL"):
        sgpo.rank(store="s.db")
    with pytest.raises(ValueError, match=r"There is no option 'sedes'; did you mean seeds\?"):
        sgpo.compare("sgpo", sedes=2)
    with pytest.raises(ValueError, match="preset 'x' is unknown"):
        sgpo.compare(preset="x")


def test_from_responses_to_data(tmp_path: Path) -> None:
    def script(body: dict[str, Any], number: int) -> strategies_kit.Play:
        return strategies_kit.good(body, number)

    source = strategies_kit.problems_file(tmp_path / "responses.jsonl", 3)
    with strategies_kit.serving(script) as server:
        found = sgpo.extract(source, model="m", base_url=server.url, store=tmp_path / "s.db", n=2)
    assert found.complete
    assert list(found.frame["problem"].value_counts()) == [2, 2, 2]
    assert found.to_pandas().equals(found.frame)
    data = sgpo.export(tmp_path / "d.parquet", store=str(tmp_path / "s.db"))
    assert {"prompt", "strategy", "answer"} <= set(data.frame.columns)
    assert len(data.frame) == 3
    assert data.plot().axes[0].get_xlabel() == "words of a strategy"
    page = found._repr_html_()
    assert page.count("<tr") >= 7
    assert "Way " in page


def test_a_training_from_fields(tmp_path: Path) -> None:
    model = tmp_path / "model"
    trainer_kit.make_model(max_position_embeddings=512).save_pretrained(model)
    trainer_kit.make_tokenizer().save_pretrained(model)
    rows = [{"prompt": "solve a", "strategy": "carry", "answer": "ok"}] * 2
    fields = {
        "model_name_or_path": model,
        "dataset_name": str(strategies_kit.write_rows(tmp_path / "d.jsonl", rows)),
        "reward_funcs": ["format"],
        "output_dir": tmp_path / "run",
        "num_generations": 2,
        "num_guided_generations": 1,
        "per_device_train_batch_size": 2,
        "max_completion_length": 4,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
    }
    with pytest.raises(ValueError, match=r"unknown field 'max_step' \(did you mean max_steps"):
        sgpo.train(**fields, max_step=1)
    with pytest.raises(ValueError, match=r"max_steps is 'many' .*takes a whole number"):
        sgpo.train(**fields, max_steps="many")
    found = sgpo.train(**fields, max_steps=2)
    assert list(found.frame.index) == [1, 2]
    assert {"reward", "sgpo/alpha", "loss"} <= set(found.frame.columns)
    assert len(found.plot().axes) > 0
    assert "reward" in found._repr_html_()
    page = sgpo.report(tmp_path / "run")
    assert page.path == tmp_path / "run" / "report.html"
    assert page.frame.equals(found.frame)


def test_a_comparison_as_frame_plot_and_page(tmp_path: Path) -> None:
    report_kit.compare_dir(tmp_path / "c")
    found = results.Comparison(tmp_path / "c")
    assert found.frame.index[0] == "base_guided"
    row = found.frame.loc["sgpo"]
    assert row["low"] < row["accuracy"] < row["high"]
    assert set(found.families.columns) == set(report_kit.FAMILIES)
    for name in ("comparison", "curves", "families"):
        assert found.plot(name).axes
    with pytest.raises(ValueError, match="plot 'pie' is unknown; choose from curves, comparison, axes, families"):
        found.plot("pie")
    page = sgpo.report(tmp_path / "c", tmp_path / "elsewhere" / "page.html")
    assert page.frame.equals(found.frame)
    shown = page._repr_html_()
    assert shown.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert 'sandbox="allow-scripts"' in shown
    assert "<script" not in shown


def test_an_evaluation_as_frame_and_plot(tmp_path: Path) -> None:
    from sgpo.evaluation.results import Graded, ProblemResult, summarise

    samples = [Graded(i % 2 == 0, "1", 5, False, False, "") for i in range(4)]
    result = summarise([ProblemResult(f"p{i}", HOSTILE, "1", samples) for i in range(3)])
    found = results.Evaluation(tmp_path, {HOSTILE: result, "math500": result})
    assert found.frame.loc["math500", ["problems", "k", "accuracy", "pass_at_k"]].tolist() == [3, 4, 0.5, 1.0]
    assert len(found.problems) == 6
    assert found.plot().axes
    assert "<script" not in found._repr_html_()


def test_texts_of_models_are_escaped(tmp_path: Path) -> None:
    table = results.Table(strategies_kit.write_rows(tmp_path / f"a{'&'}.jsonl", [{"strategy": HOSTILE}] * 30))
    shown = table._repr_html_()
    assert "<script" not in shown
    assert "a&amp;.jsonl" in shown
    assert "and 10 more rows" in shown
