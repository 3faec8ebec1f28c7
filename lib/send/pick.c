/* pick - the image that nodes agree on, and the roles that follow from what they have of it */
#include "send/pick.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "cast/missing.h"
#include "stream/json.h"

#define NAMED 3 /* nodes of one image, when people are told of several */

static bool has_any(const struct lsc_pick_node *node)
{
	return node->has->state == LSC_CENSUS_HELD;
}

static bool has_all(const struct lsc_pick_node *node)
{
	return has_any(node) && node->has->held.complete;
}

/* Whether it has a part of the image that was picked, and it is not nothing. */
static bool has_part(const struct lsc_pick *pick, const struct lsc_pick_node *node)
{
	return has_any(node) && !node->has->held.complete && node->has->held.n_here &&
	       lsc_hash_equal(&node->has->held.id, &pick->id);
}

/* --- which image --- */

/* Nobody has any: why, in words. */
static int nobody(const struct lsc_pick *pick, struct lsc_err *err)
{
	const struct lsc_census_node *first = NULL;
	uint32_t n[LSC_CENSUS_UNKNOWN + 1] = {0};
	char old[64] = "", unknown[64] = "";

	for (uint32_t i = 0; i < pick->n_nodes; i++) {
		const struct lsc_census_node *has = pick->nodes[i].has;

		n[has->state]++;
		if (has->state == LSC_CENSUS_UNKNOWN && !first)
			first = has;
	}
	if (n[LSC_CENSUS_UNKNOWN] == pick->n_nodes)
		return lsc_err_set(err, first->why.code, "%s: %s", pick->nodes[0].name,
				   first->why.text);
	if (n[LSC_CENSUS_OLD])
		snprintf(old, sizeof(old), "; %u speak%s a version that cannot say",
			 n[LSC_CENSUS_OLD], n[LSC_CENSUS_OLD] == 1 ? "s" : "");
	if (n[LSC_CENSUS_UNKNOWN])
		snprintf(unknown, sizeof(unknown), "; %u did not answer", n[LSC_CENSUS_UNKNOWN]);
	return lsc_err_set(err, ENOENT, "'%s' is neither here nor at any of %u node%s%s%s",
			   pick->name, pick->n_nodes, pick->n_nodes == 1 ? "" : "s", old, unknown);
}

/* Adds "0123abcd at a, b and 2 more". */
static void name_holders(const struct lsc_pick *pick, const struct lsc_hash *id, bool whole,
			 struct lsc_buf *words)
{
	char text[LSC_HASH_TEXT];
	uint32_t n = 0;

	lsc_buf_printf(words, "%s%.16s at", words->len ? ", " : "", lsc_hash_text(id, text));
	if (pick->here && lsc_hash_equal(pick->here, id) && (pick->whole || !whole))
		lsc_buf_printf(words, "%s here", n++ ? "," : "");
	for (uint32_t i = 0; i < pick->n_nodes; i++) {
		const struct lsc_pick_node *node = &pick->nodes[i];

		if (!has_any(node) || (whole && !has_all(node)) ||
		    !lsc_hash_equal(&node->has->held.id, id))
			continue;
		if (n < NAMED)
			lsc_buf_printf(words, "%s %s", n ? "," : "", node->name);
		n++;
	}
	if (n > NAMED)
		lsc_buf_printf(words, " and %u more", n - NAMED);
}

static int differ(const struct lsc_pick *pick, const struct lsc_hash *other, bool whole,
		  struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf words = LSC_BUF_INIT;

	name_holders(pick, &pick->id, whole, &words);
	name_holders(pick, other, whole, &words);
	lsc_buf_add(&words, "", 1);
	return lsc_err_set(err, EEXIST, "nodes have different images of the name '%s': %s",
			   pick->name, words.data ? (const char *)words.data : "");
}

/* Takes the one that all of those have who have all of one, or where none has, who have a part: 1,
 * 0 where there is none of them. */
