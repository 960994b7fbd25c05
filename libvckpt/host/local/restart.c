/* RESTORE, WAKE, DESTROY: a guest as it was at an epoch. */
#include "host/local/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>

#include "base/fault.h"
#include "store/nearest.h"
#include "store/replay.h"

#define PROGRESS_EVERY (250 * VCKPT_MS)
/* For files to be cut back; their server may have to be found again. */
#define REWIND_TIME (30 * VCKPT_S)
#define ANSWER_SOON (2 * VCKPT_S)
#define AWAKE_MAX   (15 * VCKPT_S)
#define SEED_BYTES  64

/* A rebuild under way. */
struct feed {
	struct vckpt_guest *g;
	const struct vckpt_host_request *req;
	struct vckpt_nearest from;
	struct vckpt_image *image; /* from.image */
	struct vckpt_rebuild *rebuild;
	uint64_t pages, all; /* given, and to be given */
	uint64_t bytes, told;
	uint64_t patience; /* ns without a byte taken */
	uint64_t summed;   /* bytes of the disks' layers */
	uint64_t opened;   /* when: image and disks are verified */
	uint64_t reads;    /* ... libvirtd reads */
	uint64_t given;    /* ... all is written */
	bool refused;      /* QEMU does not read on: its own reason is the better one */
	void *room;        /* pages that may be lent to the pipe, or NULL */
	bool lends;
};

/*
 * The pipe refers to our pages instead of having copies made: that is half of the processor time
 * of a restore, on both sides of the pipe.  What it holds must stand, so a pipe that may hold more
 * than the assembler lets stand gets copies.  The pages are of a mapping of their own: what the
 * pipe still has of them when that is gone nobody writes to any more.
 */
