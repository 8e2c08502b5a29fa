#include "chat/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <optional>

#include "chat/lexer.h"

namespace watersic::jinja {
namespace {

constexpr int kMaxDepth = 200;  // of expressions and statements inside each other
constexpr int kMaxExpressionDepth = 400;

class Parser {
  using Kind = Expression::Kind;

 public:
  Parser(std::string_view source, const std::string& name)
      : name_(name), tokens_(tokens_of(source, name)) {}

  std::vector<Statement> run() {
    std::vector<Statement> statements = body({});
    if (token().kind != Token::Kind::kEnd) fail_here("the end of the template");
    return statements;
  }

 private:
  // Counts how deep the parser is.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxDepth)
        fail(parser_.name_, parser_.token().line,
             fmt::format("expected at most {} levels, found more", kMaxDepth));
    }
    ~Level() { --parser_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser& parser_;
  };

  const Token& token(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  bool is(std::string_view text, size_t ahead = 0) const {
    const Token& t = token(ahead);
    return (t.kind == Token::Kind::kOperator || t.kind == Token::Kind::kName) && t.text == text;
  }
  bool take(std::string_view text) {
    if (!is(text)) return false;
    ++at_;
    return true;
  }
  void expect(std::string_view text) {
    if (!take(text)) fail_here(fmt::format("'{}'", text));
  }
  void expect(Token::Kind kind, const char* what) {
    if (token().kind != kind) fail_here(what);
    ++at_;
  }
  std::string identifier() {
    if (token().kind != Token::Kind::kName) fail_here("a name");
    return tokens_[at_++].text;
  }
  [[noreturn]] void fail_here(const std::string& expected) const {
    const Token& t = token();
    std::string found = fmt::format("'{}'", t.text);
    if (t.kind == Token::Kind::kEnd) found = "the end";
    if (t.kind == Token::Kind::kStatementEnd) found = "'%}'";
    if (t.kind == Token::Kind::kPrintEnd) found = "'}}'";
    fail(name_, t.line, fmt::format("expected {}, found {}", expected, found));
  }

  // Statements up to one of `ends`, of which "{%" and the name are consumed; or to the end of the
  // template, if `ends` is empty.
  std::vector<Statement> body(std::initializer_list<std::string_view> ends) {
    const Level level(*this);
    std::vector<Statement> statements;
    for (;;) {
      const Token& t = token();
      Statement statement{.line = t.line};
      if (t.kind == Token::Kind::kEnd) {
        if (ends.size() > 0) fail_here(fmt::format("'{}'", *(ends.end() - 1)));
        return statements;
      }
      ++at_;
      if (t.kind == Token::Kind::kText) {
        statement.text = t.text;
      } else if (t.kind == Token::Kind::kPrintBegin) {
        statement.kind = Statement::Kind::kPrint;
        statement.expressions.push_back(expression());
        expect(Token::Kind::kPrintEnd, "'}}'");
      } else {
        for (const std::string_view end : ends)
          if (take(end)) return statements;
        parse_statement(statement);
      }
      statements.push_back(std::move(statement));
    }
  }
  void end_statement() { expect(Token::Kind::kStatementEnd, "'%}'"); }

  void parse_statement(Statement& out) {
    const Token& keyword = token();
    const std::string name = identifier();
    if (name == "if") {
      parse_if(out);
    } else if (name == "for") {
      parse_for(out);
    } else if (name == "set") {
      parse_set(out);
    } else if (name == "macro") {
      parse_macro(out);
    } else if (name == "break" || name == "continue") {
      out.kind = name == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue;
      end_statement();
    } else if (name == "generation") {
      // Marks, for training, what the assistant said.
      out.kind = Statement::Kind::kGroup;
      end_statement();
      out.body = body({"endgeneration"});
      end_statement();
    } else {
      fail(name_, keyword.line, fmt::format("the statement '{}' is not implemented", name));
    }
  }

  // Behind "if" or "elif".
  void parse_if(Statement& out) {
    const Level level(*this);
    out.kind = Statement::Kind::kIf;
    out.expressions.push_back(expression());
    end_statement();
    out.body = body({"elif", "else", "endif"});
    const Token& end = tokens_[at_ - 1];
    if (end.text == "elif") {
      out.otherwise.push_back({.line = end.line});
      parse_if(out.otherwise.back());
      return;
    }
    end_statement();
    if (end.text == "endif") return;
    out.otherwise = body({"endif"});
    end_statement();
  }

  std::vector<std::string> names() {
    const bool parentheses = take("(");
    std::vector<std::string> list{identifier()};
    while (take(",")) list.push_back(identifier());
    if (parentheses) expect(")");
    return list;
  }

  void parse_for(Statement& out) {
    out.kind = Statement::Kind::kFor;
    out.names = names();
    expect("in");
    out.expressions.push_back(tuple(false));
    if (take("if")) out.expressions.push_back(expression());
    if (is("recursive")) fail(name_, token().line, "recursive loops are not implemented");
    end_statement();
    out.body = body({"else", "endfor"});
    const bool has_else = tokens_[at_ - 1].text == "else";
    end_statement();
    if (!has_else) return;
    out.otherwise = body({"endfor"});
    end_statement();
  }

  void parse_set(Statement& out) {
    out.kind = Statement::Kind::kSet;
    out.names = names();
    if (out.names.size() == 1 && take(".")) out.text = identifier();
    if (take("=")) {
      out.expressions.push_back(tuple(true));
      end_statement();
      return;
    }
    if (is("|")) fail(name_, token().line, "filters of set blocks are not implemented");
    end_statement();
    out.body = body({"endset"});
    end_statement();
  }

  void parse_macro(Statement& out) {
    out.kind = Statement::Kind::kMacro;
    out.text = identifier();
    expect("(");
    while (!take(")")) {
      if (!out.names.empty()) expect(",");
      if (take(")")) break;
      out.names.push_back(identifier());
      if (take("=")) {
        out.expressions.push_back(expression());
      } else if (!out.expressions.empty()) {
        fail_here("a default, as of the parameter before");
      }
    }
    end_statement();
    out.body = body({"endmacro"});
    end_statement();
  }

  static Expression make(Kind kind, int line, std::string name) {
    return {.kind = kind, .line = line, .calls = kind == Kind::kCall, .name = std::move(name)};
  }
  Expression make(Kind kind, int line, std::string name, Expression first) const {
    Expression out = make(kind, line, std::move(name));
    add(out, std::move(first));
    return out;
  }
  // Chains of operators, members and filters are as deep as they are long.
  void add(Expression& to, Expression part) const {
    to.depth = std::max(to.depth, part.depth + 1);
    to.calls |= part.calls;
    if (to.depth > kMaxExpressionDepth)
      fail(name_, to.line,
           fmt::format("expected expressions of at most {} levels, found more",
                       kMaxExpressionDepth));
    to.parts.push_back(std::move(part));
  }
  static Expression literal(int line, Value value) {
    return {.kind = Kind::kLiteral, .line = line, .literal = std::move(value)};
  }

  // An expression, or some with commas between them: a list. In a loop's head an "if" is the
  // loop's.
  Expression tuple(bool conditions) {
    const int line = token().line;
    Expression first = conditions ? expression() : disjunction();
    if (!is(",")) return first;
    Expression list = make(Kind::kList, line, "", std::move(first));
    while (take(",")) add(list, conditions ? expression() : disjunction());
    return list;
  }

  Expression expression() {
    const Level level(*this);
    Expression value = disjunction();
    while (is("if")) {
      const int line = tokens_[at_++].line;
      Expression out = make(Kind::kCondition, line, "", std::move(value));
      add(out, disjunction());
      if (take("else")) add(out, expression());
      value = std::move(out);
    }
    return value;
  }

  // Operands of `next`, with operators of `names` between them, from left to right.
  template <class Next>
  Expression binary(std::initializer_list<std::string_view> names, Next next) {
    Expression left = next();
    for (;;) {
      const Token& t = token();
      bool found = false;
      for (const std::string_view name : names) found |= is(name);
      if (!found) return left;
      ++at_;
      left = make(Kind::kBinary, t.line, t.text, std::move(left));
      add(left, next());
    }
  }
  Expression disjunction() {
    return binary({"or"}, [this] { return conjunction(); });
  }
  Expression conjunction() {
    return binary({"and"}, [this] { return negation(); });
  }
  Expression negation() {
    const Level level(*this);
    if (!is("not")) return comparison();
    const int line = tokens_[at_++].line;
    return make(Kind::kUnary, line, "not", negation());
  }
  std::optional<std::string> comparison_operator() {
    for (const char* name : {"==", "!=", "<", "<=", ">", ">=", "in"})
      if (take(name)) return name;
    if (is("not") && is("in", 1)) {
      at_ += 2;
      return "not in";
    }
    return {};
  }
  Expression comparison() {
    Expression left = sum();
    const int line = token().line;
    const auto name = comparison_operator();
    if (!name) return left;
    Expression out = make(Kind::kBinary, line, *name, std::move(left));
    add(out, sum());
    if (comparison_operator()) fail(name_, line, "chains of comparisons are not implemented");
    return out;
  }
  Expression sum() {
    return binary({"+", "-"}, [this] { return concatenation(); });
  }
  Expression concatenation() {
    return binary({"~"}, [this] { return product(); });
  }
  Expression product() {
    return binary({"*", "/", "//", "%"}, [this] { return power(); });
  }
  Expression power() {
    if (Expression left = unary(true); !is("**")) return left;
    fail(name_, token().line, "the operator '**' is not implemented");
  }
  Expression unary(bool filters) {
    const Level level(*this);
    const Token& t = token();
    Expression value;
    if (take("-") || take("+")) {
      value = make(Kind::kUnary, t.line, t.text, unary(false));
    } else {
      value = postfix(primary());
    }
    return filters ? filtered(std::move(value)) : value;
  }

  Expression primary() {
    const Level level(*this);
    const Token& t = token();
    if (t.kind == Token::Kind::kName) {
      ++at_;
      if (t.text == "true" || t.text == "True") return literal(t.line, true);
      if (t.text == "false" || t.text == "False") return literal(t.line, false);
      if (t.text == "none" || t.text == "None") return literal(t.line, nullptr);
      return make(Kind::kName, t.line, t.text);
    }
    if (t.kind == Token::Kind::kString) {
      std::string text;
      while (token().kind == Token::Kind::kString) text += tokens_[at_++].text;
      return literal(t.line, text);
    }
    if (t.kind == Token::Kind::kInteger || t.kind == Token::Kind::kFloat) {
      ++at_;
      return literal(t.line, number(t));
    }
    if (take("(")) {
      if (take(")")) return make(Kind::kList, t.line, "");
      Expression inner = expression();
      if (is(",")) {
        inner = make(Kind::kList, t.line, "", std::move(inner));
        while (take(",") && !is(")")) add(inner, expression());
      }
      expect(")");
      return inner;
    }
    if (take("[")) return sequence(t.line, Kind::kList, "]");
    if (take("{")) return sequence(t.line, Kind::kDict, "}");
    fail_here("an expression");
  }
  Value number(const Token& t) const {
    const char* end = t.text.data() + t.text.size();
    int64_t integer = 0;
    double real = 0;
    const bool whole = t.kind == Token::Kind::kInteger;
    const auto result = whole ? std::from_chars(t.text.data(), end, integer)
                              : std::from_chars(t.text.data(), end, real);
    if (result.ec != std::errc()) fail(name_, t.line, fmt::format("{} is too large", t.text));
    return whole ? Value(integer) : Value(real);
  }
  Expression sequence(int line, Kind kind, std::string_view end) {
    Expression out = make(kind, line, "");
    while (!take(end)) {
      if (!out.parts.empty()) expect(",");
      if (take(end)) break;
      add(out, expression());
      if (kind == Kind::kList) continue;
      expect(":");
      add(out, expression());
    }
    return out;
  }

  Expression postfix(Expression value) {
    for (;;) {
      const int line = token().line;
      if (take(".")) {
        if (token().kind == Token::Kind::kInteger) {
          value = make(Kind::kIndex, line, "", std::move(value));
          add(value, literal(line, number(tokens_[at_++])));
        } else {
          std::string name = identifier();
          value = make(Kind::kAttribute, line, std::move(name), std::move(value));
        }
      } else if (take("[")) {
        value = subscript(line, std::move(value));
      } else if (take("(")) {
        value = make(Kind::kCall, line, "", std::move(value));
        arguments(value);
      } else {
        return value;
      }
    }
  }
  Expression subscript(int line, Expression value) {
    Expression out = make(Kind::kIndex, line, "", std::move(value));
    const auto part = [&] { add(out, is(":") || is("]") ? literal(line, nullptr) : expression()); };
    if (is("]")) fail_here("an index");
    part();
    if (is(":")) {
      out.kind = Kind::kSlice;
      for (int i = 0; i < 2; ++i) {
        if (take(":")) {
          part();
        } else {
          add(out, literal(line, nullptr));
        }
      }
    }
    expect("]");
    return out;
  }
  // Behind "(", to ")".
  void arguments(Expression& out) {
    for (bool first = true; !take(")"); first = false) {
      if (!first) expect(",");
      if (take(")")) return;
      if (token().kind == Token::Kind::kName && is("=", 1)) {
        out.named.push_back(identifier());
        ++at_;
      } else if (!out.named.empty()) {
        fail_here("a named argument, as the one before");
      }
      add(out, expression());
    }
  }

  Expression filtered(Expression value) {
    for (;;) {
      const int line = token().line;
      if (take("|")) {
        value = make(Kind::kFilter, line, identifier(), std::move(value));
        if (take("(")) arguments(value);
      } else if (take("is")) {
        const bool negated = take("not");
        value = make(Kind::kTest, line, identifier(), std::move(value));
        if (take("(")) {
          arguments(value);
        } else if (begins_argument()) {
          add(value, postfix(primary()));
        }
        if (negated) value = make(Kind::kUnary, line, "not", std::move(value));
      } else {
        return value;
      }
    }
  }
  // Whether a test's argument without parentheses follows: "is divisibleby 3".
  bool begins_argument() const {
    const Token& t = token();
    if (t.kind == Token::Kind::kName) {
      for (const char* word : {"else", "or", "and", "is", "if", "in", "not", "recursive"})
        if (t.text == word) return false;
      return true;
    }
    return t.kind == Token::Kind::kString || t.kind == Token::Kind::kInteger ||
           t.kind == Token::Kind::kFloat || is("[") || is("{");
  }

  const std::string& name_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::vector<Statement> parse(std::string_view source, const std::string& name) {
  return Parser(source, name).run();
}

}  // namespace watersic::jinja