static int agree(struct lsc_pick *pick, bool whole, struct lsc_err *err)
{
	bool found = pick->here != NULL;

	if (found)
		pick->id = *pick->here;
	for (uint32_t i = 0; i < pick->n_nodes; i++) {
		const struct lsc_pick_node *node = &pick->nodes[i];
		const struct lsc_held *held = &node->has->held;

		if (whole ? !has_all(node) : !has_any(node))
			continue;
		if (found && !lsc_hash_equal(&held->id, &pick->id))
			return differ(pick, &held->id, whole, err);
		if (!found) {
			pick->id = held->id;
			pick->keeper = i;
		}
		found = true;
	}
	return found;
}

int lsc_pick_image(struct lsc_pick *pick, struct lsc_err *err)
{
	int r = agree(pick, true, err);

	if (r == 0)
		r = agree(pick, false, err);
	if (r == 0)
		r = nobody(pick, err);
	return r < 0 ? r : 0;
}

/* --- who does what --- */

static int check_union(const struct lsc_pick *pick, const struct lsc_image *image,
		       const struct lsc_segment *segment, struct lsc_err *err)
{
	LSC_CLEANUP_FREE uint64_t *held = lsc_bits_new(image->n_pieces);
	int r;

	if (!held)
		return lsc_err_set(err, ENOMEM, "cannot plan a cast: %m");
	for (uint32_t p = 0; segment && p < image->n_pieces; p++)
		if (lsc_segment_has(segment, p, 1))
			lsc_bits_add(held, p);
	for (uint32_t i = 0; i < pick->n_nodes; i++) {
		const struct lsc_pick_node *node = &pick->nodes[i];

		if (!has_part(pick, node) || node->role == LSC_PICK_REST)
			continue;
		for (uint32_t w = 0; w < lsc_bits_words(image->n_pieces); w++)
			held[w] |= node->has->held.bits[w];
	}
	r = lsc_missing_check(image, held, err);
	return r < 0 ? lsc_err_prefix(err, "'%s': ", pick->name) : 0;
}

/* What it said of the image holds for the one that its manifest describes. */
static int check_held(const struct lsc_pick_node *node, const struct lsc_image *image,
		      struct lsc_err *err)
{
	const struct lsc_held *held = &node->has->held;

	if (held->n_pieces == image->n_pieces && held->bytes == image->bytes)
		return 0;
	return lsc_err_set(err, EPROTO, "%s: says that the image has %u pieces, which has %u",
			   node->name, held->n_pieces, image->n_pieces);
}

int lsc_pick_roles(struct lsc_pick *pick, const struct lsc_image *image,
		   const struct lsc_segment *segment, struct lsc_err *err)
{
	uint32_t n_lack = 0, n_whole = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < pick->n_nodes; i++) {
		struct lsc_pick_node *node = &pick->nodes[i];

		node->other = has_any(node) && !lsc_hash_equal(&node->has->held.id, &pick->id);
		if (has_any(node) && !node->other)
			r = check_held(node, image, err);
		n_lack += node->wanted && !has_all(node);
		n_whole += has_all(node);
	}
	for (uint32_t i = 0; i < pick->n_nodes; i++) {
		struct lsc_pick_node *node = &pick->nodes[i];

		node->role = LSC_PICK_REST;
		if (has_all(node) && n_lack)
			node->role = LSC_PICK_SOURCE;
		else if (node->wanted)
			node->role = LSC_PICK_RECEIVER;
		else if (has_part(pick, node) && !pick->whole && !n_whole && !pick->fixed &&
			 !image->tree)
			node->role = LSC_PICK_PART;
	}
	if (r == 0 && pick->fixed && !pick->here && !n_whole)
		r = lsc_err_set(err, EINVAL,
				"no node has all of '%s', and a fixed order begins at one that has",
				pick->name);
	if (r == 0 && !pick->whole && !n_whole)
		r = check_union(pick, image, segment, err);
	return r;
}

uint32_t lsc_pick_list(const struct lsc_pick *pick, enum lsc_pick_role role, uint32_t *at)
{
	uint32_t n = 0;

	for (int tier = 0; tier < LSC_HELD_TIERS; tier++)
		for (uint32_t i = 0; i < pick->n_nodes; i++)
			if (pick->nodes[i].role == role &&
			    (role == LSC_PICK_RECEIVER
				     ? tier == 0
				     : (int)pick->nodes[i].has->held.tier == tier))
				at[n++] = i;
	return n;
}
