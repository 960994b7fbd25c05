#include "store/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/process.h"
#include "store/layout.h"
#include "store/seal.h"

#define KIND "lease"
#define TICK (5 * VCKPT_S) /* between two renewals of a ticker */

/* All that is in the file. */
struct record {
	struct vckpt_lease_info info;
	bool released;
	char boot[40];
	uint64_t pid_ns, start, boot_expires_ns;
};

struct vckpt_lease {
	enum vckpt_lease_role role;
	const struct vckpt_store *store;
	char cluster[VCKPT_NAME_SIZE];
	uint64_t ttl_ns, epoch;
	struct record mine;
};

static void read_boot_id(char out[40])
{
	vckpt_autofile FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || fscanf(f, "%39s", out) != 1)
		out[0] = '\0';
}

static uint64_t pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static bool is_live(const struct record *r)
{
	char boot[40];

	if (r->released || r->info.generation == 0)
		return false;
	read_boot_id(boot);
	if (boot[0] == '\0' || strcmp(boot, r->boot) != 0)
		return vckpt_wallclock() < r->info.expires_ns;
	if (r->pid_ns == pid_namespace() && vckpt_process_start(r->info.pid) != r->start)
		return false;
	return vckpt_clock(CLOCK_BOOTTIME) < r->boot_expires_ns;
}

static const char *const folders[] = {[VCKPT_LEASE_WORK] = "lease",
				      [VCKPT_LEASE_SUPERVISE] = "supervisor",
				      [VCKPT_LEASE_FLUSH] = "flusher",
				      [VCKPT_LEASE_PRUNE] = "pruner"};

const char *vckpt_lease_folder(enum vckpt_lease_role role)
{
	return folders[role];
}

static int lease_dir(enum vckpt_lease_role role, const struct vckpt_store *store,
		     const char *cluster, char *out, struct vckpt_error *err)
{
	return vckpt_cluster_path(store, cluster, folders[role], out, err);
}

static int dir_of(const struct vckpt_lease *l, char *out, struct vckpt_error *err)
{
	return lease_dir(l->role, l->store, l->cluster, out, err);
}

static int file_of(const char *dir, uint64_t generation, const char *tail, char *out,
		   struct vckpt_error *err)
{
	if (snprintf(out, PATH_MAX, "%s/%06" PRIu64 "%s", dir, generation, tail) >= PATH_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", dir);
	return 0;
}

/* A folder read while somebody renames into it may miss a name; looking for it does not. */
static int highest(const char *dir, uint64_t *generation, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *all = NULL;
	char path[PATH_MAX];
	size_t n;

	if (vckpt_list_numbers(dir, "", &all, &n, err) < 0)
		return -1;
	*generation = n ? all[n - 1] : 0;
	for (;;) {
		if (file_of(dir, *generation + 1, "", path, err) < 0)
			return -1;
		if (access(path, F_OK) < 0)
			return 0;
		++*generation;
	}
}

static void copy_text(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
}

static int parse(json_t *j, const char *path, struct record *r, struct vckpt_error *err)
{
	const char *owner, *host, *purpose, *boot;
	json_int_t pid, since, expires, pid_ns, start, boot_expires;
	json_error_t why;
	int released;

	if (json_unpack_ex(j, &why, JSON_STRICT, "{s:b,s:s,s:s,s:s,s:I,s:I,s:I,s:s,s:I,s:I,s:I}",
			   "released", &released, "owner", &owner, "host", &host, "purpose",
			   &purpose, "pid", &pid, "since_ns", &since, "expires_ns", &expires,
			   "boot_id", &boot, "pid_ns", &pid_ns, "start", &start, "boot_expires_ns",
			   &boot_expires) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is not what vckpt writes: %s", path,
				  why.text);
	r->released = released;
	copy_text(r->info.owner, sizeof(r->info.owner), owner);
	copy_text(r->info.host, sizeof(r->info.host), host);
	copy_text(r->info.purpose, sizeof(r->info.purpose), purpose);
	copy_text(r->boot, sizeof(r->boot), boot);
	r->info.pid = (pid_t)pid;
	r->info.since_ns = (uint64_t)since;
	r->info.expires_ns = (uint64_t)expires;
	r->pid_ns = (uint64_t)pid_ns;
	r->start = (uint64_t)start;
	r->boot_expires_ns = (uint64_t)boot_expires;
	return 0;
}

/* The record in force; generation 0 if there is none. */
static int read_record(const char *dir, struct record *r, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX];

