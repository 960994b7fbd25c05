# shellcheck shell=bash disable=SC2016,SC2154 # scripts for other shells; variables of tests/packages/run
# clean.sh: a clean Debian, and the packages in it.
#
#   $tree/root      Debian, and what the packages depend on, but not the packages; kept for the next time
#   $tree/archives  packages of Debian that were fetched for the main job
#   $tree/made      what it was made of; if that is to be otherwise now, it is made anew
#   $scratch/root   a copy, for this run

packages=(vckpt vckpt-agent openmpi-vckpt libvckpt0 libvckpt-dev)

# What the main job itself needs: hypervisor, Open MPI, the builder of guests. No compiler, nothing of vckpt.
tools=(
	qemu-system-x86 qemu-utils seabios libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
	openmpi-bin busybox-static cpio kmod xz-utils zstd lz4 binutils iproute2 util-linux procps jq
	ca-certificates libcap2-bin hostname
)

die()
{
	echo "not ok clean-debian # $*"
	exit 1
}

# What the packages depend on, but for each other.
dependencies()
{
	local p
	for p in "${packages[@]}"; do
		dpkg-deb -f "$scratch/${p}_"*.deb Depends Pre-Depends | sed 's/^[A-Za-z-]*: //'
	done | tr , '\n' | sed 's/^ *//' | grep -vE "^($(IFS='|' && echo "${packages[*]}"))( |$)" | sort -u | paste -sd,
}

# Makes the tree, unless it is there as it is wanted.  The machine's mirror and suite are found as guest/suite.sh does.
clean_debian()
{
	local suite uri depends made
	# shellcheck source=guest/suite.sh
	. "$top/guest/suite.sh"
	suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	depends=$(dependencies)
	made="$suite: $depends"
	if [ ! -e "$tree/made" ] || [ "$(cat "$tree/made")" != "$made" ]; then
		uri=$(suite_mirror) || { echo "$uri" && return 1; }
		rm -rf --one-file-system "$tree"
		mkdir -p "$tree/archives"
		DEPENDS=$depends mmdebstrap --mode=root --variant=minbase --format=directory --skip=cleanup/apt/lists \
			--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
			--customize-hook='chroot "$1" apt-get satisfy -y --no-install-recommends "$DEPENDS"' \
			"$suite" "$tree/root" "deb $uri $suite main" </dev/null ||
			{ echo "no Debian $suite could be made from $uri" && return 1; }
		echo "$made" >"$tree/made"
	fi
	cp -a "$tree/root" "$scratch/root" && mkdir -p "$scratch/root/t/pkg" "$scratch/root/usr/lib/modules" || return 1
	for p in "${packages[@]}"; do
		cp "$scratch/${p}_"*.deb "$scratch/root/t/pkg/" || return 1
	done
	cp "$here/installed" "$scratch/root/t/"
}

# clean SCRIPT [ARGUMENT...]: in the copy, with this machine's kernel; mounts and processes are gone at its end.
clean()
{
	unshare -mpf --kill-child --propagation private -- sh -ec '
		root=$0 archives=$1
		shift
		mount --bind "$root" "$root"
		for d in sys dev boot usr/lib/modules; do
			mkdir -p "$root/$d"
			mount --rbind "/$d" "$root/$d"
		done
		mount -t proc proc "$root/proc"
		mount -t tmpfs run "$root/run"
		mount --bind "$archives" "$root/var/cache/apt/archives"
		exec chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
			DEBIAN_FRONTEND=noninteractive bash -c "$@"' "$scratch/root" "$tree/archives" "$@" </dev/null
}

