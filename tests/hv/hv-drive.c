/*
 * hv-drive: drives hv/ against real guests, one action a call, for tests/hv/engines.  Prints one
 * JSON line.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "hv/hv.h"

static struct vckpt_error err;

static int failed(void)
{
	char text[2 * sizeof(err.text)];
	size_t n = 0;

	for (const char *p = err.text; *p && n < sizeof(text) - 2; p++) {
		if (*p == '"' || *p == '\\')
			text[n++] = '\\';
		text[n++] = *p == '\n' || *p == '\r' || *p == '\t' ? ' ' : *p;
	}
	text[n] = '\0';
	printf("{\"code\":\"%s\",\"text\":\"%s\"}\n", vckpt_code_name(err.code), text);
	return 1;
}

static const struct vckpt_capture_engine *engine_named(const char *name)
{
	return strcmp(name, "stop-copy") ? &vckpt_capture_background : &vckpt_capture_stop_copy;
}

/* Reads the capture into `path`; at most `limit` bytes. */
static int64_t read_stream(int fd, const char *path, int64_t limit)
{
	vckpt_autofd int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	vckpt_autofree char *buf = malloc(1 << 20);
	int64_t got = 0;
	ssize_t n;

	if (out < 0 || !buf)
		return vckpt_fail_errno(&err, "cannot create %s", path);
	while (got < limit) {
		n = read(fd, buf, 1 << 20);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vckpt_fail_errno(&err, "cannot read the capture");
		if (n == 0)
			break;
		if (vckpt_write_full(out, buf, (size_t)n, path, &err) < 0)
			return -1;
		got += n;
	}
	return got;
}

static double ms(uint64_t from, uint64_t to)
{
	return ((double)to - (double)from) / VCKPT_MS;
}

static int begin(const struct vckpt_capture_engine *e, struct vckpt_capture *cap)
{
	return e->begin(cap, vckpt_now() + 60 * VCKPT_S, -1, &err);
}

/* capture ENGINE DOMAIN FILE XML: pause, capture, and for stop-copy resume. */
static int capture(struct vckpt_domain *dom, const struct vckpt_capture_engine *e, const char *path,
		   const char *xml_path)
{
	vckpt_autofree char *xml = NULL;
	struct vckpt_capture *cap;
	uint64_t t0 = vckpt_now(), t1, t2, t3, stop, run;
	int64_t bytes;

	if (e->can(dom, &err) < 0 || vckpt_domain_xml(dom, &xml, &err) < 0 ||
	    vckpt_replace_file(xml_path, xml, strlen(xml), 0600, &err) < 0 ||
	    e->prepare(dom, &cap, &err) < 0)
		return failed();
	t1 = vckpt_now();
	if (vckpt_domain_suspend(dom, &err) < 0 || begin(e, cap) < 0) {
		e->abort(cap);
		return failed();
	}
	t2 = vckpt_now();
	bytes = read_stream(e->fd(cap), path, INT64_MAX);
	if (bytes < 0) {
		e->abort(cap);
		return failed();
	}
	t3 = vckpt_now();
	if (e->finish(cap, &err) < 0)
		return failed();
	if (vckpt_domain_resume(dom, &err) < 0 ||
	    vckpt_domain_times(dom, t1, VCKPT_S, &stop, &run, &err) < 0)
		return failed();
	/* The RESUME event of our own resume may come a little later. */
	for (int i = 0; i < 200 && run < stop; i++) {
		usleep(5000);
		vckpt_domain_times(dom, 0, 0, &stop, &run, &err);
	}
	printf("{\"code\":\"ok\",\"bytes\":%" PRId64 ",\"prepare_ms\":%.2f,\"call_ms\":%.2f,"
	       "\"stream_ms\":%.2f,\"stop_to_run_ms\":%.2f}\n",
	       bytes, ms(t0, t1), ms(t1, t2), ms(t2, t3), ms(stop, run));
	return 0;
}

/* hang ENGINE DOMAIN STAGE BYTES: gets as far as STAGE (prepared, begun, urged), reads BYTES, says
 * so, waits to be killed. */
static int hang(struct vckpt_domain *dom, const struct vckpt_capture_engine *e, const char *stage,
		int64_t bytes)
{
	struct vckpt_capture *cap;

	if (e->prepare(dom, &cap, &err) < 0)
		return failed();
	if (strcmp(stage, "prepared") && (vckpt_domain_suspend(dom, &err) < 0 || begin(e, cap) < 0))
		return failed();
	if (strcmp(stage, "urged") == 0)
		vckpt_capture_urge(cap);
	if (bytes > 0 && read_stream(e->fd(cap), "/dev/null", bytes) < 0)
		return failed();
	printf("{\"code\":\"ok\",\"pid\":%d}\n", (int)getpid());
	fflush(stdout);
	for (;;)
		pause();
}