	for (int tries = 0; tries < 100; tries++) {
		json_auto_t *j = NULL;
		uint64_t generation;

		memset(r, 0, sizeof(*r));
		if (highest(dir, &generation, err) < 0)
			return -1;
		if (generation == 0)
			return 0;
		if (file_of(dir, generation, "", path, err) < 0)
			return -1;
		j = vckpt_seal_read_json(path, KIND, &why);
		/* gone in between: a newer one came and tidied up */
		if (!j && why.code == VCKPT_ENOTFOUND)
			continue;
		if (!j || parse(j, path, r, &why) < 0)
			break;
		r->info.generation = generation;
		r->info.live = is_live(r);
		return 0;
	}
	if (err)
		*err = why;
	if (why.code == VCKPT_EDAMAGED)
		return vckpt_error_prefix(err, "who holds the cluster cannot be told; if surely "
					       "nobody works on it, remove the file");
	return -1;
}

static json_t *to_json(const struct record *r)
{
	const struct vckpt_lease_info *i = &r->info;

	return json_pack("{s:b,s:s,s:s,s:s,s:I,s:I,s:I,s:s,s:I,s:I,s:I}", "released",
			 (int)r->released, "owner", i->owner, "host", i->host, "purpose",
			 i->purpose, "pid", (json_int_t)i->pid, "since_ns", (json_int_t)i->since_ns,
			 "expires_ns", (json_int_t)i->expires_ns, "boot_id", r->boot, "pid_ns",
			 (json_int_t)r->pid_ns, "start", (json_int_t)r->start, "boot_expires_ns",
			 (json_int_t)r->boot_expires_ns);
}

static int fail_busy(struct vckpt_error *err, enum vckpt_code code, const char *cluster,
		     const char *how, const struct vckpt_lease_info *i)
{
	time_t t = (time_t)(i->since_ns / VCKPT_S);
	char when[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	return vckpt_fail(err, code, "cluster %s %s %s on host %s (pid %d, %s) since %s", cluster,
			  how, i->owner, i->host, (int)i->pid, i->purpose, when);
}

static void extend(struct vckpt_lease *l)
{
	l->mine.info.expires_ns = vckpt_wallclock() + l->ttl_ns;
	l->mine.boot_expires_ns = vckpt_clock(CLOCK_BOOTTIME) + l->ttl_ns;
}

/* Writes the record under a name of its own and gives it the name of its generation: by link(),
 * which fails if somebody was first, or by rename() over our own older record.  *overtaken:
 * somebody was first, and may even have tidied our aside away. */
static int put_record(const char *dir, const struct record *r, bool first, bool *overtaken,
		      struct vckpt_error *err)
{
	json_auto_t *j = to_json(r);
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char aside[PATH_MAX], path[PATH_MAX], tail[32];
	uint64_t salt = 0;

	*overtaken = false;
	if (!j)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "owner, host and purpose of a lease must be UTF-8");
	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		return vckpt_fail_errno(err, "no random number for the name of a lease");
	snprintf(tail, sizeof(tail), ".%016" PRIx64, salt);
	if (file_of(dir, r->info.generation, tail, aside, err) < 0 ||
	    file_of(dir, r->info.generation, "", path, err) < 0)
		return -1;
	if (vckpt_seal_write_json(aside, KIND, j, &why) == 0) {
		if (vckpt_fault_point("store.lease.name", NULL, &why) == 0 &&
		    (first ? link(aside, path) : rename(aside, path)) < 0)
			vckpt_fail_errno(&why, "cannot create %s", path);
		else
			vckpt_sync_dir(dir, &why);
		if (first || why.code)
			unlink(aside);
	}
	if (!why.code)
		return 0;
	*overtaken = why.sys == ENOENT || (first && why.sys == EEXIST);
	if (err)
		*err = why;
	return -1;
}

