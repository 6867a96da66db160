"""Sample LUFFY's data and split it: warm-up (a third) and RL (the rest), as arXiv 2606.24064 does.

    python recipes/split_openr1.py --out data

Reads Elliott/Openr1-Math-46k-8192 from the hub, or a parquet or JSONL file with its columns, and writes

- OUT/warmup/train.parquet: columns `prompt` and `completion` (messages), for `trl sft --dataset_name OUT/warmup`;
- OUT/rl.parquet: the other rows as they are, for `sgpo strategies extract OUT/rl.parquet`.

Which problems the paper sampled is not published; the seed makes ours repeatable.
"""

import argparse
from pathlib import Path

from datasets import Dataset, load_dataset

HUB = "Elliott/Openr1-Math-46k-8192"
BUILDERS = {".parquet": "parquet", ".jsonl": "json"}


def load(source: str) -> Dataset:
    """The rows of a file or a hub data set, with the columns that the split needs."""
    suffix = Path(source).suffix
    if suffix in BUILDERS and not Path(source).is_file():
        raise SystemExit(f"error: {source} is not a file")
    builder = BUILDERS.get(suffix)
    rows = load_dataset(builder, data_files=source, split="train") if builder else load_dataset(source, split="train")
    missing = {"prompt", "target"} - set(rows.column_names)
    if missing:
        raise SystemExit(f"error: {source} has no column {sorted(missing)[0]!r}, but {rows.column_names}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default=HUB)
    parser.add_argument("--out", type=Path, default=Path("data"))
    parser.add_argument("--problems", type=int, default=8500, help="to sample")
    parser.add_argument("--warmup", type=int, default=None, help="of them for the warm-up; default: a third")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = load(args.source)
    if not 1 <= args.problems <= len(rows):
        raise SystemExit(f"error: --problems is {args.problems}, but must be from 1 to the {len(rows)} rows there are")
    warmup = args.problems // 3 if args.warmup is None else args.warmup
    if not 0 < warmup < args.problems:
        raise SystemExit(f"error: --warmup is {warmup}, but must leave some of the {args.problems} problems to both")
    rows = rows.shuffle(seed=args.seed).select(range(args.problems))
    folder = args.out / "warmup"
    folder.mkdir(parents=True, exist_ok=True)
    first = rows.select(range(warmup)).select_columns(["prompt", "target"]).rename_column("target", "completion")
    first.to_parquet(folder / "train.parquet")
    rows.select(range(warmup, args.problems)).to_parquet(args.out / "rl.parquet")
    print(f"{warmup} problems in {folder / 'train.parquet'}, {args.problems - warmup} in {args.out / 'rl.parquet'}")


if __name__ == "__main__":
    main()
