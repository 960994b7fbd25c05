/* hv: the parts that need no libvirtd: definitions read, QEMU's answers read, QEMU found by its pid
 * file, huge pages. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "hv/capture.h"
#include "hv/hv.h"
#include "hv/kvm.h"
#include "hv/survey.h"
#include "folder.h"
#include "unit.h"

static const char good[] =
	"<domain type='kvm' id='3'><name>n1</name><uuid>6e0a</uuid><memory unit='MiB'>192</memory>"
	"<vcpu placement='static'>2</vcpu><os><type arch='x86_64' "
	"machine='pc-i440fx-7.2'>hvm</type></os>"
	"<cpu mode='maximum'/><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
	"<disk type='file' device='cdrom'><source file='/a.iso'/><target dev='hda'/></disk>"
	"<disk type='file' device='cdrom'><target dev='hdb'/></disk>"
	"<disk type='network' device='disk'><driver type='raw'/><source protocol='rbd' name='p/i'/>"
	"<target dev='vda'/><readonly/></disk>"
	"<interface type='bridge'><mac address='52:54:00:99:00:01'/><source bridge='br0'/>"
	"<target dev='vnet0'/><model type='virtio'/></interface>"
	"<channel type='unix'><source mode='bind' path='/x/other'/>"
	"<target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>"
	"<channel type='unix'><source mode='bind' path='/x/org.vckpt.0'/>"
	"<target type='virtio' name='org.vckpt.0' state='disconnected'/></channel>"
	"</devices></domain>";

static const char *text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "(none)";
}

static void test_survey(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_auto_t *s = NULL;
	json_t *one;

	CU_ASSERT_EQUAL_FATAL(vckpt_survey_parse(good, &s, &err), 0);
	CU_ASSERT_STRING_EQUAL(text(s, "name"), "n1");
	CU_ASSERT_STRING_EQUAL(text(s, "type"), "kvm");
	CU_ASSERT_STRING_EQUAL(text(s, "machine"), "pc-i440fx-7.2");
	CU_ASSERT_STRING_EQUAL(text(s, "emulator"), "/usr/bin/qemu-system-x86_64");
	CU_ASSERT_STRING_EQUAL(text(s, "cpu"), "maximum");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(s, "memory_kib")), 192 * 1024);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(s, "vcpus")), 2);
	one = json_object_get(s, "channel");
	CU_ASSERT_STRING_EQUAL(text(one, "path"), "/x/org.vckpt.0");
	CU_ASSERT_STRING_EQUAL(text(one, "state"), "disconnected");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(s, "nics")), 1);
	one = json_array_get(json_object_get(s, "nics"), 0);
	CU_ASSERT_STRING_EQUAL(text(one, "mac"), "52:54:00:99:00:01");
	CU_ASSERT_STRING_EQUAL(text(one, "source"), "br0");
	CU_ASSERT_STRING_EQUAL(text(one, "target"), "vnet0");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(s, "disks")), 3);
	one = json_array_get(json_object_get(s, "disks"), 2);
	CU_ASSERT_STRING_EQUAL(text(one, "source"), "p/i");
	CU_ASSERT_STRING_EQUAL(text(one, "format"), "raw");
	CU_ASSERT_TRUE(json_is_true(json_object_get(one, "readonly")));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(s, "problems")), 0);
	CU_ASSERT_EQUAL(vckpt_survey_refuse(s, &err), 0);
	CU_ASSERT_EQUAL(err.code, VCKPT_OK);
}

/* Each of these devices alone must be refused, by this id, in a sentence that has this word. */
static void test_problems(void)
{
	static const struct {
		const char *device, *id, *word;
	} cases[] = {
		{"<disk type='block' device='disk'><source dev='/d'/><target dev='vda'/></disk>",
		 "disk-writable", "only disks that are files"},
		{"<disk type='file' device='disk'><driver type='vmdk'/><source file='/d'/><target "
		 "dev='vda'/></disk>",
		 "disk-writable", "qcow2 and raw"},
		{"<disk type='file' device='disk'><source file='/d'/><target "
		 "dev='vda'/><shareable/></disk>",
		 "disk-writable", "shared"},
		{"<disk type='file' device='disk'><source file='/d'><encryption "
		 "format='luks'/></source><target dev='vda'/></disk>",
		 "disk-writable", "encrypted"},
		/* what a transient disk holds is not there any more at the restore */
		{"<disk type='file' device='disk'><source file='/d'/><target "
		 "dev='vdb'/><transient/></disk>",
		 "disk-writable", "vdb"},
		{"<disk type='block' device='lun'><source dev='/d'/><target dev='sda'/></disk>",
		 "disk-writable", "sda"},
		{"<disk type='file' device='floppy'><source file='/d'/><target dev='fda'/></disk>",
		 "disk-writable", "fda"},
		{"<disk type='vhostuser'><source type='unix' path='/s'/><target dev='vdc'/></disk>",
		 "vhost-user", "vdc"},
		{"<hostdev mode='subsystem' type='pci' managed='yes'><source><address "
		 "domain='0x0000' bus='0x3b' slot='0x02' function='0x1'/></source></hostdev>",
		 "passthrough", "host device pci 0000:3b:02.1 is given"},
		{"<hostdev mode='subsystem' type='pci'/>", "passthrough", "host device pci is"},
		{"<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address "
		 "uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>",
		 "passthrough", "mdev c2177883-f1bb-47f0-914d-32a22e3a8804"},
		{"<hostdev mode='subsystem' type='scsi'><source><adapter "
		 "name='scsi_host0'/><address "
		 "bus='0' target='0' unit='0'/></source></hostdev>",
		 "passthrough", "scsi scsi_host0"},
		{"<hostdev mode='capabilities' type='storage'><source><block>/dev/sdf1</block>"
		 "</source></hostdev>",
		 "passthrough", "storage /dev/sdf1"},
		{"<interface type='hostdev'><mac address='52:54:00:00:00:09'/></interface>",
		 "passthrough", "52:54:00:00:00:09"},
		{"<interface type='vdpa'/>", "passthrough", "interface"},
		{"<interface type='vhostuser'/>", "vhost-user", "interface"},
		{"<filesystem type='mount'><driver type='virtiofs'/><target "
		 "dir='home'/></filesystem>",
		 "filesystem", "home"},
		{"<shmem name='ivs'/>", "shared-memory", "ivs"},
		{"<tpm model='tpm-crb'><backend type='emulator'/></tpm>", "tpm", "emulator"},
		{"<memory model='nvdimm'/>", "host-memory", "nvdimm"},
		{"<video><driver name='vhostuser'/></video>", "vhost-user", "video"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		json_auto_t *s = NULL;
		char xml[512];

		snprintf(xml, sizeof(xml), "<domain><devices>%s</devices></domain>",
			 cases[i].device);
		CU_ASSERT_EQUAL_FATAL(vckpt_survey_parse(xml, &s, &err), 0);
		CU_ASSERT_EQUAL(json_array_size(json_object_get(s, "problems")), 1);
		CU_ASSERT_STRING_EQUAL(
			text(json_array_get(json_object_get(s, "problems"), 0), "id"), cases[i].id);
		CU_ASSERT_EQUAL(vckpt_survey_refuse(s, &err), -1);
		CU_ASSERT_EQUAL(err.code, VCKPT_EREFUSED);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].word));
	}
}