/* Older records and asides of writers that were killed. */
static void tidy(const char *dir, uint64_t generation)
{
	char path[PATH_MAX];
	char **names;
	size_t n;

	if (vckpt_list_dir(dir, &names, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		uint64_t of = strtoull(names[i], NULL, 10);

		if (of < generation &&
		    snprintf(path, sizeof(path), "%s/%s", dir, names[i]) < (int)sizeof(path))
			unlink(path);
	}
	vckpt_store_free_names(names, n);
}

static int take(struct vckpt_lease *l, const char *dir, struct vckpt_error *err)
{
	for (int tries = 0; tries < 100; tries++) {
		struct record now;
		bool overtaken;
		uint64_t top;

		if (read_record(dir, &now, err) < 0)
			return -1;
		if (now.info.live)
			return fail_busy(err, VCKPT_EBUSY, l->cluster, "is in the hands of",
					 &now.info);
		l->mine.info.generation = now.info.generation + 1;
		extend(l);
		if (put_record(dir, &l->mine, true, &overtaken, err) < 0) {
			if (overtaken)
				continue;
			return -1;
		}
		/* Between our look and our link somebody may have taken, given back and tidied
		 * away this very number: then there is a higher one, and ours does not count. */
		if (highest(dir, &top, err) < 0)
			return -1;
		if (top == l->mine.info.generation) {
			tidy(dir, top);
			return 0;
		}
	}
	return vckpt_fail(err, VCKPT_EBUSY, "cluster %s: others keep taking the lease; try again",
			  l->cluster);
}

/* The folder; that of who looks after it for long is made when the first comes. */
static int find_dir(enum vckpt_lease_role role, const struct vckpt_store *store,
		    const char *cluster, char dir[PATH_MAX], struct vckpt_error *err)
{
	char of[PATH_MAX];

	if (lease_dir(role, store, cluster, dir, err) < 0 ||
	    vckpt_cluster_path(store, cluster, "", of, err) < 0)
		return -1;
	if (access(of, F_OK) < 0 && errno == ENOENT)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "store %s has no cluster %s; `vckpt ls` lists what it has",
				  vckpt_store_path(store), cluster);
	return role == VCKPT_LEASE_WORK ? 0 : vckpt_make_folder(of, folders[role], err);
}

struct vckpt_lease *vckpt_lease_acquire_as(enum vckpt_lease_role role,
					   const struct vckpt_store *store, const char *cluster,
					   const char *owner, const char *host, const char *purpose,
					   uint64_t ttl_ns, struct vckpt_error *err)
{
	struct vckpt_lease *l = NULL;
	char dir[PATH_MAX];

	if (find_dir(role, store, cluster, dir, err) < 0)
		return NULL;
	l = calloc(1, sizeof(*l));
	if (!l) {
		vckpt_fail_errno(err, "no memory for the lease of cluster %s", cluster);
		return NULL;
	}
	l->role = role;
	l->store = store;
	l->ttl_ns = ttl_ns;
	copy_text(l->cluster, sizeof(l->cluster), cluster);
	copy_text(l->mine.info.owner, sizeof(l->mine.info.owner), owner);
	if (host)
		copy_text(l->mine.info.host, sizeof(l->mine.info.host), host);
	else if (gethostname(l->mine.info.host, sizeof(l->mine.info.host) - 1) < 0)
		strcpy(l->mine.info.host, "?");
	copy_text(l->mine.info.purpose, sizeof(l->mine.info.purpose), purpose);
	l->mine.info.pid = getpid();
	l->mine.info.since_ns = vckpt_wallclock();
	l->mine.start = vckpt_process_start(getpid());
	l->mine.pid_ns = pid_namespace();
	read_boot_id(l->mine.boot);
	if (take(l, dir, err) == 0)
		return l;
	free(l);
	return NULL;
}

