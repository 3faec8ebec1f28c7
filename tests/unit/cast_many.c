/* cast_many: a cast to 1,023 nodes, in one process and one loop, by a ring and by a schedule */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "cast/cast.h"
#include "cast/host.h"
#include "small_model.h"

#ifdef __SANITIZE_THREAD__
#define N_HOSTS 127u /* a thread each, for the commit, is too many for it */
#else
#define N_HOSTS 1023u
#endif

static const struct lsc_model_config small = SMALL_MODEL(2, 100);

static struct lsc_loop *loop;
static struct lsc_image image = LSC_IMAGE_INIT;
static struct lsc_host *hosts[N_HOSTS];
static char dirs[N_HOSTS][128], addresses[N_HOSTS][32];
static char *names[N_HOSTS];
static char root[100];
static bool done;
static int result;
static struct lsc_err err;

static void on_done(void *data, int r, const struct lsc_err *e)
{
	(void)data;
	done = true;
	result = r;
	err = *e;
}

static void open_hosts(void)
{
	for (uint32_t i = 0; i < N_HOSTS; i++) {
		struct lsc_host_options options = {.dir = dirs[i]};

		snprintf(dirs[i], sizeof(dirs[i]), "%s/%u", root, i);
		mkdir(dirs[i], 0777);
		snprintf(addresses[i], sizeof(addresses[i]), "memory:many-%u", i);
		names[i] = addresses[i];
		if (lsc_endpoint_parse(&options.listen, addresses[i], &err) < 0 ||
		    lsc_host_open(&hosts[i], loop, &options, &err) < 0) {
			printf("Bail out! host %u: %s\n", i, err.text);
			exit(1);
		}
	}
}

static void close_hosts(void)
{
	for (uint32_t i = 0; i < N_HOSTS; i++)
		lsc_host_close(hosts[i]);
}

/* Those that have exactly the image; they lose it. */
static uint32_t count_and_remove(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < N_HOSTS; i++) {
		struct lsc_image theirs = LSC_IMAGE_INIT;
		char path[160];

		snprintf(path, sizeof(path), "%.127s/image.lsc", dirs[i]);
		if (lsc_image_open(&theirs, path, NULL) == 0) {
			n += theirs.bytes == image.bytes &&
			     !memcmp(theirs.data, image.data, image.bytes);
			lsc_image_close(&theirs);
		}
		lsc_dir_remove(path, NULL);
	}
	return n;
}

static void cast(bool scheduled, const char *what)
{
	struct lsc_cast_options options = {
		.image = &image,
		.name = "image.lsc",
		.to = names,
		.n_to = N_HOSTS,
		.scheduled = scheduled,
		.order = LSC_ORDER_ROUND_OPTIMAL,
		.timeout_ns = 60000000000u, /* all of them have one processor */
		.report_fd = -1,
		.on_done = on_done,
	};
	uint64_t began = lsc_clock_ns();
	struct lsc_cast *c = NULL;

	done = false;
	if (lsc_cast_start(&c, loop, &options, &err) < 0) {
		ok(false, "%s: %s", what, err.text);
		return;
	}
	while (!done && lsc_clock_ns() - began < 120000000000u)
		lsc_loop_turn(loop, 50, NULL);
	lsc_cast_free(c);
	ok(done && result == 0, "%s to %u nodes, %u pieces: %s", what, N_HOSTS, image.n_pieces,
	   err.text);
	printf("# in %.2f s\n", (double)(lsc_clock_ns() - began) / 1e9);
	is_int(count_and_remove(), N_HOSTS, "all of them have it");
}

int main(void)
{
	struct lsc_image_options options = {.dtype = LSC_DTYPE_BF16, .blocks = 2};
	struct rlimit files = {0};
	char path[160];

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < 4 * N_HOSTS) {
		skip("only %llu descriptors may be opened here",
		     (unsigned long long)files.rlim_cur);
		return done_testing();
	}
	/* Syncing a thousand files is no matter of this test. */
	snprintf(root, sizeof(root), "/dev/shm/lsc-many.XXXXXX");
	if (access("/dev/shm", W_OK) < 0 || !mkdtemp(root))
		snprintf(root, sizeof(root), "%.99s", scratch());
	snprintf(path, sizeof(path), "%s/image.lsc", root);
	options.piece_bytes = 4096;
	if (lsc_image_pack_dummy(&small, path, &options, &err) < 0 ||
	    lsc_image_open(&image, path, &err) < 0 || lsc_loop_new(&loop, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	open_hosts();
	cast(false, "a ring");
	cast(true, "a schedule");
	close_hosts();
	lsc_loop_free(loop);
	lsc_image_close(&image);
	lsc_dir_remove(path, NULL);
	for (uint32_t i = 0; i < N_HOSTS; i++)
		rmdir(dirs[i]);
	if (strcmp(root, scratch()) != 0)
		rmdir(root);
	return done_testing();
}
