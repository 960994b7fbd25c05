#!/bin/bash
# The agent with real processes, sockets and a real wire, in namespaces of this machine: tests/agent/run.
here=$(cd "$(dirname "$0")" && pwd)
build=${VCKPT_BUILD:-$here/../../build}
"$here/../agent/run" "$build/vckpt-agent" "$build/tests/agent/drive" "$build/tests/agent/rank" 40