struct vckpt_lease *vckpt_lease_acquire(const struct vckpt_store *store, const char *cluster,
					const char *owner, const char *host, const char *purpose,
					uint64_t ttl_ns, struct vckpt_error *err)
{
	return vckpt_lease_acquire_as(VCKPT_LEASE_WORK, store, cluster, owner, host, purpose,
				      ttl_ns, err);
}

int vckpt_lease_check(const struct vckpt_lease *l, struct vckpt_error *err)
{
	char dir[PATH_MAX];
	struct record now;

	if (dir_of(l, dir, err) < 0 || read_record(dir, &now, err) < 0)
		return -1;
	if (now.info.generation == l->mine.info.generation)
		return 0;
	if (now.info.generation == 0)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "the lease of cluster %s was removed, so another may be at work: "
				  "see `vckpt log %s`, then try again",
				  l->cluster, l->cluster);
	return fail_busy(err, VCKPT_EREFUSED, l->cluster, "was taken over by", &now.info);
}

int vckpt_lease_renew(struct vckpt_lease *l, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char dir[PATH_MAX];
	bool overtaken;

	if (vckpt_lease_check(l, err) < 0 || dir_of(l, dir, err) < 0)
		return -1;
	extend(l);
	put_record(dir, &l->mine, false, &overtaken, &why);
	if (vckpt_lease_check(l, err) < 0)
		return -1;
	if (why.code && err)
		*err = why;
	return why.code ? -1 : 0;
}

int vckpt_lease_hold(struct vckpt_lease *l, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	int rc = vckpt_lease_renew(l, &why);

	if (rc < 0 && why.code != VCKPT_ESYSTEM)
		return vckpt_fail(err, why.code, "%s", why.text);
	return vckpt_lease_check(l, err) < 0 ? -1 : rc == 0;
}

bool vckpt_lease_tick(void *arg, uint64_t done, uint64_t total)
{
	struct vckpt_lease_ticker *t = arg;

	(void)done, (void)total;
	if (vckpt_now() - t->renewed < TICK)
		return true;
	t->renewed = vckpt_now();
	return vckpt_lease_renew(t->lease, NULL) == 0;
}

void vckpt_lease_release(struct vckpt_lease *l)
{
	char dir[PATH_MAX];
	bool overtaken;

	if (!l)
		return;
	/* If this cannot be written the lease runs out by itself. */
	if (vckpt_lease_check(l, NULL) == 0 && dir_of(l, dir, NULL) == 0) {
		l->mine.released = true;
		put_record(dir, &l->mine, false, &overtaken, NULL);
	}
	free(l);
}

void vckpt_lease_forget(struct vckpt_lease *l)
{
	free(l);
}

int vckpt_lease_inspect_as(enum vckpt_lease_role role, const struct vckpt_store *store,
			   const char *cluster, struct vckpt_lease_info *info,
			   struct vckpt_error *err)
{
	char dir[PATH_MAX];
	struct record r;

	if (lease_dir(role, store, cluster, dir, err) < 0)
		return -1;
	memset(info, 0, sizeof(*info));
	/* Nobody ever looked after it. */
	if (role != VCKPT_LEASE_WORK && access(dir, F_OK) < 0 && errno == ENOENT)
		return 0;
	if (read_record(dir, &r, err) < 0)
		return -1;
	*info = r.info;
	return 0;
}

int vckpt_lease_inspect(const struct vckpt_store *store, const char *cluster,
			struct vckpt_lease_info *info, struct vckpt_error *err)
{
	return vckpt_lease_inspect_as(VCKPT_LEASE_WORK, store, cluster, info, err);
}

const struct vckpt_store *vckpt_lease_store(const struct vckpt_lease *l)
{
	return l->store;
}

const char *vckpt_lease_cluster(const struct vckpt_lease *l)
{
	return l->cluster;
}

uint64_t vckpt_lease_generation(const struct vckpt_lease *l)
{
	return l->mine.info.generation;
}

uint64_t vckpt_lease_epoch(const struct vckpt_lease *l)
{
	return l->epoch;
}

void vckpt_lease_set_epoch(struct vckpt_lease *l, uint64_t epoch)
{
	l->epoch = epoch;
}
