#include "hv/private.h"

#include <linux/capability.h>
#include <string.h>

#include "base/io.h"
#include "hv/kvm.h"

#define KVM_LIMIT (2 * VCKPT_S)
/* virDomainQemuMonitorCommandWithFiles came with 8.2, background-snapshot with 6.0. */
#define LIBVIRT_LEAST 8002000UL
#define QEMU_LEAST    6000000UL

static void add(json_t *list, const char *id, const char *level, const char *object,
		const char *text, const char *cure)
{
	json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "level", level,
					      "object", object, "text", text, "cure", cure));
}

static void add_version(json_t *list, const char *id, const char *object, unsigned long version,
			unsigned long least, const char *cure)
{
	bool fine = version >= least;
	char text[200];

	snprintf(text, sizeof(text), "%s %lu.%lu.%lu", object, version / 1000000,
		 version / 1000 % 1000, version % 1000);
	add(list, id, fine ? "ok" : "bad", object, text, fine ? "" : cure);
}

static void check_versions(virConnectPtr conn, json_t *list)
{
	unsigned long version;

	if (virConnectGetLibVersion(conn, &version) == 0)
		add_version(list, "libvirtd", "libvirtd", version, LIBVIRT_LEAST,
			    "install libvirt 8.2 or newer");
	if (virConnectGetVersion(conn, &version) == 0)
		add_version(list, "qemu", "QEMU", version, QEMU_LEAST,
			    "install QEMU 6.0 or newer for captures that do not stop the guest");
}

static void check_kvm(json_t *list)
{
	char why[160];

	if (vckpt_kvm_try(KVM_LIMIT, why, sizeof(why)) == 0)
		add(list, "kvm", "ok", "KVM", "KVM runs a vCPU", "");
	else
		add(list, "kvm", "warn", "KVM", why,
		    "enable virtualisation (firmware, nested KVM), or use <domain type='qemu'>, "
		    "which "
		    "is slower");
}

/* Effective capabilities of a process; false if it cannot be read. */
static bool capabilities(pid_t pid, uint64_t *effective)
{
	vckpt_autofile FILE *f = NULL;
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "CapEff:", 7)) {
			*effective = strtoull(line + 7, NULL, 16);
			return true;
		}
	return false;
}

/* 1: a QEMU of this libvirtd runs and has CAP_SYS_PTRACE; 0: it has not; -1: none runs. */
static int qemu_has_ptrace(struct vckpt_hv *hv, virConnectPtr conn)
{
	virDomainPtr *all = NULL;
	int n = virConnectListAllDomains(conn, &all, VIR_CONNECT_LIST_DOMAINS_ACTIVE), found = -1;

	for (int i = 0; i < n; i++) {
		char uuid[VIR_UUID_STRING_BUFLEN];
		uint64_t effective;
		pid_t pid = 0;

		if (virDomainGetUUIDString(all[i], uuid) == 0)
			pid = vckpt_qemu_pid(hv->uri, virDomainGetName(all[i]), uuid);
		if (pid && found < 0 && capabilities(pid, &effective))
			found = effective >> CAP_SYS_PTRACE & 1;
		virDomainFree(all[i]);
	}
	free(all);
	return found;
}

static void check_userfaultfd(struct vckpt_hv *hv, virConnectPtr conn, json_t *list)
{
	static const char cure[] =
		"sysctl vm.unprivileged_userfaultfd=1, or give QEMU CAP_SYS_PTRACE (in libvirt's "
		"qemu.conf clear_emulator_capabilities = 0, and setcap cap_sys_ptrace+ep on QEMU's "
		"binary or user = \"root\"); without, guests stand still while they are captured";
	vckpt_autofree char *sysctl = NULL;
	size_t len;
	int has;

	if (vckpt_read_file("/proc/sys/vm/unprivileged_userfaultfd", 4096, &sysctl, &len, NULL) ==
		    0 &&
	    sysctl[0] == '1') {
		add(list, "userfaultfd", "ok", "userfaultfd", "every process may use userfaultfd",
		    "");
		return;
	}
	has = qemu_has_ptrace(hv, conn);
	if (has == 1)
		add(list, "userfaultfd", "ok", "userfaultfd",
		    "QEMU has CAP_SYS_PTRACE and may use userfaultfd", "");
	else if (has == 0)
		add(list, "userfaultfd", "warn", "userfaultfd",
		    access("/dev/userfaultfd", F_OK) == 0
			    ? "QEMU has no CAP_SYS_PTRACE and the sysctl is 0; /dev/userfaultfd is "
			      "there, but QEMU before 8.1 does not use it"
			    : "QEMU has no CAP_SYS_PTRACE and the sysctl is 0",
		    cure);
	else
		add(list, "userfaultfd", "note", "userfaultfd",
		    "the sysctl is 0; what QEMU may do is seen only once a guest runs", cure);
}

/* Value of a setting in libvirt's `key = "value"` files, without comments; false if it is not set.
 */
static bool setting(const char *text, const char *key, char *value, size_t size)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *p = line += *line == '\n';
		size_t n;

		p += strspn(p, " \t");
		if (strncmp(p, key, len))
			continue;
		p += len;
		p += strspn(p, " \t");
		if (*p++ != '=')
			continue;
		p += strspn(p, " \t\"");
		n = strcspn(p, "\" \t\r\n");
		snprintf(value, size, "%.*s", (int)n, p);
		return true;
	}
	return false;
}

static void check_stdio(json_t *list)
{
	vckpt_autofree char *conf = NULL;
	char value[32] = "logd";
	size_t len;

	if (vckpt_read_file("/etc/libvirt/qemu.conf", 1 << 20, &conf, &len, NULL) == 0)
		setting(conf, "stdio_handler", value, sizeof(value));
	if (strcmp(value, "file") && access("/run/libvirt/virtlogd-sock", F_OK) < 0)
		add(list, "virtlogd", "warn", "virtlogd",
		    "libvirt wants virtlogd for QEMU's output, and its socket is not there",
		    "start virtlogd.socket, or set stdio_handler = \"file\" in qemu.conf");
	else
		add(list, "virtlogd", "ok", "virtlogd",
		    strcmp(value, "file") ? "virtlogd is there" : "not needed", "");
}

int vckpt_hv_doctor(struct vckpt_hv *hv, char **json, struct vckpt_error *err)
{
	json_auto_t *list = json_array();
	vckpt_autoconn virConnectPtr conn = NULL;
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (!list)
		return vckpt_fail(err, VCKPT_EFAIL, "no memory to look at this host");
	if (vckpt_hv_conn(hv, &conn, &why) < 0) {
		add(list, "libvirtd", "bad", "libvirtd", why.text, "start libvirtd");
	} else {
		check_versions(conn, list);
		check_userfaultfd(hv, conn, list);
	}
	check_kvm(list);
	check_stdio(list);
	*json = json_dumps(list, JSON_COMPACT);
	return *json ? 0 : vckpt_fail(err, VCKPT_EFAIL, "no memory to look at this host");
}
