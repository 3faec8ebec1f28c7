/* progress - bars, lines and a summary
 *
 * A frame is made in a buffer and written at once, so that it does not mix with what others write.
 * The terminal's size is asked each time: it may change, and a signal need not be watched for it.
 */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"

#define MAX_LINES   24
#define MAX_SAID    64 /* nodes that get a line each when they are complete */
#define LINE_NS     5000000000u
#define SMOOTH_S    2.0 /* a rate is of so long, the near past most */
#define NAME_WIDTH  28
#define MIN_BAR     8
#define MAX_COLUMNS 512

static const char *const state_names[] = {"waiting", "receiving", "syncing", "complete", "failed"};

/* Nothing where notices are not shown. */
static enum lsc_progress_mode find_mode(enum lsc_progress_mode wanted)
{
	const char *term = getenv("TERM");

	if (!lsc_log_is_on(LSC_LOG_NOTICE))
		return LSC_PROGRESS_NONE;
	if (wanted != LSC_PROGRESS_AUTO)
		return wanted;
	return isatty(STDERR_FILENO) && (!term || strcmp(term, "dumb")) ? LSC_PROGRESS_BARS
									: LSC_PROGRESS_LINES;
}

int lsc_progress_init(struct lsc_progress *p, uint32_t n, uint64_t bytes, uint32_t pieces,
		      uint64_t start_ns, struct lsc_err *err)
{
	p->nodes = calloc((size_t)n + 1, sizeof(p->nodes[0]));
	if (!p->nodes)
		return lsc_err_set(err, ENOMEM, "cannot show progress: %m");
	p->mode = find_mode(p->mode);
	p->n = n;
	p->bytes = bytes;
	p->pieces = pieces;
	p->start_ns = p->tick_ns = p->said_ns = start_ns;
	return 0;
}

void lsc_progress_release(struct lsc_progress *p)
{
	lsc_log_before(NULL, NULL);
	free(p->nodes);
	*p = (struct lsc_progress)LSC_PROGRESS_INIT;
}

/* --- what changed --- */

static bool is_settled(const struct lsc_progress_node *node)
{
	return node->state >= LSC_PROGRESS_COMPLETE;
}

static void update_node(struct lsc_progress_node *node, uint64_t now_ns, double passed_s)
{
	uint64_t more = node->bytes - LSC_MIN(node->seen_bytes, node->bytes);
	double weight = passed_s / (passed_s + SMOOTH_S);

	if (!node->seen_bytes && node->had_bytes)
		more = node->bytes - LSC_MIN(node->had_bytes, node->bytes);
	if (more) {
		if (!node->first_ns) { /* it may have begun anywhere since the last time */
			node->first_ns = now_ns - (uint64_t)(passed_s * 5e8);
			node->rate = (double)more / passed_s;
		}
		node->last_ns = now_ns;
	}
	node->rate += weight * ((double)more / passed_s - node->rate);
	node->seen_bytes = node->bytes;
}

void lsc_progress_update(struct lsc_progress *p, uint64_t now_ns)
{
	double passed_s = (double)(now_ns - LSC_MIN(p->tick_ns, now_ns)) / 1e9;
	bool settled = true;

	if (passed_s < 0.01)
		return;
	for (uint32_t i = 0; i < p->n; i++) {
		update_node(&p->nodes[i], now_ns, passed_s);
		settled = settled && is_settled(&p->nodes[i]);
	}
	if (settled && !p->end_ns)
		p->end_ns = now_ns;
	p->tick_ns = now_ns;
}

/* --- words --- */

static const char *size_text(double bytes, char text[24])
{
	static const char units[] = "kMGTP";
	int unit = -1;

	for (; bytes >= 999.5 && unit < 4; unit++)
		bytes /= 1000;
	if (unit < 0)
		snprintf(text, 24, "%.0f B", bytes);
	else
		snprintf(text, 24,
			 bytes < 9.995   ? "%.2f %cB"
			 : bytes < 99.95 ? "%.1f %cB"
					 : "%.0f %cB",
			 bytes, units[unit]);
	return text;
}

