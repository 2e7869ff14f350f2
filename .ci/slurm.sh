#!/usr/bin/env bash
# A SLURM of one node on loopback, for tests: Debian's packages, no systemd, no cgroups, no accounting. Needs root.
#   bash .ci/slurm.sh FOLDER   starts it with all its files in FOLDER; then source FOLDER/env.sh. Again: does nothing.
#   bash .ci/slurm.sh FOLDER stop
set -euo pipefail
umask 022
folder="$(realpath -m -- "${1:?usage: bash .ci/slurm.sh FOLDER [stop]}")"
export PATH="$PATH:/usr/sbin:/sbin" SLURM_CONF="$folder/slurm.conf"
daemons=(slurmd slurmctld munged)

# A pid file may be left from a process that has ended, and its number may be another's by now.
running() { [ -f "$folder/$1.pid" ] && [ "$(cat "/proc/$(cat "$folder/$1.pid")/comm" 2>/dev/null)" = "$1" ]; }
stopped() { ! running "$1"; }
within_seconds() {
  local limit=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    [ $SECONDS -lt $limit ] || return 1
    sleep 0.1
  done
}

if [ "${2:-}" = stop ]; then
  for daemon in "${daemons[@]}"; do
    if running "$daemon"; then
      kill "$(cat "$folder/$daemon.pid")"
      within_seconds 20 stopped "$daemon"
    fi
  done
  exit 0
fi

for daemon in "${daemons[@]}"; do
  command -v "$daemon" >/dev/null && continue
  export DEBIAN_FRONTEND=noninteractive
  # Debian asks this file whether a package may start its daemons: not these.
  [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; ours=yes; }
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge; } >&2
  [ -z "${ours:-}" ] || rm /usr/sbin/policy-rc.d
  break
done

mkdir -p "$folder"/{state,spool,munge}
host="$(hostname -s)"
getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >>/etc/hosts
[ -f "$folder/munge.key" ] || (umask 077 && head -c 128 /dev/urandom >"$folder/munge.key")
port=$((20000 + RANDOM % 20000))
[ -f "$SLURM_CONF" ] || cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
# Each daemon listens on the address that the host's name has, not on all of them.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
# How long a credential lives is also how long a requeued job waits; less than 5 counts as the default, 120.
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=30
ReturnToService=2
# More CPUs than there may be: these tests wait more than they compute.
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
echo "export PATH=\"\$PATH:/usr/sbin\" SLURM_CONF='$SLURM_CONF'" >"$folder/env.sh"

munge_answers() { munge -n -S "$folder/munge/socket" | unmunge -S "$folder/munge/socket"; }
node_ready() { sinfo -h -o %t | grep -Eq '^(idle|mix|alloc)$'; }
running munged || munged --key-file="$folder/munge.key" --socket="$folder/munge/socket" --force \
  --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge/seed"
within_seconds 20 munge_answers
running slurmctld || slurmctld -i
within_seconds 20 scontrol ping
running slurmd || slurmd
within_seconds 30 node_ready || { tail -n 20 "$folder"/slurm*.log >&2; exit 1; }
