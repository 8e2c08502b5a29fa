#include "chat/template.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "chat/lexer.h"
#include "chat/parser.h"
#include "chat/value.h"
#include "watersic/error.h"

namespace watersic::jinja {
namespace {

constexpr int64_t kMaxSteps =
    1'000'000;                  // expressions, statements and rounds of loops of a rendering
constexpr int kMaxCalls = 100;  // of macros inside each other
constexpr int64_t kMaxRange = 100'000;  // as Jinja's sandbox

class Renderer {
 public:
  Renderer(const std::string& name, const Value& variables, std::time_t now)
      : name_(name), now_(now) {
    scopes_.emplace_back();
    for (const auto& [key, value] : variables.items()) scopes_.back()[key] = value;
  }

  std::string run(const std::vector<Statement>& statements) {
    body(statements);
    return std::move(out_);
  }

 private:
  enum class Flow { kOn, kBreak, kContinue };
  using Scope = std::map<std::string, Value>;

  void count(int line) {
    if (++steps_ > kMaxSteps) fail(name_, line, "the template takes too long");
    if (out_.size() > kMaxLength) fail(name_, line, "the text is too long");
  }

  Flow body(const std::vector<Statement>& statements) {
    for (const Statement& statement : statements)
      if (const Flow flow = one(statement); flow != Flow::kOn) return flow;
    return Flow::kOn;
  }

  Flow one(const Statement& s) {
    count(s.line);
    try {
      return execute(s);
    } catch (const Failure& e) {
      fail(name_, s.line, e.what());
    }
  }

  Flow execute(const Statement& s) {
    switch (s.kind) {
      case Statement::Kind::kText:
        out_ += s.text;
        return Flow::kOn;
      case Statement::Kind::kPrint:
        out_ += text_of(evaluate(s.expressions[0]));
        return Flow::kOn;
      case Statement::Kind::kIf:
        return body(truth(evaluate(s.expressions[0])) ? s.body : s.otherwise);
      case Statement::Kind::kFor:
        return loop(s);
      case Statement::Kind::kSet:
        set(s);
        return Flow::kOn;
      case Statement::Kind::kMacro:
        macros_[s.text] = &s;
        return Flow::kOn;
      case Statement::Kind::kBreak:
        return Flow::kBreak;
      case Statement::Kind::kContinue:
        return Flow::kContinue;
      case Statement::Kind::kGroup:
        return body(s.body);
    }
    return Flow::kOn;
  }

  // One name takes the value, several take its elements.
  void assign(const std::vector<std::string>& names, const Value& value) {
    if (names.size() == 1) {
      scopes_.back()[names[0]] = value;
      return;
    }
    const auto list = elements(value);
    if (list.size() != names.size())
      throw Failure(fmt::format("expected {} values, found {}", names.size(), list.size()));
    for (size_t i = 0; i < names.size(); ++i) scopes_.back()[names[i]] = list[i];
  }

  void set(const Statement& s) {
    Value value = s.expressions.empty() ? Value(captured(s.body)) : evaluate(s.expressions[0]);
    if (s.text.empty()) {
      assign(s.names, value);
      return;
    }
    Value* object = find(s.names[0]);
    if (object == nullptr || !object->is_object())
      throw Failure(fmt::format("expected '{}' to be a namespace", s.names[0]));
    (*object)[s.text] = std::move(value);
  }

  // What the statements write, instead of writing it.
  std::string captured(const std::vector<Statement>& statements) {
    std::string before = std::move(out_);
    out_.clear();
    body(statements);
    std::swap(before, out_);
    return before;
  }

  Flow loop(const Statement& s) {
    std::vector<Value> list = elements(evaluate(s.expressions[0]));
    scopes_.emplace_back();
    if (s.expressions.size() > 1) {
      std::vector<Value> kept;
      for (Value& x : list) {
        assign(s.names, x);
        if (truth(evaluate(s.expressions[1]))) kept.push_back(std::move(x));
      }
      list = std::move(kept);
    }
    const size_t size = list.size();
    // Made once and then changed, which is quicker.
    Value state = {{"index", 0}, {"index0", 0}, {"revindex", 0}, {"revindex0", 0},
                   {"first", 0}, {"last", 0},   {"length", size}};
    for (size_t i = 0; i < size; ++i) {
      count(s.line);
      state["index"] = i + 1;
      state["index0"] = i;
      state["revindex"] = size - i;
      state["revindex0"] = size - i - 1;
      state["first"] = i == 0;
      state["last"] = i + 1 == size;
      if (i > 0) state["previtem"] = list[i - 1];
      if (i + 1 < size) {
        state["nextitem"] = list[i + 1];
      } else {
        state.erase("nextitem");
      }
      scopes_.back().clear();
      scopes_.back()["loop"] = state;
      assign(s.names, list[i]);
      if (body(s.body) == Flow::kBreak) break;
    }
    scopes_.pop_back();
    return size == 0 ? body(s.otherwise) : Flow::kOn;
  }

