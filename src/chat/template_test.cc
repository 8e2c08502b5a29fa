// The language of templates. What is expected is what Jinja 3.1 gives with Hugging Face's settings.
#include "chat/template.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "watersic/error.h"

namespace watersic::jinja {
namespace {

constexpr std::time_t kNow = 1'700'000'000;  // in November 2023, wherever one is

std::string rendered(const std::string& source, const std::string& variables = "{}") {
  return Template(source, "t").render(Value::parse(variables), kNow);
}
std::string error_of(const std::string& source) {
  try {
    rendered(source);
  } catch (const Error& e) {
    return e.what();
  }
  return "none";
}

std::string repeated(const std::string& part, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += part;
  return all;
}

TEST(JinjaTemplate, Expressions) {
  const std::string variables =
      R"({"x": [1, 2.5, "a\"b", "it's", true, null, {"k": [1], "u": "é"}], "s": "äöü"})";
  for (const auto& [source, expected] : std::vector<std::pair<std::string, std::string>>{
           {"x", R"([1, 2.5, 'a"b', "it's", True, None, {'k': [1], 'u': 'é'}])"},
           {"x|tojson", R"([1, 2.5, "a\"b", "it's", true, null, {"k": [1], "u": "é"}])"},
           {"x[:2]|tojson(indent=2)", "[\n  1,\n  2.5\n]"},
           {"{}|tojson(indent=2) ~ []|tojson", "{}[]"},
           {"7 // 2 ~ ' ' ~ -7 // 2 ~ ' ' ~ -7 % 3 ~ ' ' ~ 7 / 2", "3 -4 2 3.5"},
           {"1 + 2 * 3 - 4", "3"},
           {"(1 + 2) * 3.0", "9.0"},
           {"2 * 'ab' ~ 'c' * 0", "abab"},
           {"[1] + [2]", "[1, 2]"},
           {"1 in [1.0] and 'a' not in 'xyz' and 'k' in {'k': 0}", "True"},
           {"1 == 1.0 and [1, {'a': 2}] == [1, {'a': 2}] and 'a' != 1", "True"},
           {"2 < 3 and 3 >= 3 and 'b' > 'a' and not 1 > 2", "True"},
           {"not true and false or 'or'", "or"},
           {"'' or none", "None"},
           {"'a' if false", ""},
           {"'a' if 0 else 'b' if [] else 'c'", "c"},
           {"s[0] ~ s[-1] ~ s[1:] ~ s[::-1] ~ s[5]", "äüöüüöä"},
           {"[1, 2, 3, 4][1:-1] ~ [1, 2, 3][::2] ~ [1, 2, 3][-2:] ~ [1, 2][9:]",
            "[2, 3][1, 3][2, 3][]"},
           {"s|length ~ x|length ~ x[6]|length ~ missing|length", "3720"},
           {"{'a': {'b': 3}}.a.b ~ {'a': 1}['a'] ~ [[5]].0[0]", "315"},
           {"missing ~ missing.x|default('y') if missing is defined else missing", ""},
           {R"("it" 's' ~ '\t\x41\u00e9\\' ~ "\d")", "its\tAé\\\\d"},
           {"{'a': 1}|length if false else (1, 2)|length", "2"},
           {"[1, 2,][1] ~ {'a': 1,}.a ~ (3,)[0]", "213"},
       }) {
    EXPECT_EQ(rendered("{{ " + source + " }}", variables), expected) << source;
  }
}

