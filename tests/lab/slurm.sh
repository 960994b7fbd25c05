# shellcheck shell=bash
# slurm.sh: for tests that run Slurm's own daemons, as root and with nothing that needs systemd or control groups.

# slurm_files DIR MPI: DIR/slurm.conf, with what is on stdin added; DIR/cgroup.conf; DIR/munge.key. MPI: Slurm's MpiDefault.
slurm_files()
{
	cat - >"$1/slurm.conf" <(
		cat <<-X
			ClusterName=lab
			SlurmUser=root
			SlurmdUser=root
			AuthType=auth/munge
			CryptoType=crypto/munge
			MpiDefault=$2
			ProctrackType=proctrack/linuxproc
			TaskPlugin=task/none
			SelectType=select/linear
			SlurmdParameters=config_overrides
			ReturnToService=2
			StateSaveLocation=/run/slurm/state
			SlurmdSpoolDir=/run/slurm/spool
			SlurmctldPidFile=/run/slurmctld.pid
			SlurmdPidFile=/run/slurmd.pid
		X
	)
	# Of the cgroups nothing is used, but without this slurmd wants them mounted.
	echo CgroupPlugin=cgroup/v1 >"$1/cgroup.conf"
	head -c 1024 /dev/urandom >"$1/munge.key"
	chmod 600 "$1/munge.key"
}
