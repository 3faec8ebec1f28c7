/* report - arrival records to a descriptor that may be slow, or gone
 *
 * The descriptor is often shared with others (a shell's pipe), so it is not made non-blocking.
 * Instead a pipe is asked with poll() first: where it says that it can take something, it takes
 * PIPE_BUF bytes without blocking.
 */
#include "cast/report.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "stream/json.h"

#define AGAIN_NS    10000000
#define MAX_WAITING (64u << 20)

/* The cast goes on without. */
static void give_up(struct lsc_report *report, int code)
{
	if (report->fd >= 0)
		report->lost = code;
	report->fd = -1;
	report->waiting.len = report->written = 0;
}

/* Closes up the room of what was written, once that is as much as what it moves. */
static void shrink(struct lsc_report *report)
{
	if (report->written < report->waiting.len - report->written)
		return;
	lsc_buf_consume(&report->waiting, report->written);
	report->written = 0;
}

static void write_some(struct lsc_report *report)
{
	while (lsc_report_is_waiting(report)) {
		struct pollfd poll_fd = {report->fd, POLLOUT, 0};
		size_t left = report->waiting.len - report->written;
		ssize_t n = -1;

		if (poll(&poll_fd, 1, 0) > 0)
			n = write(report->fd, report->waiting.data + report->written,
				  LSC_MIN(left, PIPE_BUF));
		else
			errno = EAGAIN;
		if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
			lsc_timer_arm(report->again, AGAIN_NS);
			return;
		}
		if (n < 0) {
			give_up(report, errno);
			return;
		}
		report->written += n;
		shrink(report);
	}
}

static int keep(struct lsc_report *report)
{
	const struct lsc_buf *record = &report->pack.buf;
	int r;

	if (report->waiting.len + record->len > MAX_WAITING)
		return -ENOBUFS;
	if (!report->json)
		return lsc_buf_add(&report->waiting, record->data, record->len);
	r = lsc_json_write(record->data, record->len, &report->waiting, NULL);
	return r < 0 ? r : lsc_buf_add(&report->waiting, "\n", 1);
}

/* Takes what the pack holds on its way. */
static void put(struct lsc_report *report)
{
	int r;

	if (report->fd < 0)
		return;
	r = keep(report);
	if (r < 0)
		give_up(report, -r);
	else
		write_some(report);
}

static void on_again(void *data)
{
	write_some(data);
}

int lsc_report_init(struct lsc_report *report, struct lsc_loop *loop, int fd, bool json,
		    struct lsc_err *err)
{
	int r;

	*report = (struct lsc_report){.fd = fd, .json = json, .start_ns = lsc_clock_ns()};
	r = lsc_timer_new(loop, on_again, report, &report->again, err);
	if (r < 0)
		return r;
	r = lsc_pack_hello(&report->pack, "arrivals");
	if (r < 0)
		return lsc_err_set(err, -r, "cannot report a cast: %m");
	put(report);
	return 0;
}

void lsc_report_release(struct lsc_report *report)
{
	lsc_timer_free(report->again);
	lsc_pack_release(&report->pack);
	lsc_buf_release(&report->waiting);
	*report = (struct lsc_report)LSC_REPORT_INIT;
}

double lsc_report_seconds(const struct lsc_report *report)
{
	return (double)(lsc_clock_ns() - report->start_ns) / 1e9;
}

struct lsc_pack *lsc_report_begin(struct lsc_report *report, const char *type)
{
	lsc_pack_begin(&report->pack, type);
	lsc_pack_real(&report->pack, "t", lsc_report_seconds(report));
	return &report->pack;
}

void lsc_report_end(struct lsc_report *report)
{
	if (lsc_pack_end(&report->pack) < 0)
		give_up(report, ENOMEM);
	else
		put(report);
}

bool lsc_report_is_waiting(const struct lsc_report *report)
{
	return report->written < report->waiting.len;
}

void lsc_report_drop(struct lsc_report *report, int code)
{
	if (lsc_report_is_waiting(report))
		give_up(report, code);
	report->fd = -1;
}

int lsc_report_lost(const struct lsc_report *report)
{
	return report->lost;
}
