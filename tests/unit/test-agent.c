/* test-agent.c: the parts of vckpt-agent that only compute, and those that need nothing but this
 * process. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "arp.h"
#include "base/clock.h"
#include "base/process.h"
#include "clients.h"
#include "control.h"
#include "freeze.h"
#include "inquire.h"
#include "marker.h"
#include "outside.h"
#include "owners.h"
#include "proc.h"
#include "rewind.h"
#include "tcp.h"
#include "unit.h"

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 10}, mac_b[6] = {2, 0, 0, 0, 0, 11};
static const uint8_t ip_a[4] = {10, 0, 0, 1}, ip_b[4] = {10, 0, 0, 2};

static void test_start_of_process(void)
{
	const char *odd =
		"42 (a) b (c d) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 9 9";
	const char *zombie = "42 (a) Z 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 9 9";

	CU_ASSERT_EQUAL(vckpt_process_start_in(odd), 987654);
	CU_ASSERT_EQUAL(vckpt_process_start_in(zombie), 0);
	CU_ASSERT_EQUAL(vckpt_process_start_in("42 (a) S 1 2"), 0);
	CU_ASSERT_EQUAL(vckpt_process_start_in(""), 0);
	CU_ASSERT(vckpt_process_start(getpid()) > 0);
	CU_ASSERT_EQUAL(vckpt_process_start(getpid()), vckpt_process_start(getpid()));
	CU_ASSERT_EQUAL(vckpt_process_start(0x3fffffff), 0);
}

static void test_socket_inode(void)
{
	CU_ASSERT_EQUAL(vckpt_proc_socket_inode("socket:[4711]"), 4711);
	CU_ASSERT_EQUAL(vckpt_proc_socket_inode("pipe:[4711]"), 0);
	CU_ASSERT_EQUAL(vckpt_proc_socket_inode("/socket:[1]"), 0);
}

static void test_counters(void)
{
	const char *text =
		"Ip: A B\nIp: 1 2\n"
		"Tcp: RtoMin MaxConn OutSegs Retrans\nTcp: 200 -1 12 18446744073709551615\n";

	CU_ASSERT_EQUAL(vckpt_counter(text, "Tcp:", "OutSegs"), 12);
	CU_ASSERT_EQUAL(vckpt_counter(text, "Tcp:", "Retrans"), UINT64_MAX);
	CU_ASSERT_EQUAL(vckpt_counter(text, "Tcp:", "RtoMin"), 200);
	CU_ASSERT_EQUAL(vckpt_counter(text, "Ip:", "B"), 2);
	CU_ASSERT_EQUAL(vckpt_counter(text, "Tcp:", "Out"), 0);
	CU_ASSERT_EQUAL(vckpt_counter("Tcp: A B\nTcp: 1", "Tcp:", "B"), 0);
	CU_ASSERT_EQUAL(vckpt_counter("Tcp: A", "Tcp:", "A"), 0);
	CU_ASSERT_EQUAL(vckpt_counter("", "Tcp:", "A"), 0);
}

static void test_registry_line(void)
{
	struct vckpt_client c = {.pid = 77,
				 .start = 1ull << 40,
				 .inode = 5,
				 .rank_plus1 = 3,
				 .size = 8},
			    d = {0};
	char line[512];

	strcpy(c.job, "");
	strcpy(c.program, "my prog\n9 9");
	strcpy(c.launcher, "1.0;tcp://10.0.0.1:99");
	CU_ASSERT(vckpt_client_to_line(&c, line, sizeof(line)) > 0);
	CU_ASSERT_PTR_EQUAL(strchr(line, '\n'), line + strlen(line) - 1);
	CU_ASSERT_EQUAL(vckpt_client_from_line(&d, line), 0);
	CU_ASSERT_EQUAL(d.pid, 77);
	CU_ASSERT_EQUAL(d.start, 1ull << 40);
	CU_ASSERT_EQUAL(d.inode, 5);
	CU_ASSERT_EQUAL(d.rank_plus1, 3);
	CU_ASSERT_STRING_EQUAL(d.job, "");
	CU_ASSERT_STRING_EQUAL(d.program, "my_prog_9_9");
	CU_ASSERT_STRING_EQUAL(d.launcher, c.launcher);
	CU_ASSERT_EQUAL(vckpt_client_from_line(&d, "77 1 2"), -1);
	CU_ASSERT_EQUAL(vckpt_client_from_line(&d, "-1 1 2 3 4 a b c"), -1);
	CU_ASSERT_EQUAL(vckpt_client_to_line(&c, line, 10), -1);
}

static void test_marker(void)
{
	struct vckpt_marker m = {.flags = VCKPT_MARKER_WANT, .token = 0xdeadbeef}, got;
	uint8_t f[VCKPT_MARKER_LEN];

	memcpy(m.to, mac_b, 6);
	memcpy(m.from, mac_a, 6);
	vckpt_marker_encode(&m, f);
	CU_ASSERT(vckpt_marker_decode(f, sizeof(f), &got));
	CU_ASSERT_EQUAL(memcmp(got.to, mac_b, 6), 0);
	CU_ASSERT_EQUAL(memcmp(got.from, mac_a, 6), 0);
	CU_ASSERT_EQUAL(got.flags, VCKPT_MARKER_WANT);
	CU_ASSERT_EQUAL(got.token, 0xdeadbeef);
	CU_ASSERT(!vckpt_marker_decode(f, 23, &got));
	f[14] ^= 1;
	CU_ASSERT(!vckpt_marker_decode(f, sizeof(f), &got));
	f[14] ^= 1;
	f[18] = 2;
	CU_ASSERT(!vckpt_marker_decode(f, sizeof(f), &got));
	f[18] = 1;
	f[13] = 0xb6;
	CU_ASSERT(!vckpt_marker_decode(f, sizeof(f), &got));
}

static void test_arp(void)
{
	uint8_t f[VCKPT_ARP_LEN], other[6];

	/* Somebody else's probe, then his announcement, for our address. */
	vckpt_arp_encode(VCKPT_ARP_PROBE, mac_b, ip_a, 1, f);
	CU_ASSERT(vckpt_arp_conflict(f, sizeof(f), mac_a, ip_a, 2, other));
	CU_ASSERT_EQUAL(memcmp(other, mac_b, 6), 0);
	vckpt_arp_encode(VCKPT_ARP_ANNOUNCE, mac_b, ip_a, 1, f);
	CU_ASSERT(vckpt_arp_conflict(f, 42, mac_a, ip_a, 2, other));
	/* For another address. */
	vckpt_arp_encode(VCKPT_ARP_PROBE, mac_b, ip_b, 1, f);
	CU_ASSERT(!vckpt_arp_conflict(f, sizeof(f), mac_a, ip_a, 2, other));
	/* Ours, echoed by the network; then a copy of us with its own number. */
	vckpt_arp_encode(VCKPT_ARP_PROBE, mac_a, ip_a, 2, f);
	CU_ASSERT(!vckpt_arp_conflict(f, sizeof(f), mac_a, ip_a, 2, other));
	vckpt_arp_encode(VCKPT_ARP_PROBE, mac_a, ip_a, 3, f);
	CU_ASSERT(vckpt_arp_conflict(f, sizeof(f), mac_a, ip_a, 2, other));
	/* An ordinary question of a neighbour for our address is none. */
	vckpt_arp_encode(VCKPT_ARP_ANNOUNCE, mac_b, ip_b, 1, f);
	memcpy(f + 38, ip_a, 4);
	CU_ASSERT(!vckpt_arp_conflict(f, sizeof(f), mac_a, ip_a, 2, other));
	CU_ASSERT(!vckpt_arp_conflict(f, 41, mac_a, ip_b, 2, other));
}

