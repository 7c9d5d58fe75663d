#!/usr/bin/env bash
# Test as a Slurm job; slurm_train.sh says how both are called.
HERO_MM_TOOL=test
. "$(dirname "$0")/slurm_train.sh"