/* abort ENGINE DOMAIN STAGE BYTES: as hang, then gives up properly and resumes. */
static int give_up(struct vckpt_domain *dom, const struct vckpt_capture_engine *e,
		   const char *stage, int64_t bytes)
{
	struct vckpt_capture *cap;

	if (e->prepare(dom, &cap, &err) < 0)
		return failed();
	if (strcmp(stage, "prepared") && (vckpt_domain_suspend(dom, &err) < 0 ||
					  (!strcmp(stage, "begun") && begin(e, cap) < 0))) {
		e->abort(cap);
		return failed();
	}
	if (bytes > 0 && read_stream(e->fd(cap), "/dev/null", bytes) < 0)
		return failed();
	e->abort(cap);
	if (strcmp(stage, "prepared") && vckpt_domain_resume(dom, &err) < 0)
		return failed();
	printf("{\"code\":\"ok\"}\n");
	return 0;
}

/* destroy ENGINE DOMAIN: the domain dies in the middle of its capture. */
static int lose(struct vckpt_domain *dom, const struct vckpt_capture_engine *e)
{
	struct vckpt_capture *cap;

	if (e->prepare(dom, &cap, &err) < 0)
		return failed();
	if (vckpt_domain_suspend(dom, &err) < 0 || begin(e, cap) < 0) {
		e->abort(cap);
		return failed();
	}
	if (read_stream(e->fd(cap), "/dev/null", 1 << 20) < 0 ||
	    vckpt_domain_destroy(dom, &err) < 0 ||
	    read_stream(e->fd(cap), "/dev/null", INT64_MAX) < 0)
		return failed();
	if (e->finish(cap, &err) < 0)
		return failed();
	printf("{\"code\":\"ok\"}\n");
	return 0;
}

/* restore DOMAIN XML STREAM SCRATCH [BYTES]: rebuilds it paused; with BYTES gives up after so many.
 */
static int restore(struct vckpt_hv *hv, const char *name, const char *xml_path, const char *path,
		   const char *scratch, int64_t limit)
{
	vckpt_autofree char *xml = NULL, *buf = malloc(1 << 20);
	vckpt_autofd int in = open(path, O_RDONLY | O_CLOEXEC);
	struct vckpt_rebuild *rb;
	uint64_t t0 = vckpt_now(), t1;
	int64_t sent = 0;
	bool stands;
	size_t len;
	ssize_t n;

	if (in < 0 || !buf)
		return vckpt_fail_errno(&err, "%s", path), failed();
	if (vckpt_read_file(xml_path, 1 << 24, &xml, &len, &err) < 0 ||
	    vckpt_rebuild_begin(hv, name, xml, scratch, &rb, &err) < 0)
		return failed();
	t1 = vckpt_now();
	while ((n = read(in, buf, 1 << 20)) > 0 && sent < limit) {
		if (vckpt_write_full(vckpt_rebuild_fd(rb), buf, (size_t)n, "the restore", &err) < 0)
			break;
		sent += n;
	}
	if (sent >= limit) {
		if (vckpt_rebuild_abort(rb))
			return vckpt_fail(&err, VCKPT_EVIRT, "domain %s still stands", name),
			       failed();
		printf("{\"code\":\"ok\",\"sent\":%" PRId64 "}\n", sent);
		return 0;
	}
	if (vckpt_rebuild_finish(rb, &stands, &err) < 0)
		return failed();
	printf("{\"code\":\"ok\",\"begin_ms\":%.2f,\"all_ms\":%.2f}\n", ms(t0, t1),
	       ms(t0, vckpt_now()));
	return 0;
}

/* channel DOMAIN: sends a line to the guest, which sends it back. */
static int channel(struct vckpt_domain *dom)
{
	static const char line[] = "is anybody there\n";
	vckpt_autofd int fd = -1;
	char back[sizeof(line)];
	uint64_t t0;

	if (vckpt_domain_channel(dom, &fd, &err) < 0)
		return failed();
	t0 = vckpt_now();
	if (vckpt_write_full(fd, line, sizeof(line) - 1, "channel", &err) < 0 ||
	    vckpt_read_full(fd, back, sizeof(line) - 1, "channel", &err) < 0)
		return failed();
	if (memcmp(line, back, sizeof(line) - 1))
		return vckpt_fail(&err, VCKPT_EPEER, "another line came back"), failed();
	printf("{\"code\":\"ok\",\"round_trip_ms\":%.2f}\n", ms(t0, vckpt_now()));
	return 0;
}

