/*
 * The way of a guest's memory: QEMU's pipe -> stream parser -> store.  Whatever fails on that way,
 * the pipe is read to its end, since QEMU leaves the guest frozen for good when its reader goes
 * away.
 */
#include "host/local/internal.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/fault.h"
#include "base/io.h"
#include "store/capture.h"
#include "store/keys.h"
#include "stream/stream.h"

#define READ_ROOM      (512u << 10)
#define HOLD_BACK      150 /* ms */
#define NAP            (200 * (long)VCKPT_MS / 1000)
#define PROGRESS_EVERY (250 * VCKPT_MS)
#define GATE_EVERY     (10 * VCKPT_MS)

struct vckpt_stream {
	struct vckpt_guest *g;
	/* A handle of its own, since the guest's thread uses the other meanwhile. */
	struct vckpt_domain *dom;
	const struct vckpt_capture_engine *engine;
	struct vckpt_capture *cap;          /* of hv/; the reader's from begin on */
	struct vckpt_store_capture *writer; /* of store/; the reader's from begin on */
	struct vckpt_known *known;          /* outlives the writer; NULL: all pages are written */
	struct vckpt_stream_parser *parser;
	uint32_t seq;
	bool begun;
	pthread_t reader;
	atomic_bool released;
	atomic_bool discard; /* nobody wants it any more: drain quickly */

	int let_go; /* eventfd: the engine has let go of the guest */
	int flow;   /* eventfd: the reader may begin */
	atomic_bool whole;

	/* reader */
	bool lost;
	bool read; /* to the end of QEMU's stream */
	uint64_t total, told;
	uint64_t drained; /* bytes read into nothing; of whoever reads */
	uint64_t summed;  /* bytes of the disks' layers */
	uint64_t began_ns;
	bool quiet;
};

static uint64_t done(const struct vckpt_stream *st)
{
	return (st->writer ? vckpt_capture_done(st->writer) : st->total) + st->drained + st->summed;
}

static void emit(struct vckpt_stream *st, enum vckpt_host_event_kind kind,
		 const struct vckpt_error *err, json_t *detail)
{
	struct vckpt_host_event ev = {.seq = st->seq, .kind = kind, .op = VCKPT_OP_CUT};

	snprintf(ev.guest, sizeof(ev.guest), "%s", st->g->name);
	if (err) {
		ev.code = (uint16_t)err->code;
		ev.sys = err->sys;
		snprintf(ev.text, sizeof(ev.text), "%s", err->text);
	}
	if (detail) {
		ev.detail.v = (uint8_t *)json_dumps(detail, JSON_COMPACT);
		ev.detail.n = ev.detail.v ? (uint32_t)strlen((char *)ev.detail.v) : 0;
	}
	ev.began_ns = st->began_ns;
	ev.ended_ns = vckpt_now();
	/* It has to grow as long as anything comes: who waits for the drain counts on that. */
	ev.done = done(st);
	ev.total = st->total > ev.done ? st->total : ev.done;
	vckpt_session_emit(st->g->s, &ev);
}

/* The capture is of no use any more: tell at once, go on reading. */
static void lose(struct vckpt_stream *st, struct vckpt_error *err)
{
	if (st->lost)
		return;
	st->lost = true;
	if (atomic_load(&st->discard))
		return;
	vckpt_error_prefix(err, "guest %s: its capture failed", st->g->name);
	emit(st, VCKPT_EVENT_LOST, err, NULL);
}

static void progress(struct vckpt_stream *st)
{
	uint64_t now = vckpt_now();

	if (now - st->told < PROGRESS_EVERY)
		return;
	st->told = now;
	vckpt_weight_look(st->g->s->local);
	if (st->drained)
		vckpt_session_log(st->g, VCKPT_DEBUG, "drained %llu bytes",
				  (unsigned long long)st->drained);
	else
		vckpt_session_log(st->g, VCKPT_DEBUG, "captured %llu of %llu bytes",
				  (unsigned long long)done(st), (unsigned long long)st->total);
	emit(st, VCKPT_EVENT_PROGRESS, NULL, NULL);
}

static int on_blocks(void *arg, const struct vckpt_ram_block *blocks, size_t n,
		     struct vckpt_error *err)
{
	struct vckpt_stream *st = arg;
	vckpt_autofree struct vckpt_store_block *v = calloc(n ? n : 1, sizeof(*v));

	if (!v)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for %zu RAM blocks", n);
	for (size_t i = 0; i < n; i++) {
		memcpy(v[i].name, blocks[i].name, sizeof(v[i].name));
		v[i].length = blocks[i].length;
		st->total += blocks[i].length;
	}
	return vckpt_capture_set_blocks(st->writer, v, n, err);
}

