#include "cluster/definition.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"

void vckpt_definition_clear(struct vckpt_definition *def)
{
	for (uint32_t i = 0; i < def->n; i++)
		free(def->guests[i].nics);
	free(def->guests);
	memset(def, 0, sizeof(*def));
}

int vckpt_definition_alloc(struct vckpt_definition *def, uint32_t n, struct vckpt_error *err)
{
	if (n == 0 || n > VCKPT_CLUSTER_GUESTS)
		return vckpt_fail(err, VCKPT_EUSAGE, "a cluster has 1 to %d guests, not %u",
				  VCKPT_CLUSTER_GUESTS, n);
	def->guests = calloc(n, sizeof(*def->guests));
	if (!def->guests)
		return vckpt_fail_errno(err, "no memory for %u guests", n);
	def->n = n;
	return 0;
}

/* ---- checks, for what is read and for what is written ---- */

static bool is_uuid(const char *s)
{
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
			return false;
	}
	return s[36] == '\0';
}

static bool parse_mac(const char *s, uint8_t mac[6])
{
	for (int i = 0; i < 6; i++) {
		unsigned v = 0;

		for (int k = 0; k < 2; k++, s++) {
			if (!isxdigit((unsigned char)*s))
				return false;
			v = v * 16 + (unsigned)(isdigit((unsigned char)*s)
							? *s - '0'
							: tolower((unsigned char)*s) - 'a' + 10);
		}
		mac[i] = (uint8_t)v;
		if (*s++ != (i < 5 ? ':' : '\0'))
			return false;
	}
	return !(mac[0] & 1); /* one machine's, not a group's */
}

static int check_guest(const struct vckpt_guest_definition *g, struct vckpt_error *err)
{
	if (vckpt_store_check_name("guest", g->name, err) < 0)
		return -1;
	if (!g->domain[0])
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s: no domain", g->name);
	if (!is_uuid(g->uuid))
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s: \"%s\" is no uuid", g->name,
				  g->uuid);
	if (g->memory == 0 || g->memory > INT64_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s: no memory size", g->name);
	if (g->n_nics > VCKPT_GUEST_NICS)
		return vckpt_fail(err, VCKPT_EUSAGE, "guest %s: more than %d NICs", g->name,
				  VCKPT_GUEST_NICS);
	for (uint32_t i = 0; i < g->n_nics; i++)
		if (!g->nics[i].network[0])
			return vckpt_fail(err, VCKPT_EUSAGE, "guest %s: NIC %u has no network",
					  g->name, i + 1);
	return 0;
}

static int check_pair(const struct vckpt_guest_definition *a,
		      const struct vckpt_guest_definition *b, struct vckpt_error *err)
{
	if (strcmp(a->name, b->name) == 0)
		return vckpt_fail(err, VCKPT_EUSAGE, "two guests have the name %s", a->name);
	if (strcmp(a->host, b->host) == 0 && strcmp(a->domain, b->domain) == 0)
		return vckpt_fail(err, VCKPT_EUSAGE, "guests %s and %s are the same domain %s",
				  a->name, b->name, a->domain);
	for (uint32_t i = 0; i < a->n_nics; i++)
		for (uint32_t k = 0; k < b->n_nics; k++)
			if (strcmp(a->nics[i].network, b->nics[k].network) == 0 &&
			    memcmp(a->nics[i].mac, b->nics[k].mac, 6) == 0)
				return vckpt_fail(err, VCKPT_EUSAGE,
						  "guests %s and %s have the same MAC address on "
						  "%s",
						  a->name, b->name, a->nics[i].network);
	return 0;
}

static int check(const struct vckpt_definition *def, struct vckpt_error *err)
{
	if (vckpt_store_check_name("cluster", def->name, err) < 0)
		return -1;
	if (def->n == 0 || def->n > VCKPT_CLUSTER_GUESTS)
		return vckpt_fail(err, VCKPT_EUSAGE, "a cluster has 1 to %d guests, not %u",
				  VCKPT_CLUSTER_GUESTS, def->n);
	for (uint32_t i = 0; i < def->n; i++) {
		if (check_guest(&def->guests[i], err) < 0)
			return -1;
		for (uint32_t k = 0; k < i; k++)
			if (check_pair(&def->guests[k], &def->guests[i], err) < 0)
				return -1;
	}
	return 0;
}

/* ---- reading ---- */

/* `o` is an object with exactly the `n` members named. */
static int members(json_t *o, const char *const *keys, size_t n, const char *where,
		   struct vckpt_error *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(o))
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is not an object", where);
	for (size_t i = 0; i < n; i++)
		if (!json_object_get(o, keys[i]))
			return vckpt_fail(err, VCKPT_EDAMAGED, "%s has no \"%s\"", where, keys[i]);
	json_object_foreach (o, key, value) {
		bool known = false;

		for (size_t i = 0; i < n; i++)
			known = known || strcmp(key, keys[i]) == 0;
		if (!known)
			return vckpt_fail(err, VCKPT_EDAMAGED, "%s has an unknown \"%.64s\"", where,
					  key);
	}
	return 0;
}

