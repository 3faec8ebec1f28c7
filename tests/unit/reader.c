/* reader: ranges by every path, from the page cache and past it; rates, ends, and disks that fail
 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "mem/reader.h"

#define MIB   (1ull << 20)
#define BYTES (9 * MIB + 12345)
#define READS 64

static uint8_t *content, *got;
static int file_fd = -1, memory_fd = -1;
static struct lsc_err err;

/* --- a disk that fails: libc's pread64(), as the reader calls it --- */

static _Atomic uint64_t bad_from, bad_to; /* offsets that cannot be read */

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
	if ((uint64_t)offset < bad_to && (uint64_t)offset + len > bad_from) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, data, len, offset);
}

/* --- one job --- */

struct job {
	struct lsc_reader *reader;
	struct lsc_read reads[READS];
	uint32_t n;
	atomic_uint over;
	uint64_t over_ns[READS];
};

static void on_read(void *data, struct lsc_read *read)
{
	struct job *job = data;

	job->over_ns[read - job->reads] = lsc_clock_ns();
	atomic_fetch_add(&job->over, 1);
}

static void add(struct job *job, int fd, uint64_t offset, uint64_t bytes, uint64_t at)
{
	struct lsc_read *read = &job->reads[job->n++];

	*read = (struct lsc_read){.fd = fd,
				  .offset = offset,
				  .to = got + at,
				  .bytes = bytes,
				  .fn = on_read,
				  .data = job};
	if (lsc_reader_add(job->reader, read) < 0)
		abort();
}

static void wait_all(struct job *job)
{
	uint64_t until = lsc_clock_ns() + 20000000000u;

	while (job->over < job->n && lsc_clock_ns() < until)
		usleep(200);
}

static bool start(struct job *job, const struct lsc_reader_options *options)
{
	int r;

	*job = (struct job){0};
	memset(got, 0, BYTES + 2 * MIB);
	r = lsc_reader_start(&job->reader, options, &err);
	if (r < 0)
		skip("%s", err.text);
	return r == 0;
}

static void forget_pages(int fd)
{
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void fetch_pages(int fd)
{
	volatile uint8_t *at = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);

	for (uint64_t i = 0; i < BYTES; i += 4096)
		(void)at[i];
	munmap((void *)at, BYTES);
}

static void make_files(void)
{
	char path[4096];
	uint64_t seed = 88172645463325252ull;

	content = malloc(BYTES);
	got = mmap(NULL, BYTES + 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		   0);
	for (uint64_t i = 0; i < BYTES; i++) {
		seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
		content[i] = (uint8_t)seed;
	}
	snprintf(path, sizeof(path), "%s/file", scratch());
	file_fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
	unlink(path);
	memory_fd = memfd_create("file", MFD_CLOEXEC);
	if (lsc_pwrite_full(file_fd, content, BYTES, 0) < 0 ||
	    lsc_pwrite_full(memory_fd, content, BYTES, 0) < 0)
		abort();
}

/* --- every path --- */

static void read_whole(struct job *job, int fd, bool from_cache, const char *what)
{
	struct lsc_reader_totals t;

	add(job, fd, 0, BYTES, 0);
	wait_all(job);
	lsc_reader_totals(job->reader, &t);
	ok(job->reads[0].result == 0 && !memcmp(got, content, BYTES), "%s: all of it", what);
	is_int(t.direct + t.cached + t.other, BYTES, "%s: counted once", what);
	if (from_cache)
		ok(t.cached == BYTES && job->reads[0].cached == BYTES, "%s: from the page cache",
		   what);
	else if (t.direct == 0 && t.path != LSC_READER_BUFFERED)
		skip("%s: no direct reads in this folder", what);
	else if (t.direct == 0)
		ok(true, "%s: by no direct read", what);
	else
		ok(t.cached < BYTES / 4, "%s: past it", what);
	lsc_reader_stop(job->reader);
}

static void read_parts(struct job *job, const char *what)
{
	/* offset, length, and where to: multiples of 4096, of 512, and of nothing */
	static const uint64_t parts[][3] = {
		{0, 4096, 0},
		{8192, 300000, 8192},
		{MIB + 512, MIB, MIB + 1024},
		{3 * MIB + 1, 1, 3 * MIB},
		{4 * MIB, MIB, 4 * MIB + 7},
		{6 * MIB - 3, 4099, 6 * MIB},
		{BYTES - 5, 5, 7 * MIB},
		{BYTES - 12345 - 4096, 4096 + 12345, 8 * MIB},
	};
	bool same = true;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(parts); i++)
		add(job, file_fd, parts[i][0], parts[i][1], parts[i][2]);
	wait_all(job);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(parts); i++)
		same = same && job->reads[i].result == 0 &&
		       !memcmp(got + parts[i][2], content + parts[i][0], parts[i][1]);
	ok(same && got[4096] == 0 && got[3 * MIB + 1] == 0 && got[7 * MIB + 5] == 0,
	   "%s: parts that lie anywhere, and no byte more", what);
	lsc_reader_stop(job->reader);
}

