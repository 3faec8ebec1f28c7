/* cast: whole casts over memory links, N nodes in one process and one loop */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "cast/cast.h"
#include "cast/host.h"
#include "mem/segment.h"
#include "stream/record.h"
#include "small_model.h"

#define MAX_HOSTS 64

static const struct lsc_model_config small = SMALL_MODEL(6, 300);

static struct lsc_loop *loop;
static struct lsc_image image = LSC_IMAGE_INIT;
static char image_dir[PATH_MAX];
static unsigned run_number; /* each has folders of its own */

/* One cast: hosts 0 .. n_sources-1 have the image. */
struct run {
	unsigned number;
	uint32_t n_hosts, n_sources;
	struct lsc_host *hosts[MAX_HOSTS];
	char *roots[MAX_HOSTS]; /* of the hosts */
	char dirs[MAX_HOSTS][64], addresses[MAX_HOSTS][32];
	char *names[MAX_HOSTS];
	struct lsc_cast_options options;
	bool done;
	int result;
	struct lsc_err err;
	char records[PATH_MAX]; /* a file */
	/* from the records */
	uint32_t nodes, blocks, completes, ends, failures, progresses;
	double last_complete;
	uint64_t received; /* by the one that got most */
	bool ordered;
	char failed_why[LSC_ERR_TEXT];
	uint64_t failed_node;
};

static void path_of(char path[PATH_MAX], const struct run *run, uint32_t host, const char *file)
{
	snprintf(path, PATH_MAX, "%s/%s/%s", scratch(), run->dirs[host], file);
}

static void on_done(void *data, int result, const struct lsc_err *err)
{
	struct run *run = data;

	run->done = true;
	run->result = result;
	run->err = *err;
}

static void open_host(struct run *run, uint32_t i)
{
	static char dir[PATH_MAX];
	struct lsc_host_options options = {.dir = dir, .exec = i == 1 ? "10.1.1.1:9000" : NULL};
	struct lsc_err err = LSC_ERR_INIT;

	path_of(dir, run, i, "");
	mkdir(dir, 0777);
	free(run->roots[i]); /* of a host that was closed */
	options.dir = run->roots[i] = strdup(dir);
	snprintf(run->addresses[i], sizeof(run->addresses[i]), "memory:%u-%u", run->number, i);
	run->names[i] = run->addresses[i];
	if (lsc_endpoint_parse(&options.listen, run->addresses[i], &err) < 0 ||
	    lsc_host_open(&run->hosts[i], loop, &options, &err) < 0)
		printf("# host %u: %s\n", i, err.text);
}

/* Orders beside the fixed ones. */
enum {
	THROUGHPUT = LSC_ORDER_COUNT,
	KWAY,
	ORDERS,
};

static const char *order_name(int order)
{
	return order == THROUGHPUT ? "throughput"
	       : order == KWAY     ? "a ring's kway"
				   : lsc_order_name(order);
}

static void set_up(struct run *run, uint32_t n_hosts, uint32_t n_sources, int order)
{
	char path[PATH_MAX];

	*run = (struct run){.number = run_number++, .n_hosts = n_hosts, .n_sources = n_sources};
	for (uint32_t i = 0; i < n_hosts; i++) {
		snprintf(run->dirs[i], sizeof(run->dirs[i]), "r%u.h%u", run->number, i);
		open_host(run, i);
		path_of(path, run, i, "image.lsc");
		if (i < n_sources && symlink(image_dir, path) < 0)
			abort();
	}
	run->options = (struct lsc_cast_options){
		.image = &image,
		.name = "image.lsc",
		.sources = run->names,
		.n_sources = n_sources,
		.to = run->names + n_sources,
		.n_to = n_hosts - n_sources,
		.scheduled = order < LSC_ORDER_COUNT,
		.order = order < LSC_ORDER_COUNT ? (enum lsc_order)order : LSC_ORDER_CHAIN,
		.rotate = order == KWAY,
		.timeout_ns = 2000000000u,
		.report_fd = -1,
		.on_done = on_done,
		.data = run,
	};
}

static void tear_down(struct run *run)
{
	for (uint32_t i = 0; i < run->n_hosts; i++) {
		char path[PATH_MAX];

		lsc_host_close(run->hosts[i]);
		free(run->roots[i]);
		path_of(path, run, i, "image.lsc");
		if (i < run->n_sources)
			unlink(path);
		lsc_dir_remove(path, NULL);
		path_of(path, run, i, "image.lsc.part");
		lsc_dir_remove(path, NULL);
		path_of(path, run, i, "");
		lsc_dir_remove(path, NULL);
	}
}

