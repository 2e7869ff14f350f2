#!/usr/bin/env bash
# Submit what is missing of a sweep to SLURM: what is neither done nor in the queue.
#   bash scripts/slurm/submit.sh GRID.yaml [--dry_run] [sbatch options: --partition, --account, --gres, --time, ...]
# A chain a data set, model and seed: the pretrained run, then an array of retrained ones, then one of unlearning runs.
#   PYTHON=python       the interpreter that the jobs use
#   LOGS=output/slurm   folder of the logs, one a task, and of a copy of the grid
#   THROTTLE=N          at most N tasks of an array at a time
set -euo pipefail
usage="usage: [PYTHON=python] [LOGS=output/slurm] [THROTTLE=N] bash $0 GRID.yaml [--dry_run] [sbatch options]"
[ $# -ge 1 ] && [ -f "$1" ] || { echo "$usage" >&2; exit 2; }
grid="$(realpath -- "$1")"
shift
dry_run=''
options=()
for option in "$@"; do
  if [ "$option" = --dry_run ]; then dry_run=yes; else options+=("$option"); fi
done

PYTHON="${PYTHON:-python}"
case "$PYTHON" in
  /*) ;;
  */*) PYTHON="$PWD/$PYTHON" ;;
esac
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
LOGS="$(realpath -m -- "${LOGS:-output/slurm}")"
mkdir -p -- "$LOGS"
exec 9>"$LOGS/.submit.lock"
flock 9 # of two that submit at once, the second finds the jobs of the first in the queue

# The tasks read this copy: numbers stay what they are when the grid is edited meanwhile.
name="$(basename -- "${grid%.*}")"
name="${name//[^A-Za-z0-9_.-]/_}-$(sha256sum -- "$grid" | cut -c 1-8)"
copy="$LOGS/$name.yaml"
cp -- "$grid" "$copy"

queue="$(mktemp)"
trap 'rm -f -- "$queue"' EXIT
if [ -z "$dry_run" ] || command -v squeue >/dev/null; then
  squeue --noheader --array --user "$(id -un)" --format '%F %K %k' >"$queue"
fi
lines="$("$PYTHON" -m scripts.sweep "$copy" --slurm_jobs --queue "$queue")"
[ -n "$lines" ] || { echo "nothing to submit: every run is done or in the queue ($(wc -l <"$queue") tasks there)"; exit 0; }

previous='' ids='' number=0
while read -r chain stage runs queued; do
  [ "$chain" = "$previous" ] || ids=''
  previous="$chain"
  after="$(printf '%s:%s' "$ids" "${queued#-}" | sed 's/^:*//; s/:*$//')"
  command=(
    sbatch --parsable --requeue --signal=B:USR1@120 --output="$LOGS/%x-%A_%a.log" ${options[@]+"${options[@]}"}
    --job-name="$name" --comment="$copy" --chdir="$PWD" --open-mode=append --array="$runs${THROTTLE:+%$THROTTLE}"
    ${after:+"--dependency=afterok:$after"} --kill-on-invalid-dep=yes scripts/slurm/job.sh "$PYTHON" "$copy"
  )
  number=$((number + 1))
  if [ -n "$dry_run" ]; then
    job="JOB$number"
    printf '%s:' "$job" && printf ' %q' "${command[@]}" && echo
  else
    job="$("${command[@]}" 9>&-)"
    job="${job%%;*}" # a federation adds the cluster's name
    echo "$job  $chain  $stage  runs $runs${after:+  after $after}"
  fi
  ids="$ids:$job"
done <<<"$lines"
