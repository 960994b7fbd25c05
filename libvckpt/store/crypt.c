#include "store/crypt.h"

#include <sodium.h>
#include <string.h>

#include "store/bytes.h"

#define NONCE   crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define DOMAIN  "vckpt 1"
#define ID      "vckpt key id"
#define PAGES   "vckpt pages"
#define WRAP    0 /* the part that a wrapped key is */
#define MAX_AAD (VCKPT_PLACE + 5 + VCKPT_CRYPT_HEAD)

_Static_assert(crypto_aead_xchacha20poly1305_ietf_ABYTES == VCKPT_CRYPT_TAG, "tag");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == VCKPT_KEY_BYTES, "key");
_Static_assert(NONCE == 24, "nonce");
_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == 16, "page key");
_Static_assert(crypto_shorthash_siphashx24_BYTES == 16, "page hash");

/* Picks what this processor is best at; does so once, whoever calls how often. */
static int ready(struct vckpt_error *err)
{
	if (sodium_init() < 0)
		return vckpt_fail(err, VCKPT_ESYSTEM, "libsodium does not work on this machine");
	return 0;
}

int vckpt_key_random(struct vckpt_key *key, struct vckpt_error *err)
{
	if (ready(err) < 0)
		return -1;
	crypto_aead_xchacha20poly1305_ietf_keygen(key->b);
	return 0;
}

void vckpt_key_id(const struct vckpt_key *key, char id[VCKPT_KEY_ID])
{
	uint8_t hash[crypto_generichash_BYTES_MIN];

	crypto_generichash(hash, sizeof(hash), (const uint8_t *)ID, strlen(ID), key->b,
			   sizeof(key->b));
	sodium_bin2hex(id, VCKPT_KEY_ID, hash, (VCKPT_KEY_ID - 1) / 2);
}

/* Exactly n bytes of lower-case hex. */
static int from_hex(const char *text, uint8_t *out, size_t n)
{
	if (strspn(text, "0123456789abcdef") < 2 * n)
		return -1;
	return sodium_hex2bin(out, n, text, 2 * n, NULL, NULL, NULL);
}

bool vckpt_key_id_valid(const char *id)
{
	return strspn(id, "0123456789abcdef") == VCKPT_KEY_ID - 1 && !id[VCKPT_KEY_ID - 1];
}

void vckpt_key_text(const struct vckpt_key *key, char text[VCKPT_KEY_TEXT])
{
	sodium_bin2hex(text, VCKPT_KEY_TEXT, key->b, sizeof(key->b));
}

int vckpt_key_parse(const char *text, struct vckpt_key *key)
{
	return from_hex(text, key->b, sizeof(key->b));
}

void vckpt_key_wipe(void *secret, size_t len)
{
	sodium_memzero(secret, len);
}

static uint8_t *put_name(uint8_t *p, const char *name, size_t len)
{
	p = put_u8(p, (uint8_t)len);
	return put_bytes(p, name, len);
}

int vckpt_data_key_place(struct vckpt_data_key *k, const uint8_t uuid[16], const char *cluster,
			 uint64_t epoch, const char *guest, struct vckpt_error *err)
{
	size_t c = strlen(cluster), g = strlen(guest);
	uint8_t *p = k->place;

	if (strlen(DOMAIN) + 16 + 8 + 2 + c + g > sizeof(k->place))
		return vckpt_fail(err, VCKPT_EUSAGE, "the names %s and %s are too long", cluster,
				  guest);
	p = put_bytes(p, DOMAIN, strlen(DOMAIN));
	p = put_bytes(p, uuid, 16);
	p = put_u64(p, epoch);
	p = put_name(p, cluster, c);
	p = put_name(p, guest, g);
	k->place_len = (size_t)(p - k->place);
	return ready(err);
}