  Value* find(const std::string& name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->find(name); found != scope->end()) return &found->second;
    return nullptr;
  }

  Arguments arguments(const Expression& e) {
    Arguments out{.values = {}, .named = e.named};
    for (size_t i = 1; i < e.parts.size(); ++i) out.values.push_back(evaluate(e.parts[i]));
    return out;
  }

  Value evaluate(const Expression& e) {
    count(e.line);
    try {
      return value(e);
    } catch (const Failure& failure) {
      fail(name_, e.line, failure.what());
    }
  }

  Value value(const Expression& e) {
    using Kind = Expression::Kind;
    switch (e.kind) {
      case Kind::kLiteral:
        return e.literal;
      case Kind::kName: {
        const Value* found = find(e.name);
        return found == nullptr ? undefined() : *found;
      }
      case Kind::kList: {
        Value list = Value::array();
        for (const Expression& part : e.parts) list.push_back(evaluate(part));
        return list;
      }
      case Kind::kDict: {
        Value object = Value::object();
        for (size_t i = 0; i < e.parts.size(); i += 2) {
          const Value key = evaluate(e.parts[i]);
          if (!key.is_string())
            throw Failure(fmt::format("a key that is {} is not implemented", kind_of(key)));
          object[key.get<std::string>()] = evaluate(e.parts[i + 1]);
        }
        return object;
      }
      case Kind::kAttribute:
        return member(e.parts[0], e.name);
      case Kind::kIndex: {
        const Value key = evaluate(e.parts[1]);
        return key.is_string() ? member(e.parts[0], key) : element(evaluate(e.parts[0]), key);
      }
      case Kind::kSlice:
        return slice(evaluate(e.parts[0]), evaluate(e.parts[1]), evaluate(e.parts[2]),
                     evaluate(e.parts[3]));
      case Kind::kCall:
        return call(e);
      case Kind::kFilter:
        return apply_filter(e.name, evaluate(e.parts[0]), arguments(e));
      case Kind::kTest:
        if (e.parts[0].kind == Kind::kName && find(e.parts[0].name) == nullptr &&
            is_function(e.parts[0].name) && (e.name == "defined" || e.name == "undefined"))
          return e.name == "defined";
        return apply_test(e.name, evaluate(e.parts[0]), arguments(e));
      case Kind::kUnary: {
        const Value operand = evaluate(e.parts[0]);
        if (e.name == "not") return !truth(operand);
        return apply_operator(e.name, 0, operand);
      }
      case Kind::kBinary: {
        Value left = evaluate(e.parts[0]);
        if (e.name == "and") return truth(left) ? evaluate(e.parts[1]) : left;
        if (e.name == "or") return truth(left) ? left : evaluate(e.parts[1]);
        return apply_operator(e.name, left, evaluate(e.parts[1]));
      }
      case Kind::kCondition:
        if (truth(evaluate(e.parts[1]))) return evaluate(e.parts[0]);
        return e.parts.size() > 2 ? evaluate(e.parts[2]) : undefined();
    }
    return undefined();
  }

  Value member(const Expression& of, const Value& name) {
    const Value object = evaluate(of);
    if (is_undefined(object)) {
      const std::string what = of.name.empty() ? "the object" : fmt::format("'{}'", of.name);
      throw Failure(fmt::format("{} of which '{}' is asked is not defined", what, text_of(name)));
    }
    return element(object, name);
  }

  bool is_function(const std::string& name) const {
    static constexpr std::string_view kFunctions[] = {"namespace", "dict", "range",
                                                      "raise_exception", "strftime_now"};
    return macros_.contains(name) || std::ranges::find(kFunctions, name) != std::end(kFunctions);
  }