/* A guest with these is checkpointed; what the cut lacks is named. */
static void test_outside(void)
{
	static const struct {
		const char *source, *object;
	} cases[] = {
		{"<source><vendor id='0x046d'/><product id='0xC077'/><address bus='1' "
		 "device='3'/></source>",
		 "USB device 046d:c077"},
		{"<source><address bus='2' device='14'/></source>", "USB device 14 on bus 2"},
		{"", "USB device"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		json_auto_t *s = NULL;
		const json_t *one;
		char xml[512];

		snprintf(xml, sizeof(xml),
			 "<domain><devices><hostdev mode='subsystem' type='usb'>%s</hostdev>"
			 "</devices></domain>",
			 cases[i].source);
		CU_ASSERT_EQUAL_FATAL(vckpt_survey_parse(xml, &s, &err), 0);
		CU_ASSERT_EQUAL(vckpt_survey_refuse(s, &err), 0);
		CU_ASSERT_EQUAL(json_array_size(json_object_get(s, "outside")), 1);
		one = json_array_get(json_object_get(s, "outside"), 0);
		CU_ASSERT_STRING_EQUAL(text(one, "id"), "host-device");
		CU_ASSERT_STRING_EQUAL(text(one, "level"), "warn");
		CU_ASSERT_STRING_EQUAL(text(one, "object"), cases[i].object);
	}
}

static void put_attribute(const char *folder, const char *device, const char *name,
			  const char *value)
{
	char path[256];
	FILE *to;

	snprintf(path, sizeof(path), "%s/%s", folder, device);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, device, name);
	to = fopen(path, "we");
	CU_ASSERT_PTR_NOT_NULL_FATAL(to);
	fprintf(to, "%s\n", value);
	fclose(to);
}

