#!/bin/bash
# The Debian packages build, hold what they should and nothing else, install into a clean Debian with nothing but what
# they say they need, run the main job there, and leave nothing when they are purged.
: "${VCKPT_BUILD:=$(cd "$(dirname "$0")/../.." && pwd)/build}"
exec "$(dirname "$0")/../packages/run" --tree "$VCKPT_BUILD/clean-debian"