static void prepare_room(struct feed *f)
{
	int fd = vckpt_rebuild_fd(f->rebuild), size = fcntl(fd, F_GETPIPE_SZ);
	void *room = MAP_FAILED;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (size > 0 && size <= (int)VCKPT_STREAM_STANDS)
		room = mmap(NULL, VCKPT_STREAM_ROOM, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f->room = room == MAP_FAILED ? NULL : room;
	f->lends = f->room != NULL;
}

static void release_room(struct feed *f)
{
	if (f->room)
		munmap(f->room, VCKPT_STREAM_ROOM);
	f->room = NULL;
}

static ssize_t give(struct feed *f, int fd, const char *at, size_t len)
{
	struct iovec v = {(void *)at, len};
	ssize_t n = f->lends ? vmsplice(fd, &v, 1, SPLICE_F_NONBLOCK) : -1;

	if (n > 0 || (f->lends && (errno == EAGAIN || errno == EINTR || errno == EPIPE)))
		return n;
	f->lends = false; /* not here */
	return write(fd, at, len);
}

/* To QEMU, by way of libvirtd's pipe. */
static int to_qemu(void *arg, const void *data, size_t len, struct vckpt_error *err)
{
	struct feed *f = arg;
	struct pollfd p[2] = {{.fd = vckpt_rebuild_fd(f->rebuild), .events = POLLOUT},
			      {.fd = f->g->cancel, .events = POLLIN}};
	uint64_t deadline = vckpt_now() + f->patience;
	const char *at = data;

	while (len > 0) {
		ssize_t n = give(f, p[0].fd, at, len);
		uint64_t now = vckpt_now(), left = deadline > now ? deadline - now : 0;
		struct timespec ts = {(time_t)(left / VCKPT_S), (long)(left % VCKPT_S)};

		if (n > 0) {
			at += n;
			len -= (size_t)n;
			f->bytes += (uint64_t)n;
			deadline = now + f->patience;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			f->refused = errno == EPIPE;
			return vckpt_fail_errno(err, "guest %s: cannot write to libvirtd",
						f->g->name);
		}
		if (!left)
			return vckpt_fail(err, VCKPT_ETIME,
					  "guest %s: QEMU did not take its memory in time",
					  f->g->name);
		if (ppoll(p, 2, &ts, NULL) > 0 && p[1].revents)
			return vckpt_fail(err, VCKPT_ECANCELED, "guest %s: restore given up",
					  f->g->name);
	}
	return 0;
}

static void tell_progress(struct feed *f)
{
	struct vckpt_host_event ev = {
		.seq = f->req->seq, .kind = VCKPT_EVENT_PROGRESS, .op = f->req->op};

	if (vckpt_now() - f->told < PROGRESS_EVERY)
		return;
	f->told = vckpt_now();
	vckpt_session_log(f->g, VCKPT_DEBUG, "restored %llu of %llu pages",
			  (unsigned long long)f->pages, (unsigned long long)f->all);
	snprintf(ev.guest, sizeof(ev.guest), "%s", f->g->name);
	ev.ended_ns = f->told;
	ev.done = f->summed + f->pages * VCKPT_PAGE;
	ev.total = f->summed + f->all * VCKPT_PAGE;
	vckpt_session_emit(f->g->s, &ev);
}

static int on_replayed(void *arg, uint64_t pages, uint64_t all, struct vckpt_error *err)
{
	struct feed *f = arg;

	f->pages = pages;
	f->all = all;
	tell_progress(f);
	if (vckpt_fault_point("host.restore.pages", NULL, err) < 0)
		return -1;
	if (vckpt_guest_hurried(f->g))
		return vckpt_fail(err, VCKPT_ECANCELED, "guest %s: restore given up", f->g->name);
	return 0;
}

static bool on_summed(void *arg, uint64_t bytes)
{
	struct feed *f = arg;

	f->summed += bytes;
	tell_progress(f);
	return !vckpt_guest_hurried(f->g);
}

/* Where QEMU and who feeds it have a processor each at most, one more only costs switches. */
static unsigned readers(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus > 4 ? 4 : cpus > 2 ? (unsigned)cpus / 2 : 0;
}

static int rebuild(struct feed *f, struct vckpt_error *err)
{
	struct vckpt_local *l = f->g->s->local;
	struct vckpt_guest *g = f->g;
	vckpt_autofree char *on_overlays = NULL;
	bool stands = false;
	const char *xml;
	size_t len;
	int rc;

	if (vckpt_nearest_open(g->s->reach, f->req->cluster, f->req->epoch, g->name, readers(),
			       &f->from, err) < 0)
		return -1;
	f->image = f->from.image;
	xml = vckpt_image_xml(f->image, &len);
	if (vckpt_guest_disks_restore(g, vckpt_image_receipt(f->image)->disks, on_summed, f, xml,
				      &on_overlays, err) < 0)
		return -1;
	if (on_overlays)
		xml = on_overlays;
	if (vckpt_fault_point("host.restore.begin", NULL, err) < 0)
		return -1;
	g->rebuilding = true;
	f->opened = vckpt_now();
	if (vckpt_rebuild_begin(l->hv, f->req->domain, xml, l->scratch, &f->rebuild, err) < 0) {
		/* These say that nothing was begun. */
		if (err->code == VCKPT_EBUSY || err->code == VCKPT_EREFUSED)
			g->rebuilding = false;
		return -1;
	}
	f->reads = vckpt_now();
	prepare_room(f);
	rc = vckpt_image_replay(f->image, f->room, to_qemu, on_replayed, f, &f->pages, err);
	release_room(f);
	if (rc < 0) {
		if (!f->refused)
			stands = vckpt_rebuild_abort(f->rebuild);
		else if (vckpt_rebuild_finish(f->rebuild, &stands, err) == 0)
			stands = true; /* of too little */
		g->rebuilt = stands;
		return -1;
	}
	f->given = vckpt_now();
	vckpt_fault_here("host.restore.finish", NULL);
	rc = vckpt_rebuild_finish(f->rebuild, &stands, err);
	g->rebuilt = rc == 0 || stands;
	return rc;
}

/* Nothing may stand where the guest is to be rebuilt. */
static int need_room(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_error *err)
{
	struct vckpt_error e = VCKPT_ERROR_NONE;
	struct vckpt_domain_status st;

	if (vckpt_guest_open(g, req, &e) < 0) {
		if (e.code == VCKPT_ENOTFOUND)
			return 0;
		return vckpt_fail(err, e.code, "%s", e.text);
	}
	if (vckpt_domain_status(g->dom, &st, err) < 0)
		return -1;
	if (st.state != VCKPT_DOMAIN_OFF)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"guest %s: domain %s is still there (%s); two copies of a job must "
			"never run, destroy it first",
			g->name, req->domain, st.reason);
	return 0;
}