static int on_pages(void *arg, size_t block, uint64_t page, uint64_t count, const void *data,
		    struct vckpt_error *err)
{
	struct vckpt_stream *st = arg;
	const char *p = data;

	for (uint64_t i = 0; i < count; i++)
		if (vckpt_capture_page(st->writer, (uint32_t)block, page + i,
				       p ? p + i * VCKPT_PAGE : NULL, err) < 0)
			return -1;
	return 0;
}

static int on_device(void *arg, const struct vckpt_stream_state *state, struct vckpt_error *err)
{
	struct vckpt_stream *st = arg;

	if (vckpt_fault_point("host.capture.device", NULL, err) < 0 ||
	    vckpt_capture_device(st->writer, "prologue", state->prologue, state->prologue_len,
				 err) < 0)
		return -1;
	return vckpt_capture_device(st->writer, "devices", state->devices, state->devices_len, err);
}

static const struct vckpt_stream_sink sink = {
	.blocks = on_blocks,
	.pages = on_pages,
	.again = on_pages,
	.device = on_device,
};

static int codec_of(const char *name, struct vckpt_capture_options *opt, struct vckpt_error *err)
{
	opt->choose = strcmp(name, "auto") == 0;
	if (!*name || opt->choose || strcmp(name, "lz4") == 0)
		opt->codec = VCKPT_CODEC_LZ4;
	else if (strcmp(name, "zstd") == 0)
		opt->codec = VCKPT_CODEC_ZSTD;
	else if (strcmp(name, "none") == 0)
		opt->codec = VCKPT_CODEC_NONE;
	else
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "there is no codec \"%s\"; take auto, lz4, zstd or none", name);
	return 0;
}

static int open_writer(struct vckpt_stream *st, const struct vckpt_host_request *req,
		       struct vckpt_error *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct vckpt_capture_options opt = {.level = req->level,
					    .parent = req->parent,
					    .pool = &st->g->s->local->pool,
					    .pace = &st->g->s->local->pace};
	vckpt_autofree char *xml = NULL;

	if (codec_of(req->codec, &opt, err) < 0)
		return -1;
	/* The reader is one thread already; other guests are captured beside this one. */
	opt.threads = cpus > 4 ? 4 : cpus > 1 ? (unsigned)cpus / 2 : 1;
	if (vckpt_domain_xml(st->dom, &xml, err) < 0)
		return -1;
	atomic_store(&opt.pace->rate, req->limit);
	st->known = vckpt_known_get(st->g, req);
	opt.index = vckpt_known_index(st->known);
	st->writer = vckpt_capture_begin(st->g->s->store, st->g->s->cluster, req->epoch,
					 st->g->name, &opt, err);
	if (!st->writer)
		return -1;
	return vckpt_capture_xml(st->writer, xml, strlen(xml), err);
}

static void on_drained(void *arg, uint64_t bytes)
{
	struct vckpt_stream *st = arg;

	st->drained += bytes;
	progress(st);
}

int vckpt_stream_may(struct vckpt_guest *g, struct vckpt_error *err)
{
	struct vckpt_cluster_key key;

	if (vckpt_cluster_key_get(g->s->store, g->s->cluster, &key, err) < 0)
		return -1;
	if (!key.id[0] || key.plain_disks || !g->disks)
		return 0;
	return vckpt_fail(
		err, VCKPT_EREFUSED,
		"guest %s has disks, and what is on disks is not encrypted as captures of "
		"cluster %s are: if that may be, `vckpt key use %s FILE --plain-disks`",
		g->name, g->s->cluster, g->s->cluster);
}

int vckpt_stream_prepare(struct vckpt_guest *g, const struct vckpt_host_request *req,
			 struct vckpt_stream **stream, struct vckpt_error *err)
{
	struct vckpt_stream *st = calloc(1, sizeof(*st));

	if (!st)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory to capture guest %s", g->name);
	st->g = g;
	st->let_go = eventfd(0, EFD_CLOEXEC);
	st->flow = eventfd(0, EFD_CLOEXEC);
	if (st->let_go < 0 || st->flow < 0) {
		vckpt_fail_errno(err, "guest %s: cannot make an eventfd", g->name);
		goto fail;
	}
	st->seq = req->seq;
	if (vckpt_domain_open(g->s->local->hv, req->domain, &st->dom, err) < 0)
		goto fail;
	st->engine = vckpt_capture_engine_for(st->dom, req->engine, err);
	if (!st->engine)
		goto fail;
	if (open_writer(st, req, err) < 0)
		goto fail;
	st->parser = vckpt_stream_parser_new(&sink, st, err);
	if (!st->parser || st->engine->prepare(st->dom, &st->cap, err) < 0)
		goto fail;
	vckpt_capture_watch(st->cap, on_drained, st);
	*stream = st;
	return 0;
fail:
	vckpt_stream_end(st);
	return -1;
}