/* A folder as the kernel's: a device, and an interface of it, which has no such attributes. */
static void test_usb_is_here(void)
{
	char dir[] = "test-hv.XXXXXX";

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	put_attribute(dir, "1-1", "idVendor", "046d");
	put_attribute(dir, "1-1", "idProduct", "c077");
	put_attribute(dir, "1-1", "busnum", "1");
	put_attribute(dir, "1-1", "devnum", "14");
	put_attribute(dir, "1-1:1.0", "bInterfaceClass", "03");
	CU_ASSERT_TRUE(vckpt_usb_is_here(dir, "0x046d", "0xC077", "", ""));
	CU_ASSERT_FALSE(vckpt_usb_is_here(dir, "0x046d", "0xc078", "", ""));
	CU_ASSERT_FALSE(vckpt_usb_is_here(dir, "0x046e", "0xc077", "", ""));
	CU_ASSERT_TRUE(vckpt_usb_is_here(dir, "", "", "1", "14"));
	CU_ASSERT_FALSE(vckpt_usb_is_here(dir, "", "", "2", "14"));
	CU_ASSERT_FALSE(vckpt_usb_is_here(dir, "", "", "", ""));
	CU_ASSERT_FALSE(vckpt_usb_is_here("/nonexistent", "0x046d", "0xc077", "", ""));
	unit_remove_folder(dir);
}

static void test_problem_count(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_auto_t *s = NULL;

	CU_ASSERT_EQUAL_FATAL(vckpt_survey_parse("<domain><launchSecurity type='sev'/><devices>"
						 "<hostdev type='pci'/><shmem name='a'/></devices>"
						 "</domain>",
						 &s, &err),
			      0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(s, "problems")), 3);
	vckpt_survey_refuse(s, &err);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "2 more"));
}

static void test_no_channel(void)
{
	static const char *const lacking[] = {
		"<domain><devices/></domain>",
		"<domain/>",
		/* another kind of device with our name is not our channel */
		"<domain><devices><channel type='pty'><target type='virtio' name='org.vckpt.0'/>"
		"</channel></devices></domain>",
		"<domain><devices><channel type='unix'><target type='guestfwd' name='org.vckpt.0'/>"
		"</channel></devices></domain>",
	};

	for (size_t i = 0; i < sizeof(lacking) / sizeof(lacking[0]); i++) {
		json_auto_t *s = NULL;

		CU_ASSERT_EQUAL_FATAL(vckpt_survey_parse(lacking[i], &s, NULL), 0);
		CU_ASSERT_TRUE(json_is_null(json_object_get(s, "channel")));
		CU_ASSERT_TRUE(json_is_null(json_object_get(s, "memory_kib")));
	}
}

static void test_not_a_domain(void)
{
	static const char *const bad[] = {"", "x", "<domain>", "<network/>", "<domain></network>"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vckpt_error err = VCKPT_ERROR_NONE;
		json_t *s = NULL;

		CU_ASSERT_EQUAL(vckpt_survey_parse(bad[i], &s, &err), -1);
		CU_ASSERT_EQUAL(err.code, VCKPT_EDAMAGED);
		CU_ASSERT_PTR_NULL(s);
	}
}

static void test_qmp_reply(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_auto_t *ret = NULL;

	CU_ASSERT_EQUAL(
		vckpt_qmp_parse("{\"return\":{\"a\":1},\"id\":\"libvirt-7\"}", "x", &ret, &err), 0);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(ret, "a")), 1);
	CU_ASSERT_EQUAL(vckpt_qmp_parse("{\"return\":{}}", "x", NULL, &err), 0);
	CU_ASSERT_EQUAL(
		vckpt_qmp_parse("{\"error\":{\"class\":\"GenericError\",\"desc\":\"no fd\"}}",
				"closefd", NULL, &err),
		-1);
	CU_ASSERT_EQUAL(err.code, VCKPT_EVIRT);
	CU_ASSERT_STRING_EQUAL(err.text, "closefd: no fd");
	CU_ASSERT_EQUAL(vckpt_qmp_parse("", "x", NULL, &err), -1);
	CU_ASSERT_EQUAL(vckpt_qmp_parse("{}", "x", NULL, &err), -1);
	CU_ASSERT_EQUAL(vckpt_qmp_parse("[1]", "x", NULL, &err), -1);
	CU_ASSERT_EQUAL(vckpt_qmp_parse("{\"return\":1,\"return\":2}", "x", NULL, &err), -1);
}

