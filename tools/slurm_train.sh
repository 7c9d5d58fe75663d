#!/usr/bin/env bash
# Train or test as a Slurm job:
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [flags of tools/train.py]
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS.
set -euo pipefail

TOOL=${HERO_MM_TOOL:-train}
if [ "$#" -lt "$([ "$TOOL" = train ] && echo 3 || echo 4)" ]; then
    sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
PARTITION=$1; JOB_NAME=$2; shift 2
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
TOOLS="$(cd "$(dirname "$0")" && pwd)"
export MASTER_PORT=${MASTER_PORT:-$((12000 + RANDOM % 20000))}

# SRUN_ARGS holds several arguments on purpose.
# shellcheck disable=SC2086
PYTHONPATH="$TOOLS/..:${PYTHONPATH:-}" exec srun -p "$PARTITION" \
    --job-name="$JOB_NAME" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="${GPUS:-8}" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$TOOLS/$TOOL.py" "$@" --launcher slurm
