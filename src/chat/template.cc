#include "chat/template.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "chat/lexer.h"
#include "chat/parser.h"
#include "chat/value.h"
#include "io/text.h"
#include "watersic/error.h"

namespace watersic::jinja {
namespace {

// What a rendering may take: expressions, statements and rounds of loops; and bytes that are made,
// copied or gone through, so many and as many times what it is given.
constexpr int64_t kMaxSteps = 500'000;
constexpr size_t kMaxBytes = size_t{32} << 20, kMaxCopies = 64;
constexpr int kMaxCalls = 100;          // of macros inside each other
constexpr int64_t kMaxRange = 100'000;  // as Jinja's sandbox

// A value, or where one is.
class Held {
 public:
  explicit Held(Value own) : own_(std::move(own)) {}
  explicit Held(const Value* at) : at_(at) {}
  const Value& operator*() const { return at_ != nullptr ? *at_ : own_; }
  const Value* operator->() const { return &**this; }
  bool is_elsewhere() const { return at_ != nullptr; }
  Value take() && { return at_ != nullptr ? *at_ : std::move(own_); }

 private:
  Value own_;
  const Value* at_ = nullptr;
};

// A round of a loop.
struct Round {
  size_t index = 0;
  const std::vector<Value>* list = nullptr;

  // Of `loop`; undefined where it has no such attribute, or none now.
  Value attribute(std::string_view name) const {
    const size_t size = list->size();
    if (name == "index") return index + 1;
    if (name == "index0") return index;
    if (name == "revindex") return size - index;
    if (name == "revindex0") return size - index - 1;
    if (name == "first") return index == 0;
    if (name == "last") return index + 1 == size;
    if (name == "length") return size;
    if (name == "previtem" && index > 0) return (*list)[index - 1];
    if (name == "nextitem" && index + 1 < size) return (*list)[index + 1];
    return undefined();
  }
};

class Renderer {
 public:
  Renderer(const std::string& name, const Value& variables, std::time_t now)
      : name_(name), now_(now), bytes_left_(kMaxBytes + kMaxCopies * footprint(variables)) {
    scopes_.emplace_back();
    for (const auto& [key, value] : variables.items()) scopes_.back().names[key] = value;
  }

  std::string run(const std::vector<Statement>& statements) {
    body(statements);
    return std::move(out_);
  }

 private:
  enum class Flow { kOn, kBreak, kContinue };
  struct Scope {
    std::map<std::string, Value, std::less<>> names;
    const Round* round = nullptr;  // of the loop whose names these are
  };

  void count(int line) {
    if (++steps_ > kMaxSteps) fail(name_, line, "the template takes too long");
  }
  void charge(size_t bytes) {
    if (bytes > bytes_left_) throw Failure("the template takes too much time and memory");
    bytes_left_ -= bytes;
  }
  void write(std::string_view text) {
    charge(text.size());
    out_ += text;
    if (out_.size() > kMaxLength) throw Failure("the text is too long");
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
        write(s.text);
        return Flow::kOn;
      case Statement::Kind::kPrint: {
        const Held printed = hold(s.expressions[0]);
        write(printed->is_string() ? printed->get_ref<const std::string&>() : text_of(*printed));
        return Flow::kOn;
      }
      case Statement::Kind::kIf:
        return body(truth(*hold(s.expressions[0])) ? s.body : s.otherwise);
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
      scopes_.back().names[names[0]] = value;
      return;
    }
    const auto list = elements(value);
    if (list.size() != names.size())
      throw Failure(fmt::format("expected {} values, found {}", names.size(), list.size()));
    for (size_t i = 0; i < names.size(); ++i) scopes_.back().names[names[i]] = list[i];
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
    std::vector<Value> list = elements_of(*hold(s.expressions[0]));
    scopes_.emplace_back();
    if (s.expressions.size() > 1) {
      std::vector<Value> kept;
      for (Value& x : list) {
        assign(s.names, x);
        count(s.line);
        if (truth(*hold(s.expressions[1]))) kept.push_back(std::move(x));
      }
      list = std::move(kept);
    }
    const size_t size = list.size();
    Round round{.list = &list};
    for (; round.index < size; ++round.index) {
      count(s.line);
      scopes_.back().names.clear();
      scopes_.back().round = &round;
      charge(footprint(list[round.index]));
      assign(s.names, list[round.index]);
      if (body(s.body) == Flow::kBreak) break;
    }
    scopes_.pop_back();
    return size == 0 ? body(s.otherwise) : Flow::kOn;
  }

