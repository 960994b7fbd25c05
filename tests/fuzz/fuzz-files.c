/*
 * fuzz-files: the files that vckpt and vckptd read back, as they are read: from a folder.  The
 * first byte picks which.  A sealed file is also tried with a checksum that fits, so that what lies
 * behind it is reached.
 */
#include <errno.h>
#include <limits.h>
#include <sanitizer/lsan_interface.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cluster/definition.h"
#include "host/local/journal.h"
#include "host/local/tokens.h"
#include "store/behind.h"
#include "store/catalogue.h"
#include "store/export_manifest.h"
#include "store/history.h"
#include "store/keys.h"
#include "store/layer.h"
#include "store/lease.h"
#include "store/left.h"
#include "store/reach.h"
#include "store/seal.h"
#include "store/store.h"
#include "tools/vckpt/settings.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Recorded: whatever of it is read with the recorded key opens. */
#define SEALED "tests/data/sealed"
#define HEAT   "store/clusters/heat run"
#define BEHIND "store/clusters/heat/behind.json"

/* One input is one call of each reader: what they need is made once. */
static struct {
	char dir[PATH_MAX];
	struct vckpt_store *store;
} f;

static void remove_all(void)
{
	char line[PATH_MAX + 16];

	snprintf(line, sizeof(line), "rm -rf '%s'", f.dir);
	if (system(line) != 0)
		fputs("cannot clean up\n", stderr);
}

static void put(const char *name, const void *data, size_t len)
{
	char path[PATH_MAX + 64];
	FILE *to;

	snprintf(path, sizeof(path), "%s/%s", f.dir, name);
	to = fopen(path, "we");
	if (!to)
		abort();
	fwrite(data, 1, len, to);
	fclose(to);
}

static void fail(const struct vckpt_error *err)
{
	fprintf(stderr, "%s\n", err->text);
	abort();
}

static void copy(const char *from, const char *name)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char *data;
	size_t len;

	if (vckpt_read_file(from, 4096, &data, &len, &err) < 0)
		fail(&err);
	put(name, data, len);
	free(data);
}

static void make_folder(const char *name)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", f.dir, name);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *tmp = getenv("TMPDIR");
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char path[PATH_MAX + 16];

	(void)argc;
	(void)argv;
	snprintf(f.dir, sizeof(f.dir), "%s/files.XXXXXX", tmp ? tmp : ".");
	if (!mkdtemp(f.dir))
		abort();
	atexit(remove_all);
	umask(077); /* keys are read from files of their owner's only */
	make_folder("keys");
	copy(SEALED "/keys/heat.key", "keys/heat.key");
	snprintf(path, sizeof(path), "%s/keys", f.dir);
	setenv("CREDENTIALS_DIRECTORY", path, 1);
	snprintf(path, sizeof(path), "%s/store", f.dir);
	if (vckpt_store_init(path, &err) < 0)
		fail(&err);
	/* What is recorded was sealed for this store, by its number. */
	copy(SEALED "/store/vckpt-store", "store/vckpt-store");
	if (!(f.store = vckpt_store_open(path, &err)) ||
	    vckpt_store_write_definition(f.store, "heat", "{}", 2, &err) < 0 ||
	    vckpt_store_write_definition(f.store, "heat run", "{}", 2, &err) < 0)
		fail(&err);
	make_folder(HEAT "/data");
	make_folder(HEAT "/data/000001");
	make_folder("store/clusters/heat/history");
	make_folder("tokens");
	make_folder("other");
	snprintf(path, sizeof(path), "%s/vckpt.conf", f.dir);
	setenv("VCKPT_CONFIG", path, 1);
	return 0;
}

static void read_store(void)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/other", f.dir);
	vckpt_store_close(vckpt_store_open(path, NULL));
}

static void read_lease(void)
{
	struct vckpt_lease_info info;

	vckpt_lease_inspect(f.store, "heat", &info, NULL);
}

static void read_incarnation(void)
{
	struct vckpt_incarnation inc;

	vckpt_store_read_incarnation(f.store, "heat", &inc, NULL);
}

static void read_deed(void)
{
	json_decref(vckpt_history_get(f.store, "heat", 1, NULL));
}

static void read_definition(void)
{
	struct vckpt_definition def = {0};
	char *text, *again;
	size_t len;

	if (vckpt_store_read_definition(f.store, "heat", &text, &len, NULL) < 0)
		return;
	if (vckpt_definition_decode(text, len, &def, NULL) == 0) {
		/* what is understood can be written */
		if (vckpt_definition_encode(&def, &again, NULL) < 0)
			abort();
		free(again);
		vckpt_definition_clear(&def);
	}
	free(text);
}

static void read_entry(void)
{
	struct vckpt_epoch e;

	if (vckpt_catalogue_get(f.store, "heat", 1, &e, NULL) == 0)
		vckpt_epoch_clear(&e);
}

static void read_token(void)
{
	struct vckpt_token t = {.incarnation = 3, .epoch = 7};
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/tokens", f.dir);
	vckpt_token_admit(path, "heat", "4d2a", &t, NULL);
}