/* The rebuilt domain, its process noted: from now on a successor can tell it from another. */
static int note_rebuilt(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_error *err)
{
	struct vckpt_domain_status st;

	if (vckpt_guest_open(g, req, err) < 0 || vckpt_domain_status(g->dom, &st, err) < 0)
		return -1;
	memcpy(g->entry.uuid, st.uuid, sizeof(g->entry.uuid));
	g->entry.pid = st.pid;
	g->entry.start = st.start;
	g->rebuilding = false;
	return vckpt_guest_note(g, VCKPT_STAGE_REBUILT, err);
}

/* Where it was read, if that was not the store itself, and what was wrong there; or NULL. */
static json_t *place_of(const struct vckpt_nearest *n)
{
	if (!n->other)
		return NULL;
	return json_pack("{s:s, s:s}", "place", n->path, "place_why", n->why.text);
}

int vckpt_guest_restore(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err)
{
	uint64_t began = vckpt_now();
	struct feed f = {.g = g, .req = req, .patience = out->deadline - began};
	json_auto_t *place = NULL;
	int rc;

	if (g->stream || g->rebuilt || g->rebuilding)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guest %s: epoch %" PRIu64 " is under way; end it first", g->name,
				  g->epoch);
	if (req->engine[0] && strcmp(req->engine, "eager") != 0)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "there is no restore engine \"%s\"; take eager", req->engine);
	/* Whoever had to undo something with a guest that was destroyed needs a moment to see it.
	 */
	if (vckpt_claim_take(g->s, VCKPT_CLAIM_DOMAIN, req->domain, 5 * VCKPT_S, err) < 0 ||
	    need_room(g, req, err) < 0)
		return -1;
	memset(&g->entry, 0, sizeof(g->entry));
	memcpy(g->entry.cluster, req->cluster, sizeof(g->entry.cluster));
	memcpy(g->entry.guest, g->name, sizeof(g->entry.guest));
	memcpy(g->entry.domain, req->domain, sizeof(g->entry.domain));
	strcpy(g->entry.engine, "eager");
	g->entry.epoch = g->epoch = req->epoch;
	g->entry.incarnation = g->incarnation = req->incarnation;
	if (vckpt_guest_note(g, VCKPT_STAGE_REBUILDING, err) < 0)
		return -1;
	rc = rebuild(&f, err);
	place = place_of(&f.from);
	vckpt_nearest_close(&f.from);
	if (rc == 0)
		rc = vckpt_fault_point("host.restore.stands", NULL, err);
	if (rc == 0)
		rc = note_rebuilt(g, req, err);
	if (rc < 0) {
		vckpt_error_prefix(err, "guest %s is not restored", g->name);
		vckpt_guest_abort(g, NULL);
		return -1;
	}
	out->detail = json_pack(
		"{ss sI sI sI sI sI sI}", "engine", "eager", "bytes", (json_int_t)f.bytes, "pages",
		(json_int_t)f.pages, "took_ns", (json_int_t)(vckpt_now() - began), "open_ns",
		(json_int_t)(f.opened - began), "start_ns", (json_int_t)(f.reads - f.opened),
		"give_ns", (json_int_t)(f.given - f.reads));
	if (place)
		json_object_update(out->detail, place);
	return 0;
}

/* What an agent is told after a restart; `seed` has SEED_BYTES and lives as long as *m. */
static int compose_restored(struct vckpt_guest *g, const struct vckpt_host_request *req,
			    uint8_t *seed, struct vckpt_agent_restored *m, struct vckpt_error *err)
{
	*m = (struct vckpt_agent_restored){.epoch = req->epoch,
					   .incarnation = req->incarnation,
					   .wallclock = vckpt_wallclock(),
					   .seed = {SEED_BYTES, seed},
					   .peers = req->peers};
	if (getrandom(seed, SEED_BYTES, 0) != SEED_BYTES)
		return vckpt_fail_errno(err, "guest %s: cannot get randomness", g->name);
	return 0;
}

/*
 * HELLO and RESTORED are in the channel before the guest runs: what waits in its gate has
 * retransmission timers running from the first instant, and a round trip is dear on a machine that
 * is just starting guests.
 */
static void post_rewind(struct vckpt_guest *g, const struct vckpt_host_request *req,
			uint64_t deadline, struct vckpt_error *err)
{
	struct vckpt_agent_rewind m = {
		.epoch = req->epoch, .incarnation = req->incarnation, .limit_ns = REWIND_TIME};

	vckpt_agent_post(&g->agent, VCKPT_AGENT_REWIND, &vckpt_agent_rewind_type, &m, deadline,
			 g->cancel, err);
}

