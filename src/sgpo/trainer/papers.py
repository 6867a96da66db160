"""The papers that the model cards of the trainers cite, beside that of GRPO, which they build on."""

from sgpo.trainer.trl_seam import GRPOTrainer


def _paper(key: str, title: str, arxiv: str, authors: str = "") -> dict[str, str]:
    written = {"title": f"{{{{{title}}}}}"} | ({"author": f"{{{authors}}}"} if authors else {})
    written |= {"year": f"20{arxiv[:2]}", "eprint": f"{{{arxiv}}}", "archivePrefix": "{arXiv}"}
    entry = "".join(f"    {name:<13} = {value},\n" for name, value in written.items())
    return {"title": title, "id": arxiv, "citation": f"@misc{{{key},\n{entry}}}\n\n{GRPOTrainer._paper['citation']}"}


SGPO = _paper("sgpo2026", "Strategy-Guided Policy Optimization", "2606.24064")
LUFFY = _paper(
    "yan2025luffy",
    "Learning to Reason under Off-Policy Guidance",
    "2504.14945",
    "Jianhao Yan and Yafu Li and Zican Hu and Zhi Wang and Ganqu Cui and Xiaoye Qu and Yu Cheng and Yue Zhang",
)
HPT = _paper(
    "lv2025hpt",
    "Towards a Unified View of Large Language Model Post-Training",
    "2509.04419",
    "Xingtai Lv and Yuxin Zuo and Youbang Sun and Hongyi Liu and Yuntian Wei and Zhekai Chen and Lixuan He and Xuekai "
    "Zhu and Kaiyan Zhang and Bingning Wang and Ning Ding and Bowen Zhou",
)