  Value call(const Expression& e) {
    const Expression& callee = e.parts[0];
    if (callee.kind == Expression::Kind::kAttribute)
      return call_method(evaluate(callee.parts[0]), callee.name, arguments(e));
    if (callee.kind != Expression::Kind::kName || find(callee.name) != nullptr)
      throw Failure("expected a function to call, found a value");
    const std::string& name = callee.name;
    if (!is_function(name))
      throw Failure(fmt::format("the function '{}' is not implemented", name));
    const Arguments given = arguments(e);
    if (const auto found = macros_.find(name); found != macros_.end())
      return macro(*found->second, given);
    if (name == "namespace" || name == "dict") return object(given);
    if (name == "range") return range(given);
    given.check(fmt::format("'{}'", name), 1);
    if (given.values.size() != 1 || !given.values[0].is_string())
      throw Failure(fmt::format("'{}' expects a text", name));
    const std::string& text = given.values[0].get_ref<const std::string&>();
    if (name == "raise_exception")
      throw Error(fmt::format("{}: the template refuses: {}", name_, text));
    return time(text);
  }

  static Value object(const Arguments& given) {
    Value out = Value::object();
    for (size_t i = 0; i < given.positional(); ++i) {
      if (!given.values[i].is_object()) throw Failure("expected a mapping or named values");
      out.update(given.values[i]);
    }
    for (size_t i = 0; i < given.named.size(); ++i)
      out[given.named[i]] = given.values[given.positional() + i];
    return out;
  }

  static Value range(const Arguments& given) {
    given.check("'range'", 3);
    if (given.values.empty()) throw Failure("'range' expects a number");
    for (const Value& v : given.values)
      if (!v.is_number_integer() || std::abs(v.get<double>()) > 0x1p53)
        throw Failure("'range' expects whole numbers");
    const bool one = given.values.size() == 1;
    const int64_t begin = one ? 0 : given.values[0].get<int64_t>();
    const int64_t end = given.values[one ? 0 : 1].get<int64_t>();
    const int64_t step = given.values.size() > 2 ? given.values[2].get<int64_t>() : 1;
    if (step == 0) throw Failure("'range' expects a step other than 0");
    Value list = Value::array();
    for (int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
      if (static_cast<int64_t>(list.size()) == kMaxRange)
        throw Failure(fmt::format("'range' gives at most {} numbers", kMaxRange));
      list.push_back(i);
    }
    return list;
  }

  Value time(const std::string& format) const {
    std::tm local{};
    localtime_r(&now_, &local);
    std::string text(256, '\0');
    text.resize(std::strftime(text.data(), text.size(), format.c_str(), &local));
    return text;
  }

  // A macro sees its arguments and what is set outside of all loops.
  Value macro(const Statement& s, const Arguments& given) {
    given.check(fmt::format("the macro '{}'", s.text), s.names.size(),
                {s.names.begin(), s.names.end()});
    if (++calls_ > kMaxCalls) throw Failure("macros call each other too often");
    Scope scope;
    const size_t without_default = s.names.size() - s.expressions.size();
    for (size_t i = 0; i < s.names.size(); ++i) {
      if (const Value* found = given.find(i, s.names[i]); found != nullptr) {
        scope[s.names[i]] = *found;
      } else if (i >= without_default) {
        scope[s.names[i]] = evaluate(s.expressions[i - without_default]);
      } else {
        scope[s.names[i]] = undefined();
      }
    }
    std::vector<Scope> outside(std::make_move_iterator(scopes_.begin() + 1),
                               std::make_move_iterator(scopes_.end()));
    scopes_.resize(1);
    scopes_.push_back(std::move(scope));
    std::string text = captured(s.body);
    scopes_.resize(1);
    std::ranges::move(outside, std::back_inserter(scopes_));
    --calls_;
    return text;
  }

  const std::string& name_;
  std::time_t now_;
  std::vector<Scope> scopes_;
  std::map<std::string, const Statement*> macros_;
  std::string out_;
  int64_t steps_ = 0;
  int calls_ = 0;
};

}  // namespace

Template::Template(std::string_view source, std::string name)
    : name_(std::move(name)),
      statements_(std::make_shared<const std::vector<Statement>>(parse(source, name_))) {}

std::string Template::render(const Value& variables, std::time_t now) const {
  return Renderer(name_, variables, now).run(*statements_);
}

}  // namespace watersic::jinja
