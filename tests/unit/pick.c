/* pick: which image it is, and who sends it, by what nodes say that they have */
#include "tap.h"

#include <limits.h>

#include "base/bits.h"
#include "base/io.h"
#include "base/macros.h"
#include "send/pick.h"
#include "small_model.h"

#define NODES 6

static const struct lsc_model_config small = SMALL_MODEL(6, 300);
static struct lsc_image image = LSC_IMAGE_INIT;
static struct lsc_err err;
static struct lsc_census_node has[NODES];
static struct lsc_pick_node nodes[NODES];
static struct lsc_pick pick;
static const struct lsc_hash another = {{1, 2, 3}};

/* A letter a node: W has all, w all of another image, p the blocks below half, q those from there
 * on, o a part of another, e the empty part of one that begins to arrive, - nothing, x does not
 * answer, 2 is of version 2.0.  Those before the bar are to have it. */
static void set_up(const char *text)
{
	static const char *const names[NODES] = {"a:1", "b:1", "c:1", "d:1", "e:1", "f:1"};
	bool wanted = true;

	for (uint32_t i = 0; i < pick.n_nodes; i++)
		lsc_held_release(&has[i].held);
	pick = (struct lsc_pick){.name = "img", .nodes = nodes};
	for (; *text; text++) {
		uint32_t n = pick.n_nodes, first = image.n_blocks / 2 * (*text == 'q');
		uint32_t last = *text == 'q' ? image.n_blocks : image.n_blocks / 2;
		struct lsc_held *held = &has[n].held;

		if (*text == '|') {
			wanted = false;
			continue;
		}
		has[n] = (struct lsc_census_node){.held = LSC_HELD_INIT};
		nodes[n] =
			(struct lsc_pick_node){.name = names[n], .has = &has[n], .wanted = wanted};
		pick.n_nodes++;
		if (strchr("-x2", *text)) {
			has[n].state = *text == '-'   ? LSC_CENSUS_ABSENT
				       : *text == 'x' ? LSC_CENSUS_UNKNOWN
						      : LSC_CENSUS_OLD;
			lsc_err_set(&has[n].why, *text == '-' ? 0 : ECONNREFUSED, "%c", *text);
			continue;
		}
		held->id = strchr("wo", *text) ? another : image.id;
		held->bytes = image.bytes;
		held->n_pieces = image.n_pieces;
		held->complete = strchr("Ww", *text);
		held->n_here = held->complete ? image.n_pieces : 0;
		if (held->complete)
			continue;
		held->bits = lsc_bits_new(image.n_pieces);
		for (uint32_t b = first; *text != 'e' && b < last; b++)
			for (uint32_t k = 0; k < image.blocks[b].n_pieces; k++, held->n_here++)
				lsc_bits_add(held->bits, image.blocks[b].first_piece + k);
	}
}

/* Roles as letters: S, P, R, and - for none. */
static int choose(char roles[NODES + 1])
{
	int r = lsc_pick_image(&pick, &err);

	if (r == 0)
		r = lsc_pick_roles(&pick, &image, NULL, &err);
	for (uint32_t i = 0; i < pick.n_nodes; i++)
		roles[i] = "-SPR"[nodes[i].role];
	roles[pick.n_nodes] = 0;
	return r;
}

static void test_roles(void)
{
	static const struct {
		const char *text, *roles, *what;
		int result;
	} cases[] = {
		{"W--", "SRR", "who has it sends it to the others", 0},
		{"-|W-p", "RS--", "who need not get it and has not all of it takes no part", 0},
		{"WW", "RR", "nobody lacks it: all are complete receivers", 0},
		{"WW|W", "RR-", "and others are not needed", 0},
		{"p-|q", "RRP", "parts that are all of it", 0},
		{"--|pq", "RRPP", "at others alone", 0},
		{"pq", "RR", "at receivers alone", 0},
		{"x2-|W", "RRRS", "who does not say what he has is offered it", 0},
		{"p|x", NULL, "half of it", -ENODATA},
		{"pp|pe", NULL, "the same half at many", -ENODATA},
		{"e-", NULL, "nothing but a beginning", -ENODATA},
		{"Wo|o", NULL, "parts of others do no harm", 0},
		{"W|w", NULL, "two images", -EEXIST},
		{"p|o", NULL, "parts of two images", -EEXIST},
		{"--|-", NULL, "nobody has it", -ENOENT},
		{"xx", NULL, "nobody answers", -ECONNREFUSED},
		{"x-", NULL, "nobody who answers has it", -ENOENT},
	};
	char roles[NODES + 1];

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		int r;

		set_up(cases[i].text);
		err.text[0] = 0;
		r = choose(roles);
		is_int(r, cases[i].result, "%s: %s", cases[i].what, err.text);
		if (cases[i].roles)
			is_str(roles, cases[i].roles, "%s: roles", cases[i].what);
	}
}