TEST(JinjaTemplate, MethodsFiltersAndTests) {
  for (const auto& [source, expected] : std::vector<std::pair<std::string, std::string>>{
           {"' \\n\\u3000a b '.strip() ~ '|' ~ ' a '.lstrip() ~ '|' ~ 'xxaxx'.rstrip('x')",
            "a b|a |xxa"},
           {"' a b  c '.split()", "['a', 'b', 'c']"},
           {"' a b  c '.split(none, 1)", "['a', 'b  c ']"},
           {"'a,b,c'.split(',', 1) ~ 'x'.split('--')", "['a', 'b,c']['x']"},
           {"'</think>\\n\\nb'.split('</think>')[-1].lstrip('\\n')", "b"},
           {"'AbC'.lower().startswith(('x', 'ab')) ~ 'AbC'.endswith('C')", "TrueTrue"},
           {"'aé b'.upper() ~ 'AÉ'.lower() ~ 'ab CD'.title() ~ 'ab CD'.capitalize()",
            "AÉ BaéAb CdAb cd"},
           {"'aXbXc'.replace('X', '-', 1) ~ 'aXb'|replace('X', '')", "a-bXcab"},
           {"{'a': 1, 'b': 2}.items()|map('last')|list ~ {'a': 1}.keys()|list", "[1, 2]['a']"},
           {"{'a': 1}.get('a') ~ {'a': 1}.get('b') ~ {'a': 1}.get('b', 'c')", "1Nonec"},
           {"' a '|trim ~ '[' ~ missing|trim ~ ']'", "a[]"},
           {"missing|default('d') ~ ''|default('e') ~ ''|d('f', true)", "df"},
           {"[1, 'b', none]|join('-') ~ 'ab'|join(',')", "1-b-Nonea,b"},
           {"[3, 1]|first ~ [3, 1]|last ~ 'xyz'|last ~ []|first", "31z"},
           {"'12'|int ~ 'x'|int ~ '1.9'|int ~ 3.7|int ~ '2'|float ~ (-2)|abs", "120132.02"},
           {"[{'r': 'u'}, {'r': 'a'}]|selectattr('r', 'equalto', 'u')|list|length", "1"},
           {"[{'r': 'u'}, {'r': 'a'}]|rejectattr('r', 'in', ['u'])|map(attribute='r')|join", "a"},
           {"[0, 1, none, 2]|select|list ~ [1, 2, 3]|reject('odd')|list", "[1, 2][2]"},
           {"['a', 'b']|map('upper')|list ~ [1, 2]|reverse|list", "['A', 'B'][2, 1]"},
           {"none is none and 'a' is string and {} is mapping and [] is iterable", "True"},
           {"'a' is sequence and true is true and 1 is not true and 1 is number", "True"},
           {"1 is integer and 1.0 is float and 5 is odd and 4 is even and 6 is divisibleby 3",
            "True"},
           {"x is defined ~ x is not defined ~ range is defined", "FalseTrueTrue"},
           {"x is undefined or x.y", "True"},
           {"2 is eq 2 and 2 is in [1, 2] and 'a' is ne('b')", "True"},
           {"range(3)|list ~ range(5, 1, -2)|list", "[0, 1, 2][5, 3]"},
           {"dict(a=1, b='c')", "{'a': 1, 'b': 'c'}"},
           {"strftime_now('%Y-%m')", "2023-11"},
       }) {
    EXPECT_EQ(rendered("{{ " + source + " }}"), expected) << source;
  }
}

