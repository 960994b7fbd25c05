# shellcheck shell=sh
# rig.sh: two "guests" made of network, mount and UTS namespaces, joined by a veth pair, and what mpirun needs to
# run a job in both.  To be sourced by a program with `set -eu` that has put the folder of mca_hook_vckpt.so into
# $component.  Needs root; touches nothing outside its namespaces and its scratch folder, which goes at exit.
#   $a, $b            the guests: processes in their namespaces, addresses 10.77.0.1 and 10.77.0.2
#   $ob1, $ucx, $ofi  options of mpirun for each transport
#   $launcher         ports of mpirun's own connections, which are under no gate
system=$(ompi_info --parsable --path pkglibdir | cut -d: -f3)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/vckpt-rig.XXXXXX")
a=
b=

clean() {
	for p in $a $b; do kill "$p" 2>/dev/null || :; done
	rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 130' INT TERM

# One guest: `exec` so that the shell's child is the namespaces' keeper.
guest() {
	unshare -nmu sh -c '
		mount --make-rprivate /
		mount -t tmpfs none /run && mkdir /run/vckpt
		mount -t tmpfs none /dev/shm
		mount --bind '"$scratch/hosts"' /etc/hosts
		hostname '"$1"'
		ip link set lo up
		: > '"$scratch/$1.ready"'
		exec sleep 36000' &
}

printf '127.0.0.1 localhost\n10.77.0.1 vck-a\n10.77.0.2 vck-b\n' > "$scratch/hosts"
guest vck-a; a=$!
guest vck-b; b=$!
while ! [ -e "$scratch/vck-a.ready" ] || ! [ -e "$scratch/vck-b.ready" ]; do sleep 0.05; done
nsenter -t "$a" -n ip link add eth0 type veth peer name eth0 netns "$b"
for g in "$a 1 02:00:00:00:00:01 2 02:00:00:00:00:02" "$b 2 02:00:00:00:00:02 1 02:00:00:00:00:01"; do
	set -- $g "$@"
	# No neighbour discovery, no IPv6: what is on the wire is the job's.
	nsenter -t "$1" -n sh -e -c "
		echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6
		ip link set eth0 address $3 up
		ip addr add 10.77.0.$2/24 dev eth0
		ip neigh replace 10.77.0.$4 lladdr $5 dev eth0 nud permanent"
	shift 5
done
cat > "$scratch/rsh" << END
#!/bin/sh
case \$1 in vck-a|10.77.0.1) p=$a ;; *) p=$b ;; esac
shift
exec nsenter -t \$p -n -m -u -r -- sh -c "\$*"
END
chmod +x "$scratch/rsh"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_mca_base_component_path="$system:$component"
export OMPI_MCA_plm_rsh_agent="$scratch/rsh" OMPI_MCA_orte_tmpdir_base="$scratch"
launcher=30000-30500
export OMPI_MCA_oob_tcp_dynamic_ipv4_ports=$launcher OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0
# What the machine's own configuration says of one-sided communication does not count.
export OMPI_MCA_osc=^ucx
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none
ob1="--mca pml ob1 --mca btl tcp,self"
ucx="--mca pml ucx --mca opal_common_ucx_tls any --mca opal_common_ucx_devices any -x UCX_TLS=tcp,self -x UCX_NET_DEVICES=eth0 --mca osc ^ucx"
ofi="--mca pml cm --mca mtl ofi --mca mtl_ofi_provider_include tcp;ofi_rxm -x FI_TCP_IFACE=eth0"