const struct vckpt_capture_engine *vckpt_stream_engine(const struct vckpt_stream *st)
{
	return st->engine;
}

/* QEMU writes page by page, and a reader that wakes up for each takes the processor from the guest
 * a hundred thousand times a second.  Where little has come, more may gather: far less than the
 * pipe holds, or the guest's writes would wait for us. */
static void let_gather(const struct vckpt_stream *st, size_t came)
{
	const struct timespec nap = {.tv_nsec = NAP};

	if (st->engine->runs_on && came < READ_ROOM / 4)
		nanosleep(&nap, NULL);
}

/* A guest feels us while its memory is read, unless it stands still; and its agent needs the
 * processor to open the gate. */
static void weigh(struct vckpt_stream *st)
{
	bool runs_on = st->engine->runs_on;

	vckpt_weight_quiet(st->g->s->local, &st->quiet,
			   atomic_load(&st->released) ? runs_on && !st->read : runs_on || st->read);
}

/* To the end of the pipe; what comes is parsed until something fails or nobody wants it. */
static int read_all(struct vckpt_stream *st, struct vckpt_error *err)
{
	vckpt_autofree char *room = malloc(READ_ROOM);
	size_t came = READ_ROOM;
	int fd = st->engine->fd(st->cap);

	if (!room)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory to read a capture");
	for (;; let_gather(st, came)) {
		struct vckpt_error e = VCKPT_ERROR_NONE;
		ssize_t n = read(fd, room, READ_ROOM);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vckpt_fail_errno(err, "cannot read from QEMU");
		if (n == 0)
			return 0;
		came = (size_t)n;
		if (!st->lost && vckpt_fault_point("host.capture.read", NULL, &e) < 0)
			lose(st, &e);
		if (st->lost || atomic_load(&st->discard)) {
			on_drained(st, (uint64_t)n);
			continue;
		}
		if (vckpt_stream_parser_feed(st->parser, room, came, &e) < 0)
			lose(st, &e);
		else
			progress(st);
		weigh(st);
	}
}

/* The first guest that runs again and its capture would take the processors from those that still
 * stand: it waits for them anyway, since its gate is shut.  But its agent must be able to open it,
 * and should that take long, the guest its memory. */
static void hold_back(struct vckpt_stream *st)
{
	struct pollfd p = {.fd = st->flow, .events = POLLIN};

	if (st->engine->runs_on)
		poll(&p, 1, HOLD_BACK);
}

/* Everything is read: the parser's word, then QEMU's.  The guest is let go before the disk is
 * waited for. */
static int complete(struct vckpt_stream *st, struct vckpt_error *err)
{
	struct vckpt_capture *cap = vckpt_steal_ptr(&st->cap);
	int rc;

	if (st->lost || atomic_load(&st->discard)) {
		st->lost = true;
		st->engine->finish(cap, NULL);
		vckpt_event_set(st->let_go);
		return -1;
	}
	/* QEMU's reason is better than ours when it gave up in the middle. */
	vckpt_fault_here("host.capture.finish", NULL);
	rc = st->engine->finish(cap, err);
	st->read = true;
	weigh(st);
	vckpt_event_set(st->let_go);
	if (rc < 0)
		return -1;
	return vckpt_stream_parser_finish(st->parser, err);
}

static bool on_summed(void *arg, uint64_t bytes)
{
	struct vckpt_stream *st = arg;

	st->summed += bytes;
	progress(st);
	return !atomic_load(&st->discard);
}

/* Until all is packed, here and in the captures that pages of this one lie in. */
static int settle(struct vckpt_stream *st, struct vckpt_error *err)
{
	while (!vckpt_capture_wait(st->writer, st->quiet ? GATE_EVERY : PROGRESS_EVERY)) {
		progress(st);
		weigh(st);
	}
	while (!vckpt_capture_settle(st->writer, PROGRESS_EVERY)) {
		progress(st);
		weigh(st);
		if (atomic_load(&st->discard))
			return vckpt_fail(err, VCKPT_ECANCELED, "the capture is given up");
	}
	return 0;
}

