/* pass - a nonce and its answer: HMAC-SHA256(secret, label, nonce, id) */
#include "net/pass.h"

#include <string.h>
#include <sys/random.h>

#include "net/tls.h"

#define LABEL "lsc-1 cleartext link" /* lsc-wire(5) */

int lsc_pass_draw(uint8_t *bytes, size_t len, struct lsc_err *err)
{
	if (getrandom(bytes, len, 0) != (ssize_t)len)
		return lsc_err_set(err, EIO, "cannot draw random bytes: %m");
	return 0;
}

static int make_mac(const struct lsc_pass *proof, const uint8_t nonce[LSC_PASS_NONCE],
		    uint8_t mac[LSC_PASS_MAC])
{
	uint8_t text[sizeof(LABEL) - 1 + LSC_PASS_NONCE + LSC_PASS_ID];
	uint8_t *at = text;

	at = mempcpy(at, LABEL, sizeof(LABEL) - 1);
	at = mempcpy(at, nonce, LSC_PASS_NONCE);
	memcpy(at, proof->id, LSC_PASS_ID);
	return lsc_tls_hmac(proof->secret, text, sizeof(text), mac);
}

static int parse_bytes(const struct lsc_record *record, const char *key, uint8_t *bytes,
		       uint32_t want, struct lsc_err *err)
{
	const void *data;
	uint32_t len;
	int r = lsc_record_bin(record, key, want, &data, &len, err);

	if (r < 0)
		return r;
	if (len != want)
		return lsc_err_set(err, EBADMSG, "record '%.*s': '%s' has %u bytes, not %u",
				   (int)record->type_len, record->type, key, len, want);
	memcpy(bytes, data, len);
	return 0;
}

int lsc_prove_pack(struct lsc_pack *pack, const uint8_t nonce[LSC_PASS_NONCE])
{
	lsc_pack_begin(pack, "prove");
	lsc_pack_bin(pack, "nonce", nonce, LSC_PASS_NONCE);
	return lsc_pack_end(pack);
}

int lsc_prove_parse(const struct lsc_record *record, uint8_t nonce[LSC_PASS_NONCE],
		    struct lsc_err *err)
{
	return parse_bytes(record, "nonce", nonce, LSC_PASS_NONCE, err);
}

int lsc_pass_pack(struct lsc_pack *pack, const struct lsc_pass *proof,
		  const uint8_t nonce[LSC_PASS_NONCE])
{
	uint8_t mac[LSC_PASS_MAC];
	int r = make_mac(proof, nonce, mac);

	if (r < 0)
		return r;
	lsc_pack_begin(pack, "proof");
	lsc_pack_bin(pack, "id", proof->id, LSC_PASS_ID);
	lsc_pack_bin(pack, "mac", mac, LSC_PASS_MAC);
	return lsc_pack_end(pack);
}

int lsc_pass_parse(const struct lsc_record *record, uint8_t id[LSC_PASS_ID],
		   uint8_t mac[LSC_PASS_MAC], struct lsc_err *err)
{
	int r = parse_bytes(record, "id", id, LSC_PASS_ID, err);

	return r < 0 ? r : parse_bytes(record, "mac", mac, LSC_PASS_MAC, err);
}

bool lsc_pass_is_good(const struct lsc_pass *proof, const uint8_t nonce[LSC_PASS_NONCE],
		      const uint8_t mac[LSC_PASS_MAC])
{
	uint8_t ours[LSC_PASS_MAC];
	volatile uint8_t differ = 0;

	if (make_mac(proof, nonce, ours) < 0)
		return false;
	for (int i = 0; i < LSC_PASS_MAC; i++)
		differ = differ | (uint8_t)(ours[i] ^ mac[i]);
	return differ == 0;
}
