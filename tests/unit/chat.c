/* chat - families recognised by their published templates, and prompts word for word as these
 * templates write them */
#include "model/chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "tap.h"

/* What makes each template what it is; the rest of it (roles that must alternate, tools) is left
 * out here. */
static const char smollm[] =
	"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
	"'<|im_start|>system\\nYou are the keeper of a lighthouse, and you answer in few "
	"words<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + "
	"message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
	"'<|im_start|>assistant\\n' }}{% endif %}";
static const char qwen3[] =
	"{%- if tools %}{{- '<|im_start|>system\\n' }}{%- if messages[0].role == 'system' %}{{- "
	"messages[0].content + '\\n\\n' }}{%- endif %}{%- else %}{%- if messages[0].role == "
	"'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
	"{%- endif %}{%- endif %}";
static const char llama3[] =
	"{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
	"'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | "
	"trim + '<|eot_id|>' %}";
static const char llama2[] =
	"{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
	"message['content'] %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + "
	"content.strip() + ' [/INST]' }}";
static const char mistral[] = "{%- if loop.first and system_message is defined %}{{- ' [INST] ' + "
			      "system_message + '\\n\\n' + message['content'] + ' [/INST]' }}";
static const char mistral_v3[] =
	"{%- if loop.last and system_message is defined %}{{- \"[INST] \" + system_message + "
	"\"\\n\\n\" + message[\"content\"] + \"[/INST]\" }}";
static const char tekken[] =
	"{%- if loop.last and system_message is defined %}{{- \"[INST]\" + system_message + "
	"\"\\n\\n\" + message[\"content\"] + \"[/INST]\" }}";

static const struct lsc_chat_message one[] = {{"user", "Hi"}};
static const struct lsc_chat_message turns[] = {
	{"system", "S"}, {"user", "a"}, {"assistant", "b"}, {"user", "c"}};
static const struct lsc_chat_message spaces[] = {
	{"system", " S\n"}, {"user", "\n a \xc2\xa0"}, {"assistant", "\t"}, {"user", " c\xff "}};

#define H(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"

static const struct {
	const char *template_text, *family;
	const char *one, *turns, *spaces;
} cases[] = {
	{smollm, "chatml",
	 "<|im_start|>system\nYou are the keeper of a lighthouse, and you answer in few "
	 "words<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
	 "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n"
	 "<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
	 "<|im_start|>assistant\n",
	 "<|im_start|>system\n S\n<|im_end|>\n<|im_start|>user\n\n a \xc2\xa0<|im_end|>\n"
	 "<|im_start|>assistant\n\t<|im_end|>\n<|im_start|>user\n c\xff <|im_end|>\n"
	 "<|im_start|>assistant\n"},
	{qwen3, "chatml", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", NULL, NULL},
	{llama3, "llama3", H("user") "Hi<|eot_id|>" H("assistant"),
	 H("system") "S<|eot_id|>" H("user") "a<|eot_id|>" H("assistant") "b<|eot_id|>" H(
		 "user") "c<|eot_id|>" H("assistant"),
	 H("system") "S<|eot_id|>" H("user") "a<|eot_id|>" H("assistant") "<|eot_id|>" H(
		 "user") "c\xff<|eot_id|>" H("assistant")},
	{llama2, "llama2", "[INST] Hi [/INST]",
	 "[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST] b </s><s>[INST] c [/INST]",
	 "[INST] <<SYS>>\n S\n\n<</SYS>>\n\n\n a [/INST]  </s><s>[INST] c\xff [/INST]"},
	{mistral, "mistral", "[INST] Hi [/INST]", "[INST] S\n\na [/INST] b</s>[INST] c [/INST]",
	 "[INST]  S\n\n\n\n a \xc2\xa0 [/INST] \t</s>[INST]  c\xff  [/INST]"},
	{mistral_v3, "mistral-v3", "[INST] Hi[/INST]", "[INST] a[/INST] b</s>[INST] S\n\nc[/INST]",
	 "[INST] \n a \xc2\xa0[/INST] </s>[INST]  S\n\n\n c\xff [/INST]"},
	{tekken, "mistral-tekken", "[INST]Hi[/INST]", "[INST]a[/INST]b</s>[INST]S\n\nc[/INST]",
	 "[INST]\n a \xc2\xa0[/INST]\t</s>[INST] S\n\n\n c\xff [/INST]"},
};

static void renders(const struct lsc_chat *chat, const struct lsc_chat_message *messages, size_t n,
		    const char *want, const char *what)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf prompt = LSC_BUF_INIT;
	struct lsc_err err = LSC_ERR_INIT;

	if (!want)
		return;
	if (lsc_chat_render(chat, messages, n, &prompt, &err) < 0 ||
	    lsc_buf_add(&prompt, "", 1) < 0)
		ok(false, "%s: %s", what, err.text);
	else
		is_str((const char *)prompt.data, want, "%s: %s",
		       lsc_chat_family_name(chat->family), what);
}

static void test_families(void)
{
	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		LSC_CLEANUP(lsc_chat_release) struct lsc_chat chat = LSC_CHAT_INIT;
		struct lsc_err err = LSC_ERR_INIT;
		enum lsc_chat_family family;

		if (lsc_chat_recognise(&chat, cases[i].template_text, &err) < 0)
			ok(false, "recognise: %s", err.text);
		is_str(lsc_chat_family_name(chat.family), cases[i].family, "%s is recognised",
		       cases[i].family);
		ok(lsc_chat_family_parse(cases[i].family, &family) == 0 && family == chat.family,
		   "and comes back from its name");
		renders(&chat, one, LSC_ARRAY_SIZE(one), cases[i].one, "a question");
		renders(&chat, turns, LSC_ARRAY_SIZE(turns), cases[i].turns, "several turns");
		renders(&chat, spaces, LSC_ARRAY_SIZE(spaces), cases[i].spaces, "white space");
	}
}

static void test_none(void)
{
	static const char *const others[] = {NULL, "", "{{ messages[0].content }}",
					     "[SYSTEM_PROMPT]{{ system }}[/SYSTEM_PROMPT][INST]"};
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf prompt = LSC_BUF_INIT;
	struct lsc_err err = LSC_ERR_INIT;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(others); i++) {
		LSC_CLEANUP(lsc_chat_release) struct lsc_chat chat = LSC_CHAT_INIT;

		ok(lsc_chat_recognise(&chat, others[i], &err) == 0 &&
			   chat.family == LSC_CHAT_NONE &&
			   lsc_chat_render(&chat, one, 1, &prompt, &err) == -EOPNOTSUPP,
		   "another template is none of ours");
	}
}

int main(void)
{
	test_families();
	test_none();
	return done_testing();
}