static void count_record(struct run *run, const struct lsc_record *record, double *last)
{
	double t = *last;

	if (lsc_record_is(record, "hello"))
		return;
	run->ordered = run->ordered && lsc_record_real(record, "t", &t, NULL) == 0 && t >= *last;
	*last = t;
	if (lsc_record_is(record, "stats")) {
		uint64_t received = 0;

		lsc_record_uint(record, "received", UINT64_MAX, &received, NULL);
		run->received = LSC_MAX(run->received, received);
	}
	run->nodes += lsc_record_is(record, "node");
	run->blocks += lsc_record_is(record, "block");
	if (lsc_record_is(record, "complete")) {
		run->completes++;
		run->last_complete = t;
	}
	run->ends += lsc_record_is(record, "end");
	run->progresses += lsc_record_is(record, "progress");
	if (!lsc_record_is(record, "failed"))
		return;
	run->failures++;
	lsc_record_uint(record, "node", UINT32_MAX, &run->failed_node, NULL);
	lsc_record_text(record, "why", run->failed_why, sizeof(run->failed_why), NULL);
}

static void read_records(struct run *run)
{
	LSC_CLEANUP_FD int fd = open(run->records, O_RDONLY);
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_reader reader;
	double last = 0;

	run->nodes = run->blocks = run->completes = run->ends = run->failures = 0;
	run->progresses = 0;
	run->ordered = true;
	lsc_reader_init(&reader, fd);
	if (lsc_reader_next(&reader, &err) != 1 ||
	    lsc_record_hello(&reader.record, "arrivals", &err) < 0)
		run->ordered = false;
	while (lsc_reader_next(&reader, &err) == 1)
		count_record(run, &reader.record, &last);
	lsc_reader_release(&reader);
}

