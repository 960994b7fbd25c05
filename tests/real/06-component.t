#!/bin/bash
# The component with a real mpirun over two network namespaces, and without Open MPI: tests/ompi/run.  A case
# of each kind; all cases, some longer, run when tests/ompi/run is called by hand.
here=$(cd "$(dirname "$0")" && pwd)
build=${VCKPT_BUILD:-$here/../../build}
set -euo pipefail

scratch=$(mktemp -d "${TMPDIR:-/tmp}/vckpt-component.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
mkdir "$scratch/component"
cp "$build/.libs/mca_hook_vckpt.so" "$scratch/component"
cp "$build"/tests/ompi/{holder,traffic,test-gate} "$scratch"
victim()
{
	${CC:-cc} -shared -fPIC -O1 -D_GNU_SOURCE "$1" -o "$scratch/$2" "$here/../ompi/victim.c"
}
victim -Wl,-z,lazy victim-lazy.so
victim -Wl,-z,relro,-z,now victim-now.so
"$here/../ompi/run" "$scratch/component" "$scratch" interpose ob1-small ob1-big ob1-fork ob1-begin-end ob1-spawn \
	ob1-control ucx-small ofi-small load-option load-settings no-transport each-slot | sed 's/^PASS /ok /; s/^FAIL /not ok /'
