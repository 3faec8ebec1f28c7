/* What a load from the disk reaches: bytes a second, beside fio's on the same file and memcpy's.
 *
 *	build/release/bench/load [MIB [ROUNDS [FOLDER]]]
 *
 * A file of MIB (2048) in FOLDER (a scratch folder), whose pieces of 256 KiB in blocks of 32 MiB
 *are known by hash, is loaded ROUNDS (5) times in turns with fio, whose block size and depth are
 *the best of six that were tried before.  One JSON line a way: the median of its speed, and of its
 *ratio to what it is set against in the same round.  Before each run the page cache forgets the
 *file, or, for what is cached, has all of it.
 *
 * Memory is fresh (a memfd, as a node's daemon has it: its pages are made and cleared while it is
 * filled) or made before.  fio reads into a few buffers, again and again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "tier/load.h"

#define PIECE      262144u
#define BLOCK      (32u << 20)
#define MAX_ROUNDS 25

static struct lsc_image image = LSC_IMAGE_INIT;
static struct lsc_run file;
static char path[4096];

static void die(const char *what)
{
	perror(what);
	exit(71);
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* --- the file --- */

static void make_file(uint64_t bytes)
{
	uint64_t seed = 88172645463325252ull, *piece = malloc(PIECE);

	image.bytes = bytes;
	image.piece_bytes = PIECE;
	image.n_pieces = (uint32_t)(bytes / PIECE);
	image.n_blocks = (uint32_t)lsc_div_up(bytes, BLOCK);
	image.pieces = calloc(image.n_pieces, sizeof(image.pieces[0]));
	image.blocks = calloc(image.n_blocks, sizeof(image.blocks[0]));
	for (uint32_t i = 0; i < image.n_blocks; i++) {
		struct lsc_block *b = &image.blocks[i];

		b->offset = (uint64_t)i * BLOCK;
		b->bytes = LSC_MIN(bytes - b->offset, (uint64_t)BLOCK);
		b->first_piece = (uint32_t)(b->offset / PIECE);
		b->n_pieces = (uint32_t)(b->bytes / PIECE);
	}
	file = (struct lsc_run){0, bytes, open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), 0};
	if (file.fd < 0 || !piece)
		die(path);
	for (uint32_t i = 0; i < image.n_pieces; i++) {
		for (uint32_t k = 0; k < PIECE / 8; k++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			piece[k] = seed;
		}
		image.pieces[i] = lsc_hash_of(piece, PIECE);
		if (lsc_pwrite_full(file.fd, piece, PIECE, (uint64_t)i * PIECE) < 0)
			die(path);
	}
	free(piece);
	fsync(file.fd);
}

static void set_cached(bool cached)
{
	if (!cached) {
		posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);
		return;
	}
	for (uint64_t at = 0; at < image.bytes; at += BLOCK)
		readahead(file.fd, (off64_t)at, BLOCK);
	for (uint64_t at = 0; at < image.bytes; at += 4096) {
		char c;

		if (pread(file.fd, &c, 1, (off_t)at) != 1)
			die("pread");
	}
}

/* --- memory --- */

