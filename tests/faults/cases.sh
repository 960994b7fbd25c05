# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # see below
# cases.sh: which cases tests/campaign has; $reach is its trace.

# cases: from what was traced and the source's list.
cases()
{
	"$top/tests/faults/points" | awk -v order="${scenarios[*]}" '
		BEGIN { n = split(order, o, " "); for (i = 1; i <= n; i++) rank[o[i]] = i }
		FNR == NR && NF == 3 { kind[$1] = $2; next }
		!($3 in kind) { next }
		{ k = $2 "/" $3
		  if (!(k in best) || rank[$1] < rank[best[k]]) { best[k] = $1; times[k] = $4 } }
		END {
			for (k in best) {
				split(k, p, "/")
				list = "1"
				if (p[2] ~ /^file\./ && p[1] == "vckpt") for (i = 2; i <= times[k] && i <= 5; i++) list = list " " i
				if (p[2] ~ /^(host.capture.read|store.pack.write|store.direct.write|store.repack.write|host.restore.pages|store.blob.write|store.pages.read)$/ && times[k] > 2)
					list = list " " int(times[k] / 2)
				m = split(list, nth, " ")
				for (i = 1; i <= m; i++) {
					c = best[k] "/" k "/" nth[i] "/"
					print c "kill"
					print c "delay"
					if (p[2] ~ /^agent\.told/) print c "deaf"
					if (kind[p[2]] == "point") print c "error"
					if (kind[p[2]] == "point" && p[2] ~ /^(file|store.*write)/) print c "error=ENOSPC"
				}
			}
		}' - "$reach" | sort
	for op in prepare hold pause disk cut run release committed; do
		for v in vckptd agent QEMU libvirtd; do
			echo "checkpoint/vckpt/coordinator.send.$op/1/kills=$v"
		done
		for v in vckpt agent QEMU libvirtd; do
			echo "checkpoint/vckptd/host.begin.$op/1/kills=$v"
		done
	done | grep -vE "(send.(disk|cut|run)|begin.(pause|disk|cut|run|release))/1/kills=agent" # in a guest that stands nobody dies
	for v in vckptd QEMU libvirtd; do
		echo "checkpoint/vckpt/store.seal.epoch/1/kills=$v"
	done
	for v in vckpt vckptd QEMU libvirtd; do
		echo "checkpoint/vckpt-agent/agent.gate.check/1/kills=$v"
	done
	for v in vckpt QEMU libvirtd; do
		echo "checkpoint/vckptd/host.capture.read/3/kills=$v"
		echo "checkpoint/vckptd/store.pages.read/1/kills=$v"
		echo "checkpoint/vckptd/store.pages.write/1/kills=$v"
		echo "restart/vckptd/host.restore.pages/2/kills=$v"
		echo "restart/vckptd/host.wake.greeted/1/kills=$v"
	done
	for v in vckpt QEMU libvirtd; do
		echo "migrate/vckptd/host.migrate.underway/3/kills=$v"
	done
	for v in vckptd QEMU libvirtd; do
		echo "migrate/vckpt/coordinator.send.migrate/1/kills=$v"
	done
	for v in vckptd QEMU libvirtd; do
		echo "flush/vckptd-copy/store.copy.entry/1/kills=$v"
	done
	echo "flush/vckptd-copy/store.copy.file/1/kills=vckptd"
	# What a flush comes by, too.
	for p in file write rename entry; do
		for a in kill delay error error=ENOSPC; do
			echo "fetch/vckpt/store.copy.$p/1/$a"
		done
	done
	# Its guests go, or run on; what others come by, too.
	for op in prepare hold pause disk cut committed; do
		echo "suspend/vckpt/coordinator.send.$op/1/kill"
		echo "suspend/vckptd/host.begin.$op/1/kill"
		echo "suspend/vckptd/host.end.$op/1/kill"
	done
	for v in vckptd QEMU libvirtd; do
		echo "suspend/vckpt/store.ticket.rename/1/kills=$v"
		echo "suspend/vckpt/store.ticket.renamed/1/kills=$v"
		echo "suspend/vckpt/coordinator.send.committed/1/kills=$v"
	done
	for op in restore wake; do
		for v in vckptd QEMU libvirtd; do
			echo "restart/vckpt/coordinator.send.$op/1/kills=$v"
		done
	done
}

quick_cases=(
	checkpoint/vckpt/store.seal.epoch/1/kill checkpoint/vckptd/store.pack.write/1/error=ENOSPC
	checkpoint/vckptd/host.pause.stands/1/kill checkpoint/vckptd/host.disk.cut/1/error
)