/* Casts, calling on_turn (which may be NULL) at each turn of the loop. */
static void cast(struct run *run, void (*on_turn)(struct run *run))
{
	uint64_t until = lsc_clock_ns() + 20000000000u;
	struct lsc_cast *c = NULL;

	snprintf(run->records, sizeof(run->records), "%s/records", scratch());
	run->options.report_fd = open(run->records, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	run->done = false;
	run->result = lsc_cast_start(&c, loop, &run->options, &run->err);
	while (c && !run->done && lsc_clock_ns() < until) {
		lsc_loop_turn(loop, 50, NULL);
		if (on_turn)
			on_turn(run);
	}
	lsc_cast_free(c);
	close(run->options.report_fd);
	read_records(run);
	if (run->result < 0)
		printf("# %s\n", run->err.text);
}

/* Whether the host has exactly the image. */
static bool has_image(const struct run *run, uint32_t host)
{
	struct lsc_image theirs = LSC_IMAGE_INIT;
	char path[PATH_MAX];
	bool same;

	path_of(path, run, host, "image.lsc");
	if (lsc_image_open(&theirs, path, NULL) < 0)
		return false;
	same = theirs.bytes == image.bytes && !memcmp(theirs.data, image.data, image.bytes) &&
	       lsc_hash_equal(&theirs.id, &image.id);
	lsc_image_close(&theirs);
	return same;
}

static bool all_have_it(const struct run *run)
{
	bool all = true;

	for (uint32_t i = 0; i < run->n_hosts; i++)
		all = all && has_image(run, i);
	return all;
}

static void test_orders(void)
{
	static const struct {
		uint32_t hosts, sources;
	} sizes[] = {{1, 0}, {2, 0}, {3, 0}, {4, 1}, {6, 0}, {7, 2}, {11, 3}};

	for (int order = 0; order < ORDERS; order++)
		for (unsigned i = 0; i < LSC_ARRAY_SIZE(sizes); i++) {
			uint32_t to = sizes[i].hosts - sizes[i].sources;
			struct run run;

			set_up(&run, sizes[i].hosts, sizes[i].sources, order);
			cast(&run, NULL);
			ok(run.result == 0 && all_have_it(&run), "%s to %u from %u: all have it",
			   order_name(order), to, sizes[i].sources + 1);
			ok(run.ordered && run.nodes == run.n_hosts + 1 &&
				   run.blocks == to * image.n_blocks && run.completes == to &&
				   run.ends == 1 && run.failures == 0,
			   "%u nodes, %u blocks, %u complete, %u end", run.nodes, run.blocks,
			   run.completes, run.ends);
			tear_down(&run);
		}
}

static void test_many(void)
{
	struct run run;

	set_up(&run, 31, 0, LSC_ORDER_ROUND_OPTIMAL);
	cast(&run, NULL);
	ok(run.result == 0 && all_have_it(&run), "31 receivers all have it");
	run.options.n_to = 30;
	cast(&run, NULL);
	ok(run.result == 0 && run.completes == 30 && run.blocks == 0 && run.progresses == 0,
	   "casting it again moves nothing");
	tear_down(&run);
}

/* A receiver that has every third piece is sent the others only: what is there stays as it is. */
static void test_resume(void)
{
	struct lsc_segment part = LSC_SEGMENT_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	char path[PATH_MAX];
	struct run run;

	set_up(&run, 4, 0, THROUGHPUT);
	for (uint32_t host = 1; host < 4; host++) {
		path_of(path, &run, host, "");
		if (lsc_segment_create(&part, path, "image.lsc", image.manifest, image.manifest_len,
				       image.bytes, image.n_pieces, &err) < 0)
			printf("# %s\n", err.text);
		for (uint32_t i = 0; i < image.n_pieces; i += 3) {
			uint64_t at = lsc_image_piece_offset(&image, i);

			memcpy(part.data + at, image.data + at, lsc_image_piece_bytes(&image, i));
			lsc_segment_mark(&part, i);
		}
		lsc_segment_close(&part);
	}
	/* Everything, but not renamed: nothing is sent, and it is committed. */
	path_of(path, &run, 0, "");
	lsc_segment_create(&part, path, "image.lsc", image.manifest, image.manifest_len,
			   image.bytes, image.n_pieces, &err);
	memcpy(part.data, image.data, image.bytes);
	for (uint32_t i = 0; i < image.n_pieces; i++)
		lsc_segment_mark(&part, i);
	lsc_segment_close(&part);
	cast(&run, NULL);
	ok(run.result == 0 && all_have_it(&run), "receivers that have some pieces get the others");
	is_int(run.blocks, 4 * image.n_blocks, "and report every block");
	tear_down(&run);
}

static void test_unreachable(void)
{
	struct run run;

	set_up(&run, 3, 0, THROUGHPUT);
	run.names[1] = (char[]){"memory:nobody"};
	cast(&run, NULL);
	ok(run.result == 1 && strstr(run.err.text, "1 of 3") &&
		   strstr(run.failed_why, "memory:nobody"),
	   "an unreachable node is named");
	ok(run.failures == 1 && run.failed_node == 2 && run.ends == 1, "in the records as well");
	ok(has_image(&run, 0) && has_image(&run, 2), "the others have the image");
	run.names[1] = run.addresses[1];
	cast(&run, NULL);
	ok(run.result == 0 && all_have_it(&run), "the next cast brings it to that one");
	tear_down(&run);

	set_up(&run, 1, 0, THROUGHPUT);
	run.names[0] = (char[]){"memory:nobody"};
	cast(&run, NULL);
	ok(run.result == -ECONNREFUSED && run.ends == 0, "nobody has it where none can be reached");
	run.names[0] = run.addresses[0];
	tear_down(&run);
}

/* Bytes that are not those of the manifest, in the folder of a host. */
static void put_damaged(struct run *run, uint32_t host, const uint8_t *data)
{
	char path[PATH_MAX], file[PATH_MAX + 16];
	struct lsc_err err = LSC_ERR_INIT;

	path_of(path, run, host, "image.lsc");
	unlink(path);
	mkdir(path, 0777);
	snprintf(file, sizeof(file), "%s/manifest", path);
	lsc_file_write(file, image.manifest, image.manifest_len, &err);
	snprintf(file, sizeof(file), "%s/image", path);
	lsc_file_write(file, data, image.bytes, &err);
}

/* A source whose bytes are not those of its manifest is found out before anyone uses them. */
static void test_corrupt(void)
{
	uint32_t piece = image.n_pieces / 2;
	struct lsc_image bad = image;
	uint8_t *data = malloc(image.bytes);
	struct run run;

	memcpy(data, image.data, image.bytes);
	data[lsc_image_piece_offset(&image, piece) + 5] ^= 0x10;
	bad.data = data;
	for (int order = LSC_ORDER_ROUND_OPTIMAL; order < ORDERS; order++) {
		set_up(&run, 3, 0, order);
		run.options.image = &bad;
		cast(&run, NULL);
		ok(run.result == -EBADMSG && !strncmp(run.err.text, "local: sent piece ", 18) &&
			   atoi(run.err.text + 18) == (int)piece,
		   "%s: a damaged piece of the coordinator's is caught, and named",
		   order_name(order));
		ok(!has_image(&run, 0) && !has_image(&run, 1) && !has_image(&run, 2),
		   "nobody believes to have the image");
		tear_down(&run);

		set_up(&run, 5, 1, order);
		put_damaged(&run, 0, data);
		run.n_sources = 0; /* it is a folder now */
		cast(&run, NULL);
		ok(run.result == 0 && run.failures == 1 && run.failed_node == 1 &&
			   strstr(run.failed_why, run.addresses[0]) == run.failed_why &&
			   strstr(run.failed_why, "wrong hash"),
		   "another source's too, which is left out: %s", run.failed_why);
		ok(has_image(&run, 1) && has_image(&run, 2) && has_image(&run, 3) &&
			   has_image(&run, 4),
		   "and everyone gets the image elsewhere");
		tear_down(&run);
	}
	free(data);
}

/* Ends a host when a third of the image has come. */
static void end_host(struct run *run)
{
	struct lsc_segment s = LSC_SEGMENT_INIT;
	char path[PATH_MAX];

	path_of(path, run, 2, "");
	if (!run->hosts[2] || lsc_segment_open(&s, path, "image.lsc", NULL) < 0)
		return;
	if (lsc_segment_count(&s) > image.n_pieces / 3) {
		lsc_host_close(run->hosts[2]);
		run->hosts[2] = NULL;
	}
	lsc_segment_close(&s);
}

static void end_source(struct run *run)
{
	struct lsc_segment s = LSC_SEGMENT_INIT;
	char path[PATH_MAX];

	path_of(path, run, 2, "");
	if (!run->hosts[0] || lsc_segment_open(&s, path, "image.lsc", NULL) < 0)
		return;
	if (lsc_segment_count(&s) > image.n_pieces / 3) {
		lsc_host_close(run->hosts[0]);
		run->hosts[0] = NULL;
	}
	lsc_segment_close(&s);
}

/* A third of the image takes 0.1 s, and what is left when somebody is lost goes on at once. */
static void test_lost(void)
{
	struct run run;

	for (int order = LSC_ORDER_ROUND_OPTIMAL; order < ORDERS; order++) {
		set_up(&run, 5, 0, order);
		run.options.rate = (double)image.bytes / 0.3;
		cast(&run, end_host);
		ok(run.result == 1 && run.failures == 1 && run.failed_node == 3 &&
			   strstr(run.failed_why, run.addresses[2]) == run.failed_why,
		   "%s: a node that leaves half-way is named: %s", order_name(order),
		   run.failed_why);
		ok(!has_image(&run, 2) && has_image(&run, 0) && has_image(&run, 1) &&
			   has_image(&run, 3) && has_image(&run, 4),
		   "the others have the image, in %.2f s", run.last_complete);
		open_host(&run, 2);
		run.options.rate = 0;
		cast(&run, NULL);
		ok(run.result == 0 && all_have_it(&run),
		   "when it is back, the next cast completes it");
		tear_down(&run);

		set_up(&run, 6, 1, order);
		run.options.rate = (double)image.bytes / 0.3;
		cast(&run, end_source);
		ok(run.result == 0 && run.failures == 1 && run.failed_node == 1 && run.ends == 1 &&
			   all_have_it(&run),
		   "%s: a source that leaves is done without, in %.2f s", order_name(order),
		   run.last_complete);
		tear_down(&run);
	}
}

/* Two receivers send to each other, and hardly anything twice. */
static void test_twice(void)
{
	struct run run;

	set_up(&run, 2, 0, THROUGHPUT);
	run.options.rate = (double)image.bytes / 0.5;
	cast(&run, NULL);
	ok(run.result == 0 && run.received <= image.bytes + image.bytes / 8,
	   "to two: %llu bytes came to one, of an image of %llu", (unsigned long long)run.received,
	   (unsigned long long)image.bytes);
	tear_down(&run);
}

static void test_refusals(void)
{
	char path[PATH_MAX];
	struct run run;

	set_up(&run, 3, 1, KWAY);
	path_of(path, &run, 0, "image.lsc");
	unlink(path);
	cast(&run, NULL);
	ok(run.result == 0 && run.failures == 1 &&
		   strstr(run.failed_why, run.addresses[0]) == run.failed_why,
	   "a source without the image is left out");
	run.options.name = "../up";
	cast(&run, NULL);
	is_int(run.result, -EINVAL, "a name that leads elsewhere");
	run.options.name = "image.lsc";
	run.names[2] = run.names[1];
	cast(&run, NULL);
	ok(run.result == -EINVAL && strstr(run.err.text, "twice"), "a node given twice");
	tear_down(&run);

	set_up(&run, 2, 0, THROUGHPUT);
	path_of(path, &run, 1, "image.lsc");
	mkdir(path, 0777);
	cast(&run, NULL);
	ok(run.result == 1 && has_image(&run, 0) &&
		   strstr(run.failed_why, run.addresses[1]) == run.failed_why,
	   "a node where something else has the name");
	tear_down(&run);
}

/* Receivers that hold parts of the image, and a coordinator that holds one: together they have all
 * of it, and all get it; where a piece is nowhere, the cast says which. */
static void test_parts(void)
{
	struct lsc_segment parts[3] = {LSC_SEGMENT_INIT, LSC_SEGMENT_INIT, LSC_SEGMENT_INIT};
	struct lsc_image whole = image;
	struct lsc_err err = LSC_ERR_INIT;
	char path[PATH_MAX];
	struct run run;

	set_up(&run, 4, 0, THROUGHPUT);
	for (uint32_t host = 0; host < 3; host++) {
		struct lsc_segment *s = &parts[host];

		path_of(path, &run, host, "");
		lsc_segment_create(s, path, "image.lsc", image.manifest, image.manifest_len,
				   image.bytes, image.n_pieces, &err);
		for (uint32_t i = host; i < image.n_pieces; i += 3) {
			uint64_t at = lsc_image_piece_offset(&image, i);

			if (i == 7)
				continue;
			memcpy(s->data + at, image.data + at, lsc_image_piece_bytes(&image, i));
			lsc_segment_mark(s, i);
		}
	}
	lsc_segment_close(&parts[1]);
	lsc_segment_close(&parts[2]);
	whole.data = parts[0].data;
	run.options.image = &whole;
	run.options.segment = &parts[0];
	run.options.to = run.names + 1;
	run.options.n_to = 3;
	cast(&run, NULL);
	ok(run.result == -ENODATA && strstr(run.err.text, "piece 7 "), "a piece is nowhere: %s",
	   run.err.text);
	memcpy(parts[0].data + lsc_image_piece_offset(&image, 7),
	       image.data + lsc_image_piece_offset(&image, 7), lsc_image_piece_bytes(&image, 7));
	lsc_segment_mark(&parts[0], 7);
	cast(&run, NULL);
	ok(run.result == 0 && has_image(&run, 1) && has_image(&run, 2) && has_image(&run, 3),
	   "from parts, all of it for all");
	lsc_segment_close(&parts[0]);
	tear_down(&run);
}

/* Gives a host the pieces of these blocks, as a cast that ended early leaves them. */
static void give_blocks(struct run *run, uint32_t host, uint32_t first, uint32_t last)
{
	struct lsc_segment s = LSC_SEGMENT_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	char path[PATH_MAX];

	path_of(path, run, host, "");
	if (lsc_segment_create(&s, path, "image.lsc", image.manifest, image.manifest_len,
			       image.bytes, image.n_pieces, &err) < 0)
		abort();
	for (uint32_t i = 0; i < image.n_pieces; i++) {
		uint64_t at = lsc_image_piece_offset(&image, i);
		uint32_t block = lsc_image_piece_block(&image, i);

		if (block < first || block > last)
			continue;
		memcpy(s.data + at, image.data + at, lsc_image_piece_bytes(&image, i));
		lsc_segment_mark(&s, i);
	}
	lsc_segment_close(&s);
}

/* A cast that is started where there is only a manifest. */
static void start_absent(struct run *run, uint32_t n_hosts, uint32_t n_sources, int order,
			 struct lsc_image *tables)
{
	set_up(run, n_hosts, n_sources, order);
	*tables = image;
	tables->data = NULL;
	run->options.image = tables;
	run->options.absent = true;
}

static void test_absent(void)
{
	static const int orders[] = {THROUGHPUT, KWAY, LSC_ORDER_ROUND_OPTIMAL, LSC_ORDER_TREE};
	struct lsc_image tables;
	struct run run;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(orders); i++) {
		for (uint32_t k = 1; k <= 3; k += 2) {
			start_absent(&run, k + 4, k, orders[i], &tables);
			cast(&run, NULL);
			ok(run.result == 0 && all_have_it(&run) && run.completes == 4,
			   "%s from %u others: %s", order_name(orders[i]), k, run.err.text);
			tear_down(&run);
		}
	}
	start_absent(&run, 3, 3, THROUGHPUT, &tables);
	run.options.n_sources = 0;
	run.options.to = run.names;
	run.options.n_to = 3;
	cast(&run, NULL);
	ok(run.result == 0 && run.completes == 3 && !run.received, "to those that have it: %s",
	   run.err.text);
	tear_down(&run);
	start_absent(&run, 2, 0, THROUGHPUT, &tables);
	cast(&run, NULL);
	ok(run.result == -ENODATA && strstr(run.err.text, "blocks 0-"), "nobody has it: %s",
	   run.err.text);
	tear_down(&run);
}

