# shellcheck shell=bash disable=SC2154 # variables and functions of guest/build
# openmpi.sh: what guest/build takes of Open MPI, 4.1 or 5.0, whichever this machine has.

# open_mpi_parts PROGRAM...: each under the name it is called by, whatever it is a link to.
open_mpi_parts()
{
	local f
	for f in "$@"; do
		need "$f" openmpi-bin
		install_file "$(command -v "$f")" "/usr/bin/$f"
	done
}

# Everything of Open MPI that runs here, less what needs hardware or batch systems that a small
# guest does not have (their libraries would triple the image).
open_mpi()
{
	local dir f name
	dir=$(ompi_info --param mca base --level 9 --parsable |
		sed -n 's/^mca:mca:base:param:mca_base_component_path:value://p' |
		tr -d '"' | cut -d: -f1)
	[ -d "$dir" ] || die "ompi_info names no folder of components: is Open MPI 4.1 or 5.0 installed?"
	for f in "$dir"/mca_*.so; do
		name=${f##*/mca_}
		case $name in
		'*.so') continue ;; # 5.0 has its own within its libraries
		*_ucx.so) [ -n "$ucx" ] || continue ;;
		*ofi* | *openib* | *psm* | *flux* | *jsm* | *slurm* | *gridengine*) continue ;;
		*romio* | *simulator* | memheap_* | spml_* | sshmem_* | scoll_* | *pcollreq*) continue ;;
		esac
		install_file "$f" "$f"
	done
	for f in ${components[@]+"${components[@]}"}; do
		install_program "$f" "$dir/$(basename "$f")"
	done
	# What components say, ours among them.
	for f in /usr/share/openmpi/*.txt "$here"/../ompi-component/hook/vckpt/help-*.txt; do
		[ ! -f "$f" ] || install_file "$f" "/usr/share/openmpi/${f##*/}"
	done
	open_mpi_parts ompi_info
	case $(ompi_info --version) in
	*' v4.'*) open_mpi_4 "$dir" ;;
	*' v5.'*) open_mpi_5 ;;
	*) die "only Open MPI 4.1 and 5.0 are known, this is $(ompi_info --version | head -n 1)" ;;
	esac
}

open_mpi_4()
{
	open_mpi_parts orterun orted
	ln -s orterun "$root/usr/bin/mpirun"
	ln -s orterun "$root/usr/bin/mpiexec"
	pmix_components "$1"/mca_pmix_ext*.so
	cat >"$root/etc/openmpi/openmpi-mca-params.conf" <<X
plm_rsh_agent = /usr/bin/gsh
pml = ob1
btl = tcp,self,vader
btl_base_warn_component_unused = 0
btl_tcp_if_include = eth0
oob_tcp_if_include = eth0
mpi_yield_when_idle = 1
mtl = ^ofi
X
	if [ -n "$ucx" ]; then
		# Without these pml/ucx declines when there is no InfiniBand.
		printf '%s\n' 'pml_ucx_tls = any' 'pml_ucx_devices = any'
	else
		echo 'osc = ^ucx'
	fi >>"$root/etc/openmpi/openmpi-mca-params.conf"
}

# 5.0 starts programs with PRRTE, a launcher of its own: mpirun becomes prterun, which has a prted
# started in each guest and has its own file of settings.
open_mpi_5()
{
	local f
	open_mpi_parts prte prted mpirun
	ln -s prte "$root/usr/bin/prterun"
	ln -s mpirun "$root/usr/bin/mpiexec"
	pmix_components "$(command -v prted)"
	for f in /usr/share/prte/*.txt; do
		[ ! -f "$f" ] || install_file "$f" "$f"
	done
	# pml/ucx is within libmpi; without opal_common_ucx_* it declines when there is no InfiniBand. So does
	# pml/cm over libfabric (`--mca pml cm --mca mtl ofi`) unless its provider is named.
	cat >"$root/etc/openmpi/openmpi-mca-params.conf" <<X
pml = ob1
btl = tcp,self,sm
btl_base_warn_component_unused = 0
btl_tcp_if_include = eth0
mpi_yield_when_idle = 1
mtl = ^ofi
osc = ^ucx
opal_common_ucx_tls = any
opal_common_ucx_devices = any
opal_common_ofi_provider_include = tcp;ofi_rxm
X
	# A guest has fewer processors than a test wants ranks.
	cat >"$root/etc/openmpi/prte-mca-params.conf" <<X
plm_ssh_agent = /usr/bin/gsh
prte_if_include = eth0
hwloc_default_binding_policy = none
X
}

# pmix_components FILE...: PMIx looks for its own components, and help texts, beside its library; which one
# that is, the libraries of FILE say.
pmix_components()
{
	local lib f
	lib=$(ldd "$@" 2>/dev/null | awk '/libpmix/ {print $3; exit}')
	[ -n "$lib" ] || return 0
	lib=$(readlink -f "$lib")
	for f in "${lib%/*}"/pmix/*.so; do
		[ ! -f "$f" ] || install_file "$f" "$f"
	done
	for f in "${lib%/*/*}"/share/pmix/*.txt; do
		[ ! -f "$f" ] || install_file "$f" "$f"
	done
}

# ucx finds its transports by name at run time, beside libuct.
ucx_modules()
{
	local f
	for f in "$libdir"/ucx/libu*.so.0; do
		case $f in
		*cuda* | *rocm* | *gdr* | *xpmem* | *_ib* | *rdmacm* | *_cm.so* | *perftest* | *fuse*) continue ;;
		esac
		[ ! -f "$f" ] || install_file "$f" "$f"
	done
}