/* The time left: "0:09", "1:02:03". */
static const char *left_text(double bytes, double rate, char text[24])
{
	double s = rate > 0 ? bytes / rate + 0.5 : 1e9;
	unsigned long whole = s < 1e6 ? (unsigned long)s : 0;

	if (s >= 1e6)
		snprintf(text, 24, "-");
	else if (whole < 3600)
		snprintf(text, 24, "%lu:%02lu", whole / 60, whole % 60);
	else
		snprintf(text, 24, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
	return text;
}

/* --- a line of a node --- */

static int digits(uint32_t value)
{
	return snprintf(NULL, 0, "%u", value);
}

/* What others say must not talk to the terminal. */
static void make_plain(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
			*text = '?';
}

/* Percent, rate, pieces, and what it is at: what stands behind the bar. */
static void behind(const struct lsc_progress *p, const struct lsc_progress_node *node,
		   unsigned room, char text[MAX_COLUMNS])
{
	double part = p->bytes ? (double)node->bytes / (double)p->bytes : 1;
	char rate[24], left[24], state[40], moving[40];
	int d = digits(p->pieces);

	snprintf(state, sizeof(state), "%s", state_names[node->state]);
	if (node->state == LSC_PROGRESS_RECEIVING)
		snprintf(state, sizeof(state), "ETA %s",
			 left_text((double)(p->bytes - node->bytes), node->rate, left));
	snprintf(moving, sizeof(moving), "%s/s", size_text(node->rate, rate));
	if (node->state != LSC_PROGRESS_RECEIVING)
		moving[0] = 0;
	if (room >= 40 + 2 * (unsigned)d)
		snprintf(text, MAX_COLUMNS, "%3u%% %10s %*u/%u %-9s", (unsigned)(100 * part),
			 moving, d, node->pieces, p->pieces, state);
	else
		snprintf(text, MAX_COLUMNS, "%3u%% %-9s", (unsigned)(100 * part), state);
}

static int add_bar(const struct lsc_progress *p, const struct lsc_progress_node *node,
		   int name_width, unsigned columns, struct lsc_buf *buf)
{
	char text[MAX_COLUMNS], line[2 * MAX_COLUMNS], bar[MAX_COLUMNS] = "";
	unsigned room = columns > (unsigned)name_width + 1 ? columns - (unsigned)name_width - 1 : 0;

	if (node->state == LSC_PROGRESS_FAILED) {
		snprintf(text, sizeof(text), "failed: %s", node->why ? node->why : "");
	} else {
		behind(p, node, room, text);
		if (room > strlen(text) + MIN_BAR + 3) {
			size_t width = LSC_MIN(room - strlen(text) - 3, 50u);
			uint64_t bytes = LSC_MIN(node->bytes, p->bytes);
			size_t full =
				p->bytes
					? (size_t)((double)width * (double)bytes / (double)p->bytes)
					: width;

			bar[0] = '[';
			memset(bar + 1, ' ', width);
			memset(bar + 1, '#', LSC_MIN(full, width));
			strcpy(bar + 1 + width, "] ");
		}
	}
	snprintf(line, sizeof(line), "%-*.*s %s%s", name_width, name_width, node->name, bar, text);
	make_plain(line);
	return lsc_buf_printf(buf, "%.*s\n", (int)columns, line);
}

/* --- all of them --- */

static int add_all(const struct lsc_progress *p, unsigned columns, struct lsc_buf *buf)
{
	unsigned count[LSC_PROGRESS_FAILED + 1] = {0};
	double bytes = 0, rate = 0, most = 0, all = (double)p->bytes * p->n;
	char line[MAX_COLUMNS], left[24], speed[24];
	int at;

	for (uint32_t i = 0; i < p->n; i++) {
		const struct lsc_progress_node *node = &p->nodes[i];
		double needed = (double)(p->bytes - LSC_MIN(node->bytes, p->bytes));

		count[node->state]++;
		bytes += (double)node->bytes;
		if (node->state != LSC_PROGRESS_RECEIVING)
			continue;
		rate += node->rate;
		most = LSC_MAX(most, needed / LSC_MAX(node->rate, 1e-3));
	}
	at = snprintf(line, sizeof(line), "%u nodes: %3.0f%%", p->n,
		      all > 0 ? 100 * bytes / all : 100);
	for (int s = LSC_PROGRESS_FAILED; s >= 0; s--)
		if (count[s])
			at += snprintf(line + at, sizeof(line) - at, ", %u %s", count[s],
				       state_names[s]);
	if (count[LSC_PROGRESS_RECEIVING])
		snprintf(line + at, sizeof(line) - at, ", %s/s together, ETA %s",
			 size_text(rate, speed), left_text(most, 1, left));
	return lsc_buf_printf(buf, "%.*s\n", (int)columns, line);
}

/* Whether a deserves a line before b: the failed, then those that are behind. */
static bool is_worse(const struct lsc_progress_node *a, const struct lsc_progress_node *b)
{
	bool a_failed = a->state == LSC_PROGRESS_FAILED, b_failed = b->state == LSC_PROGRESS_FAILED;

	if (a_failed != b_failed)
		return a_failed;
	return !is_settled(a) && (is_settled(b) || a->bytes < b->bytes);
}

/* The worst n of them, in order. */
static unsigned find_worst(const struct lsc_progress *p, unsigned n, uint32_t worst[MAX_LINES])
{
	unsigned found = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		unsigned at = found;

		while (at > 0 && is_worse(&p->nodes[i], &p->nodes[worst[at - 1]]))
			at--;
		if (at == n || p->nodes[i].state == LSC_PROGRESS_COMPLETE)
			continue;
		found += found < n;
		memmove(worst + at + 1, worst + at, (found - at - 1) * sizeof(worst[0]));
		worst[at] = i;
	}
	return found;
}