TEST(JinjaTemplate, Statements) {
  EXPECT_EQ(rendered("{% if x %}a{% elif y %}b{% else %}c{% endif %}", R"({"y": 1})"), "b");
  EXPECT_EQ(rendered("{% if x %}a{% elif y %}b{% else %}c{% endif %}"), "c");
  EXPECT_EQ(rendered("{% for i in [1, 2, 3, 4] if i != 2 %}{{ loop.index }}{{ loop.index0 }}"
                     "{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ i }}"
                     "{{ loop.previtem }}{{ loop.nextitem }},{% endfor %}"),
            "103TrueFalse313,212FalseFalse3314,321FalseTrue343,");
  EXPECT_EQ(rendered("{% for k, v in {'a': 1}.items() %}{{ k }}={{ v }}{% endfor %}"), "a=1");
  EXPECT_EQ(rendered("{% for x in [] %}x{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(rendered("{% for x in missing %}x{% endfor %}{% for x in 'ab' %}{{ x }}.{% endfor %}"),
            "a.b.");
  EXPECT_EQ(rendered("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
                     "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}"),
            "023");
  // What is set in a loop is gone behind it, but for a namespace's fields.
  EXPECT_EQ(rendered("{% set n = 1 %}{% set ns = namespace(n=1) %}{% for i in [5] %}"
                     "{% set n = i %}{% set ns.n = i %}{{ n }}{% endfor %}{{ n }}{{ ns.n }}"),
            "515");
  EXPECT_EQ(rendered("{% if true %}{% set n = 2 %}{% endif %}{{ n }}"), "2");
  EXPECT_EQ(rendered("{% set a, b = 1, 'x' %}{{ b }}{{ a }}"), "x1");
  EXPECT_EQ(rendered("{% set text %}[{{ 1 }}]{% endset %}{{ text|length }}{{ text }}"), "3[1]");
  EXPECT_EQ(rendered("{% macro tag(a, b='!') %}<{{ a }}{{ b }}{{ c }}>{% endmacro %}"
                     "{{ tag('x') }}{{ tag(b='?', a='y')|upper }}{% for c in [1] %}{{ tag(c) }}"
                     "{% endfor %}"),
            "<x!><Y?><1!>");
  EXPECT_EQ(rendered("{% generation %}a{{ 1 }}{% endgeneration %}b"), "a1b");
  EXPECT_EQ(rendered("a{# {{ no }} #}b"), "ab");
  EXPECT_EQ(
      rendered("{% for x in [1, 2] %}{{ loop }}{% endfor %}"),
      "{'index': 1, 'index0': 0, 'revindex': 2, 'revindex0': 1, 'first': True, 'last': False, "
      "'length': 2, 'nextitem': 2}{'index': 2, 'index0': 1, 'revindex': 1, 'revindex0': 0, "
      "'first': False, 'last': True, 'length': 2, 'previtem': 1}");
  EXPECT_EQ(rendered("{% for x in [1, 2] %}{% set outer = loop %}{% for y in 'ab' %}"
                     "{{ outer.index }}{{ loop.index0 }} {% endfor %}{% endfor %}"),
            "10 11 20 21 ");
  // What a macro sets while the value before it is held.
  EXPECT_EQ(
      rendered("{% set n = namespace(x='a') %}{% macro m() %}{% set n.x = 'bbbbbbbbbbbbbbbbbbbbbb' "
               "%}c{% endmacro %}{{ n.x ~ m() ~ n.x }}"),
      "acbbbbbbbbbbbbbbbbbbbbbb");
}

// A long talk is no attack.
TEST(JinjaTemplate, ALongTalk) {
  Value messages = Value::array();
  for (int i = 0; i < 2000; ++i)
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"},
                        {"content", repeated("All happy families are alike. ", 30)}});
  const std::string source =
      "{% for message in messages %}{% if loop.index0 > 0 and messages[loop.index0 - 1].role == "
      "message.role %}{{ raise_exception('alternate') }}{% endif %}{% if '</think>' in "
      "message.content %}{% set content = message.content.split('</think>')[-1] %}{% else %}"
      "{% set content = message['content'] | trim %}{% endif %}"
      "{{ '<|' + message.role + '|>' + content }}{% if not loop.last %}|{% endif %}{% endfor %}";
  EXPECT_GT(Template(source, "t").render({{"messages", messages}}, 0).size(), 1'800'000U);
}

TEST(JinjaTemplate, WhiteSpace) {
  for (const auto& [source, expected] : std::vector<std::pair<std::string, std::string>>{
           {"a\n", "a"},  // the last line feed
           {"a\n\n", "a\n"},
           {"a\r\nb\r\n", "a\nb"},
           {"a {{ 1 }} b", "a 1 b"},
           {"a {{- 1 -}} b", "a1b"},
           {"a\n  {{ 1 }}\nb", "a\n  1\nb"},
           {"a\n  {%- if true -%}\n  b{% endif %}", "ab"},
           {"a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"},  // nothing of the lines is left
           {"a\n  {% if true %}\n\nb{% endif %}", "a\n\nb"},
           {"a  {% if true %}  b{% endif %}", "a    b"},
           {"  {% if true %}b{% endif %}", "b"},
           {"  {%+ if true %}b{% endif %}", "  b"},
           {"a{% if true +%}\nb{% endif %}", "a\nb"},
           {"a\n  {# c #}\nb", "a\nb"},
           {"a\n {#- c -#} \n b", "ab"},
           {"{% if true %}\n  {% if true %}\n  x\n  {% endif %}\n{% endif %}\ny", "  x\ny"},
           {"{{ 1 }}  {% if true %}b{% endif %}", "1  b"},
           {"{{ {'a': {'b': 1}} }}", "{'a': {'b': 1}}"},
           {"{ a } %} {{ '}}' }} {{ '%}' }}", "{ a } %} }} %}"},
       }) {
    EXPECT_EQ(rendered(source), expected) << source;
  }
}

// A value that is twice as large with every round.
std::string doubling(const std::string& first, const std::string& next) {
  return "{% set n = namespace(t=" + first +
         ") %}{% for i in range(90) %}{% set t = n.t %}{% set n.t = " + next + " %}{% endfor %}";
}
// Something that goes over a long list or text in every round.
std::string scanning(const std::string& what) {
  return "{% set l = range(100000) %}{% set t = 'a b ' * 100000 %}{% for i in range(90000) %}"
         "{% set x = " +
         what + " %}{% endfor %}";
}