static int text_of(json_t *o, const char *key, char *out, size_t size, const char *where,
		   struct vckpt_error *err)
{
	json_t *v = json_object_get(o, key);

	if (!json_is_string(v))
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s: \"%s\" is not a string", where, key);
	/* jansson refuses NUL inside strings unless told otherwise. */
	if (json_string_length(v) >= size)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s: \"%s\" has more than %zu bytes", where,
				  key, size - 1);
	memcpy(out, json_string_value(v), json_string_length(v) + 1);
	return 0;
}

static int nics_of(json_t *list, struct vckpt_guest_definition *g, const char *where,
		   struct vckpt_error *err)
{
	static const char *const keys[] = {"mac", "network"};
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n > VCKPT_GUEST_NICS)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s: \"nics\" is not a list of at most %d",
				  where, VCKPT_GUEST_NICS);
	g->nics = calloc(n ? n : 1, sizeof(*g->nics));
	if (!g->nics)
		return vckpt_fail_errno(err, "%s: no memory for its NICs", where);
	g->n_nics = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		json_t *one = json_array_get(list, i);
		char mac[18], at[128];

		snprintf(at, sizeof(at), "%.90s, NIC %zu", where, i + 1);
		if (members(one, keys, 2, at, err) < 0 ||
		    text_of(one, "mac", mac, sizeof(mac), at, err) < 0 ||
		    text_of(one, "network", g->nics[i].network, sizeof(g->nics[i].network), at,
			    err) < 0)
			return -1;
		if (!parse_mac(mac, g->nics[i].mac))
			return vckpt_fail(err, VCKPT_EDAMAGED,
					  "%s: \"%s\" is no MAC address of a machine", at, mac);
	}
	return 0;
}

static int memory_of(json_t *o, uint64_t *memory, const char *where, struct vckpt_error *err)
{
	json_t *v = json_object_get(o, "memory");

	if (!json_is_integer(v) || json_integer_value(v) <= 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s: \"memory\" is no number of bytes",
				  where);
	*memory = (uint64_t)json_integer_value(v);
	return 0;
}

static int guest_of(json_t *o, struct vckpt_guest_definition *g, const char *where,
		    struct vckpt_error *err)
{
	static const char *const keys[] = {"name",   "domain", "uuid", "host",
					   "memory", "nics",   "to"};
	bool moves = json_object_get(o, "to");

	if (members(o, keys, moves ? 7 : 6, where, err) < 0 ||
	    (moves && text_of(o, "to", g->to, sizeof(g->to), where, err) < 0) ||
	    text_of(o, "name", g->name, sizeof(g->name), where, err) < 0 ||
	    text_of(o, "domain", g->domain, sizeof(g->domain), where, err) < 0 ||
	    text_of(o, "uuid", g->uuid, sizeof(g->uuid), where, err) < 0 ||
	    text_of(o, "host", g->host, sizeof(g->host), where, err) < 0 ||
	    memory_of(o, &g->memory, where, err) < 0)
		return -1;
	return nics_of(json_object_get(o, "nics"), g, where, err);
}

static int decode(json_t *root, struct vckpt_definition *def, struct vckpt_error *err)
{
	static const char *const keys[] = {"format", "name", "guests"};
	json_t *guests = json_object_get(root, "guests");
	json_t *format = json_object_get(root, "format");
	size_t n = json_array_size(guests);

	if (json_is_integer(format) && json_integer_value(format) > VCKPT_DEFINITION_FORMAT)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "it has format %lld and this vckpt knows up to %d: use a newer "
				  "vckpt",
				  (long long)json_integer_value(format), VCKPT_DEFINITION_FORMAT);
	if (members(root, keys, 3, "it", err) < 0)
		return -1;
	if (!json_is_integer(format) || json_integer_value(format) != VCKPT_DEFINITION_FORMAT)
		return vckpt_fail(err, VCKPT_EDAMAGED, "its \"format\" is not %d",
				  VCKPT_DEFINITION_FORMAT);
	if (text_of(root, "name", def->name, sizeof(def->name), "it", err) < 0)
		return -1;
	if (!json_is_array(guests) || n == 0 || n > VCKPT_CLUSTER_GUESTS)
		return vckpt_fail(err, VCKPT_EDAMAGED, "\"guests\" is not a list of 1 to %d",
				  VCKPT_CLUSTER_GUESTS);
	if (vckpt_definition_alloc(def, (uint32_t)n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		char where[32];

		snprintf(where, sizeof(where), "guest %zu", i + 1);
		if (guest_of(json_array_get(guests, i), &def->guests[i], where, err) < 0)
			return -1;
	}
	if (check(def, err) < 0) {
		if (err)
			err->code = VCKPT_EDAMAGED;
		return -1;
	}
	return 0;
}

int vckpt_definition_decode(const char *text, size_t len, struct vckpt_definition *def,
			    struct vckpt_error *err)
{
	json_error_t why;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	int rc;