int lsc_progress_frame(const struct lsc_progress *p, unsigned columns, unsigned lines,
		       struct lsc_buf *buf)
{
	uint32_t shown[MAX_LINES];
	unsigned most = lines ? LSC_MIN(lines - 1, (unsigned)MAX_LINES) : MAX_LINES, n = p->n;
	int width = 0, r = 0;

	columns = columns ? LSC_MIN(columns - 1, (unsigned)MAX_COLUMNS - 1) : 79;
	if (n <= most) {
		for (unsigned i = 0; i < n; i++)
			shown[i] = i;
	} else {
		r = add_all(p, columns, buf);
		n = find_worst(p, most ? most - 1 : 0, shown);
	}
	for (unsigned i = 0; i < n; i++)
		width = LSC_MAX(width,
				(int)LSC_MIN(strlen(p->nodes[shown[i]].name), (size_t)NAME_WIDTH));
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = add_bar(p, &p->nodes[shown[i]], width, columns, buf);
	return r;
}

/* --- the terminal --- */

/* Takes back what is drawn, for others to write there. */
static void erase(void *data)
{
	struct lsc_progress *p = data;
	char text[32];

	if (!p->drawn)
		return;
	snprintf(text, sizeof(text), "\r\033[%uA\033[J", p->drawn);
	lsc_write_full(STDERR_FILENO, text, strlen(text));
	p->drawn = 0;
}

static void draw(struct lsc_progress *p)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf frame = LSC_BUF_INIT, out = LSC_BUF_INIT;
	struct winsize size = {0};
	unsigned drawn = 0;
	int r;

	lsc_log_before(erase, p);
	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	r = lsc_progress_frame(p, size.ws_col, size.ws_row, &frame);
	if (r == 0 && p->drawn)
		r = lsc_buf_printf(&out, "\r\033[%uA", p->drawn);
	for (char *at = (char *)frame.data, *end; r == 0 && at && *at; at = end + 1) {
		end = strchr(at, '\n');
		r = lsc_buf_printf(&out, "%.*s\033[K\n", (int)(end - at), at);
		drawn++;
	}
	if (r == 0)
		r = lsc_buf_add_str(&out, "\033[J"); /* lines of before, if there were more */
	if (r < 0)
		return;
	lsc_write_full(STDERR_FILENO, out.data, out.len);
	p->drawn = drawn;
}

