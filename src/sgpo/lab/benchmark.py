"""The lab as a benchmark of ``sgpo eval``: its problems, its settings and its grader."""

from sgpo.data.benchmarks import BenchmarkProblem
from sgpo.evaluation.grading import RewardGrader
from sgpo.evaluation.planning import Embedded
from sgpo.lab.problems import GUIDED_TEMPLATE, MAX_COMPLETION, final_answer, lab_reward, load_problems


def _problems() -> list[BenchmarkProblem]:
    return [
        BenchmarkProblem(p["id"], p["prompt"], p["answer"], group=p["family"], strategy=p["strategy"])
        for p in load_problems("eval")
    ]


LAB = Embedded(
    name="lab",
    source="sgpo.lab",
    problems=_problems,
    settings={"template": "raw", "grader": "lab", "guided_template": GUIDED_TEMPLATE, "max_new_tokens": MAX_COMPLETION},
    grader=RewardGrader("lab", lab_reward, final_answer),
)
"""Its k and its sampling are those of the preset, as everywhere."""