static void test_addresses(void)
{
	struct vckpt_conn c = {.remote_port = 1024};
	struct vckpt_addrs own = {.n = 1};
	const uint8_t one[16] = {[15] = 1}, lo[4] = {127, 0, 0, 5};
	char text[64];

	vckpt_addr_map(own.v[0].ip, ip_a, 4);
	vckpt_addr_map(c.local, ip_a, 4);
	vckpt_addr_map(c.remote, ip_b, 4);
	CU_ASSERT(!vckpt_conn_inside(&c, &own));
	vckpt_conn_peer(&c, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "10.0.0.2:1024");
	vckpt_addr_map(c.remote, ip_a, 4);
	CU_ASSERT(vckpt_conn_inside(&c, &own));
	vckpt_addr_map(c.remote, lo, 4);
	CU_ASSERT(vckpt_conn_inside(&c, &own));
	vckpt_addr_map(c.remote, one, 16);
	CU_ASSERT(vckpt_conn_inside(&c, &own));
	vckpt_conn_peer(&c, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "[::1]:1024");
}

static void test_lists(void)
{
	CU_ASSERT(vckpt_list_has("nic-plug,socket", "socket"));
	CU_ASSERT(vckpt_list_has("nic-plug socket", "nic-plug"));
	CU_ASSERT(!vckpt_list_has("nic-plug,sockets", "socket"));
	CU_ASSERT(!vckpt_list_has("nic-plug", "nic"));
	CU_ASSERT(vckpt_list_has("", "x"));
}

