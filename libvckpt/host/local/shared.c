/* What all sessions of a process share. */
#include "host/local/internal.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"

/* FIFOs that an earlier life left behind. */
static void clean_scratch(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *de;

	if (!d)
		return;
	while ((de = readdir(d)))
		if (de->d_name[0] != '.')
			unlinkat(dirfd(d), de->d_name, 0);
	closedir(d);
}

static int make_folder(const char *run_dir, const char *name, char out[PATH_MAX],
		       struct vckpt_error *err)
{
	if (snprintf(out, PATH_MAX, "%s/%s", run_dir, name) >= PATH_MAX - NAME_MAX - 16)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", run_dir);
	return vckpt_make_dirs(out, 0700, err);
}

int vckpt_local_new(const struct vckpt_local_config *config, struct vckpt_local **local,
		    struct vckpt_error *err)
{
	struct vckpt_local *l;
	pthread_condattr_t attr;

	if (!config->run_dir || config->run_dir[0] != '/')
		return vckpt_fail(err, VCKPT_EUSAGE, "the run folder %s is not an absolute path",
				  config->run_dir ? config->run_dir : "\"\"");
	l = calloc(1, sizeof(*l));
	if (!l)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for this host");
	l->log = config->log;
	l->buffer = config->buffer;
	l->behind = config->behind;
	l->behind_arg = config->arg;
	snprintf(l->hooks, sizeof(l->hooks), "%s",
		 config->hooks ? config->hooks : VCKPT_LOCAL_HOOKS);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (gethostname(l->host_name, sizeof(l->host_name) - 1) < 0)
		strcpy(l->host_name, "localhost");
	if (make_folder(config->run_dir, "journal", l->journal, err) < 0 ||
	    make_folder(config->run_dir, "tokens", l->tokens, err) < 0 ||
	    make_folder(config->run_dir, "scratch", l->scratch, err) < 0 ||
	    vckpt_hv_open(config->uri, l->log, &l->hv, err) < 0) {
		vckpt_local_free(l);
		return -1;
	}
	clean_scratch(l->scratch);
	*local = l;
	return 0;
}

bool vckpt_local_pause(struct vckpt_local *l, uint64_t ns)
{
	uint64_t until = vckpt_now() + ns;
	struct timespec ts = {(time_t)(until / VCKPT_S), (long)(until % VCKPT_S)};
	unsigned kicks;
	bool serving;

	pthread_mutex_lock(&l->lock);
	kicks = l->kicks;
	while (!l->stopping && l->kicks == kicks && vckpt_now() < until)
		pthread_cond_timedwait(&l->changed, &l->lock, &ts);
	serving = !l->stopping;
	pthread_mutex_unlock(&l->lock);
	return serving;
}

void vckpt_local_kick(struct vckpt_local *l)
{
	pthread_mutex_lock(&l->lock);
	l->kicks++;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

uint64_t vckpt_local_pause_next(uint64_t pause)
{
	if (!pause)
		return VCKPT_S;
	return pause < 5 * VCKPT_S ? 2 * pause : 10 * VCKPT_S;
}

bool vckpt_local_idle(struct vckpt_local *l)
{
	bool idle;

	pthread_mutex_lock(&l->lock);
	idle = l->sessions == 0;
	pthread_mutex_unlock(&l->lock);
	return idle;
}

void vckpt_local_free(struct vckpt_local *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	pthread_cond_broadcast(&l->changed);
	while (l->sessions)
		pthread_cond_wait(&l->changed, &l->lock);
	pthread_mutex_unlock(&l->lock);
	if (l->hv)
		vckpt_hv_close(l->hv);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* Signals are the owner's business, and a broken pipe is to be an error, not a signal. */
int vckpt_thread_start(pthread_t *t, void *(*fn)(void *), void *arg)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(t, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}