static uint8_t *make_memory(bool fresh)
{
	int fd = memfd_create("load", MFD_CLOEXEC);
	uint8_t *at;

	if (fd < 0 || ftruncate(fd, (off_t)image.bytes) < 0)
		die("memfd");
	at = mmap(NULL, image.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		die("mmap");
	madvise(at, image.bytes, MADV_HUGEPAGE);
	if (!fresh)
		memset(at, 1, image.bytes);
	return at;
}

/* --- ways --- */

struct way {
	const char *name, *against;
	bool cached, fresh, blind;
	enum lsc_reader_path path;
	double speeds[MAX_ROUNDS], ratios[MAX_ROUNDS], cpu;
	struct lsc_load_progress progress;
};

enum { FIO, MEMCPY, LOADS };

static struct way ways[] = {
	[FIO] = {.name = "fio"},
	[MEMCPY] = {.name = "memcpy", .cached = true},
	[LOADS] = {.name = "load", .against = "fio", .fresh = true},
	{.name = "load, unhashed", .against = "fio", .fresh = true, .blind = true},
	{.name = "load, memory made before", .against = "fio"},
	{.name = "load, both", .against = "fio", .blind = true},
	{.name = "load by threads", .against = "fio", .fresh = true, .path = LSC_READER_PREAD},
	{.name = "load, cached", .against = "memcpy", .cached = true},
	{.name = "load, cached, unhashed", .against = "memcpy", .cached = true, .blind = true},
	{.name = "load, cached, fresh memory", .against = "memcpy", .cached = true, .fresh = true},
};

static void on_end(void *data)
{
	*(volatile bool *)data = true;
}

static double load_once(struct way *way, uint8_t *to)
{
	static const struct lsc_load_events events = {.on_end = on_end};
	size_t len = lsc_marks_bytes(image.n_pieces, image.n_blocks);
	struct lsc_marks *marks = calloc(1, len);
	struct lsc_err err = LSC_ERR_INIT;
	volatile bool over = false;
	struct lsc_load_options o = {
		.image = &image,
		.runs = &file,
		.n_runs = 1,
		.data = to,
		.marks = marks,
		.blind = way->blind,
		.reader = {.path = way->path},
		.events = &events,
		.data_of_events = (void *)&over,
	};
	struct lsc_load *load;

	lsc_marks_start(marks, image.n_pieces, image.n_blocks);
	if (lsc_load_start(&load, &o, &err) < 0) {
		fprintf(stderr, "load: %s\n", err.text);
		exit(71);
	}
	while (!over)
		usleep(500);
	lsc_load_progress(load, &way->progress);
	lsc_load_stop(load);
	if (lsc_marks_count(marks) != image.n_pieces) {
		fprintf(stderr, "load: %u pieces of %u\n", lsc_marks_count(marks), image.n_pieces);
		exit(1);
	}
	free(marks);
	return (double)image.bytes / way->progress.seconds;
}

static double memcpy_once(uint8_t *to)
{
	uint8_t *from = mmap(NULL, image.bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, file.fd, 0);
	uint64_t began = lsc_clock_ns(), ns;

	if (from == MAP_FAILED)
		die("mmap");
	memcpy(to, from, image.bytes);
	ns = lsc_clock_ns() - began;
	munmap(from, image.bytes);
	return (double)image.bytes / (double)ns * 1e9;
}

/* --- fio --- */

static char fio_how[64] = "--bs=256k --iodepth=8";

static double fio_once(const char *how)
{
	char command[4600], line[4096] = "";
	double speed = 0;
	char *at = line;
	FILE *f;

	snprintf(command, sizeof(command),
		 "fio --name=load --filename='%s' --rw=read --direct=1 --ioengine=io_uring %s "
		 "--size=%llu --minimal 2>/dev/null",
		 path, how, (unsigned long long)image.bytes);
	f = popen(command, "r");
	while (f && fgets(line, sizeof(line), f))
		;
	if (!f || pclose(f) != 0)
		return 0;
	for (int i = 0; i < 6 && at; i++) /* version;name;group;error;read KiB;bandwidth (KiB/s) */
		at = strchr(at + (i > 0), ';');
	if (at)
		speed = atof(at + 1) * 1024;
	return speed;
}

static bool choose_fio(void)
{
	static const char *const sizes[] = {"256k", "512k", "1m"};
	double best = 0;

	for (int i = 0; i < 6; i++) {
		char how[64];
		double speed;

		snprintf(how, sizeof(how), "--bs=%s --iodepth=%d", sizes[i / 2], i % 2 ? 32 : 8);
		set_cached(false);
		speed = fio_once(how);
		if (speed <= best)
			continue;
		best = speed;
		strcpy(fio_how, how);
	}
	return best > 0;
}

/* --- all of it --- */

static void run_way(struct way *way, int round, uint8_t *warm)
{
	uint8_t *to = way->fresh ? make_memory(true) : warm;
	double before;

	set_cached(way->cached);
	before = cpu_s();
	way->speeds[round] = way == &ways[FIO]      ? fio_once(fio_how)
			     : way == &ways[MEMCPY] ? memcpy_once(to)
						    : load_once(way, to);
	way->cpu += cpu_s() - before;
	if (way->against)
		way->ratios[round] =
			way->speeds[round] /
			ways[!strcmp(way->against, "fio") ? FIO : MEMCPY].speeds[round];
	if (way->fresh)
		munmap(to, image.bytes);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(values[0]), compare);
	return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

static void print_way(struct way *way, int rounds, bool fio)
{
	if (way->against && !fio && !strcmp(way->against, "fio"))
		way->against = NULL;
	printf("{\"name\":\"load\",\"way\":\"%s\",\"bytes\":%llu,\"rounds\":%d,"
	       "\"bytes_per_s\":%.4g",
	       way->name, (unsigned long long)image.bytes, rounds, median(way->speeds, rounds));
	if (way == &ways[FIO])
		printf(",\"how\":\"%s\"", fio_how);
	else
		printf(",\"cpu_s_per_gb\":%.3f", way->cpu / rounds / (double)image.bytes * 1e9);
	if (way->against)
		printf(",\"ratio\":%.3f,\"to\":\"%s\"", median(way->ratios, rounds), way->against);
	if (way >= &ways[LOADS])
		printf(",\"path\":\"%s\",\"depth_bytes\":%llu,\"cached_bytes\":%llu",
		       lsc_reader_path_name(way->progress.path),
		       (unsigned long long)way->progress.depth_bytes,
		       (unsigned long long)way->progress.cached);
	printf("}\n");
}

int main(int argc, char **argv)
{
	uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 2048;
	int rounds = argc > 2 ? atoi(argv[2]) : 5;
	const char *dir = argc > 3 ? argv[3] : getenv("LSC_SCRATCH");
	uint8_t *warm;
	bool fio;

	if (!mib || rounds < 1 || rounds > MAX_ROUNDS) {
		fprintf(stderr, "usage: load [MIB [ROUNDS [FOLDER]]], of 1 to %d rounds\n",
			MAX_ROUNDS);
		return 64;
	}
	snprintf(path, sizeof(path), "%s/lsc-load-%d", dir ? dir : "/tmp", (int)getpid());
	make_file(mib << 20);
	warm = make_memory(false);
	fio = choose_fio();
	if (!fio)
		fprintf(stderr, "load: no fio, or none that can: nothing to compare with\n");
	for (int round = 0; round < rounds; round++)
		for (size_t i = fio ? 0 : MEMCPY; i < LSC_ARRAY_SIZE(ways); i++)
			run_way(&ways[i], round, warm);
	for (size_t i = fio ? 0 : MEMCPY; i < LSC_ARRAY_SIZE(ways); i++)
		print_way(&ways[i], rounds, fio);
	unlink(path);
	return 0;
}
