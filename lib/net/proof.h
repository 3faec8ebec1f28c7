/* A proof: that the other end of a link that is not encrypted was given a secret.
 *
 * Whoever accepts such a link draws a nonce, fresh for each link, and sends it in a record `prove`;
 * whoever opened it answers `proof`, with the id of the secret and a MAC of both (lsc-wire(5)).  So
 * one that was seen on another link is worth nothing.
 */
#ifndef LSC_NET_PROOF_H
#define LSC_NET_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "stream/record.h"

#define LSC_PROOF_ID     16
#define LSC_PROOF_SECRET 32
#define LSC_PROOF_NONCE  16
#define LSC_PROOF_MAC    32

struct lsc_proof {
	uint8_t id[LSC_PROOF_ID]; /* which secret: the cast's */
	uint8_t secret[LSC_PROOF_SECRET];
};

/* Random bytes: a secret, a nonce. */
int lsc_proof_draw(uint8_t *bytes, size_t len, struct lsc_err *err);

/* record prove */
int lsc_prove_pack(struct lsc_pack *pack, const uint8_t nonce[LSC_PROOF_NONCE]);
int lsc_prove_parse(const struct lsc_record *record, uint8_t nonce[LSC_PROOF_NONCE],
		    struct lsc_err *err);

/* record proof: -EOPNOTSUPP where there is no TLS, whose hashes it takes */
int lsc_proof_pack(struct lsc_pack *pack, const struct lsc_proof *proof,
		   const uint8_t nonce[LSC_PROOF_NONCE]);
int lsc_proof_parse(const struct lsc_record *record, uint8_t id[LSC_PROOF_ID],
		    uint8_t mac[LSC_PROOF_MAC], struct lsc_err *err);

/* In a time that does not depend on where the MACs differ. */
bool lsc_proof_is_good(const struct lsc_proof *proof, const uint8_t nonce[LSC_PROOF_NONCE],
		       const uint8_t mac[LSC_PROOF_MAC]);

#endif