static void test_files(void)
{
	const char *mounts = "25 1 0:22 / / rw shared:1 - ext4 /dev/vda rw\n"
			     "250 25 0:40 / /home rw - nfs4 srv:/home rw,vers=4\n"
			     "26 25 0:41 / /odd rw\n";
	int flags, mount;
	char type[32];

	CU_ASSERT_EQUAL(vckpt_mount_type(mounts, 250, type, sizeof(type)), 0);
	CU_ASSERT_STRING_EQUAL(type, "nfs4");
	CU_ASSERT(vckpt_is_network_fs(type));
	CU_ASSERT_EQUAL(vckpt_mount_type(mounts, 25, type, sizeof(type)), 0);
	CU_ASSERT(!vckpt_is_network_fs(type));
	CU_ASSERT_EQUAL(vckpt_mount_type(mounts, 26, type, sizeof(type)), -1);
	CU_ASSERT_EQUAL(vckpt_mount_type(mounts, 2, type, sizeof(type)), -1);
	CU_ASSERT_EQUAL(vckpt_fdinfo("pos:\t0\nflags:\t0100002\nmnt_id:\t250\n", &flags, &mount),
			0);
	CU_ASSERT_EQUAL(flags & O_ACCMODE, O_RDWR);
	CU_ASSERT_EQUAL(mount, 250);
	CU_ASSERT_EQUAL(vckpt_fdinfo("pos:\t0\n", &flags, &mount), -1);
}

static void test_launcher(void)
{
	uint8_t ip[16], want[16];

	vckpt_addr_map(want, ip_a, 4);
	CU_ASSERT_EQUAL(vckpt_launcher_ip("2890137600.0;tcp://10.0.0.1,192.168.3.4:4711", ip), 0);
	CU_ASSERT_EQUAL(memcmp(ip, want, 16), 0);
	CU_ASSERT_EQUAL(vckpt_launcher_ip("prterun-node-7@0", ip), -1);
	CU_ASSERT_EQUAL(vckpt_launcher_ip("", ip), -1);
}

static void test_owners(void)
{
	struct vckpt_owners os = {0};
	int pair[2], missing = 0;
	struct stat st;

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fstat(pair[0], &st);
	for (uint32_t i = 1; i <= 5000; i++)
		CU_ASSERT_PTR_NOT_NULL(vckpt_owners_add(&os, i * 64 + 1000000));
	for (uint32_t i = 1; i <= 5000; i++)
		missing += vckpt_owners_find(&os, i * 64 + 1000000) == NULL;
	CU_ASSERT_EQUAL(missing, 0);
	CU_ASSERT_PTR_NULL(vckpt_owners_find(&os, 999));
	CU_ASSERT_PTR_NULL(vckpt_owners_find(&os, 0));
	vckpt_owners_clear(&os);
	CU_ASSERT_PTR_NULL(vckpt_owners_find(&os, 1000064));
	vckpt_owners_add(&os, (uint32_t)st.st_ino);
	CU_ASSERT_EQUAL(vckpt_owners_scan(&os, getpid()), 1);
	CU_ASSERT_EQUAL(vckpt_owners_find(&os, (uint32_t)st.st_ino)->fd, pair[0]);
	vckpt_owners_clear(&os);
	close(pair[0]);
	close(pair[1]);
}

static void test_memfd_found_again(void)
{
	int fd = memfd_create("vckpt-slot", MFD_CLOEXEC), got;
	struct stat st;

	CU_ASSERT_FATAL(fd >= 0);
	fstat(fd, &st);
	got = vckpt_proc_open_memfd(getpid(), st.st_ino);
	CU_ASSERT(got >= 0 && got != fd);
	close(got);
	close(fd);
	CU_ASSERT_EQUAL(vckpt_proc_open_memfd(getpid(), st.st_ino), -1);
}

static void wipe(const char *dir)
{
	static const char *const names[] = {"page", "state", "lock", "slots", "agent.sock"};
	char path[300];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

static void make_dir(char *dir, size_t len)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, len, "%s/vckpt-agent-XXXXXX", tmp ? tmp : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
}