static void say(struct lsc_progress *p)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf line = LSC_BUF_INIT;

	for (uint32_t i = 0; i < p->n; i++) {
		struct lsc_progress_node *node = &p->nodes[i];

		if (node->state != LSC_PROGRESS_COMPLETE || node->said || p->n > MAX_SAID)
			continue;
		node->said = true;
		lsc_notice("%s: complete after %.1f s", node->name,
			   (double)(p->tick_ns - p->start_ns) / 1e9);
	}
	if (p->end_ns || p->tick_ns - p->said_ns < LINE_NS)
		return;
	p->said_ns = p->tick_ns;
	if (add_all(p, MAX_COLUMNS - 1, &line) == 0)
		lsc_notice("%.*s", (int)line.len - 1, (char *)line.data);
}

void lsc_progress_tick(struct lsc_progress *p)
{
	lsc_progress_update(p, lsc_clock_ns());
	if (p->mode == LSC_PROGRESS_BARS)
		draw(p);
	else if (p->mode == LSC_PROGRESS_LINES)
		say(p);
}

void lsc_progress_end(struct lsc_progress *p)
{
	uint64_t now = lsc_clock_ns();

	lsc_progress_tick(p);
	if (!p->end_ns)
		p->end_ns = now;
	p->drawn = 0;
	lsc_log_before(NULL, NULL);
}

/* --- the summary --- */

/* How long a copy takes that is received as fast as the quickest node received; 0: not known, since
 * the clock of ticks is too coarse for what went by so quickly. */
static double quickest_s(const struct lsc_progress *p)
{
	double best = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		const struct lsc_progress_node *node = &p->nodes[i];
		uint64_t moved = node->bytes - LSC_MIN(node->had_bytes, node->bytes);
		double s = (double)(node->last_ns - node->first_ns) / 1e9;

		if (node->state != LSC_PROGRESS_COMPLETE || !moved || s < 1)
			continue;
		s *= (double)p->bytes / (double)moved;
		best = best > 0 ? LSC_MIN(best, s) : s;
	}
	return best;
}

int lsc_progress_words(const struct lsc_progress *p, double link_rate, struct lsc_buf *buf)
{
	double seconds = (double)(p->end_ns - p->start_ns) / 1e9, moved = 0, copy;
	char size[24], link[24];
	uint32_t complete = 0;
	bool partial = false;
	int r;

	for (uint32_t i = 0; i < p->n; i++) {
		const struct lsc_progress_node *node = &p->nodes[i];

		complete += node->state == LSC_PROGRESS_COMPLETE;
		moved += (double)(node->bytes - LSC_MIN(node->had_bytes, node->bytes));
		partial = partial || node->had_bytes;
	}
	if (complete < p->n)
		r = lsc_buf_printf(buf, "%u of %u nodes", complete, p->n);
	else
		r = lsc_buf_printf(buf, "%u node%s", p->n, p->n == 1 ? "" : "s");
	if (r == 0)
		r = lsc_buf_printf(buf, " complete in %.*f s", seconds < 10 ? 2 : 1, seconds);
	if (r == 0 && moved == 0)
		return lsc_buf_add_str(buf, ", nothing was to be moved");
	if (r == 0 && seconds > 0)
		r = lsc_buf_printf(buf, ": %s at %.3g GB/s together", size_text(moved, size),
				   moved / seconds / 1e9);
	copy = link_rate > 0 ? (double)p->bytes / link_rate : quickest_s(p);
	if (r < 0 || copy <= 0 || partial)
		return r;
	if (link_rate > 0)
		return lsc_buf_printf(buf, ", %.3f x one copy at %s/s", seconds / copy,
				      size_text(link_rate, link));
	return lsc_buf_printf(buf, ", %.2f x the quickest node's %.1f s", seconds / copy, copy);
}

bool lsc_progress_any(const struct lsc_progress *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		if (p->nodes[i].state == LSC_PROGRESS_COMPLETE)
			return true;
	return false;
}

void lsc_progress_summary(const struct lsc_progress *p, double link_rate)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf words = LSC_BUF_INIT;

	for (uint32_t i = 0; i < p->n; i++)
		if (p->nodes[i].state == LSC_PROGRESS_FAILED)
			lsc_notice("%s failed: %s", p->nodes[i].name,
				   p->nodes[i].why ? p->nodes[i].why : "no reason is known");
	if (lsc_progress_words(p, link_rate, &words) == 0)
		lsc_notice("%s", (char *)words.data);
}
