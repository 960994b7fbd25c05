#!/bin/bash
# A few of the MPI cases under a storm of holds by the socket gate, natively: tests/mpi/storm, 2 s each.  All
# cases and both transports run when that is called by hand.
here=$(cd "$(dirname "$0")" && pwd)
set -uo pipefail
storm()
{
	"$here/../mpi/storm" --seconds 2 "$@" |
		sed 's/^| \([a-z-]*\) | \([a-z0-9]*\) | \(.*\) | right |$/ok \1 by \2: \3/
			s/^| \([a-z-]*\) | \([a-z0-9]*\) | \(.*wrong.*\) |$/not ok \1 by \2: \3/'
}

status=0
storm --pml ob1 wildcards mprobe coll-nonblocking fork kill || status=1
storm --pml ucx eager-unexpected threads coll-persistent connect || status=1
exit $status
