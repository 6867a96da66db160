# sgpo with vLLM and LoRA on NVIDIA GPUs, in the versions of constraints-gpu.txt. The wheels of torch bring CUDA with
# them, so the host needs a driver and its container toolkit alone:
#   docker build -t sgpo . && docker run --gpus all --ipc=host -v "$PWD:/run" -w /run sgpo train --config recipe.yaml
FROM python:3.12-slim

# Triton and vLLM compile kernels when they first run; git is what provenance.json asks for the commit.
RUN apt-get update && apt-get install -y --no-install-recommends build-essential git && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/sgpo
# The versions first: a change of our source does not download gigabytes again.
COPY constraints-gpu.txt ./
RUN pip install --no-cache-dir -c constraints-gpu.txt torch transformers trl vllm peft matplotlib

COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY recipes ./recipes
RUN pip install --no-cache-dir -c constraints-gpu.txt '.[vllm,lora,report]'

ENV TOKENIZERS_PARALLELISM=false
ENTRYPOINT ["sgpo"]
CMD ["--help"]