  // What a loop goes over.
  std::vector<Value> elements_of(const Value& value) {
    // A text's characters become values of their own.
    charge((value.is_string() ? sizeof(Value) : 1) * footprint(value));
    return elements(value);
  }

  // Null where there is no such name, or where it is that of a loop's round.
  Value* find(std::string_view name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->names.find(name); found != scope->names.end())
        return &found->second;
      if (name == "loop" && scope->round != nullptr) return nullptr;
    }
    return nullptr;
  }
  // The innermost round, if its name stands for it.
  const Round* find_round(std::string_view name) {
    if (name != "loop" || find(name) != nullptr) return nullptr;
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (scope->round != nullptr) return scope->round;
    return nullptr;
  }

  Arguments arguments(const Expression& e) {
    Arguments out{.values = {}, .named = e.named};
    for (size_t i = 1; i < e.parts.size(); ++i) out.values.push_back(evaluate(e.parts[i]));
    return out;
  }

  Value evaluate(const Expression& e) {
    Held held = hold(e);
    if (held.is_elsewhere()) {
      try {
        charge(footprint(*held));
      } catch (const Failure& failure) {
        fail(name_, e.line, failure.what());
      }
    }
    return std::move(held).take();
  }

  // A value that has a place is not copied. The place is good until something is set.
  Held hold(const Expression& e) {
    count(e.line);
    using Kind = Expression::Kind;
    try {
      if (e.kind == Kind::kLiteral) return Held(&e.literal);
      if (e.kind == Kind::kName) {
        if (const Value* found = find(e.name)) return Held(found);
        return Held(round_as_value(e.name));
      }
      if (e.kind == Kind::kAttribute) return member(e.parts[0], e.name);
      if (e.kind == Kind::kIndex) {
        const Value key = evaluate(e.parts[1]);
        if (key.is_string()) return member(e.parts[0], key);
        Held object = hold(e.parts[0]);
        return element_of(object, key);
      }
      Value made = value(e);
      charge(footprint(made));
      return Held(std::move(made));
    } catch (const Failure& failure) {
      fail(name_, e.line, failure.what());
    }
  }

  // The loop's round as a value; undefined where that is not its name.
  Value round_as_value(const std::string& name) {
    const Round* round = find_round(name);
    if (round == nullptr) return undefined();
    Value state = Value::object();
    for (const char* field : {"index", "index0", "revindex", "revindex0", "first", "last", "length",
                              "previtem", "nextitem"})
      if (Value x = round->attribute(field); !is_undefined(x)) state[field] = std::move(x);
    return state;
  }

  Held element_of(const Held& object, const Value& key) {
    const Value* found = object.is_elsewhere() ? element_in(*object, key) : nullptr;
    if (found != nullptr) return Held(found);
    if (object->is_string()) charge(footprint(*object));
    return Held(element(*object, key));
  }

  // `next` is evaluated while `e` is held: a macro that it calls might set what `e` is.
  Held hold_before(const Expression& e, const Expression& next) {
    return next.calls ? Held(evaluate(e)) : hold(e);
  }

  // What an operation goes through counts, too.
  const Value& counted(const Held& held) {
    charge(footprint(*held));
    return *held;
  }

  Value value(const Expression& e) {
    using Kind = Expression::Kind;
    switch (e.kind) {
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
      case Kind::kSlice: {
        const Value start = evaluate(e.parts[1]), stop = evaluate(e.parts[2]),
                    step = evaluate(e.parts[3]);
        return slice(counted(hold(e.parts[0])), start, stop, step);
      }
      case Kind::kCall:
        return call(e);
      case Kind::kFilter: {
        const Arguments given = arguments(e);
        const Held of = hold(e.parts[0]);
        const bool at_once = e.name == "length" || e.name == "count" || e.name == "first" ||
                             e.name == "last" || e.name == "default" || e.name == "d";
        return apply_filter(e.name, at_once && !of->is_string() ? *of : counted(of), given);
      }
      case Kind::kTest: {
        if (e.parts[0].kind == Kind::kName && find(e.parts[0].name) == nullptr &&
            is_function(e.parts[0].name) && (e.name == "defined" || e.name == "undefined"))
          return e.name == "defined";
        const Arguments given = arguments(e);
        const Held of = hold(e.parts[0]);
        return apply_test(e.name, given.values.empty() ? *of : counted(of), given);
      }
      case Kind::kUnary: {
        const Held operand = hold(e.parts[0]);
        if (e.name == "not") return !truth(*operand);
        return apply_operator(e.name, 0, *operand);
      }
      case Kind::kBinary: {
        Held left = hold_before(e.parts[0], e.parts[1]);
        if (e.name == "and" || e.name == "or") {
          const bool is_left = truth(*left) == (e.name == "or");
          return is_left ? std::move(left).take() : evaluate(e.parts[1]);
        }
        return apply_operator(e.name, counted(left), counted(hold(e.parts[1])));
      }
      case Kind::kCondition:
        if (truth(*hold(e.parts[1]))) return evaluate(e.parts[0]);
        return e.parts.size() > 2 ? evaluate(e.parts[2]) : undefined();
      default:
        return undefined();  // what has a place: see hold()
    }
  }

  Held member(const Expression& of, const Value& name) {
    if (const Round* round = of.kind == Expression::Kind::kName ? find_round(of.name) : nullptr;
        round != nullptr && name.is_string())
      return Held(round->attribute(name.get_ref<const std::string&>()));
    const Held object = hold(of);
    if (is_undefined(*object)) {
      const std::string what = of.name.empty() ? "the object" : fmt::format("'{}'", of.name);
      throw Failure(fmt::format("{} of which '{}' is asked is not defined", what, text_of(name)));
    }
    return element_of(object, name);
  }

  bool is_function(const std::string& name) const {
    static constexpr std::string_view kFunctions[] = {"namespace", "dict", "range",
                                                      "raise_exception", "strftime_now"};
    return macros_.contains(name) || std::ranges::find(kFunctions, name) != std::end(kFunctions);
  }

  Value call(const Expression& e) {
    const Expression& callee = e.parts[0];
    if (callee.kind == Expression::Kind::kAttribute) {
      const Arguments given = arguments(e);
      const Held object = hold(callee.parts[0]);
      const bool at_once = callee.name == "get";
      return call_method(at_once ? *object : counted(object), callee.name, given);
    }
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
        scope.names[s.names[i]] = *found;
      } else if (i >= without_default) {
        scope.names[s.names[i]] = evaluate(s.expressions[i - without_default]);
      } else {
        scope.names[s.names[i]] = undefined();
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
  size_t bytes_left_;
  int calls_ = 0;
};

}  // namespace

Template::Template(std::string_view source, std::string name) : name_(std::move(name)) {
  if (const size_t bad = find_invalid_utf8(source); bad != std::string_view::npos)
    throw Error(fmt::format("{}: expected UTF-8, found the byte 0x{:02x} at offset {}", name_,
                            static_cast<unsigned char>(source[bad]), bad));
  statements_ = std::make_shared<const std::vector<Statement>>(parse(source, name_));
}

std::string Template::render(const Value& variables, std::time_t now) const {
  return Renderer(name_, variables, now).run(*statements_);
}

}  // namespace watersic::jinja