static void pause_ms(unsigned ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&ts, NULL);
}

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void begin(struct vckpt_control *c, uint64_t epoch, uint64_t expiry)
{
	struct vckpt_agent_hold hold = {.epoch = epoch, .expiry_ns = expiry};

	CU_ASSERT_EQUAL(vckpt_control_begin(c, &hold, "socket", vckpt_now()), 0);
	vckpt_page_shut(c->page, epoch, c->state->expiry);
}

static void test_committed(void)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_control c;
	char dir[200];

	make_dir(dir, sizeof(dir));
	CU_ASSERT_EQUAL_FATAL(vckpt_control_open(&c, dir, NULL, &err), 0);
	CU_ASSERT_EQUAL(c.page->committed, 0);
	vckpt_page_committed(c.page, 5);
	vckpt_page_committed(c.page, 3);
	vckpt_page_committed(c.page, 0);
	vckpt_control_close(&c);
	/* A new agent goes on with it. */
	CU_ASSERT_EQUAL_FATAL(vckpt_control_open(&c, dir, NULL, &err), 0);
	CU_ASSERT_EQUAL(c.page->committed, 5);
	vckpt_control_close(&c);
	wipe(dir);
}

static void test_keeper(void)
{
	static struct vckpt_nl nl = {.fd = -1};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_control c;
	char dir[200];
	uint32_t seen;
	unsigned files;

	make_dir(dir, sizeof(dir));
	CU_ASSERT_EQUAL_FATAL(vckpt_control_open(&c, dir, NULL, &err), 0);
	CU_ASSERT_EQUAL_FATAL(vckpt_nl_open(&nl, NETLINK_ROUTE, &err), 0);
	CU_ASSERT(!vckpt_keeper_alive(&c));
	/* It saw the first hold, and comes when the second is on. */
	begin(&c, 1, 1);
	seen = c.state->active;
	vckpt_control_end(&c, false);
	begin(&c, 2, 60 * VCKPT_S);
	vckpt_control_expire(&c, &nl, seen);
	CU_ASSERT_EQUAL(vckpt_control_active(&c), VCKPT_ACTIVE_HELD);
	CU_ASSERT_EQUAL(c.page->gate, VCKPT_GATE_HELD);
	vckpt_control_expire(&c, &nl, c.state->active);
	CU_ASSERT_EQUAL(vckpt_control_active(&c), VCKPT_ACTIVE_NO);
	CU_ASSERT_EQUAL(c.page->gate, VCKPT_GATE_OPEN);
	CU_ASSERT_EQUAL(c.state->over_epoch, 2);
	/* One that died while it opened: somebody else ends it, and a hold can begin. */
	begin(&c, 3, 60 * VCKPT_S);
	c.state->active++;
	CU_ASSERT_EQUAL(vckpt_control_active(&c), VCKPT_ACTIVE_OPENING);
	vckpt_control_settle(&c, &nl);
	CU_ASSERT_EQUAL(c.page->gate, VCKPT_GATE_OPEN);
	CU_ASSERT_EQUAL(c.state->over_epoch, 3);
	/* A real one, and one after it. */
	CU_ASSERT_EQUAL_FATAL(vckpt_keeper_start(&c, &err), 0);
	CU_ASSERT(vckpt_keeper_alive(&c));
	begin(&c, 4, 10 * VCKPT_MS);
	vckpt_keeper_wake(&c);
	for (int i = 0; i < 200 && vckpt_control_active(&c) != VCKPT_ACTIVE_NO; i++)
		pause_ms(10);
	CU_ASSERT_EQUAL(c.page->gate, VCKPT_GATE_OPEN);
	CU_ASSERT_EQUAL(c.state->over_epoch, 4);
	files = open_files();
	for (int i = 0; i < 2; i++) {
		kill(c.keeper_pid, SIGKILL);
		for (int k = 0; k < 200 && vckpt_keeper_alive(&c); k++)
			pause_ms(10);
		CU_ASSERT(!vckpt_keeper_alive(&c));
		CU_ASSERT_EQUAL(vckpt_keeper_start(&c, &err), 0);
	}
	CU_ASSERT_EQUAL(open_files(), files);
	kill(c.keeper_pid, SIGKILL);
	waitpid(c.keeper_pid, NULL, 0);
	vckpt_nl_close(&nl);
	vckpt_control_close(&c);
	wipe(dir);
}

static int make_slot(bool sealed, struct vckpt_client *c)
{
	int fd = memfd_create("vckpt-slot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;

	CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, VCKPT_PAGE_SIZE) == 0 && fstat(fd, &st) == 0);
	if (sealed)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	c->inode = st.st_ino;
	return fd;
}

