/* sender - requests leave when they are due, whatever became of those before them
 *
 * Load is open: a server that is slow gets no less of it.  The one exception is a bound on requests
 * at once; what had to wait for it is told apart.  The next request's body is made while nothing is
 * due, so that a long prompt makes nobody late, and how late requests left is measured, since a
 * generator that cannot keep up measures itself.
 */
#include "sender.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "load/answer.h"
#include "call.h"

#define GRACE_NS    5000000000u /* for requests under way when we are told to stop */
#define SAY_NS      10000000000u
#define MAX_FDS     65536u
#define SPARE_FDS   32u
#define TIMER_SLACK 1000ul /* ns; the kernel's default of 50000 would show in lateness */

struct sender {
	struct replay_job *job;
	struct lsc_loop *loop;
	struct replay_http *http;
	struct lsc_timer *due_timer, *grace_timer, *say_timer;
	struct replay_call *idle, *active;
	struct replay_call *ending; /* have their answers, and connections that are not free yet */
	struct replay_call *ready;  /* has the body of request next */
	uint32_t next, at_once, max_at_once, connections, max_connections;
	uint64_t start_ns;
	uint64_t freed_ns; /* when a place became free where all were taken */
	bool stopping;
	int failed;    /* the first result < 0 */
	uint32_t said; /* outcomes that a warning was for */
	struct lsc_err *err;
};

static uint64_t now_of(const struct sender *sender)
{
	return lsc_clock_ns() - sender->start_ns;
}

static void stop(struct sender *sender, int result)
{
	if (!sender->failed && result < 0)
		sender->failed = result;
	lsc_loop_stop(sender->loop, sender->failed);
}

/* --- calls --- */

static struct replay_call *take_call(struct sender *sender)
{
	struct replay_call *call = sender->idle;

	if (!call)
		return replay_call_new(sender->http, &sender->job->tally->itl, sender);
	sender->idle = call->next;
	call->next = NULL;
	return call;
}

static bool is_full(const struct sender *sender)
{
	return sender->at_once == sender->max_at_once ||
	       sender->connections == sender->max_connections;
}

static void activate(struct sender *sender, struct replay_call *call)
{
	replay_call_enlist(&sender->active, call);
	sender->connections++;
	sender->at_once++;
	sender->job->tally->at_once = LSC_MAX(sender->job->tally->at_once, sender->at_once);
}

/* It has its answer, but its connection may have more to say. */
static void deactivate(struct sender *sender, struct replay_call *call)
{
	if (is_full(sender))
		sender->freed_ns = now_of(sender);
	replay_call_delist(&sender->active, call);
	replay_call_enlist(&sender->ending, call);
	sender->at_once--;
}

static void retire(struct sender *sender, struct replay_call *call)
{
	if (is_full(sender))
		sender->freed_ns = now_of(sender);
	replay_call_delist(&sender->ending, call);
	sender->connections--;
	call->next = sender->idle;
	sender->idle = call;
}

/* --- how one ended --- */

/* The first failure of a kind is a warning, all are told at -v. */
static void say_failure(struct sender *sender, const struct lsc_result *result, const char *words)
{
	enum lsc_log_level level = LSC_LOG_INFO;

	if (!(sender->said & 1u << result->outcome))
		level = LSC_LOG_WARNING;
	sender->said |= 1u << result->outcome;
	if (result->outcome == LSC_OUTCOME_HTTP)
		lsc_log(level, "request %u: status %ld: %s", result->number, result->status, words);
	else
		lsc_log(level, "request %u: %s: %s", result->number,
			lsc_outcome_name(result->outcome), words);
}