static json_t *keep(struct vckpt_stream *st, struct vckpt_error *err)
{
	struct vckpt_receipt receipt;
	json_auto_t *chosen = NULL;
	json_t *j;

	memset(&receipt, 0, sizeof(receipt));
	if (settle(st, err) < 0)
		return NULL;
	if (vckpt_capture_finish(st->writer, &receipt, err) < 0)
		return NULL;
	if (vckpt_fault_point("host.capture.kept", NULL, err) < 0 ||
	    vckpt_guest_disks_sum(st->g, on_summed, st, &receipt.disks, err) < 0) {
		vckpt_receipt_clear(&receipt);
		return NULL;
	}
	chosen = vckpt_capture_chosen(st->writer);
	vckpt_capture_free(vckpt_steal_ptr(&st->writer));
	j = vckpt_receipt_to_json(&receipt, err);
	if (j && chosen)
		json_object_set(j, "compress", chosen);
	vckpt_receipt_clear(&receipt);
	return j;
}

static void *reader_main(void *arg)
{
	struct vckpt_stream *st = arg;
	struct vckpt_local *l = st->g->s->local;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_auto_t *receipt = NULL;
	int rc;

	hold_back(st);
	vckpt_weight_begin(l);
	weigh(st);
	if (st->engine->runs_on)
		vckpt_capture_urge(st->cap);
	rc = read_all(st, &err);
	if (rc < 0) {
		lose(st, &err);
		st->engine->abort(vckpt_steal_ptr(&st->cap));
		vckpt_event_set(st->let_go);
	} else if (complete(st, &err) < 0 || !(receipt = keep(st, &err))) {
		lose(st, &err);
	}
	vckpt_weight_end(l, &st->quiet);
	/* Others must not wait for it; abort() comes when this thread is joined, perhaps after
	 * them. */
	if (!receipt)
		vckpt_capture_give_up(st->writer);
	atomic_store(&st->whole, receipt != NULL);
	if (receipt && !atomic_load(&st->discard))
		emit(st, VCKPT_EVENT_CAPTURED, NULL, receipt);
	return NULL;
}

int vckpt_stream_begin(struct vckpt_stream *st, uint64_t deadline, struct vckpt_error *err)
{
	int rc;

	st->began_ns = vckpt_now();
	st->told = 0; /* the first bytes are told at once */
	if (vckpt_fault_point("host.capture.begin", NULL, err) < 0 ||
	    st->engine->begin(st->cap, deadline, st->g->cancel, err) < 0)
		return -1;
	vckpt_fault_here("host.capture.begun", NULL);
	rc = vckpt_thread_start(&st->reader, reader_main, st);
	if (rc) {
		errno = rc;
		return vckpt_fail_errno(err, "guest %s: cannot start a thread for its capture",
					st->g->name);
	}
	st->begun = true;
	return 0;
}

int vckpt_stream_wait(struct vckpt_stream *st, uint64_t deadline, struct vckpt_error *err)
{
	struct pollfd p[2] = {{.fd = st->let_go, .events = POLLIN},
			      {.fd = st->g->cancel, .events = POLLIN}};

	if (!st->begun || st->engine->runs_on)
		return 0;
	for (;;) {
		uint64_t now = vckpt_now(), left = deadline > now ? deadline - now : 0;
		struct timespec ts = {(time_t)(left / VCKPT_S), (long)(left % VCKPT_S)};
		int n = ppoll(p, 2, &ts, NULL);

		if (n < 0 && errno != EINTR)
			return vckpt_fail_errno(err, "guest %s: cannot wait for its capture",
						st->g->name);
		if (n > 0 && p[0].revents)
			return 0;
		if (n > 0)
			return vckpt_fail(err, VCKPT_ECANCELED, "guest %s: run given up",
					  st->g->name);
		if (n == 0 && !left)
			return vckpt_fail(err, VCKPT_ETIME,
					  "guest %s: its capture is not at its end in time",
					  st->g->name);
	}
}

void vckpt_stream_flow(struct vckpt_stream *st)
{
	if (st)
		vckpt_event_set(st->flow);
}

void vckpt_stream_released(struct vckpt_stream *st)
{
	if (st)
		atomic_store(&st->released, true);
}

bool vckpt_stream_whole(struct vckpt_stream *st)
{
	return atomic_load(&st->whole);
}

bool vckpt_stream_runs(const struct vckpt_stream *st)
{
	return st && st->begun && st->engine->runs_on;
}

void vckpt_stream_discard(struct vckpt_stream *st)
{
	if (!st)
		return;
	atomic_store(&st->discard, true);
	vckpt_event_set(st->flow);
}

void vckpt_stream_end(struct vckpt_stream *st)
{
	if (!st)
		return;
	vckpt_stream_discard(st);
	if (st->begun)
		pthread_join(st->reader, NULL);
	if (st->cap)
		st->engine->abort(st->cap);
	vckpt_capture_abort(st->writer);
	vckpt_known_put(st->g->s->local, st->known);
	vckpt_stream_parser_free(st->parser);
	vckpt_domain_close(st->dom);
	vckpt_close_fd(&st->let_go);
	vckpt_close_fd(&st->flow);
	free(st);
}
