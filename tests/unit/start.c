/* where replicas start: each way's seconds, and who is left out for what */
#include <math.h>

#include "base/macros.h"
#include "plan/start.h"
#include "tap.h"

#define MAX_NODES 8
#define G         1e9

static struct lsc_start start;
static struct lsc_start_node nodes[MAX_NODES];
static struct lsc_start_choice choices[MAX_NODES];

/* An image of 8 GB, nodes with a disk of 2 GB/s, a link of 4 and a GPU of 16, and much room. */
static void begin(uint32_t n, uint32_t replicas, enum lsc_tier target)
{
	start = (struct lsc_start){.target = target,
				   .bytes = (uint64_t)(8 * G),
				   .piece_bytes = (uint64_t)(0.04 * G),
				   .replicas = replicas,
				   .nodes = nodes,
				   .n_nodes = n};
	for (uint32_t i = 0; i < n; i++) {
		nodes[i] = (struct lsc_start_node){
			.name = "n", .disk = 2 * G, .link = 4 * G, .gpu = 16 * G};
		for (int tier = 0; tier < LSC_TIERS; tier++)
			nodes[i].free[tier] = nodes[i].room[tier] = (uint64_t)(100 * G);
	}
}

/* "serves:0 receives:2.01 -" for the nodes, with "-" for who is not chosen and * for sources. */
static const char *chosen(void)
{
	static char text[512];
	size_t len = 0;
	int found = lsc_start_choose(&start, choices);

	text[0] = '\0';
	for (uint32_t i = 0; i < start.n_nodes; i++) {
		const struct lsc_start_choice *choice = &choices[i];

		found -= choice->chosen;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s%s", i ? " " : "",
					choice->source ? "*" : "",
					choice->chosen ? lsc_start_how_name(choice->how) : "-");
		if (choice->chosen && choice->ready_s > 0)
			len += (size_t)snprintf(text + len, sizeof(text) - len, ":%.4g",
						choice->ready_s);
	}
	return found ? "another number" : text;
}

static void test_tiers(void)
{
	begin(5, 5, LSC_TIER_GPU);
	nodes[0].have[LSC_TIER_DISK] = 1;
	nodes[2].have[LSC_TIER_HOST] = 1;
	nodes[3].have[LSC_TIER_GPU] = 1;
	is_str(chosen(), "both:1.353 receives:2.02 *copies:0.5 *serves receives:2.02",
	       "hot serves, warm copies and sends, cold is read and received, others receive");
	is_int(choices[3].place, 0, "hot is first");
	is_int(choices[2].place, 1, "then warm");
	is_int(choices[0].place, 2, "then what has two ways");
	start.replicas = 2;
	is_str(chosen(), "- - *copies:0.5 *serves -", "two are enough");
	start.target = LSC_TIER_HOST;
	is_str(chosen(), "- - *serves *serves -", "also where host memory is enough");
	nodes[2].have[LSC_TIER_HOST] = nodes[3].have[LSC_TIER_GPU] = 0;
	is_str(chosen(), "*reads:4 receives:4.04 - - -", "others get what a disk gives");
	nodes[1].have[LSC_TIER_DISK] = 1;
	is_str(chosen(), "*- *- receives:2.01 receives:2.01 -",
	       "two disks together are as fast as a link");
	start.replicas = 3;
	nodes[0].disk = nodes[1].disk = 3 * G;
	is_str(chosen(), "*both:1.36 *both:1.36 receives:2.02 - -",
	       "and read each other's part, too");
	nodes[0].disk = nodes[1].disk = 2 * G;
	nodes[0].link = 0;
	is_str(chosen(), "reads:4 *reads:4 receives:4.06 - -", "unless a link is not to be used");
	nodes[1].disk = 0;
	is_str(chosen(), "reads:4 - - - -", "or a disk");
}

/* Eight blocks: the halves of two nodes are all, and each lacks the other. */
static void test_parts(void)
{
	static const uint8_t low = 0x0f, high = 0xf0;

	begin(4, 4, LSC_TIER_HOST);
	start.n_blocks = 8;
	nodes[0].have[LSC_TIER_DISK] = nodes[1].have[LSC_TIER_HOST] = 0.5;
	nodes[0].blocks = nodes[1].blocks = &low;
	is_str(chosen(), "- - - -", "the same half twice is not enough");
	nodes[1].blocks = &high;
	is_str(chosen(), "*both:1.353 *receives:2.04 receives:2.02 receives:2.02",
	       "two halves are everything");
	nodes[2].have[LSC_TIER_HOST] = 1;
	is_str(chosen(), "both:1.363 receives:1.03 *serves receives:2.03",
	       "who has half needs the other half");
}

