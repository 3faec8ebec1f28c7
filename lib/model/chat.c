/* chat - families of chat prompts */
#include "model/chat.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "model/utf8.h"

static const char *const family_names[] = {
	[LSC_CHAT_NONE] = "none",
	[LSC_CHAT_CHATML] = "chatml",
	[LSC_CHAT_LLAMA2] = "llama2",
	[LSC_CHAT_LLAMA3] = "llama3",
	[LSC_CHAT_MISTRAL] = "mistral",
	[LSC_CHAT_MISTRAL_V3] = "mistral-v3",
	[LSC_CHAT_MISTRAL_TEKKEN] = "mistral-tekken",
};

void lsc_chat_release(struct lsc_chat *chat)
{
	free(chat->system);
	*chat = (struct lsc_chat)LSC_CHAT_INIT;
}

const char *lsc_chat_family_name(enum lsc_chat_family family)
{
	return family_names[family];
}

int lsc_chat_family_parse(const char *name, enum lsc_chat_family *ret_family)
{
	for (unsigned i = 0; i < LSC_ARRAY_SIZE(family_names); i++) {
		if (!strcmp(name, family_names[i])) {
			*ret_family = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* --- recognising a template --- */

/* The text of the conversation a template opens with when there is no system message: what it
 * writes, word for word, between these two marks.  A template's string literals have their line
 * ends as "\n"; what holds a brace or a quote is program, not text. */
static int find_system(const char *text, const char *open, const char *close, char **ret_system)
{
	const char *start = text, *end;

	while ((start = strstr(start, open))) {
		start += strlen(open);
		if (start[0] == '\\' && start[1] == 'n')
			start += 2;
		else if (start[0] == '\n')
			start++;
		end = strstr(start, close);
		if (!end)
			return 0;
		if (end > start && end - start < 4096 &&
		    strcspn(start, "{}'\"+\\") >= (size_t)(end - start)) {
			*ret_system = strndup(start, (size_t)(end - start));
			return *ret_system ? 0 : -ENOMEM;
		}
	}
	return 0;
}

/* Mistral's three: the marks are ordinary text with spaces around them, or tokens that keep the
 * space behind, or tokens that stand alone.  Later ones have tokens for the system text as well,
 * and are none of ours. */
static enum lsc_chat_family inst_family(const char *text)
{
	if (strstr(text, "<<SYS>>"))
		return LSC_CHAT_LLAMA2;
	if (strstr(text, "[SYSTEM_PROMPT]"))
		return LSC_CHAT_NONE;
	if (strstr(text, "\"[INST]\"") || strstr(text, "'[INST]'"))
		return LSC_CHAT_MISTRAL_TEKKEN;
	return strstr(text, " [/INST]") ? LSC_CHAT_MISTRAL : LSC_CHAT_MISTRAL_V3;
}

int lsc_chat_recognise(struct lsc_chat *chat, const char *template_text, struct lsc_err *err)
{
	int r = 0;

	*chat = (struct lsc_chat)LSC_CHAT_INIT;
	if (!template_text)
		return 0;
	if (strstr(template_text, "<|im_start|>")) {
		chat->family = LSC_CHAT_CHATML;
		r = find_system(template_text, "<|im_start|>system", "<|im_end|>", &chat->system);
	} else if (strstr(template_text, "<|start_header_id|>")) {
		chat->family = LSC_CHAT_LLAMA3;
	} else if (strstr(template_text, "[INST]")) {
		chat->family = inst_family(template_text);
	}
	return r < 0 ? lsc_err_set(err, -r, "cannot read the chat template: %m") : 0;
}

/* --- rendering --- */

static bool is_role(const struct lsc_chat_message *message, const char *role)
{
	return !strcmp(message->role, role);
}

static int add3(struct lsc_buf *prompt, const char *a, const char *b, const char *c)
{
	int r = lsc_buf_add_str(prompt, a);

	if (r == 0)
		r = lsc_buf_add_str(prompt, b);
	return r < 0 ? r : lsc_buf_add_str(prompt, c);
}

/* White space as the templates' own "trim" has it, which is Python's. */
static bool is_space(uint32_t cp)
{
	return (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x20) || cp == 0x85 ||
	       cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
	       cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

/* Adds text without the white space at its end and, where both is set, at its start. */
static int add_trimmed(struct lsc_buf *prompt, const char *text, bool both)
{
	size_t len = strlen(text), start = 0, end = 0;
	bool inside = !both;

	for (size_t at = 0; at < len;) {
		uint32_t cp = 0;
		int n = lsc_utf8_next((const uint8_t *)text + at, len - at, &cp);
		bool space = n > 0 && is_space(cp);

		if (!inside && !space) {
			inside = true;
			start = at;
		}
		at += n > 0 ? n : 1;
		if (!space)
			end = at;
	}
	return end > start ? lsc_buf_add(prompt, text + start, end - start) : 0;
}

static int render_chatml(struct lsc_buf *prompt, const struct lsc_chat_message *messages, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = add3(prompt, "<|im_start|>", messages[i].role, "\n");
		if (r == 0)
			r = add3(prompt, messages[i].content, "<|im_end|>\n", "");
	}
	return r < 0 ? r : lsc_buf_add_str(prompt, "<|im_start|>assistant\n");
}

static int render_llama3(struct lsc_buf *prompt, const struct lsc_chat_message *messages, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = add3(prompt, "<|start_header_id|>", messages[i].role, "<|end_header_id|>\n\n");
		if (r == 0)
			r = add_trimmed(prompt, messages[i].content, true);
		if (r == 0)
			r = lsc_buf_add_str(prompt, "<|eot_id|>");
	}
	return r < 0 ? r
		     : lsc_buf_add_str(prompt, "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

/* Llama 2 puts the system text inside the first question.  Turns after the first open with the
 * BOS, written out. */
static int render_llama2(struct lsc_buf *prompt, const struct lsc_chat_message *messages, size_t n)
{
	const char *system = NULL;
	bool first = true;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *content = messages[i].content;

		if (is_role(&messages[i], "system")) {
			system = content;
			continue;
		}
		if (is_role(&messages[i], "assistant")) {
			r = lsc_buf_add_str(prompt, " ");
			if (r == 0)
				r = add_trimmed(prompt, content, true);
			if (r == 0)
				r = lsc_buf_add_str(prompt, " </s>");
			continue;
		}
		r = lsc_buf_add_str(prompt, first ? "[INST] " : "<s>[INST] ");
		if (r == 0 && system)
			r = add3(prompt, "<<SYS>>\n", system, "\n<</SYS>>\n\n");
		if (r == 0) /* what is trimmed begins with the system text, if there is any */
			r = add_trimmed(prompt, content, !system);
		if (r == 0)
			r = lsc_buf_add_str(prompt, " [/INST]");
		system = NULL;
		first = false;
	}
	return r;
}

static size_t last_question(const struct lsc_chat_message *messages, size_t n)
{
	while (n > 0 &&
	       (is_role(&messages[n - 1], "system") || is_role(&messages[n - 1], "assistant")))
		n--;
	return n - 1;
}

/* Mistral's system text goes before the question that follows it, later before the last one. */
static int render_mistral(enum lsc_chat_family family, struct lsc_buf *prompt,
			  const struct lsc_chat_message *messages, size_t n)
{
	const char *open = family == LSC_CHAT_MISTRAL_TEKKEN ? "[INST]" : "[INST] ";
	const char *close = family == LSC_CHAT_MISTRAL ? " [/INST]" : "[/INST]";
	size_t last = last_question(messages, n);
	const char *system = NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *content = messages[i].content;

		if (is_role(&messages[i], "system")) {
			system = content;
		} else if (is_role(&messages[i], "assistant")) {
			r = lsc_buf_add_str(prompt, family == LSC_CHAT_MISTRAL_TEKKEN ? "" : " ");
			if (r == 0 && family == LSC_CHAT_MISTRAL_V3)
				r = add_trimmed(prompt, content, true);
			else if (r == 0)
				r = lsc_buf_add_str(prompt, content);
			if (r == 0)
				r = lsc_buf_add_str(prompt, "</s>");
		} else {
			r = lsc_buf_add_str(prompt, open);
			if (r == 0 && system && (family == LSC_CHAT_MISTRAL || i == last)) {
				r = add3(prompt, system, "\n\n", "");
				system = NULL;
			}
			if (r == 0)
				r = add3(prompt, content, close, "");
		}
	}
	return r;
}

int lsc_chat_render(const struct lsc_chat *chat, const struct lsc_chat_message *messages, size_t n,
		    struct lsc_buf *prompt, struct lsc_err *err)
{
	int r = 0;

	if (chat->family == LSC_CHAT_NONE)
		return lsc_err_set(err, EOPNOTSUPP, "the model has no chat template we know");
	if (chat->family == LSC_CHAT_CHATML && chat->system &&
	    (n == 0 || !is_role(&messages[0], "system"))) {
		r = add3(prompt, "<|im_start|>system\n", chat->system, "<|im_end|>\n");
	}
	if (r == 0 && chat->family == LSC_CHAT_CHATML)
		r = render_chatml(prompt, messages, n);
	else if (r == 0 && chat->family == LSC_CHAT_LLAMA3)
		r = render_llama3(prompt, messages, n);
	else if (r == 0 && chat->family == LSC_CHAT_LLAMA2)
		r = render_llama2(prompt, messages, n);
	else if (r == 0)
		r = render_mistral(chat->family, prompt, messages, n);
	return r < 0 ? lsc_err_set(err, -r, "cannot write the prompt: %m") : 0;
}