static void test_qmp_migration(void)
{
	static const struct {
		const char *json;
		enum vckpt_migration_state state;
		const char *text, *blocked;
	} cases[] = {
		{"{}", VCKPT_MIGRATION_NONE, "", ""},
		{"{\"status\":\"none\"}", VCKPT_MIGRATION_NONE, "", ""},
		{"{\"status\":\"setup\"}", VCKPT_MIGRATION_ACTIVE, "", ""},
		{"{\"status\":\"active\"}", VCKPT_MIGRATION_ACTIVE, "", ""},
		{"{\"status\":\"cancelling\"}", VCKPT_MIGRATION_ACTIVE, "", ""},
		{"{\"status\":\"of a newer QEMU\"}", VCKPT_MIGRATION_ACTIVE, "", ""},
		{"{\"status\":\"completed\",\"ram\":{}}", VCKPT_MIGRATION_COMPLETED, "", ""},
		{"{\"status\":\"cancelled\"}", VCKPT_MIGRATION_FAILED, "cancelled", ""},
		{"{\"status\":\"failed\",\"error-desc\":\"Broken pipe\"}", VCKPT_MIGRATION_FAILED,
		 "Broken pipe", ""},
		{"{\"blocked\":true,\"blocked-reasons\":[\"VFIO\",\"b\"]}", VCKPT_MIGRATION_NONE,
		 "", "VFIO"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_auto_t *j = json_loads(cases[i].json, 0, NULL);
		struct vckpt_migration m;

		CU_ASSERT_PTR_NOT_NULL_FATAL(j);
		vckpt_qmp_migration(j, &m);
		CU_ASSERT_EQUAL(m.state, cases[i].state);
		CU_ASSERT_STRING_EQUAL(m.text, cases[i].text);
		CU_ASSERT_STRING_EQUAL(m.blocked, cases[i].blocked);
	}
}

static void test_pid_of_nobody(void)
{
	CU_ASSERT_EQUAL(vckpt_qemu_pid("qemu:///system", "no such domain", "0000"), 0);
	CU_ASSERT_EQUAL(vckpt_qemu_pid("qemu:///system", "../../proc/self/stat", "0000"), 0);
	CU_ASSERT_EQUAL(vckpt_qemu_pid("qemu:///session?socket=/x", "n", "0000"), 0);
}

/* Whatever it says of this machine, it says it within its limit. */
static void test_kvm_limit(void)
{
	char why[160] = "";
	uint64_t t0 = vckpt_now();
	int rc = vckpt_kvm_try(200 * VCKPT_MS, why, sizeof(why));

	CU_ASSERT_TRUE(vckpt_now() - t0 < 3 * VCKPT_S);
	CU_ASSERT_TRUE(rc == 0 || (rc == -1 && why[0]));
}

#define MIB (1 << 20)

/* Linux 6.7 or newer, huge pages not switched off. */
static bool kernel_gathers(void)
{
	struct utsname u;
	char text[128] = "";
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
	int major = 0, minor = 0;

	if (f && !fgets(text, sizeof(text), f))
		text[0] = '\0';
	if (f)
		fclose(f);
	uname(&u);
	sscanf(u.release, "%d.%d", &major, &minor);
	return major * 100 + minor >= 607 && text[0] && !strstr(text, "[never]");
}

/* KiB in huge pages of the mapping at p, as the kernel counts them. */
static long huge_kib(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	bool here = false;
	long kib = 0;
	void *from, *to;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%p-%p ", &from, &to) == 2)
			here = p >= from && p < to;
		else if (here)
			sscanf(line, "AnonHugePages: %ld", &kib);
	}
	if (f)
		fclose(f);
	return kib;
}

/* 16 MiB in small pages: 2 MiB whole, 2 with a hole, 4 whole, the rest only read or never touched.
 */