static void finish(struct replay_call *call, enum lsc_outcome outcome, const char *words)
{
	struct sender *sender = call->owner;
	const struct lsc_result *result = &call->result;
	char text[256];
	int r;

	replay_call_tell(call, outcome, now_of(sender));
	if (outcome == LSC_OUTCOME_HTTP) {
		lsc_answer_error_text((const char *)call->error.data, call->error.len, text,
				      sizeof(text));
		words = text;
	}
	if (outcome != LSC_OUTCOME_OK && outcome != LSC_OUTCOME_CUT)
		say_failure(sender, result, words);
	if (outcome == LSC_OUTCOME_OK && result->has_usage)
		lsc_gauge_learn(&sender->job->gauge, call->words, result->prompt_tokens);
	lsc_tally_add(sender->job->tally, result);
	if (!sender->failed) {
		r = sender->job->on_result(sender->job->owner, result, sender->err);
		if (r < 0)
			stop(sender, r);
	}
	call->finished = true;
	deactivate(sender, call);
	if (!sender->at_once && (sender->stopping || sender->next == sender->job->table->n))
		stop(sender, 0);
}

static void send_due(struct sender *sender);

static void on_complete(struct replay_exchange *exchange)
{
	struct replay_call *call = (struct replay_call *)exchange;

	finish(call, LSC_OUTCOME_OK, NULL);
	send_due(call->owner);
}

static int on_bytes(struct replay_exchange *exchange, uint64_t now_ns, const char *bytes,
		    size_t len)
{
	struct replay_call *call = (struct replay_call *)exchange;
	struct sender *sender = call->owner;
	uint32_t before = call->answer.chunks, came;
	uint64_t now = now_ns - sender->start_ns;
	int r;

	if (call->answer.done)
		return 0;
	r = replay_call_feed(call, now, bytes, len);
	came = call->answer.chunks - before;
	if (came)
		lsc_series_add(&sender->job->tally->series, now, before ? 0 : call->result.prompt,
			       came);
	return r < 0 ? r : call->answer.done;
}

static void on_end(struct replay_exchange *exchange, enum replay_end end, const char *words)
{
	struct replay_call *call = (struct replay_call *)exchange;
	struct sender *sender = call->owner;

	if (!call->finished) {
		enum lsc_outcome outcome = replay_call_judge(call, end);

		if (call->err.code)
			words = call->err.text;
		else if (outcome == LSC_OUTCOME_UNENDED)
			words = "the answer ended before [DONE]";
		finish(call, outcome, words);
	}
	retire(sender, call);
	send_due(sender);
}

/* --- sending --- */

static int prepare(struct sender *sender)
{
	struct replay_job *job = sender->job;
	const struct lsc_due *due = &job->table->dues[sender->next];
	struct replay_call *call = take_call(sender);
	int r;

	if (!call)
		return lsc_err_set(sender->err, ENOMEM, "no memory for a request");
	replay_call_reset(call, due, sender->next);
	sender->ready = call;
	r = lsc_ask_body(&job->ask, job->text, &job->gauge, due, sender->next, job->trace,
			 job->seed, &call->exchange.body, &call->words);
	return r < 0 ? lsc_err_set(sender->err, -r, "no memory for a prompt") : 0;
}

static int leave(struct sender *sender)
{
	struct replay_call *call = sender->ready;

	sender->ready = NULL;
	sender->next++;
	call->result.left_ns = LSC_MAX(now_of(sender), call->result.due_ns);
	call->result.waited = call->result.due_ns < sender->freed_ns;
	activate(sender, call);
	return replay_exchange_start(&call->exchange, sender->err);
}

static void send_due(struct sender *sender)
{
	const struct lsc_timetable *table = sender->job->table;
	uint64_t now = now_of(sender);
	int r = 0;

	while (!r && !sender->stopping && !sender->failed && sender->next < table->n) {
		uint64_t at = table->dues[sender->next].at_ns;

		if (!sender->ready)
			r = prepare(sender);
		if (r || is_full(sender))
			break;
		if (at > now && at > (now = now_of(sender))) {
			lsc_timer_arm(sender->due_timer, at - now);
			break;
		}
		r = leave(sender);
	}
	if (r < 0)
		stop(sender, r);
}

static void on_due(void *data)
{
	send_due(data);
}

/* --- being told to stop --- */