# A program that is built with what libvckpt-dev installs: headers and library by pkg-config, nothing else of ours.
# The compiler is this machine's, since the clean Debian has none.
link_program()
{
	local root=$scratch/root said
	said=$(PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$(echo "$root"/usr/lib/*/pkgconfig) \
		pkg-config --cflags --libs libvckpt) || return 1
	grep -q -- '-lvckpt' <<<"$said" || { echo "pkg-config says '$said'" && return 1; }
	# Headers and library are in the compiler's default folders, so pkg-config names neither.
	# shellcheck disable=SC2086 # words wanted
	gcc -std=gnu17 -Wall -Werror -I"$root/usr/include" -o "$root/t/monitor" "$top/examples/monitor.c" \
		-L"$(echo "$root"/usr/lib/*-linux-gnu)" $said || return 1
	readelf -d "$root/t/monitor" | grep 'NEEDED.*libvckpt\.so\.0'
}

# What was not there before the packages, or is there otherwise. dpkg's and apt's own notes are theirs.
left_behind()
{
	(cd "$scratch/root" && find . -path ./t -prune -o -path ./proc -prune -o -path ./sys -prune -o -path ./dev -prune -o \
		-path ./var/lib/dpkg -prune -o -path ./var/lib/apt -prune -o -path './var/cache/*' -prune -o \
		-path './var/log/*' -prune -o -path './etc/*-' -prune -o \( -type d -printf '%p %m %u %g\n' \) -o \
		\( -type f -printf '%p %m %u %g %s\n' \) -o -printf '%p %l\n' | sort
	cat "$scratch/root/etc/passwd" "$scratch/root/etc/group")
}

capabilities()
{
	sed -n 's/^CapabilityBoundingSet=//p' "$scratch/root/lib/systemd/system/vckptd.service" | tr 'A-Z ' 'a-z,'
}

words()
{
	tr , '\n' | sort
}

# The main job with the source's tests. What lies in /t is what a build tree would be: programs of the tests, and a
# `run` that adds nothing to what is installed.
main_job()
{
	local root=$scratch/root caps
	caps=$(capabilities)
	mkdir -p "$root/t/tests/lab" "$root/t/src" || return 1
	cp -a "$top"/{guest,tests} "$root/t/src/" && cp -a "$built"/tests/lab/{guard,try-kvm} "$root/t/tests/lab/" &&
		cp -a "$built/examples/heat2d" "$root/t/heat2d" || return 1
	cat >"$root/t/run" <<'Y2'
#!/bin/sh
exec env VCKPT_DAEMON=/t/vckptd "$@"
Y2
	# As systemd would start it: the unit's capabilities. capsh only takes away.
	cat >"$root/t/vckptd" <<Y2
#!/bin/sh
drop=\$(capsh --print | sed -n 's/^Bounding set =//p' | tr , '\n' | grep -vxF "\$(echo $caps | tr , '\n')" | paste -sd,)
exec capsh --drop="\$drop" --no-new-privs --shell=/t/limited -- "\$@"
Y2
	cat >"$root/t/limited" <<'Y2'
#!/bin/sh
capsh --decode="$(sed -n 's/^CapEff:.//p' /proc/self/status)" | sed 's/.*=//' >/t/capabilities
exec /usr/sbin/vckptd "$@"
Y2
	chmod 755 "$root/t/run" "$root/t/vckptd" "$root/t/limited"
	clean 'set -e
		cd /t/src
		export TMPDIR=/t VCKPT_BUILD=/t LAB_ACCEL=$1 VCKPT_TEST_PATIENCE=$2
		[ -z "$(command -v gcc)" ] || { echo "this is no clean Debian"; exit 1; }
		components=$(ompi_info --parsable --path pkglibdir | cut -d: -f3)
		ompi_info --param hook vckpt --level 9 | grep "MCA hook vckpt" >/dev/null ||
			{ echo "Open MPI does not find the component"; exit 1; }
		guest/build --quiet --out /t/image --agent /usr/sbin/vckpt-agent \
			--component "$components/mca_hook_vckpt.so" --add /t/heat2d:/usr/bin/heat2d
		tests/real/main-job' - "${LAB_ACCEL-}" "${VCKPT_TEST_PATIENCE:-1}"
}
