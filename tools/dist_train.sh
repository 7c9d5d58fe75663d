#!/usr/bin/env bash
# Train or test on the processes of one or more machines, one a GPU (or CPU):
#   tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]
# More machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. On one
# machine a free port is taken unless PORT names one.
set -euo pipefail

TOOL=${HERO_MM_TOOL:-train}
FILES=$([ "$TOOL" = train ] && echo 1 || echo 2)
if [ "$#" -le "$FILES" ]; then
    sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
ARGS=("${@:1:FILES}"); shift "$FILES"
PROCESSES=$1; shift
TOOLS="$(cd "$(dirname "$0")" && pwd)"

if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
    MEET=(--standalone --local-addr=127.0.0.1)
else
    MEET=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
fi

PYTHONPATH="$TOOLS/..:${PYTHONPATH:-}" exec "${PYTHON:-python}" -m torch.distributed.run \
    "${MEET[@]}" --nproc_per_node="$PROCESSES" \
    "$TOOLS/$TOOL.py" "${ARGS[@]}" --launcher pytorch "$@"
