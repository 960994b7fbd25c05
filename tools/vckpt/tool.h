/*
 * tool.h: what the commands of `vckpt` share.  A command is one file with one function; it gets its
 * words, makes a context if it needs hosts, calls the cluster or the store room, and prints.
 */
#ifndef VCKPT_TOOL_H
#define VCKPT_TOOL_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/log.h"
#include "cluster/cluster.h"
#include "settings.h"

struct tool_progress;
struct vckpt_tree;

/* What every command can be told. */
struct tool {
	const char *store, *socket, *daemon,
		*launcher; /* folders and programs, see options.c for the defaults */
	char who[128];     /* who asks, once there is a context */
	struct tool_settings settings;
	struct vckpt_error settings_error; /* said when the command line turned out to be right */
	bool socket_given;                 /* by whoever calls, not by default */
	bool json, quiet;
	int verbose;
	struct vckpt_log log;
	struct vckpt_tree *tree;        /* of other hosts, NULL until one is opened */
	struct tool_progress *progress; /* NULL: none wanted */
	char announce[256];             /* said, on the standard error, when all are prepared */
	int cancel_fd;                  /* -1 until tool_context() */
};

/* One command.  `run` returns the exit code (enum vckpt_code); it has printed what there is to say.
 */
struct tool_command {
	const char *name, *line; /* one line for `vckpt help` */
	int (*run)(struct tool *t, int argc, char **argv);
};

extern const struct tool_command tool_adopt, tool_checkpoint, tool_ls, tool_show, tool_log,
	tool_timeline, tool_check, tool_prune, tool_repair, tool_flush, tool_lead, tool_export,
	tool_import, tool_restart, tool_migrate, tool_evacuate, tool_make_room, tool_consolidate,
	tool_suspend, tool_resume, tool_kill, tool_status, tool_hosts, tool_doctor, tool_watch,
	tool_supervise, tool_monitor, tool_report, tool_interval, tool_metrics, tool_top, tool_key;

/* options.c: the common options, as a child of each command's own parser. */
extern const struct argp tool_common_argp;

/* Parses one command line; `own` needs no children of its own.  Exits on --help and on wrong usage.
 */
void tool_parse(struct tool *t, const struct argp *own, const char *name, int argc, char **argv,
		void *input);

/* Takes the one argument that names a cluster; anything else is unknown to it. */
error_t tool_take_cluster(char **cluster, int key, char *arg, struct argp_state *state);
/* A parser (struct argp) for commands whose only argument is a cluster; its input is a char **. */
error_t tool_parse_cluster(int key, char *arg, struct argp_state *state);

/* The value of the option `what`, a time with a unit, in ns; else it is wrong usage. */
uint64_t tool_time(const char *arg, const char *what, struct argp_state *state);
/* Adds the words of "HOST,..." (`pairs`: or "GUEST=HOST,...") to hosts[*n], of which there are
 * `most`; they live as long as `list`, which is cut up. */
void tool_take_hosts(char *list, bool pairs, const char **hosts, size_t most, size_t *n,
		     struct argp_state *state);

/* "NAME" or "NAME@EPOCH"; *epoch is 0 without one.  The name is cut off in place. */
int tool_split_epoch(char *word, uint64_t *epoch, struct vckpt_error *err);

/* `cluster` as given, or the only one in the store; the result lives as long as *t. */
int tool_pick_cluster(struct tool *t, const char *given, char name[65], struct vckpt_error *err);

/* context.c: who asks by this command: t->who. */
void tool_set_who(struct tool *t, const char *command);
/* A context whose hosts are reached through vckptd (started if none runs), that SIGINT
 * and SIGTERM cancel, and whose progress is drawn on a terminal. */
int tool_context(struct tool *t, const char *command, const char *cluster,
		 struct vckpt_cluster_ctx *ctx, struct vckpt_error *err);

/* A command that asks one thing of a cluster: context, call, and JSON if that is wanted.  Returns 0
 * with *answer for the caller to print and drop, or the exit code when it failed and has said so.
 */
typedef int tool_cluster_call(const struct vckpt_cluster_ctx *ctx, json_t **answer,
			      struct vckpt_error *err);
int tool_ask(struct tool *t, const char *command, const char *cluster, tool_cluster_call *call,
	     json_t **answer);

/* cmd_key.c: as `vckpt key use`; *changed data keys were sealed anew, which the history is told.
 * `err` is not NULL. */
int tool_use_key(struct tool *t, const char *cluster, const char *file, bool plain_disks,
		 size_t *changed, struct vckpt_error *err);

/* cmd_check.c: vckpt_store_examine() with progress; `epochs`: an array of numbers, empty: all. */
struct vckpt_store;
int tool_examine(struct tool *t, const struct vckpt_store *store, const char *cluster,
		 const json_t *epochs, bool read_data, json_t **report, struct vckpt_error *err);
/* Those of its report, as people read them. */
void tool_print_findings(const json_t *findings);

/* cmd_flush.c: vckpt_cluster_flush() with progress, asked by t->who; `who`, `tick` and `arg` of the
 * request are set here. */
struct vckpt_flush_request;
int tool_make_copies(struct tool *t, const char *cluster, const struct vckpt_cluster_ctx *ctx,
		     const struct vckpt_flush_request *request, json_t **report,
		     struct vckpt_error *err);

/* print.c */
/* What to do after an error whose text names no cure; NULL: nothing is known.  A constant. */
const char *tool_next_step(const char *command, const struct vckpt_error *err);
/* Says what failed and returns the exit code.  `record` (may be NULL): how far it came; with --json
 * it stands beside the error, else its notes are told. */
int tool_failed(struct tool *t, const char *command, const struct vckpt_error *err);
int tool_failed_with(struct tool *t, const char *command, const struct vckpt_error *err,
		     json_t *record);
/* Lines of a record: its notes, and who was not held or not quiet. */
void tool_print_notes(FILE *to, const json_t *record);
/* What hooks said, one a line; `failed`: only of those that failed. */
void tool_print_hooks(FILE *to, const json_t *hooks, bool failed);
/* What the cut does not contain. */
void tool_print_outside(const json_t *record);
/* Which file systems were frozen, if that was asked for. */
void tool_print_frozen(const json_t *record);
void tool_print_loud(const json_t *record);
void tool_print_json(const json_t *j);
/* What a command that goes on and on tells, at once: a line of JSON, or as `print` has it. */
void tool_print_event(const struct tool *t, const json_t *event,
		      void (*print)(const json_t *event));
/* Human sizes and times into a caller's buffer; returns it. */
const char *tool_bytes(char buf[16], double n);
const char *tool_ms(char buf[16], double ms);
/* Members of an object along a path "a.b.c"; 0 or "" if there is none. */
double tool_number(const json_t *j, const char *path);
const char *tool_string(const json_t *j, const char *path);
/* Local time of an instant in ns since 1970 into a caller's buffer; returns it. */
const char *tool_when(char buf[32], uint64_t time_ns);

/* progress.c */
struct tool_progress *tool_progress_new(void); /* NULL if stderr is no terminal */
void tool_progress_show(struct tool_progress *p, const struct vckpt_progress *s);
void tool_progress_free(struct tool_progress *p); /* wipes the line; NULL is fine */
/* Of what works on the store, guest by guest: shows how far `phase` is; VCKPT_ECANCELED when it was
 * given up. */
int tool_progress_tick(const struct vckpt_cluster_ctx *ctx, const char *phase, const char *guest,
		       uint64_t done, uint64_t total, struct vckpt_error *err);

#endif
