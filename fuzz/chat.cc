// Chat templates, by themselves and in a tokenizer_config.json (chat/chat_template.h).
#include "chat/chat_template.h"

#include <array>
#include <nlohmann/json.hpp>

#include "fuzz.h"

namespace watersic {
namespace {

// ChatML; Llama 3's, with its dates; and one that uses most of the language.
constexpr const char* kTemplates[] = {
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|im_start|>assistant\n' "
    "}}{% endif %}",
    "{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = "
    "strftime_now('%d %b %Y') %}{%- endif %}{%- if messages[0]['role'] == 'system' %}{%- set "
    "system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}{%- else "
    "%}{%- set system_message = '' %}{%- endif %}{{- '<|start_header_id|>system<|end_header_id|>' "
    "~ system_message ~ date_string }}{%- for message in messages %}{{- message.role | upper "
    "}}{%- endfor %}",
    "{% macro say(m, end='.') %}{{ m.content | replace('a', 'b') | trim ~ end }}{% endmacro %}"
    "{% set ns = namespace(n=0, seen=[]) %}{% for m in messages if m.role in ['user', 'tool'] %}"
    "{% set ns.n = ns.n + loop.index0 * 2 - 1 %}{{ say(m, '!' if loop.last else ';') }}"
    "{% if ns.n > 3 %}{% break %}{% elif not m.name %}{% continue %}{% endif %}{% else %}none"
    "{% endfor %}{{ range(3) | list | length }}{{ {'k': [1, none, 2.5]} | tojson }}"
    "{{ 'x,y'.split(',') | join('-') }}{% if messages is iterable and messages | length % 2 %}"
    "{{ raise_exception('odd') if ns.n < 0 else 'even' }}{% endif %}{# said #}",
};

}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (const char* source : kTemplates) {
    seeds.emplace_back(source);
    seeds.push_back(
        Json(
            {{"chat_template", source}, {"bos_token", {{"content", "<s>"}}}, {"eos_token", "</s>"}})
            .dump());
  }
  return seeds;
}

// What begins with a brace and a quote is the configuration, all else a template.
void fuzz_input(const std::string& input) {
  const bool config = input.starts_with("{\"");
  const auto found = ChatTemplate::find({.config = config ? input : "",
                                         .special_tokens_map = config ? input : "",
                                         .jinja = config ? "" : input},
                                        "model");
  if (!found) return;
  const std::array<ChatMessage, 3> messages = {
      ChatMessage{"system", "Be brief."}, {"user", "What is a sea?"}, {"assistant", "Water."}};
  for (const size_t count : {size_t{3}, size_t{0}}) {
    try {
      found->render(std::span(messages).first(count), true, 1700000000);
    } catch (const Error&) {
      // Other messages may do.
    }
  }
}

std::string fuzz_mutate(const std::string& input, Rng& rng) {
  if (input.starts_with("{\"") && rng.below(2) == 0) return mutate_json(input, rng);
  if (rng.below(3) == 0) return mutate_bytes(input, rng);
  // A word of the language, somewhere.
  static constexpr const char* kWords[] = {"{{",        "}}",
                                           "{%",        "%}",
                                           "{#",        "(",
                                           ")",         "[",
                                           "]",         "{",
                                           "}",         "'",
                                           "~",         "+",
                                           "*",         "//",
                                           "%",         "|",
                                           ".",         ":",
                                           "not ",      " in ",
                                           " is ",      " and ",
                                           " or ",      " if ",
                                           " else ",    "for ",
                                           "set ",      "endfor",
                                           "endif",     "macro ",
                                           "range(9",   "loop.",
                                           "ns.n",      "none",
                                           "messages",  "|join",
                                           "|tojson",   "|list",
                                           "|length",   "[::-1]",
                                           "[-1]",      "9999999999",
                                           "1.5",       "strftime_now('%c')",
                                           "namespace("};
  std::string out = input;
  const size_t at = rng.below(out.size() + 1);
  const char* word = kWords[rng.below(std::size(kWords))];
  if (rng.below(2) == 0) return out.insert(at, word);
  return out.replace(at, rng.below(8), word);
}

}  // namespace watersic