/* Sources of a part each, which receive nothing. */
static void test_part_sources(void)
{
	uint32_t half = image.n_blocks / 2, last = image.n_blocks - 1;
	struct lsc_image tables;
	char path[PATH_MAX];
	struct run run;

	for (uint32_t from = 0; from <= 1; from++) {
		start_absent(&run, 5, 0, KWAY, &tables);
		run.options.sources = run.names;
		run.options.n_sources = run.options.n_parts = 2;
		run.options.to = run.names + 2;
		run.options.n_to = 3;
		give_blocks(&run, 0, from, half);
		give_blocks(&run, 1, half, last);
		cast(&run, NULL);
		if (from) {
			ok(run.result == -ENODATA && strstr(run.err.text, "in block 0"),
			   "a block is at neither of two: %s", run.err.text);
			give_blocks(&run, 3, 0, 0);
			cast(&run, NULL);
		}
		path_of(path, &run, 0, "image.lsc");
		ok(run.result == 0 && has_image(&run, 2) && has_image(&run, 3) &&
			   has_image(&run, 4) && access(path, F_OK) < 0,
		   "from two parts%s: %s", from ? " and a receiver's" : "", run.err.text);
		path_of(path, &run, 0, "image.lsc.part");
		ok(access(path, F_OK) == 0, "which stay parts");
		tear_down(&run);
	}
	start_absent(&run, 4, 2, KWAY, &tables);
	run.options.n_sources = 3;
	run.options.n_parts = 1;
	run.options.to = run.names + 3;
	run.options.n_to = 1;
	cast(&run, NULL);
	ok(run.result == 0 && run.failures == 1 && has_image(&run, 3),
	   "a source that has no part after all is left out");
	tear_down(&run);
}

