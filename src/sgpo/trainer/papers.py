"""The papers that the model cards of the trainers cite, beside that of GRPO, which they build on."""

import textwrap

from sgpo.trainer.trl_seam import GRPOTrainer

Paper = dict[str, str]


def _paper(title: str, arxiv: str, entry: str) -> Paper:
    return {"title": title, "id": arxiv, "citation": textwrap.dedent(entry) + "\n\n" + GRPOTrainer._paper["citation"]}


SGPO = _paper(
    "Strategy-Guided Policy Optimization",
    "2606.24064",
    """\
    @misc{sgpo2026,
        title         = {{Strategy-Guided Policy Optimization}},
        year          = 2026,
        eprint        = {2606.24064},
        archivePrefix = {arXiv},
    }""",
)
LUFFY = _paper(
    "Learning to Reason under Off-Policy Guidance",
    "2504.14945",
    """\
    @misc{yan2025luffy,
        title         = {{Learning to Reason under Off-Policy Guidance}},
        author        = {Jianhao Yan and Yafu Li and Zican Hu and Zhi Wang and Ganqu Cui and Xiaoye Qu and Yu Cheng and Yue Zhang},
        year          = 2025,
        eprint        = {2504.14945},
        archivePrefix = {arXiv},
    }""",  # noqa: E501
)
HPT = _paper(
    "Towards a Unified View of Large Language Model Post-Training",
    "2509.04419",
    """\
    @misc{lv2025hpt,
        title         = {{Towards a Unified View of Large Language Model Post-Training}},
        author        = {Xingtai Lv and Yuxin Zuo and Youbang Sun and Hongyi Liu and Yuntian Wei and Zhekai Chen and Lixuan He and Xuekai Zhu and Kaiyan Zhang and Bingning Wang and Ning Ding and Bowen Zhou},
        year          = 2025,
        eprint        = {2509.04419},
        archivePrefix = {arXiv},
    }""",  # noqa: E501
)
