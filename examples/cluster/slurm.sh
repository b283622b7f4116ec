#!/bin/bash
# unic on several nodes under SLURM, with a requeue when the job is pre-empted or its time runs out.
#   sbatch examples/cluster/slurm.sh recipes/unic-vitb16.yaml runs/unic-vitb16
#SBATCH --job-name=unic
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120
# Two minutes before the end SLURM sends USR1 to every task: unic saves after the step it is in and exits with 75.

recipe=$1 out=$2
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export MASTER_ADDR MASTER_PORT

# Each task is one process of the run; the variables are those that torchrun would set.
srun --kill-on-bad-exit=0 bash -c '
  export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
  exec unic distill "$0" --out "$1" --resume' "$recipe" "$out"
code=$?
if [ "$code" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
