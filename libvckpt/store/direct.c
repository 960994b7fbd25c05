#include "store/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"

/* Large enough that a device's latency does not count; a multiple of what any asks for. */
#define PIECE  ((size_t)1 << 20)
#define PIECES 4
#define NICE   10 /* as the packer's threads */

struct vckpt_direct {
	int fd;
	char path[PATH_MAX];
	bool direct; /* of whoever writes, as `written` */
	uint64_t written;

	uint8_t *room;         /* PIECES pieces, taken in turn */
	size_t held;           /* of the piece that is being filled */
	unsigned long filling; /* which one: of whoever appends */

	/* `lock` guards the rest: pieces before `full` are full, before `out` written. */
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	unsigned long full, out;
	bool closing;
	struct vckpt_error error;

	bool beside;
	pthread_t thread;
};

/* A piece at a time and no other before it is answered: a device bears that, the way to a server
 * does not, where the kernel's write-back has many on their way. */
static bool is_far(int fd)
{
	static const uint32_t far[] = {
		NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC,  CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC,
		FUSE_SUPER_MAGIC, CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC,  AFS_FS_MAGIC,
		V9FS_MAGIC,       CODA_SUPER_MAGIC, 0x0bd00bd0, /* Lustre */
		0x19830326,                                     /* BeeGFS */
		0x47504653,                                     /* GPFS */
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return true;
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
		if ((uint32_t)fs.f_type == far[i])
			return true;
	return false;
}

static uint8_t *piece(const struct vckpt_direct *d, unsigned long number)
{
	return d->room + number % PIECES * PIECE;
}

/* false: it was so already. */
static bool through_cache(struct vckpt_direct *d)
{
	int flags = fcntl(d->fd, F_GETFL);

	if (!d->direct)
		return false;
	d->direct = false;
	return flags >= 0 && fcntl(d->fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

/* Writes as much of it as goes at once. */
static ssize_t write_some(struct vckpt_direct *d, const uint8_t *data, size_t len)
{
	ssize_t n = pwrite(d->fd, data, len, (off_t)d->written);

	/* It took O_DIRECT when it was opened, but not such addresses or lengths, or not here. */
	if (n < 0 && (errno == EINVAL || errno == EOPNOTSUPP) && through_cache(d))
		n = pwrite(d->fd, data, len, (off_t)d->written);
	if (n > 0 && !d->direct) /* a hint that spares the fsync at the end */
		sync_file_range(d->fd, (off_t)d->written, n, SYNC_FILE_RANGE_WRITE);
	return n;
}

static int write_out(struct vckpt_direct *d, const uint8_t *data, size_t len,
		     struct vckpt_error *err)
{
	if (vckpt_fault_point("store.direct.write", NULL, err) < 0)
		return -1;
	while (len > 0) {
		ssize_t n = write_some(d, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return vckpt_fail_errno(err, "cannot write %s", d->path);
		d->written += (uint64_t)n;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static void *writer_main(void *arg)
{
	struct vckpt_direct *d = arg;
	struct vckpt_error why;

	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	pthread_mutex_lock(&d->lock);
	while (!d->closing) {
		int rc;

		if (d->out == d->full) {
			pthread_cond_wait(&d->work, &d->lock);
			continue;
		}
		pthread_mutex_unlock(&d->lock);
		rc = write_out(d, piece(d, d->out), PIECE, &why);
		pthread_mutex_lock(&d->lock);
		if (rc < 0) {
			d->error = why;
			d->closing = true;
		}
		d->out++;
		pthread_cond_broadcast(&d->done);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* Under the lock. */
static int kept(const struct vckpt_direct *d, struct vckpt_error *err)
{
	if (!d->error.code)
		return 0;
	if (err)
		*err = d->error;
	return -1;
}

/* Until no more than `left` pieces are on their way. */
static int wait_for(struct vckpt_direct *d, unsigned long left, struct vckpt_error *err)
{
	int rc;

	pthread_mutex_lock(&d->lock);
	while (d->full - d->out > left && !d->error.code)
		pthread_cond_wait(&d->done, &d->lock);
	rc = kept(d, err);
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* The piece at hand is full. */
static int hand_over(struct vckpt_direct *d, struct vckpt_error *err)
{
	d->held = 0;
	if (!d->beside) {
		if (kept(d, err) < 0)
			return -1;
		if (write_out(d, piece(d, d->filling), PIECE, &d->error) < 0)
			return kept(d, err);
		return 0;
	}
	d->filling++;
	pthread_mutex_lock(&d->lock);
	d->full = d->filling;
	pthread_cond_signal(&d->work);
	pthread_mutex_unlock(&d->lock);
	return wait_for(d, PIECES - 1, err);
}

int vckpt_direct_append(struct vckpt_direct *d, const void *data, size_t len,
			struct vckpt_error *err)
{
	const uint8_t *from = data;

	while (len > 0) {
		size_t n = PIECE - d->held < len ? PIECE - d->held : len;

		memcpy(piece(d, d->filling) + d->held, from, n);
		d->held += n;
		from += n;
		len -= n;
		if (d->held == PIECE && hand_over(d, err) < 0)
			return -1;
	}
	return wait_for(d, PIECES, err);
}

int vckpt_direct_finish(struct vckpt_direct *d, struct vckpt_error *err)
{
	size_t held = d->held;

	if (wait_for(d, 0, err) < 0)
		return -1;
	d->held = 0;
	through_cache(d);
	/* Nothing is on its way: the writing thread does not touch what is kept. */
	if (write_out(d, piece(d, d->filling), held, &d->error) < 0)
		return kept(d, err);
	return 0;
}

static int start_thread(struct vckpt_direct *d, struct vckpt_error *err)
{
	errno = pthread_create(&d->thread, NULL, writer_main, d);
	if (errno)
		return vckpt_fail_errno(err, "cannot start a thread for %s", d->path);
	d->beside = true;
	return 0;
}

struct vckpt_direct *vckpt_direct_start(int fd, const char *path, bool beside,
					struct vckpt_error *err)
{
	struct vckpt_direct *d = calloc(1, sizeof(*d));
	int flags = fcntl(fd, F_GETFL);

	if (!d) {
		vckpt_fail_errno(err, "no memory for %s", path);
		return NULL;
	}
	d->fd = fd;
	snprintf(d->path, sizeof(d->path), "%s", path);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->work, NULL);
	pthread_cond_init(&d->done, NULL);
	d->direct = flags >= 0 && !is_far(fd) && fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
	/* Not by malloc(): devices want whole pages. */
	d->room = mmap(NULL, PIECES * PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	if (d->room == MAP_FAILED) {
		d->room = NULL;
		vckpt_fail_errno(err, "no memory for %s", path);
	} else if (!beside || start_thread(d, err) == 0) {
		return d;
	}
	vckpt_direct_free(d);
	return NULL;
}

void vckpt_direct_free(struct vckpt_direct *d)
{
	int saved = errno;

	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->closing = true;
	pthread_cond_signal(&d->work);
	pthread_mutex_unlock(&d->lock);
	if (d->beside)
		pthread_join(d->thread, NULL);
	if (d->room)
		munmap(d->room, PIECES * PIECE);
	pthread_cond_destroy(&d->done);
	pthread_cond_destroy(&d->work);
	pthread_mutex_destroy(&d->lock);
	free(d);
	errno = saved;
}
