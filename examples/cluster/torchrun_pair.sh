#!/bin/bash
# One run on two nodes: start this on each of them, with the same address of the first.
#   examples/cluster/torchrun_pair.sh 0 10.0.0.1:29500 RECIPE OUT     on the first node
#   examples/cluster/torchrun_pair.sh 1 10.0.0.1:29500 RECIPE OUT     on the second
# OUT is on a disk that both see. If a process fails, torchrun starts all again, and the run goes on from its
# newest checkpoint. PROCS: processes on this node, one for each GPU.
set -euo pipefail
node=$1 endpoint=$2 recipe=$3 out=$4
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes 2 --node-rank "$node" --nproc-per-node "${PROCS:-1}" \
  --master-addr "${endpoint%:*}" --master-port "${endpoint#*:}" --max-restarts 3 \
  -m unic distill "$recipe" --out "$out" --resume
