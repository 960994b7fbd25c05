/*
 * test-gate.c: the parts of hook/vckpt that need no Open MPI: interpose.c and peer.c.
 *
 *     test-gate DIR      DIR has victim-lazy.so and victim-now.so (victim.c); the environment
 * variables OWN and FOREIGN name an address of this machine and of another
 */
#include "unit.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "interpose.h"
#include "peer.h"

static const char *folder;
static unsigned calls, reports;

static ssize_t our_writev(int fd, const struct iovec *iov, int n)
{
	calls++;
	return writev(fd, iov, n);
}

static ssize_t our_send(int fd, const void *data, size_t n, int flags)
{
	calls++;
	return send(fd, data, n, flags);
}

static const struct vckpt_import imports[] = {
	{"writev", (void (*)(void))our_writev, NULL},
	{"send", (void (*)(void))our_send, NULL},
};

struct victim {
	void *dl;
	ssize_t (*writev)(int, const struct iovec *, int);
	ssize_t (*send)(int, const void *, size_t);
	ssize_t (*indirect)(int, const void *, size_t);
};

static void load(struct victim *v, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	v->dl = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(v->dl);
	*(void **)&v->writev = dlsym(v->dl, "victim_writev");
	*(void **)&v->send = dlsym(v->dl, "victim_send");
	*(void **)&v->indirect = dlsym(v->dl, "victim_indirect");
}

/* How many of the victim's three ways lead through us; each delivers its byte in any case. */
static unsigned led(const struct victim *v)
{
	struct iovec iov = {(char[]){'a'}, 1};
	char got[8] = "";
	int s[2];

	calls = 0;
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	CU_ASSERT_EQUAL(v->writev(s[0], &iov, 1), 1);
	CU_ASSERT_EQUAL(v->send(s[0], "b", 1), 1);
	CU_ASSERT_EQUAL(v->indirect(s[0], "c", 1), 1);
	CU_ASSERT_EQUAL(recv(s[1], got, sizeof(got), MSG_WAITALL | MSG_DONTWAIT), 3);
	CU_ASSERT_STRING_EQUAL(got, "abc");
	close(s[0]);
	close(s[1]);
	return calls;
}

/* The protections of an object's pages, in one string. */
static void protections(const char *name, char *out, size_t n)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[4300];

	out[0] = '\0';
	while (fgets(line, sizeof(line), f))
		if (strstr(line, name))
			strncat(out, line, n - strlen(out) - 1);
	fclose(f);
}

/* Each slot by name and place; it is ours already. */
static void told(void *arg, const char *object, const char *function, void **slot)
{
	(void)arg;
	CU_ASSERT_PTR_NOT_NULL(strstr(object, "victim-"));
	CU_ASSERT(strcmp(function, "writev") == 0 || strcmp(function, "send") == 0);
	CU_ASSERT_PTR_NOT_NULL(*slot);
	reports++;
}

static void start(struct vckpt_interposer *ip)
{
	reports = 0;
	*ip = (struct vckpt_interposer){.imports = imports,
					.nimports = 2,
					.objects = (char *)"nothing,victim-",
					.report = told};
}

static void one_object(const char *name, bool again)
{
	char before[4096], during[4096], after[4096];
	struct vckpt_interposer ip;
	struct victim v;

	load(&v, name);
	/* Bound already, or still pointing at the linker. */
	if (again)
		CU_ASSERT_EQUAL(led(&v), 0);
	protections(name, before, sizeof(before));
	start(&ip);
	CU_ASSERT_EQUAL(vckpt_interpose(&ip, NULL), 0);
	CU_ASSERT_EQUAL(ip.through, 3);
	CU_ASSERT_EQUAL(reports, 3);
	CU_ASSERT_EQUAL(led(&v), 3);
	protections(name, during, sizeof(during));
	CU_ASSERT_STRING_EQUAL(before, during);
	CU_ASSERT_FALSE(vckpt_interpose_outdated(&ip));
	/* A second look finds the same and loses nothing. */
	CU_ASSERT_EQUAL(vckpt_interpose(&ip, NULL), 0);
	CU_ASSERT_EQUAL(ip.through, 3);
	CU_ASSERT_EQUAL(reports, 3);
	CU_ASSERT_EQUAL(vckpt_interpose_undo(&ip, NULL), 0);
	CU_ASSERT_EQUAL(ip.nsites, 0);
	CU_ASSERT_EQUAL(led(&v), 0);
	protections(name, after, sizeof(after));
	CU_ASSERT_STRING_EQUAL(before, after);
	dlclose(v.dl);
}

static void test_lazy(void)
{
	one_object("victim-lazy.so", false);
	one_object("victim-lazy.so", true);
}

static void test_locked(void)
{
	one_object("victim-now.so", false);
	one_object("victim-now.so", true);
}

static void test_others_untouched(void)
{
	struct vckpt_interposer ip;
	struct victim v;

	load(&v, "victim-lazy.so");
	start(&ip);
	ip.objects = (char *)"victim-n,lazy";
	CU_ASSERT_EQUAL(vckpt_interpose(&ip, NULL), 0);
	CU_ASSERT_EQUAL(ip.through, 0);
	CU_ASSERT_EQUAL(led(&v), 0);
	CU_ASSERT_EQUAL(vckpt_interpose_undo(&ip, NULL), 0);
	dlclose(v.dl);
}

