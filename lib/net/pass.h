/* A pass: a secret that was given to those who may open links that are not encrypted.
 *
 * Whoever accepts such a link draws a nonce, fresh for each link, and sends it in a record `prove`;
 * whoever opened it answers `proof`, with the pass' id and a MAC of both (lsc-wire(5)).  So a
 * proof that was seen on another link is worth nothing.
 */
#ifndef LSC_NET_PASS_H
#define LSC_NET_PASS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "stream/record.h"

#define LSC_PASS_ID     16
#define LSC_PASS_SECRET 32
#define LSC_PASS_NONCE  16
#define LSC_PASS_MAC    32

struct lsc_pass {
	uint8_t id[LSC_PASS_ID]; /* which secret: the cast's */
	uint8_t secret[LSC_PASS_SECRET];
};

/* Random bytes: a secret, a nonce. */
int lsc_pass_draw(uint8_t *bytes, size_t len, struct lsc_err *err);

/* record prove */
int lsc_prove_pack(struct lsc_pack *pack, const uint8_t nonce[LSC_PASS_NONCE]);
int lsc_prove_parse(const struct lsc_record *record, uint8_t nonce[LSC_PASS_NONCE],
		    struct lsc_err *err);

/* record proof: -EOPNOTSUPP where there is no TLS, whose hashes it takes */
int lsc_pass_pack(struct lsc_pack *pack, const struct lsc_pass *proof,
		  const uint8_t nonce[LSC_PASS_NONCE]);
int lsc_pass_parse(const struct lsc_record *record, uint8_t id[LSC_PASS_ID],
		   uint8_t mac[LSC_PASS_MAC], struct lsc_err *err);

/* In a time that does not depend on where the MACs differ. */
bool lsc_pass_is_good(const struct lsc_pass *proof, const uint8_t nonce[LSC_PASS_NONCE],
		      const uint8_t mac[LSC_PASS_MAC]);

#endif
