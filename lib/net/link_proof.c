/* link_proof - what goes between hello and on_open where a link is plain and its listener has a key
 *
 * The one that opened the link holds back all but its hello until it was asked, so that its proof
 * goes first; the other one lets no record through to its owner before it has it.
 */
#include <string.h>

#include "base/cleanup.h"
#include "net/link_ops.h"
#include "net/pass.h"

_Static_assert(LSC_PASS_ID == LSC_PASS_NONCE, "one's memory becomes the other's");

int lsc_link_ask_proof(struct lsc_link *link, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r;

	link->nonce = malloc(LSC_PASS_NONCE);
	if (!link->nonce)
		return lsc_err_set(err, ENOMEM, "cannot ask for a proof: %m");
	r = lsc_pass_draw(link->nonce, LSC_PASS_NONCE, err);
	if (r < 0)
		return r;
	r = lsc_prove_pack(&pack, link->nonce);
	if (r == 0)
		r = lsc_link_queue_early(link, &pack);
	return r < 0 ? lsc_err_set(err, -r, "cannot ask for a proof: %m") : 0;
}

static int answer(struct lsc_link *link, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	uint8_t nonce[LSC_PASS_NONCE];
	int r;

	if (!lsc_record_is(&link->rx.record, "prove"))
		return lsc_err_set(err, EKEYREJECTED, "takes cleartext data without a proof");
	r = lsc_prove_parse(&link->rx.record, nonce, err);
	if (r < 0)
		return lsc_err_set(err, EPROTO, "%s", err->text);
	r = lsc_pass_pack(&pack, link->proof, nonce);
	if (r == 0)
		r = lsc_link_queue_early(link, &pack);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot prove who we are: %m");
	link->held = false;
	link->proof = NULL;
	if (!link->write_wanted)
		lsc_timer_arm(link->flush, 0);
	return 0;
}

static int check(struct lsc_link *link, struct lsc_err *err)
{
	uint8_t id[LSC_PASS_ID], mac[LSC_PASS_MAC];
	const struct lsc_pass *proof;
	int r;

	if (!lsc_record_is(&link->rx.record, "proof"))
		return lsc_err_set(err, EKEYREJECTED, "does not speak TLS, and proves nothing");
	r = lsc_pass_parse(&link->rx.record, id, mac, err);
	if (r < 0)
		return lsc_err_set(err, EPROTO, "%s", err->text);
	proof = link->find_proof(link->find_data, id);
	if (!proof || !lsc_pass_is_good(proof, link->nonce, mac))
		return lsc_err_set(err, EKEYREJECTED, "%s",
				   proof ? "has a wrong proof for its cast"
					 : "has a proof for no cast that is under way here");
	link->proved = link->nonce; /* its memory, for the id */
	link->nonce = NULL;
	memcpy(link->proved, id, LSC_PASS_ID);
	return 0;
}

int lsc_link_take_proof(struct lsc_link *link, struct lsc_err *err)
{
	if (lsc_record_get(&link->rx.record, "body"))
		return lsc_err_set(err, EPROTO, "has a body where a proof is due");
	return link->held ? answer(link, err) : check(link, err);
}
