#!/usr/bin/env bash
# One array task, submitted by submit.sh:   job.sh PYTHON GRID   runs number $SLURM_ARRAY_TASK_ID of the grid.
# A run that ends with 75 has saved its state and wants to go on: its task goes back into the queue, unless it was
# cancelled or requeued from outside: SLURM takes such a job out of the state RUNNING before it sends the signal.
set -uo pipefail

# Not $SLURM_JOB_ID: of one of its tasks that is the number of the whole array.
task="${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
child='' signalled=''
pass_on() {
  signalled=yes
  [ -z "$child" ] || kill -s "$1" "$child" 2>/dev/null || true
}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM

echo "== $(date '+%F %T') task $task on $HOSTNAME, start $((${SLURM_RESTART_COUNT:-0} + 1))"
"$1" -m scripts.sweep "$2" --index "$SLURM_ARRAY_TASK_ID" &
child=$!
# A trapped signal cuts `wait` short; the run's own exit code comes from the last one.
while :; do
  wait "$child"
  code=$?
  kill -0 "$child" 2>/dev/null || break
done
wait "$child" && code=0 || code=$?

# Python was still starting up: nothing was lost.
case "$code:$signalled" in
  $((128 + $(kill -l USR1))):yes | $((128 + $(kill -l TERM))):yes) code=75 ;;
esac
[ "$code" = 75 ] || exit "$code"

state="$(scontrol show job -o "$task" | sed -n 's/.* JobState=\([A-Z_]*\).*/\1/p')"
case "$state" in
  RUNNING)
    echo "== $(date '+%F %T') state saved; back into the queue"
    scontrol requeue "$task" || echo "== not requeued: submit.sh submits it again" ;;
  *) echo "== $(date '+%F %T') state saved; SLURM is ending this task ($state): if it was cancelled, submit.sh submits it again" ;;
esac
exit 75