static unsigned char *make_small(size_t room)
{
	unsigned char *map = mmap(NULL, room + 2 * MIB, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *p =
		(unsigned char *)(((uintptr_t)map + 2 * MIB - 1) & ~(uintptr_t)(2 * MIB - 1));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	volatile unsigned char seen;

	CU_ASSERT_PTR_NOT_EQUAL_FATAL(map, MAP_FAILED);
	madvise(p, room, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < 8 * MIB; at += page)
		if (at != 3 * MIB)
			memset(p + at, (int)(at / page % 251) + 1, page);
	for (size_t at = 8 * MIB; at < 12 * MIB; at += page)
		seen = p[at];
	(void)seen;
	madvise(p, room, MADV_HUGEPAGE);
	return p;
}

static void test_hugepages(void)
{
	unsigned char *p = make_small(16 * MIB);
	size_t page = (size_t)sysconf(_SC_PAGESIZE), wrong = 0;

	/* The kernel's own thread may have been faster, so what counts is what is there. */
	vckpt_hugepages_gather(getpid(), vckpt_now() + 10 * VCKPT_S);
	if (kernel_gathers()) {
		CU_ASSERT_TRUE(huge_kib(p) >= 6 * 1024);
		CU_ASSERT_TRUE(huge_kib(p) <= 8 * 1024);
	}
	CU_ASSERT_EQUAL(vckpt_hugepages_gather(getpid(), vckpt_now() + 10 * VCKPT_S), 0);
	for (size_t at = 0; at < 8 * MIB; at++)
		wrong += p[at] != (at / page * page == 3 * MIB ? 0 : at / page % 251 + 1);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(vckpt_hugepages_gather(0, vckpt_now()), 0);
	munmap(p, 16 * MIB);
}

struct named {
	const char *name;
	pid_t tid;
	int before, after;
	pthread_barrier_t at;
};

/* A thread of that name, which notes its nice value before and after somebody was urged. */
static void *be_named(void *arg)
{
	struct named *n = arg;

	pthread_setname_np(pthread_self(), n->name);
	n->before = getpriority(PRIO_PROCESS, (id_t)gettid());
	pthread_barrier_wait(&n->at);
	pthread_barrier_wait(&n->at);
	n->after = getpriority(PRIO_PROCESS, (id_t)gettid());
	return NULL;
}

/* Returns what vckpt_snapshot_urge() said while this process had a thread of that name. */
static bool urge_one_named(const char *name, struct named *n)
{
	pthread_t thread;
	bool urged;

	*n = (struct named){.name = name};
	pthread_barrier_init(&n->at, NULL, 2);
	if (pthread_create(&thread, NULL, be_named, n) != 0)
		return false;
	pthread_barrier_wait(&n->at);
	urged = vckpt_snapshot_urge(getpid());
	pthread_barrier_wait(&n->at);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&n->at);
	return urged;
}

static void test_urgent(void)
{
	struct named n;

	CU_ASSERT_FALSE(urge_one_named("CPU 0/TCG", &n));
	CU_ASSERT_EQUAL(n.after, n.before);
	CU_ASSERT_FALSE(vckpt_snapshot_urge(getpid()));
	CU_ASSERT_FALSE(vckpt_snapshot_urge(0));
	/* Without the right to it the thread stays as it was, and that is told. */
	CU_ASSERT_EQUAL(urge_one_named("bg_snapshot", &n), n.after < n.before || n.before <= -10);
	CU_ASSERT_EQUAL(urge_one_named("mig/snapshot", &n), n.after < n.before || n.before <= -10);
	if (geteuid() == 0)
		CU_ASSERT_TRUE(n.after <= -10);
	CU_ASSERT_EQUAL(getpriority(PRIO_PROCESS, 0), n.before);
}

static const struct unit_test tests[] = {
	{"survey of a definition", test_survey},
	{"each problem is refused", test_problems},
	{"problems are counted", test_problem_count},
	{"what a checkpoint can do without is told", test_outside},
	{"a USB device is here or not", test_usb_is_here},
	{"no channel", test_no_channel},
	{"not a definition", test_not_a_domain},
	{"QMP replies", test_qmp_reply},
	{"QMP query-migrate", test_qmp_migration},
	{"pid of a domain that is not there", test_pid_of_nobody},
	{"KVM is tried with a limit", test_kvm_limit},
	{"small pages become huge ones", test_hugepages},
	{"the thread of a snapshot goes before others", test_urgent},
};

UNIT_MAIN("hv", tests)
