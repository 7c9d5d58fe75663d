#!/usr/bin/env bash
# Test on several processes; dist_train.sh says how both are called.
HERO_MM_TOOL=test
. "$(dirname "$0")/dist_train.sh"