static void greet_asleep(struct vckpt_guest *g, const struct vckpt_host_request *req,
			 uint64_t deadline, struct vckpt_error *err)
{
	struct vckpt_agent_restored m;
	uint8_t seed[SEED_BYTES];

	if (vckpt_agent_hello(&g->agent, g->dom, deadline, g->cancel, err) < 0)
		return;
	/* First of all: those that write go on with the first instant. */
	if (req->rewind)
		post_rewind(g, req, deadline, err);
	if (compose_restored(g, req, seed, &m, err) == 0)
		vckpt_agent_post(&g->agent, VCKPT_AGENT_RESTORED, &vckpt_agent_restored_type, &m,
				 deadline, g->cancel, err);
}

/* The agent's answer to what was said while the guest slept; should that be lost, it is asked anew.
 */
static int tell_restored(struct vckpt_guest *g, const struct vckpt_host_request *req,
			 uint64_t deadline, struct vckpt_agent_reply *reply,
			 struct vckpt_error *err)
{
	uint64_t soon = vckpt_now() + ANSWER_SOON;
	struct vckpt_agent_restored m;
	uint8_t seed[SEED_BYTES];
	int r = 0;

	if (g->agent.fd >= 0)
		r = vckpt_agent_answer(&g->agent, VCKPT_AGENT_AWAKE, &vckpt_agent_reply_type, reply,
				       soon < deadline ? soon : deadline, g->cancel, NULL);
	if (r > 0)
		return 0;
	if (vckpt_guest_agent(g, deadline, err) < 0 || compose_restored(g, req, seed, &m, err) < 0)
		return -1;
	if (req->rewind)
		post_rewind(g, req, deadline, err);
	return vckpt_agent_call(&g->agent, VCKPT_AGENT_RESTORED, &vckpt_agent_restored_type, &m,
				VCKPT_AGENT_AWAKE, &vckpt_agent_reply_type, reply, deadline,
				g->cancel, err);
}

/* An agent that says nothing must not cost the guest its restart: the answer is "runs, not awake",
 * and it has to come while the coordinator still waits for it. */
static uint64_t awake_by(uint64_t asked, uint64_t deadline)
{
	uint64_t most = asked + AWAKE_MAX, half = asked + (deadline - asked) / 2;

	return most < half ? most : half;
}

/* Its agent has found a copy of the guest at work: it stands still again, as before WAKE, and ABORT
 * or DESTROY or the end of the session takes it away. */
static int put_to_sleep(struct vckpt_guest *g, const struct vckpt_error *why,
			struct vckpt_error *err)
{
	struct vckpt_error e = VCKPT_ERROR_NONE;

	g->rebuilt = true;
	if (vckpt_domain_suspend(g->dom, &e) < 0 ||
	    vckpt_guest_note(g, VCKPT_STAGE_REBUILT, &e) < 0)
		vckpt_session_log(g, VCKPT_ERROR, "%s", e.text);
	return vckpt_fail(err, why->code, "%s", why->text);
}

/* What came of the files; the guest is awake, so none of it is a failure of the restart. */
static json_t *hear_rewound(struct vckpt_guest *g, const struct vckpt_host_request *req,
			    uint64_t deadline)
{
	struct vckpt_agent_rewind m = {
		.epoch = req->epoch, .incarnation = req->incarnation, .limit_ns = REWIND_TIME};
	struct vckpt_error e = VCKPT_ERROR_NONE;
	struct vckpt_agent_rewound r;
	json_t *j;

	if (vckpt_guest_agent(g, deadline, &e) == 0 && g->agent.welcome.version < 2)
		vckpt_fail(&e, VCKPT_EREFUSED,
			   "its vckpt-agent is too old to cut files back: install the one that "
			   "belongs to this vckpt");
	if (e.code != VCKPT_OK ||
	    vckpt_agent_call(&g->agent, VCKPT_AGENT_REWIND, &vckpt_agent_rewind_type, &m,
			     VCKPT_AGENT_REWOUND, &vckpt_agent_rewound_type, &r, deadline,
			     g->cancel, &e) < 0)
		return json_pack("{ss ss s[]}", "code", vckpt_code_name(e.code), "text", e.text,
				 "files");
	j = vckpt_detail_rewound(&r);
	vckpt_message_free(&vckpt_agent_rewound_type, &r);
	return j;
}