static void test_comes_and_goes(void)
{
	struct vckpt_interposer ip;
	struct victim a, b;

	load(&a, "victim-lazy.so");
	start(&ip);
	CU_ASSERT_EQUAL(vckpt_interpose(&ip, NULL), 0);
	load(&b, "victim-now.so");
	CU_ASSERT_EQUAL(led(&b), 0);
	CU_ASSERT_TRUE(vckpt_interpose_outdated(&ip));
	CU_ASSERT_EQUAL(vckpt_interpose(&ip, NULL), 0);
	CU_ASSERT_EQUAL(ip.through, 6);
	CU_ASSERT_EQUAL(led(&b), 3);
	dlclose(a.dl);
	/* Where a was there may be nothing now: undo must not look. */
	CU_ASSERT_EQUAL(vckpt_interpose_undo(&ip, NULL), 0);
	CU_ASSERT_EQUAL(led(&b), 0);
	/* The same name at perhaps the same place is a new object. */
	load(&a, "victim-lazy.so");
	CU_ASSERT_EQUAL(led(&a), 0);
	CU_ASSERT_EQUAL(vckpt_interpose(&ip, NULL), 0);
	CU_ASSERT_EQUAL(led(&a), 3);
	dlclose(a.dl);
	load(&a, "victim-lazy.so");
	CU_ASSERT_EQUAL(vckpt_interpose(&ip, NULL), 0);
	CU_ASSERT_EQUAL(led(&a), 3);
	CU_ASSERT_EQUAL(vckpt_interpose_undo(&ip, NULL), 0);
	dlclose(a.dl);
	dlclose(b.dl);
}

static bool foreign(const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	char mapped[64];

	errno = 77;
	if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
		return vckpt_address_is_foreign((struct sockaddr *)&in6, sizeof(in6));
	inet_pton(AF_INET, text, &in.sin_addr);
	snprintf(mapped, sizeof(mapped), "::ffff:%s", text);
	inet_pton(AF_INET6, mapped, &in6.sin6_addr);
	CU_ASSERT_EQUAL(vckpt_address_is_foreign((struct sockaddr *)&in6, sizeof(in6)),
			vckpt_address_is_foreign((struct sockaddr *)&in, sizeof(in)));
	return vckpt_address_is_foreign((struct sockaddr *)&in, sizeof(in));
}

static void test_addresses(void)
{
	struct sockaddr_storage un = {.ss_family = AF_UNIX};

	CU_ASSERT_FALSE(foreign("127.0.0.1"));
	CU_ASSERT_FALSE(foreign("127.8.9.1"));
	CU_ASSERT_FALSE(foreign("::1"));
	CU_ASSERT_FALSE(foreign(getenv("OWN")));
	CU_ASSERT_TRUE(foreign(getenv("FOREIGN")));
	CU_ASSERT_EQUAL(errno, 77);
	CU_ASSERT_FALSE(vckpt_address_is_foreign((struct sockaddr *)&un, sizeof(un)));
}

/* Two ends of a connection of this machine, bound and connected to two addresses of it. */
static void test_own_connections(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET}, from = {.sin_family = AF_INET};
	static struct vckpt_peer_cache cache;
	socklen_t len = sizeof(in);
	int pipes[2];

	inet_pton(AF_INET, getenv("OWN"), &in.sin_addr);
	inet_pton(AF_INET, "127.0.0.1", &from.sin_addr);
	for (int i = 0; i < 3; i++) {
		int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s;

		in.sin_port = 0;
		CU_ASSERT_EQUAL_FATAL(bind(l, (struct sockaddr *)&in, sizeof(in)), 0);
		CU_ASSERT_EQUAL(listen(l, 1), 0);
		getsockname(l, (struct sockaddr *)&in, &len);
		CU_ASSERT_FALSE(vckpt_peer_is_held(&cache, c));
		CU_ASSERT_EQUAL(bind(c, (struct sockaddr *)&from, sizeof(from)), 0);
		CU_ASSERT_EQUAL(connect(c, (struct sockaddr *)&in, sizeof(in)), 0);
		s = accept(l, NULL, NULL);
		CU_ASSERT_EQUAL(send(c, "x", 1, 0), 1);
		CU_ASSERT_EQUAL(send(s, "x", 1, 0), 1);
		CU_ASSERT_FALSE(vckpt_peer_is_held(&cache, c));
		CU_ASSERT_FALSE(vckpt_peer_is_held(&cache, s));
		close(s);
		close(c);
		close(l);
	}
	errno = 77;
	CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
	CU_ASSERT_FALSE(vckpt_peer_is_held(&cache, pipes[1]));
	CU_ASSERT_FALSE(vckpt_peer_is_held(&cache, 9999));
	CU_ASSERT_EQUAL(errno, 77);
	close(pipes[0]);
	close(pipes[1]);
}

int main(int argc, char **argv)
{
	static const struct unit_test tests[] = {
		{"an object that is bound lazily", test_lazy},
		{"an object that is locked", test_locked},
		{"objects that are not meant", test_others_untouched},
		{"objects that come and go", test_comes_and_goes},
		{"whose address", test_addresses},
		{"connections inside this machine", test_own_connections},
	};

	if (argc != 2 || !getenv("OWN") || !getenv("FOREIGN"))
		return 2;
	folder = argv[1];
	return unit_run("gate", tests, sizeof(tests) / sizeof(tests[0]));
}
