#!/bin/bash
# The Debian packages build, hold what they should and nothing else, and systemd finds nothing wrong with their units.
# That they work in a clean Debian: tests/packages/run, not here, since it fetches 1 GB.
exec "$(dirname "$0")/../packages/run" --build-only