/* A registry may name any memory that a process has: an unsealed one could be cut under us. */
static void test_recover(void)
{
	struct event_base *base = event_base_new();
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_client c = {.pid = getpid(), .rank_plus1 = 1, .size = 1};
	char dir[200], path[300], line[512];

	make_dir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/slots", dir);
	c.start = vckpt_process_start(c.pid);
	for (int sealed = 0; sealed < 2; sealed++) {
		struct vckpt_clients *cs = calloc(1, sizeof(*cs));
		int slot = make_slot(sealed, &c);
		FILE *f = fopen(path, "we");

		CU_ASSERT(vckpt_client_to_line(&c, line, sizeof(line)) > 0);
		fputs(line, f);
		fclose(f);
		CU_ASSERT_EQUAL(vckpt_clients_open(cs, base, dir, NULL, &err), 0);
		CU_ASSERT_EQUAL(cs->n, (unsigned)sealed);
		vckpt_clients_close(cs);
		free(cs);
		close(slot);
	}
	event_base_free(base);
	wipe(dir);
}

static void run_for(struct event_base *base, unsigned ms)
{
	struct timeval tv = {.tv_usec = ms * 1000};

	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
}

static void test_no_descriptors(void)
{
	struct event_base *base = event_base_new();
	struct vckpt_clients *cs = calloc(1, sizeof(*cs));
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct rlimit was, none;
	char dir[200];
	int s;

	make_dir(dir, sizeof(dir));
	CU_ASSERT_EQUAL_FATAL(vckpt_clients_open(cs, base, dir, NULL, &err), 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%.107s", cs->path);
	s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL(connect(s, (struct sockaddr *)&a, sizeof(a)), 0);
	getrlimit(RLIMIT_NOFILE, &was);
	none = was;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	/* Who has connected is there, so one look is enough, and a second is not for now. */
	event_base_loop(base, EVLOOP_NONBLOCK);
	CU_ASSERT(!event_pending(cs->accept, EV_READ, NULL));
	CU_ASSERT_EQUAL(cs->nconnections, 0);
	setrlimit(RLIMIT_NOFILE, &was);
	for (int i = 0; i < 400 && cs->nconnections == 0; i++)
		run_for(base, 50);
	CU_ASSERT_EQUAL(cs->nconnections, 1);
	CU_ASSERT(event_pending(cs->accept, EV_READ, NULL));
	close(s);
	run_for(base, 30);
	CU_ASSERT_EQUAL(cs->nconnections, 0);
	vckpt_clients_close(cs);
	free(cs);
	event_base_free(base);
	wipe(dir);
}

static void count_line(void *arg, enum vckpt_level level, const char *where, const char *text)
{
	unsigned *n = arg;

	(void)where;
	n[level]++;
	if (strstr(text, "left out"))
		sscanf(text, "%u", &n[VCKPT_DEBUG + 1]);
}

static void test_flood(void)
{
	unsigned n[VCKPT_DEBUG + 2] = {0};
	struct vckpt_agent *a = calloc(1, sizeof(*a));

	a->session.agent = a;
	a->log = (struct vckpt_log){.level = VCKPT_INFO, .sink = count_line, .arg = n};
	for (int i = 0; i < 1000; i++) {
		vckpt_session_say(&a->session, VCKPT_DEBUG, "x", "not even formatted");
		vckpt_session_say(&a->session, VCKPT_INFO, "x", "line %d", i);
	}
	CU_ASSERT_EQUAL(n[VCKPT_INFO], 20);
	CU_ASSERT_EQUAL(n[VCKPT_DEBUG], 0);
	a->session.say_end = 0;
	vckpt_session_say(&a->session, VCKPT_INFO, "x", "a minute later");
	CU_ASSERT_EQUAL(n[VCKPT_INFO], 21);
	CU_ASSERT_EQUAL(n[VCKPT_WARN], 1);
	CU_ASSERT_EQUAL(n[VCKPT_DEBUG + 1], 980);
	free(a);
}

static void test_young(void)
{
	struct vckpt_conn c = {.state = 1, .acked = 1};

	CU_ASSERT(vckpt_conn_young(&c)); /* connected, nothing said */
	c.acked = 61;
	CU_ASSERT(vckpt_conn_young(&c));
	c.still_ms = 1000;
	CU_ASSERT(!vckpt_conn_young(&c));
	c.still_ms = 0;
	c.received = 60;
	CU_ASSERT(!vckpt_conn_young(&c)); /* answered */
	c.acked = 1;
	CU_ASSERT(vckpt_conn_young(&c)); /* his SYN is no word */
	c.received = 100000;
	CU_ASSERT(!vckpt_conn_young(&c));
	c = (struct vckpt_conn){.state = 2, .still_ms = 100000};
	CU_ASSERT(vckpt_conn_young(&c));
	c.state = 8;
	c.still_ms = 0;
	CU_ASSERT(!vckpt_conn_young(&c));
}

static void test_hosts(void)
{
	CU_ASSERT(vckpt_same_host("n1", "N1"));
	CU_ASSERT(vckpt_same_host("n1.cluster", "n1"));
	CU_ASSERT(!vckpt_same_host("n1.east", "n1.west"));
	CU_ASSERT(!vckpt_same_host("n1", "n10"));
	CU_ASSERT(!vckpt_same_host("10.0.0.1", "10.0.0.2"));
	CU_ASSERT(!vckpt_same_host("10.0.0.1", "10"));
	CU_ASSERT(!vckpt_same_host("", ".x"));
}

/* As many neighbours as there may be; the last one has mac_a. */
static struct vckpt_agent_peer *some_peers(void)
{
	struct vckpt_agent_peer *v = calloc(VCKPT_AGENT_PEERS_MAX, sizeof(*v));

	CU_ASSERT_PTR_NOT_NULL_FATAL(v);
	memcpy(v[VCKPT_AGENT_PEERS_MAX - 1].mac, mac_a, sizeof(mac_a));
	return v;
}

static void test_control(void)
{
	char dir[200], path[300];
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_agent_hold hold = {.epoch = 9, .token = 3, .expiry_ns = UINT64_MAX};
	struct vckpt_control c;
	struct stat st;
	int fd, status = 0;
	pid_t pid;

	make_dir(dir, sizeof(dir));
	CU_ASSERT_EQUAL_FATAL(vckpt_control_open(&c, dir, NULL, &err), 0);
	CU_ASSERT_EQUAL(c.page->magic, VCKPT_PAGE_MAGIC);
	CU_ASSERT_EQUAL(c.page->generation, 1);
	snprintf(path, sizeof(path), "%s/page", dir);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0644);
	CU_ASSERT_EQUAL(st.st_size, VCKPT_PAGE_SIZE);
	/* Another process is told who has it. */
	pid = fork();
	if (pid == 0) {
		struct vckpt_control d;

		_exit(vckpt_control_open(&d, dir, NULL, &err) < 0 ? (int)err.code : 0);
	}
	waitpid(pid, &status, 0);
	CU_ASSERT_EQUAL(WEXITSTATUS(status), VCKPT_EBUSY);
	/* The last of as many neighbours as there may be is one, and no stranger is. */
	hold.peers = (struct vckpt_list){VCKPT_AGENT_PEERS_MAX, some_peers()};
	/* An expiry that would wrap does not lie in the past. */
	CU_ASSERT_EQUAL(vckpt_control_begin(&c, &hold, "socket", vckpt_now()), 0);
	CU_ASSERT_EQUAL(c.state->expiry, UINT64_MAX);
	CU_ASSERT_EQUAL(vckpt_control_begin(&c, &hold, "socket", vckpt_now()), -1);
	vckpt_page_shut(c.page, 9, 1);
	vckpt_control_close(&c);
	/* The successor finds the hold, one generation up. */
	CU_ASSERT_EQUAL_FATAL(vckpt_control_open(&c, dir, NULL, &err), 0);
	CU_ASSERT_EQUAL(c.page->generation, 2);
	CU_ASSERT_EQUAL(c.page->gate, VCKPT_GATE_HELD);
	CU_ASSERT_EQUAL(vckpt_control_active(&c), VCKPT_ACTIVE_HELD);
	CU_ASSERT_STRING_EQUAL(c.state->gate, "socket");
	CU_ASSERT_EQUAL(c.state->npeers, VCKPT_AGENT_PEERS_MAX);
	CU_ASSERT(vckpt_control_is_peer(&c, mac_a) && !vckpt_control_is_peer(&c, mac_b));
	free(hold.peers.v);
	vckpt_page_let_go(c.page);
	vckpt_control_end(&c, true);
	CU_ASSERT_EQUAL(c.page->gate, VCKPT_GATE_OPEN);
	CU_ASSERT_EQUAL(c.state->over_epoch, 9);
	vckpt_control_close(&c);
	/* A file of another kind is not believed. */
	fd = open(path, O_WRONLY);
	CU_ASSERT_EQUAL(pwrite(fd, "junk", 4, 0), 4);
	close(fd);
	CU_ASSERT_EQUAL_FATAL(vckpt_control_open(&c, dir, NULL, &err), 0);
	CU_ASSERT_EQUAL(c.page->generation, 1);
	vckpt_control_close(&c);
	wipe(dir);
}