/* A rate of R bytes/s holds a cast of M bytes to M/R at least, and not to much more. */
static void test_rate(void)
{
	double seconds, least = 0.4;
	struct run run;
	uint64_t start;

	set_up(&run, 3, 0, LSC_ORDER_ROUND_OPTIMAL);
	run.options.rate = (double)image.bytes / least;
	start = lsc_clock_ns();
	cast(&run, NULL);
	seconds = (double)(lsc_clock_ns() - start) / 1e9;
	ok(run.result == 0 && all_have_it(&run), "a cast held to a rate");
	ok(seconds > 0.9 * least && seconds < 3 * least, "takes %.2f s of %.2f", seconds, least);
	tear_down(&run);
}

int main(void)
{
	struct lsc_image_options options = {.dtype = LSC_DTYPE_BF16, .blocks = 4};
	struct lsc_err err = LSC_ERR_INIT;
	char *real;

	options.piece_bytes = 4096;
	snprintf(image_dir, sizeof(image_dir), "%s/image.lsc", scratch());
	if (lsc_image_pack_dummy(&small, image_dir, &options, &err) < 0 ||
	    lsc_image_open(&image, image_dir, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	real = realpath(image_dir, NULL);
	snprintf(image_dir, sizeof(image_dir), "%s", real);
	free(real);
	printf("# %llu bytes, %u pieces, %u blocks\n", (unsigned long long)image.bytes,
	       image.n_pieces, image.n_blocks);
	if (lsc_loop_new(&loop, &err) < 0)
		return 1;
	test_orders();
	test_many();
	test_resume();
	test_unreachable();
	test_corrupt();
	test_lost();
	test_twice();
	test_refusals();
	test_parts();
	test_absent();
	test_part_sources();
	test_rate();
	lsc_loop_free(loop);
	lsc_image_close(&image);
	return done_testing();
}