static void cut_all(void *data)
{
	struct sender *sender = data;

	while (sender->active) {
		struct replay_call *call = sender->active;

		replay_exchange_cancel(&call->exchange);
		finish(call, LSC_OUTCOME_CUT, NULL);
		retire(sender, call);
	}
	stop(sender, 0);
}

static void on_signal(void *data, int number)
{
	struct sender *sender = data;

	if (sender->stopping || !sender->at_once) {
		cut_all(sender);
		return;
	}
	lsc_notice("signal %d: nothing more is sent; waiting for %u requests, again ends them",
		   number, sender->at_once);
	sender->stopping = true;
	lsc_timer_disarm(sender->due_timer);
	lsc_timer_arm(sender->grace_timer, GRACE_NS);
}

static void on_say(void *data)
{
	struct sender *sender = data;

	lsc_info("%.0f s: %u of %u sent, %u under way, %u failed", (double)now_of(sender) / 1e9,
		 sender->next, sender->job->table->n, sender->at_once,
		 lsc_tally_failed(sender->job->tally));
	lsc_timer_arm(sender->say_timer, SAY_NS);
}

/* --- the whole --- */

/* As many as there may be descriptors, once that limit is as high as it goes. */
static uint32_t descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 256;
	limit.rlim_cur = LSC_MAX(limit.rlim_cur, LSC_MIN(limit.rlim_max, MAX_FDS));
	setrlimit(RLIMIT_NOFILE, &limit);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= 2 * SPARE_FDS)
		return SPARE_FDS;
	return (uint32_t)LSC_MIN(limit.rlim_cur, MAX_FDS) - SPARE_FDS;
}

static int begin(struct sender *sender)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	static const struct replay_http_ops ops = {on_bytes, on_complete, on_end};
	struct replay_job *job = sender->job;
	struct lsc_err *err = sender->err;
	uint32_t most = descriptors();
	int r;

	sender->max_connections = most;
	sender->max_at_once = job->max_at_once ? LSC_MIN(job->max_at_once, most) : most;
	if (job->max_at_once > most)
		lsc_warning("descriptors are enough for %u requests at once", most);
	if ((r = lsc_loop_new(&sender->loop, err)) < 0 ||
	    (r = lsc_loop_signals(sender->loop, signals, LSC_ARRAY_SIZE(signals), on_signal, sender,
				  err)) < 0 ||
	    (r = lsc_timer_new(sender->loop, on_due, sender, &sender->due_timer, err)) < 0 ||
	    (r = lsc_timer_new(sender->loop, cut_all, sender, &sender->grace_timer, err)) < 0 ||
	    (r = lsc_timer_new(sender->loop, on_say, sender, &sender->say_timer, err)) < 0)
		return r;
	return replay_http_new(&sender->http, sender->loop, job->server,
			       job->ask.chat ? "/chat/completions" : "/completions",
			       sender->max_at_once, &ops, err);
}

static void release(struct sender *sender)
{
	replay_calls_free(sender->active);
	replay_calls_free(sender->ending);
	replay_calls_free(sender->idle);
	replay_calls_free(sender->ready);
	replay_http_free(sender->http);
	lsc_timer_free(sender->due_timer);
	lsc_timer_free(sender->grace_timer);
	lsc_timer_free(sender->say_timer);
	lsc_loop_free(sender->loop);
}

int replay_sender_run(struct replay_job *job, struct lsc_err *err)
{
	struct sender sender = {.job = job, .err = err};
	int r = begin(&sender);

	if (r == 0)
		r = prepare(&sender);
	if (r == 0) {
		prctl(PR_SET_TIMERSLACK, TIMER_SLACK);
		sender.start_ns = lsc_clock_ns();
		lsc_timer_arm(sender.say_timer, SAY_NS);
		lsc_timer_arm(sender.due_timer, job->table->dues[0].at_ns);
		r = lsc_loop_run(sender.loop, err);
	}
	job->tally->per_word = job->gauge.per_word;
	release(&sender);
	return r;
}