static void test_leases(void)
{
	struct vckpt_addr a = {.valid = 100, .updated = 50};

	CU_ASSERT_FALSE(vckpt_lease_ran_out(&a, 0, 0)); /* never restored */
	CU_ASSERT_FALSE(vckpt_lease_ran_out(&a, 99, 60));
	CU_ASSERT_TRUE(vckpt_lease_ran_out(&a, 100, 60));
	a.updated = 61; /* renewed since */
	CU_ASSERT_FALSE(vckpt_lease_ran_out(&a, 100, 60));
	a.updated = 50;
	a.valid = UINT32_MAX;
	CU_ASSERT_FALSE(vckpt_lease_ran_out(&a, UINT64_MAX, 60));
}

/* ---- files that are cut back ---- */

struct rewound {
	char dir[64], path[96];
	int root;
	struct vckpt_agent_file f;
	struct vckpt_agent_rewound_file r;
};

static void rewound_open(struct rewound *w, const char *text, uint64_t length)
{
	struct stat st;
	FILE *file;

	memset(w, 0, sizeof(*w));
	strcpy(w->dir, "test-rewind.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/out", w->dir);
	file = fopen(w->path, "we");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fputs(text, file);
	fclose(file);
	stat(w->path, &st);
	w->root = open(w->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	strcpy(w->f.path, "/out");
	w->f.length = length;
	w->f.dev = st.st_dev;
	w->f.inode = st.st_ino;
}

static void rewound_close(struct rewound *w)
{
	unlinkat(w->root, "out.s", 0);
	unlinkat(w->root, "out", 0);
	close(w->root);
	CU_ASSERT_EQUAL(rmdir(w->dir), 0);
}

/* "" if there is none. */
static const char *content(const struct rewound *w, const char *name, char text[64])
{
	int fd = openat(w->root, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, 63);

	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static void test_rewind(void)
{
	struct rewound w;
	char text[64];

	rewound_open(&w, "one two three", 7);
	CU_ASSERT_EQUAL(vckpt_rewind_file(w.root, &w.f, "s", &w.r), 0);
	CU_ASSERT_STRING_EQUAL(content(&w, "out", text), "one two");
	CU_ASSERT_STRING_EQUAL(content(&w, "out.s", text), " three");
	CU_ASSERT_STRING_EQUAL(w.r.saved, "/out.s");
	CU_ASSERT_EQUAL(w.r.was, 13);
	/* Not longer any more: nothing happens. */
	memset(&w.r, 0, sizeof(w.r));
	CU_ASSERT_EQUAL(vckpt_rewind_file(w.root, &w.f, "s", &w.r), 0);
	CU_ASSERT_STRING_EQUAL(w.r.saved, "");
	w.f.length = 100;
	CU_ASSERT_EQUAL(vckpt_rewind_file(w.root, &w.f, "s", &w.r), 0);
	CU_ASSERT_STRING_EQUAL(content(&w, "out", text), "one two");
	rewound_close(&w);
}

/* Whatever speaks against it leaves the file as it is. */
static void test_rewind_left(void)
{
	struct rewound w;
	char text[64];

	rewound_open(&w, "one two three", 7);
	w.f.inode++;
	CU_ASSERT_EQUAL(vckpt_rewind_file(w.root, &w.f, "s", &w.r), -1);
	CU_ASSERT_EQUAL(w.r.code, VCKPT_EREFUSED);
	w.f.inode--;
	/* What it would be saved in is there already. */
	close(openat(w.root, "out.s", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	CU_ASSERT_EQUAL(vckpt_rewind_file(w.root, &w.f, "s", &w.r), -1);
	CU_ASSERT_EQUAL(w.r.code, VCKPT_ESYSTEM);
	CU_ASSERT_STRING_EQUAL(w.r.saved, "");
	CU_ASSERT_STRING_EQUAL(content(&w, "out", text), "one two three");
	strcpy(w.f.path, "/gone");
	CU_ASSERT_EQUAL(vckpt_rewind_file(w.root, &w.f, "s", &w.r), -1);
	rewound_close(&w);
}

/* ---- which file systems can stand still ---- */

static const char mountinfo[] =
	"22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n"
	"23 22 0:21 / /proc rw - proc proc rw\n"
	"24 22 0:22 / /run rw,nosuid - tmpfs tmpfs rw,size=1k\n"
	"30 22 254:2 / /data\\040disk rw - xfs /dev/vda2 rw,attr2\n"
	"31 22 254:2 /sub /mnt rw master:2 - xfs /dev/vda2 rw,attr2\n"
	"32 22 254:3 / /ro ro - ext4 /dev/vda3 ro\n"
	"33 22 0:40 / /net rw - nfs4 server:/export rw,vers=4.2\n"
	"34 22 0:41 /@ /b rw - btrfs /dev/vda4 rw,subvol=/@\n"
	"35 22 254:5 / /var/log rw - ext4 /dev/vda5 rw\n"
	"bad line\n";

static void test_freeze_choose(void)
{
	const uint64_t ours[] = {makedev(254, 5), makedev(0, 22)};
	struct vckpt_fs fs[VCKPT_FREEZE_MAX] = {{0}};
	char why[200];

	CU_ASSERT_EQUAL_FATAL(vckpt_freeze_choose(mountinfo, ours, 2, fs, why, sizeof(why)), 3);
	CU_ASSERT_STRING_EQUAL(fs[0].path, "/b");
	CU_ASSERT_STRING_EQUAL(fs[1].path, "/data disk");
	CU_ASSERT_STRING_EQUAL(fs[2].path, "/");
	CU_ASSERT_EQUAL(fs[2].dev, makedev(254, 1));
	CU_ASSERT_STRING_EQUAL(why, "/var/log: vckpt-agent writes to it");
	CU_ASSERT_EQUAL(vckpt_freeze_choose("", ours, 2, fs, why, sizeof(why)), 0);
	CU_ASSERT_STRING_EQUAL(why, "");
}

static void test_freeze_bounds(void)
{
	struct vckpt_fs fs[VCKPT_FREEZE_MAX] = {{0}};
	struct vckpt_mount m;
	char text[8192], why[64];
	size_t used = 0;

	for (unsigned i = 1; i <= 20; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%u 1 8:%u / /m%u rw - ext4 /dev/x rw\n", i, i, i);
	CU_ASSERT_EQUAL(vckpt_freeze_choose(text, NULL, 0, fs, why, sizeof(why)), VCKPT_FREEZE_MAX);
	CU_ASSERT_TRUE(strlen(why) < sizeof(why));
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "too many"));
	snprintf(text, sizeof(text), "1 1 8:1 / /%0*d rw - ext4 /dev/x rw\n", 300, 7);
	CU_ASSERT_EQUAL(vckpt_mount_parse(text, &m), 0);
	CU_ASSERT_STRING_EQUAL(m.path, "");
	CU_ASSERT_EQUAL(vckpt_freeze_choose(text, NULL, 0, fs, why, sizeof(why)), 0);
	CU_ASSERT_EQUAL(vckpt_mount_parse("1 1 8:1 / /a - ext4 x rw", &m), 0);
	CU_ASSERT_EQUAL(vckpt_mount_parse("1 1 8:1 / /a rw", &m), -1);
	CU_ASSERT_EQUAL(vckpt_mount_parse("1 1 8 / /a rw - ext4 x rw", &m), -1);
	CU_ASSERT_EQUAL(vckpt_mount_parse("1 1 8:1 / /a\\04", &m), -1);
}

static const struct unit_test tests[] = {
	{"start of a process", test_start_of_process},
	{"inode of a socket", test_socket_inode},
	{"kernel counters", test_counters},
	{"a line of the registry", test_registry_line},
	{"marker frames", test_marker},
	{"duplicate addresses", test_arp},
	{"inside or outside the guest", test_addresses},
	{"lists of names", test_lists},
	{"files on network file systems", test_files},
	{"where the launcher listens", test_launcher},
	{"owners of sockets", test_owners},
	{"a slot is found again", test_memfd_found_again},
	{"page and state", test_control},
	{"what is committed", test_committed},
	{"keepers", test_keeper},
	{"only sealed slots are mapped", test_recover},
	{"no descriptor left", test_no_descriptors},
	{"a flood of the log", test_flood},
	{"connections amid their handshake", test_young},
	{"names of hosts", test_hosts},
	{"leases that ran out", test_leases},
	{"files are cut back", test_rewind},
	{"and left alone where that would not be safe", test_rewind_left},
	{"which file systems are frozen", test_freeze_choose},
	{"what mountinfo may say of them", test_freeze_bounds},
};

UNIT_MAIN("agent", tests)
