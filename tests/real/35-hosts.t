#!/bin/bash
# A job over two hosts.
# shellcheck source=tests/real/hosts.sh
. "$(dirname "$0")/hosts.sh"

hosts_start 2
expect_ok "a checkpoint over two hosts" vckpt checkpoint heat
heat_moves "the job goes on"
finish