TEST(JinjaTemplate, WhatIsWrongOrNotImplementedIsNamed) {
  for (const auto& [source, part] : std::vector<std::pair<std::string, std::string>>{
           {"\n\n{{ 1 +", "t: line 3: expected }}"},
           {"\n{{ 1 + }}", "t: line 2: expected an expression, found '}}'"},
           {"{% if x %}", "'endif'"},
           {"{% endif %}", "'endif'"},
           {"{% for x %}{% endfor %}", "'in'"},
           {"a\n{% include 'b' %}", "t: line 2: the statement 'include'"},
           {"{% call f() %}{% endcall %}", "'call'"},
           {"{% for x in y recursive %}{% endfor %}", "recursive"},
           {"{{ x.y }}", "'x' of which 'y' is asked"},
           {"{{ x.y.z }}", "'x' of which 'y' is asked"},
           {"{{ x['y'] }}", "'x' of which 'y' is asked"},
           {"{{ 'abc", "string"},
           {"{{ 1 $ 2 }}", "'$'"},
           {"{{ f(1) }}", "the function 'f'"},
           {"{{ x|sort }}", "the filter 'sort'"},
           {"{{ x is callable }}", "the test 'callable'"},
           {"{{ [].append(1) }}", "the method 'append' of a list"},
           {"{{ x|tojson(sort_keys=true) }}", "sort_keys"},
           {"{{ 3 ** 2 }}", "'**'"},
           {"{{ 1 < 2 < 3 }}", "chains"},
           {"{{ 'a' + 1 }}", "a text and a number"},
           {"{{ 1 / 0 }}", "division by zero"},
           {"{{ 9223372036854775807 + 1 }}", "too large"},
           {"{{ 99999999999999999999 }}", "too large"},
           {"{{ 'a' * 9000000000 }}", "too long"},
           {"{{ [{'a': 1, 'b': 2}] * 2097152 }}", "too long"},
           {"{{ range(100000000) }}", "'range'"},
           {"{# open", "#}"},
           {"{{ '\xEB' }}", "expected UTF-8, found the byte 0xeb at offset 4"},
           {"{% set x.y = 1 %}", "namespace"},
           {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "macros"},
           {"{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
            "takes too"},
           {"{{ " + std::string(1000, '(') + "1" + std::string(1000, ')') + " }}", "levels"},
           {"{% for i in range(99999) %}{% for j in [0, 1, 2, 3, 4, 5, 6, 7] %}{% endfor %}{% "
            "endfor %}",
            "takes too"},
           {"{{ raise_exception('Roles must alternate') }}", "refuses: Roles must alternate"},
           {"{{ " + repeated("1 + ", 30000) + "1 }}", "levels"},
           {"{{ x" + repeated(".y", 30000) + " }}", "levels"},
           {"{{ 'x'" + repeated(" | upper", 30000) + " }}", "levels"},
           {"{{ x" + repeated(" if x", 30000) + " }}", "levels"},
           {doubling("'abcdefgh'", "t ~ t"), "too much"},
           {doubling("[1]", "t + t"), "too much"},
           {doubling("[1]", "[t, t]"), "too much"},
           {doubling("{}", "{'a': t, 'b': t}"), "too much"},
           {doubling("'a'", "t|replace('a', 'aa')"), "too much"},
           {"{% set n = namespace(x=[1]) %}{% for i in range(1000) %}{% set n.x = [n.x] %}{% "
            "endfor %}",
            "nested too deeply"},
           {scanning("'no' in l"), "too much"},
           {scanning("l[1:]"), "too much"},
           {scanning("l|select('number')|list"), "too much"},
           {scanning("t.split()"), "too much"},
           {"{% for i in range(90000) %}{% for c in 'abcdefgh' * 100000 %}{% endfor %}{% endfor %}",
            "too "},
       }) {
    const std::string error = error_of(source);
    EXPECT_EQ(error.rfind("t: ", 0), 0U) << source << ": " << error;
    EXPECT_NE(error.find(part), std::string::npos) << source << ": " << error;
  }
}

// What a user types may be any bytes.
TEST(Template, MessagesThatAreNotUtf8AreShownInJson) {
  EXPECT_EQ(Template("{{ {'k': m} | tojson }}", "t").render({{"m", "a\xEB"}}, 0),
            "{\"k\": \"a\uFFFD\"}");
}

}  // namespace
}  // namespace watersic::jinja