static void read_layer(void)
{
	char path[PATH_MAX + 16], below[PATH_MAX];

	snprintf(path, sizeof(path), "%s/layer", f.dir);
	vckpt_layer_backing(path, below, NULL);
}

/* What it allocates lives as long as the program, by design. */
static void read_settings(void)
{
	struct tool_settings s = {0};

	__lsan_disable();
	tool_settings_load(&s, NULL);
	__lsan_enable();
}

static void read_cluster_key(void)
{
	struct vckpt_cluster_key key;

	vckpt_cluster_key_get(f.store, "heat run", &key, NULL);
}

static void read_data_key(void)
{
	struct vckpt_data_key *key;

	if (vckpt_data_key_load(f.store, "heat run", 1, "n1", &key, NULL) == 0)
		vckpt_data_key_free(key);
}

static void read_key_file(void)
{
	char path[PATH_MAX + 16], text[VCKPT_KEY_TEXT];
	struct vckpt_key key;
	char *line;
	size_t len;

	snprintf(path, sizeof(path), "%s/key", f.dir);
	if (vckpt_key_file_read(path, &key, NULL) < 0)
		return;
	/* a key has one form */
	vckpt_key_text(&key, text);
	if (vckpt_read_file(path, 4096, &line, &len, NULL) < 0 || len != 12 + sizeof(text) ||
	    memcmp(line + 12, text, sizeof(text) - 1) != 0)
		abort();
	free(line);
}

static void read_manifest(void)
{
	json_decref(vckpt_manifest_read(f.dir, NULL));
}

/* What is understood can be written, and is understood again. */
static void read_places(void)
{
	struct vckpt_store_places p;

	if (vckpt_places_get(f.store, "heat", &p, NULL) < 0 || p.n == 0)
		return;
	p.version++;
	if (p.version < INT64_MAX && vckpt_places_put(f.store, "heat", &p, NULL) < 0)
		abort();
	vckpt_places_clear(&p);
	if (vckpt_places_get(f.store, "heat", &p, NULL) < 0)
		abort();
	vckpt_places_clear(&p);
}

/* What is understood is a list of what its readers take for texts. */
static void read_left(void)
{
	json_t *left = vckpt_left_read(f.store, "heat", NULL), *one;
	size_t i;

	json_array_foreach (left, i, one)
		if (!json_is_string(json_object_get(one, "guest")) ||
		    !json_is_string(json_object_get(one, "host")))
			abort();
	json_decref(left);
}

static void read_behind(void)
{
	char path[PATH_MAX + 64], *text;
	json_t *notes, *one;
	size_t len, i;

	snprintf(path, sizeof(path), "%s/%s", f.dir, BEHIND);
	if (vckpt_read_file(path, VCKPT_SEAL_MAX, &text, &len, NULL) < 0)
		abort();
	notes = vckpt_behind_decode(text, len);
	json_array_foreach (notes, i, one)
		if (!json_is_string(json_object_get(one, "path")))
			abort();
	json_decref(notes);
	free(text);
}

static const struct kind {
	const char *file, *seal; /* NULL: it is not sealed */
	void (*read)(void);
} kinds[] = {
	{"other/vckpt-store", "store", read_store},
	{"store/clusters/heat/lease/000001", "lease", read_lease},
	{"store/clusters/heat/incarnation.json", "incarnation", read_incarnation},
	{"store/clusters/heat/history/000001.json", "deed", read_deed},
	{"store/clusters/heat/cluster.json", "cluster", read_definition},
	{"store/clusters/heat/epochs/000001.json", "epoch", read_entry},
	{"tokens/heat", NULL, read_token},
	{"layer", NULL, read_layer},
	{"vckpt.conf", NULL, read_settings},
	{HEAT "/key.json", "key", read_cluster_key},
	{HEAT "/data/000001/n1.key", "data-key", read_data_key},
	{"key", NULL, read_key_file},
	{"manifest.json", "export", read_manifest},
	{"store/clusters/heat/places.json", "places", read_places},
	{"store/clusters/heat/left.json", "left", read_left},
	{BEHIND, "behind", read_behind},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void read_journal(const uint8_t *p, size_t n)
{
	struct vckpt_journal_entry e;
	char *text;

	if (vckpt_journal_decode((const char *)p, n, "entry", &e, NULL) < 0)
		return;
	text = vckpt_journal_encode(&e);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct kind *k;
	char *sealed;
	size_t len;

	if (size < 1)
		return 0;
	if (data[0] % (N_KINDS + 1) == N_KINDS) {
		read_journal(data + 1, size - 1);
		return 0;
	}
	k = &kinds[data[0] % (N_KINDS + 1)];
	put(k->file, data + 1, size - 1);
	k->read();
	sealed = k->seal ? vckpt_seal(k->seal, (const char *)data + 1, size - 1, &len) : NULL;
	if (!sealed)
		return 0;
	put(k->file, sealed, len);
	free(sealed);
	k->read();
	return 0;
}