static void test_out(void)
{
	begin(6, 6, LSC_TIER_GPU);
	nodes[0].have[LSC_TIER_HOST] = 1;
	nodes[1].room[LSC_TIER_GPU] = nodes[1].free[LSC_TIER_GPU] = (uint64_t)(7 * G);
	nodes[2].gpu = 0;
	nodes[3].out = "it is drained";
	nodes[4].free[LSC_TIER_GPU] = (uint64_t)(3 * G);
	nodes[5].room[LSC_TIER_HOST] = nodes[5].room[LSC_TIER_DISK] = 0;
	is_str(chosen(), "*copies:0.5 - - - receives:2.05 -", "the others are left out");
	is_int(choices[1].lacks, LSC_TIER_GPU, "one for its small GPU");
	is_str(choices[1].why, "too little room", "which is said");
	is_str(choices[2].why, "it has no GPU", "one for having none");
	is_str(choices[3].why, "it is drained", "one for reasons of its own");
	is_str(choices[5].why, "it has nothing to load it from", "one for room to receive it");
	ok(choices[4].frees == (uint64_t)(5 * G), "and one has to make room first");
	nodes[0].have[LSC_TIER_HOST] = 0;
	is_str(chosen(), "- - - - - -", "of what nobody has nothing starts");
	nodes[3].have[LSC_TIER_HOST] = 1;
	is_str(chosen(), "receives:2.06 - - *- receives:2.06 -",
	       "a node that is left out may still send");
}

static void test_ties(void)
{
	begin(4, 2, LSC_TIER_HOST);
	for (uint32_t i = 0; i < 4; i++)
		nodes[i].have[LSC_TIER_HOST] = 1;
	is_str(chosen(), "*serves *serves *- *-", "of equals the first");
	nodes[0].load = 3;
	nodes[1].load = 2;
	is_str(chosen(), "*- *- *serves *serves", "and sooner those with less to do");
	begin(3, 2, LSC_TIER_HOST);
	for (uint32_t i = 0; i < 3; i++)
		nodes[i].have[LSC_TIER_DISK] = 1;
	nodes[0].free[LSC_TIER_HOST] = 0;
	is_str(chosen(), "*- *both:1.343 *both:1.343", "and those that need not make room");
	begin(0, 2, LSC_TIER_HOST);
	is_str(chosen(), "", "no nodes");
}

static uint32_t dice(uint32_t below)
{
	static uint64_t state = 0x9e3779b97f4a7c15ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

static bool is_sound(double *ret_last, double *ret_first)
{
	*ret_last = 0;
	*ret_first = INFINITY;
	for (uint32_t i = 0; i < start.n_nodes; i++) {
		const struct lsc_start_choice *choice = &choices[i];
		bool out = choice->how == LSC_START_CANNOT;

		if (choice->chosen)
			*ret_last = fmax(*ret_last, choice->ready_s);
		else
			*ret_first = fmin(*ret_first, choice->ready_s);
		if (isinf(choice->ready_s) != out || out != (choice->why != NULL) ||
		    isnan(choice->ready_s) || choice->ready_s < 0)
			return false;
	}
	return true;
}

/* Whatever there is: nobody left out would be sooner, and of more wanted no fewer are found. */
static bool holds_for_any(void)
{
	int before = 0;

	begin(1 + dice(MAX_NODES), 0, dice(2));
	for (uint32_t i = 0; i < start.n_nodes; i++) {
		nodes[i].disk = dice(3) * G;
		nodes[i].link = dice(3) * G;
		nodes[i].gpu = dice(3) * G;
		nodes[i].have[dice(LSC_TIERS)] = dice(5) / 4.0;
		nodes[i].room[dice(LSC_TIERS)] = dice(12) * (uint64_t)G;
		nodes[i].out = dice(6) ? NULL : "out";
	}
	for (start.replicas = 0; start.replicas <= start.n_nodes; start.replicas++) {
		int found = lsc_start_choose(&start, choices);
		double last, first;

		if (!is_sound(&last, &first) || last > first || found < before ||
		    found > (int)start.replicas)
			return false;
		before = found;
	}
	return true;
}

int main(void)
{
	bool good = true;

	test_tiers();
	test_parts();
	test_out();
	test_ties();
	for (int i = 0; i < 20000 && good; i++)
		good = holds_for_any();
	ok(good, "those that are ready first are chosen, whatever there is");
	return done_testing();
}