static size_t put_aad(uint8_t aad[MAX_AAD], const struct vckpt_data_key *k, unsigned part,
		      uint32_t number, const uint8_t *head, size_t head_len)
{
	uint8_t *p = put_bytes(aad, k->place, k->place_len);

	p = put_u8(p, (uint8_t)part);
	p = put_u32(p, number);
	return (size_t)(put_bytes(p, head, head_len) - aad);
}

static void put_nonce(uint8_t nonce[NONCE], unsigned part, uint32_t number)
{
	memset(nonce, 0, NONCE);
	put_u32(put_u8(nonce, (uint8_t)part), number);
}

void vckpt_data_key_wrap(const struct vckpt_data_key *k, const struct vckpt_key *by,
			 char text[VCKPT_WRAPPED_HEX])
{
	uint8_t aad[MAX_AAD], out[VCKPT_WRAPPED];
	size_t n = put_aad(aad, k, WRAP, 0, NULL, 0);

	/* Of one store key there are many of these, so here it is random: 192 bits do not meet. */
	randombytes_buf(out, NONCE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE, NULL, k->key.b, sizeof(k->key.b),
						   aad, n, NULL, out, by->b);
	sodium_bin2hex(text, VCKPT_WRAPPED_HEX, out, sizeof(out));
}

int vckpt_data_key_unwrap(struct vckpt_data_key *k, const struct vckpt_key *by, const char *text)
{
	uint8_t aad[MAX_AAD], in[VCKPT_WRAPPED];
	size_t n = put_aad(aad, k, WRAP, 0, NULL, 0);

	if (strlen(text) != 2 * sizeof(in) || from_hex(text, in, sizeof(in)) < 0)
		return -1;
	return crypto_aead_xchacha20poly1305_ietf_decrypt(k->key.b, NULL, NULL, in + NONCE,
							  sizeof(in) - NONCE, aad, n, in, by->b);
}

void vckpt_crypt_seal(const struct vckpt_data_key *k, enum vckpt_crypt_part part, uint32_t number,
		      const uint8_t *head, size_t head_len, const void *data, size_t n, void *out)
{
	uint8_t aad[MAX_AAD], nonce[NONCE];
	size_t aad_len = put_aad(aad, k, part, number, head, head_len);

	put_nonce(nonce, part, number);
	crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, data, n, aad, aad_len, NULL, nonce,
						   k->key.b);
}

int vckpt_crypt_open(const struct vckpt_data_key *k, enum vckpt_crypt_part part, uint32_t number,
		     const uint8_t *head, size_t head_len, const void *data, size_t n, void *out)
{
	uint8_t aad[MAX_AAD], nonce[NONCE];
	size_t aad_len = put_aad(aad, k, part, number, head, head_len);

	put_nonce(nonce, part, number);
	return crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, data, n, aad, aad_len,
							  nonce, k->key.b);
}

int vckpt_page_key_make(const struct vckpt_key *secret, const struct vckpt_key *by,
			struct vckpt_page_key *key, struct vckpt_error *err)
{
	uint8_t text[sizeof(PAGES) - 1 + VCKPT_KEY_BYTES], out[16 + VCKPT_PAGE_KEY_ID];
	uint8_t *p = put_bytes(text, PAGES, strlen(PAGES));

	if (ready(err) < 0)
		return -1;
	if (by)
		p = put_bytes(p, by->b, sizeof(by->b));
	crypto_generichash(out, sizeof(out), text, (size_t)(p - text), secret->b,
			   sizeof(secret->b));
	memcpy(key->b, out, sizeof(key->b));
	memcpy(key->id, out + sizeof(key->b), sizeof(key->id));
	sodium_memzero(text, sizeof(text));
	sodium_memzero(out, sizeof(out));
	return 0;
}

void vckpt_page_hash(const struct vckpt_page_key *key, const void *page,
		     struct vckpt_page_hash *out)
{
	crypto_shorthash_siphashx24(out->b, page, VCKPT_PAGE, key->b);
}