static void test_path(enum lsc_reader_path path)
{
	struct lsc_reader_options o = {.path = path};
	const char *what = lsc_reader_path_name(path);
	struct job job;
	char words[64];

	forget_pages(file_fd);
	if (!start(&job, &o))
		return;
	read_whole(&job, file_fd, false, what);
	fetch_pages(file_fd);
	snprintf(words, sizeof(words), "%s, cached", what);
	if (start(&job, &o))
		read_whole(&job, file_fd, true, words);
	snprintf(words, sizeof(words), "%s, in memory", what);
	if (start(&job, &o))
		read_whole(&job, memory_fd, true, words);
	forget_pages(file_fd);
	if (start(&job, &o))
		read_parts(&job, what);
	o.threads = 3;
	o.chunk_bytes = 4096;
	o.depth_bytes = 16384;
	forget_pages(file_fd);
	snprintf(words, sizeof(words), "%s, small chunks", what);
	if (start(&job, &o))
		read_whole(&job, file_fd, false, words);
}

static void test_environment(void)
{
	struct lsc_reader_totals t;
	struct job job;

	setenv("LSC_READER", "pread", 1);
	if (start(&job, NULL)) {
		lsc_reader_totals(job.reader, &t);
		is_int(t.path, LSC_READER_PREAD, "the environment chooses a path");
		lsc_reader_stop(job.reader);
	}
	setenv("LSC_READER", "punch cards", 1);
	is_int(lsc_reader_start(&job.reader, NULL, &err), -EINVAL, "that there is: %s", err.text);
	unsetenv("LSC_READER");
}

/* --- a kernel that refuses --- */

static void refuse(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 451 /* cachestat */, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {LSC_ARRAY_SIZE(code), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		printf("# no filter of system calls\n");
}

/* Without io_uring and cachestat, in a process of its own: a bit for each thing that was as it
 * should be. */
static int read_refused(void)
{
	struct lsc_reader_options o = {.path = LSC_READER_URING};
	struct lsc_reader_totals t;
	struct job job = {0};
	int good;

	refuse();
	good = lsc_reader_start(&job.reader, &o, &err) < 0;
	for (int cached = 0; cached < 2; cached++) {
		if (cached)
			fetch_pages(file_fd);
		else
			forget_pages(file_fd);
		if (!start(&job, NULL))
			return 0;
		add(&job, file_fd, 0, BYTES, 0);
		wait_all(&job);
		lsc_reader_totals(job.reader, &t);
		lsc_reader_stop(job.reader);
		good |= (t.path == LSC_READER_PREAD && !memcmp(got, content, BYTES))
			<< (1 + cached);
		good |= (cached || lsc_fd_in_memory(file_fd) ? t.cached == BYTES
							     : t.cached < BYTES / 4)
			<< (3 + cached);
	}
	return good;
}

static void test_refused(void)
{
	int status, good;
	pid_t pid = fork();

	if (pid == 0)
		_exit(read_refused());
	waitpid(pid, &status, 0);
	good = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	ok(good & 1, "io_uring that is refused is an error for who insists on it");
	ok(good & 2 && good & 4, "and for others threads do it");
	ok(good & 8 && good & 16, "without cachestat, it is tried what the page cache has");
}

/* --- what goes wrong --- */

static void test_short(enum lsc_reader_path path)
{
	struct lsc_reader_options o = {.path = path};
	struct job job;

	if (!start(&job, &o))
		return;
	add(&job, file_fd, BYTES - MIB, 2 * MIB, 0);
	add(&job, file_fd, BYTES + 4096, 1, 3 * MIB);
	add(&job, file_fd, 0, MIB, 4 * MIB);
	wait_all(&job);
	ok(job.reads[0].result == -ENODATA && job.reads[1].result == -ENODATA &&
		   job.reads[2].result == 0 && !memcmp(got + 4 * MIB, content, MIB),
	   "%s: a file that ends before, and the others go on", lsc_reader_path_name(path));
	lsc_reader_stop(job.reader);
}

static void test_broken(void)
{
	struct lsc_reader_options o = {.path = LSC_READER_PREAD};
	struct job job;

	for (int cached = 0; cached < 2; cached++) {
		if (cached)
			fetch_pages(file_fd);
		else
			forget_pages(file_fd);
		bad_from = 5 * MIB + 4096;
		bad_to = bad_from + 512;
		if (!start(&job, &o))
			return;
		for (uint64_t i = 0; i < 9; i++)
			add(&job, file_fd, i * MIB, MIB, i * MIB);
		wait_all(&job);
		ok(job.over == 9 && job.reads[5].result == -EIO,
		   "%s, a place that cannot be read: its range fails",
		   cached ? "cached" : "direct");
		bad_from = bad_to = 0;
		ok(!memcmp(got, content, 5 * MIB) &&
			   !memcmp(got + 6 * MIB, content + 6 * MIB, 3 * MIB),
		   "and the others come");
		lsc_reader_stop(job.reader);
	}
	if (!start(&job, &o))
		return;
	job.reads[0] = (struct lsc_read){.fd = -1, .bytes = 1, .to = got};
	is_int(lsc_reader_add(job.reader, &job.reads[0]), -EBADF, "no descriptor at all");
	job.reads[0].fd = open("/dev/null", O_RDONLY);
	is_int(lsc_reader_add(job.reader, &job.reads[0]), -EINVAL, "nor one of a file");
	close(job.reads[0].fd);
	lsc_reader_stop(job.reader);
}

static void test_cancel(enum lsc_reader_path path)
{
	struct lsc_reader_options o = {.path = path, .rate = 2.0 * MIB};
	uint32_t cancelled = 0;
	struct job job;
	uint64_t began;

	if (!start(&job, &o))
		return;
	for (uint64_t i = 0; i < 9; i++)
		add(&job, file_fd, i * MIB, MIB, i * MIB);
	usleep(30000);
	began = lsc_clock_ns();
	lsc_reader_cancel(job.reader);
	wait_all(&job);
	for (int i = 0; i < 9; i++)
		cancelled += job.reads[i].result == -ECANCELED;
	ok(cancelled == 9 && lsc_clock_ns() - began < 500000000u, "%s: cancelled, all end at once",
	   lsc_reader_path_name(path));
	lsc_reader_set_rate(job.reader, 0);
	add(&job, file_fd, 0, MIB, 0);
	wait_all(&job);
	ok(job.reads[9].result == 0 && !memcmp(got, content, MIB), "and it reads on after that");
	lsc_reader_set_rate(job.reader, MIB);
	add(&job, file_fd, 0, 4 * MIB, 0);
	began = lsc_clock_ns();
	lsc_reader_stop(job.reader);
	ok(job.over == 11 && job.reads[10].result == -ECANCELED &&
		   lsc_clock_ns() - began < 500000000u,
	   "stopped, too");
	lsc_reader_stop(NULL);
}

/* --- the rate --- */

struct step {
	uint64_t ns, bytes;
};

/* The most that ended in any half second, of ranges of 32 KiB in order. */
static uint64_t most_in_window(const struct step *steps, uint32_t n)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t sum = 0;

		for (uint32_t k = i; k < n && steps[k].ns < steps[i].ns + 500000000u; k++)
			sum += steps[k].bytes;
		most = LSC_MAX(most, sum);
	}
	return most;
}