	memset(def, 0, sizeof(*def));
	if (!root) {
		vckpt_fail(err, VCKPT_EDAMAGED, "line %d: %s", why.line, why.text);
		return vckpt_error_prefix(err, "the cluster's definition is damaged");
	}
	rc = decode(root, def, err);
	json_decref(root);
	if (rc == 0)
		return 0;
	vckpt_definition_clear(def);
	return vckpt_error_prefix(err, "the cluster's definition cannot be used");
}

/* libvirt's kind and name of the network make the key; a NIC that reaches nobody has none. */
static bool network_of(json_t *nic, char *out, size_t size)
{
	const char *type = json_string_value(json_object_get(nic, "type"));
	const char *source = json_string_value(json_object_get(nic, "source"));

	if (!type || (!source && strcmp(type, "mcast") != 0))
		return false;
	return snprintf(out, size, "%s:%s", type, source ? source : "") < (int)size;
}

int vckpt_definition_survey(struct vckpt_guest_definition *g, json_t *survey,
			    struct vckpt_error *err)
{
	json_t *list = json_object_get(survey, "nics"), *one;
	json_t *kib = json_object_get(survey, "memory_kib");
	char where[VCKPT_NAME_MAX + 32];
	size_t i;

	snprintf(where, sizeof(where), "survey of guest %s", g->name);
	if (json_array_size(list) > VCKPT_GUEST_NICS)
		return vckpt_fail(err, VCKPT_EREFUSED, "%s: more than %d NICs", where,
				  VCKPT_GUEST_NICS);
	if (!json_is_integer(kib) || json_integer_value(kib) <= 0)
		return vckpt_fail(err, VCKPT_EPEER, "%s: no memory size was told", where);
	g->memory = (uint64_t)json_integer_value(kib) * 1024;
	free(g->nics);
	g->n_nics = 0;
	g->nics = calloc(json_array_size(list) + 1, sizeof(*g->nics));
	if (!g->nics)
		return vckpt_fail_errno(err, "%s: no memory for its NICs", where);
	if (text_of(survey, "uuid", g->uuid, sizeof(g->uuid), where, err) < 0)
		return -1;
	json_array_foreach (list, i, one) {
		struct vckpt_nic *nic = &g->nics[g->n_nics];
		const char *mac = json_string_value(json_object_get(one, "mac"));

		if (mac && parse_mac(mac, nic->mac) &&
		    network_of(one, nic->network, sizeof(nic->network)))
			g->n_nics++;
	}
	return 0;
}

/* ---- writing ---- */

static json_t *nics_json(const struct vckpt_guest_definition *g)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < g->n_nics; i++) {
		const uint8_t *m = g->nics[i].mac;
		char mac[18];

		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
			 m[4], m[5]);
		if (json_array_append_new(list, json_pack("{s:s,s:s}", "mac", mac, "network",
							  g->nics[i].network)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

int vckpt_definition_encode(const struct vckpt_definition *def, char **text,
			    struct vckpt_error *err)
{
	json_t *guests, *root;
	bool whole = true;

	if (check(def, err) < 0)
		return -1;
	guests = json_array();
	for (uint32_t i = 0; i < def->n; i++) {
		const struct vckpt_guest_definition *g = &def->guests[i];
		json_t *one = json_pack("{s:s,s:s,s:s,s:s,s:I,s:o,s:s*}", "name", g->name, "domain",
					g->domain, "uuid", g->uuid, "host", g->host, "memory",
					(json_int_t)g->memory, "nics", nics_json(g), "to",
					g->to[0] ? g->to : NULL);

		whole = json_array_append_new(guests, one) == 0 && whole;
	}
	root = json_pack("{s:i,s:s,s:o}", "format", VCKPT_DEFINITION_FORMAT, "name", def->name,
			 "guests", guests);
	*text = root && whole ? json_dumps(root, JSON_INDENT(2)) : NULL;
	json_decref(root);
	if (!*text)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "cluster %s: its names are not UTF-8, or memory is short",
				  def->name);
	return 0;
}

/* ---- NICs ---- */

int vckpt_definition_nics(const struct vckpt_definition *def, struct vckpt_list *list,
			  struct vckpt_error *err)
{
	struct vckpt_host_nic *nic;
	uint32_t n = 0;

	for (uint32_t i = 0; i < def->n; i++)
		n += def->guests[i].n_nics;
	list->n = 0;
	list->v = nic = calloc(n ? n : 1, sizeof(*nic));
	if (!nic)
		return vckpt_fail_errno(err, "no memory for %u NICs", n);
	list->n = n;
	for (uint32_t i = 0; i < def->n; i++)
		for (uint32_t k = 0; k < def->guests[i].n_nics; k++, nic++) {
			memcpy(nic->guest, def->guests[i].name, sizeof(nic->guest));
			memcpy(nic->mac, def->guests[i].nics[k].mac, sizeof(nic->mac));
			memcpy(nic->network, def->guests[i].nics[k].network, sizeof(nic->network));
		}
	return 0;
}