static int status(struct vckpt_domain *dom)
{
	struct vckpt_domain_status st;

	if (vckpt_domain_status(dom, &st, &err) < 0)
		return failed();
	printf("{\"code\":\"ok\",\"state\":%d,\"reason\":\"%s\",\"pid\":%d,\"start\":%" PRIu64
	       "}\n",
	       (int)st.state, st.reason, (int)st.pid, st.start);
	return 0;
}

static int print_json(int rc, char **json)
{
	if (rc < 0)
		return failed();
	puts(*json);
	free(*json);
	return 0;
}

static int on_domain(struct vckpt_hv *hv, int argc, char **argv)
{
	const char *what = argv[1];
	bool has_engine = !strcmp(what, "capture") || !strcmp(what, "hang") ||
			  !strcmp(what, "abort") || !strcmp(what, "destroy") ||
			  !strcmp(what, "can");
	const struct vckpt_capture_engine *e = has_engine ? engine_named(argv[2]) : NULL;
	const char *name = argc > 2 + has_engine ? argv[2 + has_engine] : "";
	char **rest = argv + 3 + has_engine, *json = NULL;
	int n = argc - 3 - has_engine, rc = 2;
	struct vckpt_domain *dom;

	if (!strcmp(what, "restore") && argc >= 6)
		return restore(hv, argv[2], argv[3], argv[4], argv[5],
			       argc > 6 ? atoll(argv[6]) : INT64_MAX);
	if (vckpt_domain_open(hv, name, &dom, &err) < 0)
		return failed();
	if (!strcmp(what, "capture") && n == 2)
		rc = capture(dom, e, rest[0], rest[1]);
	else if (!strcmp(what, "hang") && n == 2)
		rc = hang(dom, e, rest[0], atoll(rest[1]));
	else if (!strcmp(what, "abort") && n == 2)
		rc = give_up(dom, e, rest[0], atoll(rest[1]));
	else if (!strcmp(what, "destroy"))
		rc = lose(dom, e);
	else if (!strcmp(what, "can"))
		rc = e->can(dom, &err) < 0 ? failed() : (puts("{\"code\":\"ok\"}"), 0);
	else if (!strcmp(what, "recover"))
		rc = vckpt_capture_recover(dom, &err) < 0 ? failed()
							  : (puts("{\"code\":\"ok\"}"), 0);
	else if (!strcmp(what, "resume"))
		rc = vckpt_domain_resume(dom, &err) < 0 ? failed() : (puts("{\"code\":\"ok\"}"), 0);
	else if (!strcmp(what, "status"))
		rc = status(dom);
	else if (!strcmp(what, "channel"))
		rc = channel(dom);
	else if (!strcmp(what, "survey"))
		rc = print_json(vckpt_domain_survey(dom, &json, &err), &json);
	else if (!strcmp(what, "adopt"))
		rc = print_json(vckpt_domain_adopt(dom, &json, &err), &json);
	vckpt_domain_close(dom);
	return rc;
}

/* Could a domain of this definition be rebuilt here? */
static int fit(struct vckpt_hv *hv, const char *path)
{
	vckpt_autofree char *xml = NULL;
	char *json = NULL;
	size_t len;

	if (vckpt_read_file(path, 1 << 20, &xml, &len, &err) < 0)
		return failed();
	return print_json(vckpt_hv_fit(hv, xml, &json, &err), &json);
}

int main(int argc, char **argv)
{
	struct vckpt_log log = {VCKPT_WARN, vckpt_log_stderr, NULL};
	struct vckpt_hv *hv;
	char *json = NULL;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		fprintf(stderr, "usage: hv-drive ACTION [ENGINE] DOMAIN ...\n");
		return 2;
	}
	if (vckpt_hv_open(getenv("VCKPT_TEST_URI"), &log, &hv, &err) < 0)
		return failed();
	if (!strcmp(argv[1], "doctor"))
		rc = print_json(vckpt_hv_doctor(hv, &json, &err), &json);
	else if (argc < 3)
		rc = 2;
	else if (!strcmp(argv[1], "fit"))
		rc = fit(hv, argv[2]);
	else
		rc = on_domain(hv, argc, argv);
	vckpt_hv_close(hv);
	return rc;
}
