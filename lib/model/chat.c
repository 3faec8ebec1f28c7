/* chat - families of chat prompts */
#include "model/chat.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

static const char *const family_names[] = {
	[LSC_CHAT_NONE] = "none",     [LSC_CHAT_CHATML] = "chatml",   [LSC_CHAT_LLAMA2] = "llama2",
	[LSC_CHAT_LLAMA3] = "llama3", [LSC_CHAT_MISTRAL] = "mistral",
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
	} else if (strstr(template_text, "[INST]") && strstr(template_text, "<<SYS>>")) {
		chat->family = LSC_CHAT_LLAMA2;
	} else if (strstr(template_text, "[INST]")) {
		chat->family = LSC_CHAT_MISTRAL;
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
			r = add3(prompt, messages[i].content, "<|eot_id|>", "");
	}
	return r < 0 ? r
		     : lsc_buf_add_str(prompt, "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

/* Llama 2 and Mistral: the system text goes inside the first question.  Turns after the first
 * open with the BOS, written out. */
static int render_inst(bool llama2, struct lsc_buf *prompt, const struct lsc_chat_message *messages,
		       size_t n)
{
	const char *system = NULL;
	bool first = true;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *content = messages[i].content;

		if (is_role(&messages[i], "system")) {
			system = content;
		} else if (is_role(&messages[i], "assistant")) {
			r = add3(prompt, " ", content, llama2 ? " </s>" : "</s>");
		} else {
			r = lsc_buf_add_str(prompt, first || !llama2 ? "[INST] " : "<s>[INST] ");
			if (r == 0 && system)
				r = add3(prompt, llama2 ? "<<SYS>>\n" : "", system,
					 llama2 ? "\n<</SYS>>\n\n" : "\n\n");
			if (r == 0)
				r = add3(prompt, content, " [/INST]", "");
			system = NULL;
			first = false;
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
	else if (r == 0)
		r = render_inst(chat->family == LSC_CHAT_LLAMA2, prompt, messages, n);
	return r < 0 ? lsc_err_set(err, -r, "cannot write the prompt: %m") : 0;
}
