#include "cluster/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A host to be used, and how many guests it has so far. */
struct seat {
	const char *name;
	uint32_t n;
};

const char *vckpt_place_host(const char *word)
{
	const char *equals = strchr(word, '=');

	return equals ? equals + 1 : word;
}

static bool is_out(const struct vckpt_places *p, const char *host)
{
	for (size_t i = 0; i < p->n_without; i++)
		if (strcmp(p->without[i], host) == 0)
			return true;
	return false;
}

static int check_word(const struct vckpt_definition *def, const char *word, struct vckpt_error *err)
{
	const char *host = vckpt_place_host(word);
	size_t len = (size_t)(host - word);

	if (!*host || strlen(host) >= sizeof(def->guests[0].host))
		return vckpt_fail(err, VCKPT_EUSAGE, "\"%.60s\" names no host", word);
	for (uint32_t i = 0; i < def->n && len; i++)
		if (strlen(def->guests[i].name) == len - 1 &&
		    strncmp(def->guests[i].name, word, len - 1) == 0)
			return 0;
	return len ? vckpt_fail(err, VCKPT_EUSAGE, "%.60s: the cluster has no such guest", word)
		   : 0;
}

/* The host that a word settles the guest on, or NULL. */
static const char *settled(const struct vckpt_places *p, const char *guest)
{
	size_t len = strlen(guest);

	for (size_t i = 0; i < p->n_words; i++)
		if (strncmp(p->words[i], guest, len) == 0 && p->words[i][len] == '=')
			return p->words[i] + len + 1;
	return NULL;
}

static size_t find_seats(const struct vckpt_places *p, struct seat *seats, bool *named)
{
	size_t n = 0;

	*named = false;
	for (size_t i = 0; i < p->n_words; i++) {
		size_t k = 0;

		if (strchr(p->words[i], '='))
			continue;
		*named = true;
		if (is_out(p, p->words[i]))
			continue;
		while (k < n && strcmp(seats[k].name, p->words[i]) != 0)
			k++;
		if (k == n)
			seats[n++].name = p->words[i];
	}
	return n;
}

/* Who is at home on a seat stays while there is room; the others go where the fewest are. */
static void spread(const struct vckpt_definition *def, const struct vckpt_places *p,
		   struct seat *seats, size_t n, const char **to)
{
	uint32_t loose = 0, room;

	for (uint32_t i = 0; i < def->n; i++)
		loose += to[i] == NULL;
	room = (loose + (uint32_t)n - 1) / (uint32_t)n;
	(void)p;
	for (uint32_t i = 0; i < def->n; i++)
		for (size_t k = 0; k < n && !to[i]; k++)
			if (strcmp(seats[k].name, def->guests[i].host) == 0 && seats[k].n < room) {
				to[i] = seats[k].name;
				seats[k].n++;
			}
	for (uint32_t i = 0; i < def->n; i++) {
		struct seat *best = seats;

		if (to[i])
			continue;
		for (size_t k = 1; k < n; k++)
			best = seats[k].n < best->n ? &seats[k] : best;
		to[i] = best->name;
		best->n++;
	}
}

static int check_places(const struct vckpt_definition *def, const struct vckpt_places *p,
			const char *const *to, struct vckpt_error *err)
{
	for (uint32_t i = 0; i < def->n; i++) {
		if (is_out(p, to[i]))
			return vckpt_fail(
				err, VCKPT_EREFUSED,
				"guest %s: host %s cannot be used; name another with --on",
				def->guests[i].name, to[i]);
		for (uint32_t k = 0; k < i; k++)
			if (strcmp(to[i], to[k]) == 0 &&
			    strcmp(def->guests[i].domain, def->guests[k].domain) == 0)
				return vckpt_fail(
					err, VCKPT_EREFUSED,
					"guests %s and %s are both called %s by libvirt and "
					"cannot be on one host, %s",
					def->guests[k].name, def->guests[i].name,
					def->guests[i].domain, to[i]);
	}
	return 0;
}

static int choose(struct vckpt_definition *def, const struct vckpt_places *p, struct seat *seats,
		  const char **to, struct vckpt_error *err)
{
	bool named, loose = false;
	size_t n = find_seats(p, seats, &named);

	for (uint32_t i = 0; i < def->n; i++) {
		to[i] = settled(p, def->guests[i].name);
		if (!to[i] && !named)
			to[i] = def->guests[i].host;
		loose = loose || !to[i];
	}
	if (loose && !n)
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"none of the hosts that were named can be used; name another with "
			"--on");
	if (loose)
		spread(def, p, seats, n, to);
	return check_places(def, p, to, err);
}

int vckpt_place(struct vckpt_definition *def, const struct vckpt_places *places,
		struct vckpt_error *err)
{
	struct seat *seats = calloc(places->n_words + 1, sizeof(*seats));
	const char **to = calloc(def->n, sizeof(*to));
	int rc = seats && to ? 0 : vckpt_fail_errno(err, "no memory to place the guests");

	for (size_t i = 0; i < places->n_words && rc == 0; i++)
		rc = check_word(def, places->words[i], err);
	if (rc == 0)
		rc = choose(def, places, seats, to, err);
	for (uint32_t i = 0; i < def->n && rc == 0; i++)
		if (to[i] != def->guests[i].host)
			snprintf(def->guests[i].host, sizeof(def->guests[i].host), "%s", to[i]);
	free(seats);
	free(to);
	return rc;
}