int vckpt_guest_wake(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err)
{
	struct vckpt_error e = VCKPT_ERROR_NONE;
	struct vckpt_agent_reply reply = {0};
	uint64_t stop, run, asked = vckpt_now();
	json_t *rewound = NULL;

	if (!g->rebuilt || g->epoch != req->epoch)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guest %s was not restored from epoch %" PRIu64, g->name,
				  req->epoch);
	/* Said before the guest runs, so that the agent finds it as soon as it does. */
	vckpt_guest_hang_up(g);
	if (vckpt_claim_take(g->s, VCKPT_CLAIM_CHANNEL, g->domain_name, 2 * VCKPT_S, &e) == 0) {
		g->channel_claimed = true;
		if (!g->agent.cluster[0])
			snprintf(g->agent.cluster, sizeof(g->agent.cluster), "%s", req->cluster);
		greet_asleep(g, req, out->deadline, &e);
	}
	/* Whoever starts the domain after this incarnation has ended gets these disks. */
	if (vckpt_fault_point("host.wake.greeted", NULL, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	if (vckpt_guest_disks_follow(g, err) < 0 || vckpt_domain_resume(g->dom, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	vckpt_fault_here("host.wake.resumed", NULL);
	g->rebuilt = false; /* it runs: nothing to be undone by us */
	vckpt_guest_unnote(g);
	if (vckpt_domain_times(g->dom, asked, 0, &stop, &run, NULL) == 0 && run >= asked)
		out->ev->run_ns = run;
	e.code = VCKPT_OK;
	e.text[0] = '\0';
	if (tell_restored(g, req, awake_by(asked, out->deadline), &reply, &e) < 0) {
		if (e.code == VCKPT_ECANCELED)
			return vckpt_fail(err, e.code, "%s", e.text);
	} else if (reply.code != VCKPT_OK) {
		vckpt_fail(&e, reply.code, "guest %s: %s", g->name, reply.text);
		if (reply.code == VCKPT_EREFUSED)
			return put_to_sleep(g, &e, err);
	}
	if (req->rewind && e.code == VCKPT_OK)
		rewound = hear_rewound(g, req, out->deadline);
	vckpt_guest_disks_settled(g);
	/* A guest without an agent runs all the same, and a gate of its past opens by itself. */
	out->detail = json_pack("{sb ss sI}", "awake", e.code == VCKPT_OK, "text",
				e.code == VCKPT_OK ? reply.text : e.text, "took_ns",
				(json_int_t)(vckpt_now() - asked));
	if (rewound)
		json_object_set_new(out->detail, "rewound", rewound);
	return 0;
}

static bool has_cluster(struct vckpt_session *s, const struct vckpt_host_request *req)
{
	bool has;

	pthread_mutex_lock(&s->lock);
	has = s->cluster[0] && strcmp(s->cluster, req->cluster) == 0;
	pthread_mutex_unlock(&s->lock);
	return has;
}

int vckpt_guest_destroy(struct vckpt_guest *g, const struct vckpt_host_request *req,
			struct vckpt_outcome *out, struct vckpt_error *err)
{
	struct vckpt_error e = VCKPT_ERROR_NONE;
	bool stuck = false;
	int rc;

	(void)out;
	if (!has_cluster(g->s, req))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guest %s: cluster \"%s\" was not opened in this session, so its "
				  "domains are not destroyed",
				  g->name, req->cluster);
	if (vckpt_claim_take(g->s, VCKPT_CLAIM_DOMAIN, req->domain, VCKPT_S, &e) < 0) {
		/* What cannot be undone ends with the guest. */
		stuck = vckpt_claim_is_stuck(g->s->local, VCKPT_CLAIM_DOMAIN, req->domain);
		if (!stuck)
			return vckpt_fail(err, e.code, "%s", e.text);
	}
	if (vckpt_guest_open(g, req, &e) < 0) {
		if (e.code != VCKPT_ENOTFOUND)
			return vckpt_fail(err, e.code, "%s", e.text);
		g->rebuilt = g->rebuilding = false;
		vckpt_guest_disks_undo(g, NULL);
		vckpt_guest_unnote(g);
		return 0;
	}
	rc = vckpt_guest_end(g, err);
	if (stuck)
		vckpt_local_kick(g->s->local);
	return rc;
}
