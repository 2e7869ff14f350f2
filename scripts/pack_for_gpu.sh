#!/usr/bin/env bash
# Pack what a machine without network needs into one archive of at most 60 MB: the files that git tracks and, where
# asked for, a cut of FairFace, weights and wheels. Says how to unpack and run it there.
#   bash scripts/pack_for_gpu.sh [--data_dir FOLDER] [--faces N] [--weights FILE ...] [--wheels FOLDER] [--out FILE]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_python.sh"

exec "$chosen" -m scripts.acceptance.pack "$@"