static void test_rate(enum lsc_reader_path path)
{
	const double rate = 5.0 * MIB;
	struct lsc_reader_options o = {.path = path, .rate = rate, .chunk_bytes = 32768};
	static struct step steps[READS];
	double seconds;
	uint64_t began;
	struct job job;

	fetch_pages(file_fd);
	if (!start(&job, &o))
		return;
	began = lsc_clock_ns();
	for (uint64_t i = 0; i < READS; i++)
		add(&job, file_fd, i * 65536, 65536, i * 65536);
	wait_all(&job);
	seconds = (double)(lsc_clock_ns() - began) / 1e9;
	for (uint32_t i = 0; i < READS; i++)
		steps[i] = (struct step){job.over_ns[i], 65536};
	ok(most_in_window(steps, READS) <= (uint64_t)(rate / 2) + 65536,
	   "%s: no half second sees more than the rate (%.2f of it)", lsc_reader_path_name(path),
	   (double)most_in_window(steps, READS) / (rate / 2));
	ok(seconds < 4.0 * MIB / rate * 1.25, "and it is used: %.2f s of %.2f", seconds,
	   4.0 * MIB / rate);
	lsc_reader_stop(job.reader);
}

static void test_rate_changes(void)
{
	struct lsc_reader_options o = {.rate = 1};
	uint64_t began = lsc_clock_ns();
	struct job job;

	if (!start(&job, &o))
		return;
	add(&job, file_fd, 0, BYTES, 0);
	usleep(50000);
	is_int(job.over, 0, "a rate that takes for ever");
	lsc_reader_set_rate(job.reader, 0);
	wait_all(&job);
	ok(job.over == 1 && !memcmp(got, content, BYTES) && lsc_clock_ns() - began < 5000000000u,
	   "is lifted while it reads");
	lsc_reader_stop(job.reader);
}

int main(void)
{
	make_files();
	test_path(LSC_READER_URING);
	test_path(LSC_READER_PREAD);
	test_path(LSC_READER_BUFFERED);
	test_environment();
	test_refused();
	test_short(LSC_READER_URING);
	test_short(LSC_READER_PREAD);
	test_broken();
	test_cancel(LSC_READER_URING);
	test_cancel(LSC_READER_PREAD);
	test_rate(LSC_READER_URING);
	test_rate(LSC_READER_PREAD);
	test_rate_changes();
	free(content);
	return done_testing();
}