static void test_here(void)
{
	char roles[NODES + 1];

	set_up("p-|q");
	pick.here = &image.id;
	pick.whole = true;
	ok(choose(roles) == 0 && !strcmp(roles, "RR-"), "all of it is here: %s", roles);
	set_up("-|w");
	pick.here = &image.id;
	pick.whole = true;
	ok(choose(roles) == -EEXIST && strstr(err.text, "at here, ") &&
		   strstr(err.text, "at e:1") == NULL,
	   "another is elsewhere: %s", err.text);
	set_up("--|W");
	pick.fixed = true;
	ok(choose(roles) == 0 && !strcmp(roles, "RRS"), "a fixed order from one that has it");
	set_up("p-|q");
	pick.fixed = true;
	is_int(choose(roles), -EINVAL, "and from parts: %s", err.text);
	set_up("-|W");
	has[1].held.n_pieces++;
	is_int(choose(roles), -EPROTO, "who counts otherwise than its manifest: %s", err.text);
}

static void test_words(void)
{
	set_up("Wwww|wW");
	is_int(lsc_pick_image(&pick, &err), -EEXIST, "two images at six nodes");
	ok(strstr(err.text, " at a:1, f:1, 0102030000000000 at b:1, c:1, d:1 and 1 more"), "%s",
	   err.text);
	set_up("x-2|2");
	is_int(lsc_pick_image(&pick, &err), -ENOENT, "nobody has it, that is known");
	is_str(err.text,
	       "'img' is neither here nor at any of 4 nodes; 2 speak a version that cannot say; "
	       "1 did not answer",
	       "and why");
	set_up("p-|-");
	lsc_pick_image(&pick, &err);
	is_int(lsc_pick_roles(&pick, &image, NULL, &err), -ENODATA, "half of it");
	ok(strstr(err.text, "'img': ") == err.text && strstr(err.text, "in blocks "), "%s",
	   err.text);
}

static void test_tiers(void)
{
	uint32_t at[NODES], n;
	char roles[NODES + 1];

	set_up("W-W-|WW");
	has[0].held.tier = LSC_HELD_DISK;
	has[2].held.tier = LSC_HELD_HOST;
	has[4].held.tier = LSC_HELD_GPU;
	has[5].held.tier = LSC_HELD_HOST;
	choose(roles);
	n = lsc_pick_list(&pick, LSC_PICK_SOURCE, at);
	ok(n == 4 && at[0] == 4 && at[1] == 2 && at[2] == 5 && at[3] == 0,
	   "sources: those in memory come first");
	n = lsc_pick_list(&pick, LSC_PICK_RECEIVER, at);
	ok(n == 2 && at[0] == 1 && at[1] == 3, "receivers: as they were given");
}

static void test_tell(void)
{
	struct lsc_buf text = LSC_BUF_INIT;
	char roles[NODES + 1], want[200];

	set_up("p-|Wx");
	has[2].held.tier = LSC_HELD_HOST;
	choose(roles);
	for (uint32_t i = 0; i < pick.n_nodes; i++)
		lsc_pick_tell(&pick, i, &image, 4, false, &text);
	lsc_buf_add(&text, "", 1);
	snprintf(want, sizeof(want),
		 "  a:1   receiver  %u of %u pieces, %u of %u blocks: disk\n"
		 "  b:1   receiver  absent: -\n"
		 "  c:1   source    all of it: host\n"
		 "  d:1   -         unknown: x\n",
		 has[0].held.n_here, image.n_pieces, image.n_blocks / 2, image.n_blocks);
	is_str((const char *)text.data, want, "for people");
	lsc_buf_release(&text);
	set_up("o|W");
	choose(roles);
	lsc_pick_tell(&pick, 0, &image, 4, true, &text);
	lsc_buf_add(&text, "", 1);
	ok(strstr((const char *)text.data, "\"state\":\"other\"") &&
		   !strstr((const char *)text.data, "blocks"),
	   "of another image there are no blocks to tell");
	lsc_buf_release(&text);
}

int main(void)
{
	struct lsc_image_options options = {
		.dtype = LSC_DTYPE_BF16, .blocks = 8, .piece_bytes = 4096};
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/image", scratch());
	if (lsc_image_pack_dummy(&small, path, &options, &err) < 0 ||
	    lsc_image_open(&image, path, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	test_roles();
	test_here();
	test_words();
	test_tiers();
	test_tell();
	set_up("");
	lsc_image_close(&image);
	lsc_dir_remove(path, NULL);
	return done_testing();
}
