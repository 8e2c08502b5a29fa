#include "tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "io/mapped_file.h"
#include "io/text.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/decoder.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"

namespace watersic {
namespace {

constexpr size_t kMaxFileBytes = size_t{256} << 20;

// Classes of transformers that make the post-processor anew when they load a tokenizer.json.
bool is_llamas(const JsonFields& config) {
  std::string name = config.text("tokenizer_class", "");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name == "LlamaTokenizer" || name == "CodeLlamaTokenizer";
}

}  // namespace

struct Tokenizer::Parts {
  explicit Parts(const JsonFields& file) : model(file.object("model")) {
    if (file.text("version", "1.0") != "1.0") file.fail("version", "1.0");
    if (file.has("normalizer")) normalizer = Normalizer(file.object("normalizer"));
    if (file.has("pre_tokenizer")) pre_tokenizer = PreTokenizer(file.object("pre_tokenizer"));
    if (file.has("post_processor")) post_processor = PostProcessor(file.object("post_processor"));
    if (file.has("decoder")) decoder = TokenDecoder(file.object("decoder"));
    read_tokens(file);
    for (const auto* ids : {&post_processor.before, &post_processor.after})
      for (const int32_t id : *ids)
        if (!is_token(id))
          file.fail("post_processor", fmt::format("ids of tokens ({} is none)", id));
  }

  void read_tokens(const JsonFields& file) {
    const std::vector<AddedToken> added = read_added_tokens(file, model);
    tokens = model.tokens();
    special_ids.resize(tokens.size());
    std::vector<std::pair<std::string, AddedToken>> plain, normalized;
    for (const AddedToken& token : added) {
      const auto id = static_cast<size_t>(token.id);
      if (id >= tokens.size()) {
        tokens.resize(id + 1);
        special_ids.resize(id + 1);
      }
      tokens[id] = token.content;
      special_ids[id] = token.special;
      added_ids.emplace(token.content, token.id);
      if (!token.normalized) {
        plain.emplace_back(token.content, token);
        continue;
      }
      // It is found in this form, so it also comes back in it.
      normalized.emplace_back(normalizer(token.content).text, token);
      if (!normalized.back().first.empty()) tokens[id] = normalized.back().first;
    }
    in_text = AddedTokenFinder(plain, file.name());
    in_normalized = AddedTokenFinder(normalized, file.name());
  }

  bool is_token(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens.size() && !tokens[id].empty();
  }
  bool is_special(int32_t id) const { return is_token(id) && special_ids[id]; }

  std::optional<int32_t> id(std::string_view token) const {
    const auto found = added_ids.find(token);
    return found != added_ids.end() ? found->second : model.id(token);
  }

  // The token that a field of tokenizer_config.json names: "<s>" or {"content": "<s>", ...}.
  std::optional<int32_t> named(const JsonFields& config, const std::string& field) const {
    if (!config.has(field)) return std::nullopt;
    const std::string content = config.json()[field].is_object()
                                    ? config.object(field).text("content")
                                    : config.text(field);
    const std::optional<int32_t> found = id(content);
    if (!found) config.fail(field, "a token of tokenizer.json");
    return found;
  }

  void follow_llamas(const JsonFields& config) {
    const auto around = [&](const char* flag, bool otherwise, const char* field,
                            std::string_view usual, std::optional<int32_t>& token) {
      if (!config.boolean(flag, otherwise)) return std::vector<int32_t>();
      if (!token && !config.has(field)) token = id(usual);
      if (!token) config.fail(field, std::string("a token, as ") + flag + " says");
      return std::vector<int32_t>{*token};
    };
    post_processor.before = around("add_bos_token", true, "bos_token", "<s>", bos);
    post_processor.after = around("add_eos_token", false, "eos_token", "</s>", eos);
  }

  void encode_stretch(std::string_view text, bool at_start, Bpe::Workspace& work,
                      std::vector<int32_t>& ids) const {
    const Normalizer::Result normal = normalizer(text);
    for (const auto& [span, token] : in_normalized.cut(normal.text)) {
      if (token >= 0) {
        ids.push_back(token);
        continue;
      }
      const Pieces pieces = pre_tokenizer(normal.text.substr(span.begin, span.end - span.begin),
                                          at_start && span.begin == 0 && !normal.cut_at_start);
      for (const Span& piece : pieces.spans) model.encode(pieces.piece(piece), work, ids);
    }
  }

  Bpe model;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
  TokenDecoder decoder;
  AddedTokenFinder in_text, in_normalized;
  std::vector<std::string> tokens;  // by id, the model's and the added ones; empty: no token
  std::vector<bool> special_ids;    // as long
  StringMap<int32_t> added_ids;
  std::optional<int32_t> bos, eos;
};

Tokenizer Tokenizer::load(const std::filesystem::path& model_dir) {
  const auto view = [](const MappedFile& file) {
    if (file.bytes().size() > kMaxFileBytes) {
      throw Error(fmt::format("{}: expected at most {} bytes, found {}", file.path().string(),
                              kMaxFileBytes, file.bytes().size()));
    }
    return std::string_view(reinterpret_cast<const char*>(file.bytes().data()),
                            file.bytes().size());
  };
  const MappedFile tokenizer(model_dir / "tokenizer.json");
  const std::filesystem::path config_path = model_dir / "tokenizer_config.json";
  std::optional<MappedFile> config;
  if (std::filesystem::exists(config_path)) config.emplace(config_path);
  return build(view(tokenizer), tokenizer.path().string(), config ? view(*config) : "",
               config_path.string());
}

Tokenizer Tokenizer::parse(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                           const std::string& name) {
  return build(tokenizer_json, name + ": tokenizer.json", tokenizer_config_json,
               name + ": tokenizer_config.json");
}

Tokenizer Tokenizer::build(std::string_view tokenizer_json, const std::string& tokenizer_name,
                           std::string_view config_json, const std::string& config_name) {
  std::shared_ptr<Parts> parts;
  {
    const Json json = parse_json(tokenizer_json, tokenizer_name);
    parts = std::make_shared<Parts>(JsonFields(json, tokenizer_name));
  }
  if (!config_json.empty()) {
    const Json json = parse_json(config_json, config_name);
    const JsonFields config(json, config_name);
    parts->bos = parts->named(config, "bos_token");
    parts->eos = parts->named(config, "eos_token");
    if (is_llamas(config)) parts->follow_llamas(config);
  }
  const std::vector<int32_t>& before = parts->post_processor.before;
  if (!parts->bos && !before.empty() && parts->is_special(before.front()))
    parts->bos = before.front();
  return Tokenizer(std::move(parts));
}

std::vector<int32_t> Tokenizer::encode(std::string_view utf8, bool add_special_tokens) const {
  if (const size_t bad = find_invalid_utf8(utf8); bad != std::string_view::npos)
    throw Error(fmt::format("expected a text in UTF-8, found the byte 0x{:02x} at offset {}",
                            static_cast<unsigned char>(utf8[bad]), bad));
  std::vector<int32_t> ids;
  ids.reserve(utf8.size() / 3);
  if (add_special_tokens) ids = parts_->post_processor.before;
  Bpe::Workspace work;
  for (const auto& [span, token] : parts_->in_text.cut(utf8)) {
    if (token >= 0) {
      ids.push_back(token);
    } else {
      parts_->encode_stretch(utf8.substr(span.begin, span.end - span.begin), span.begin == 0, work,
                             ids);
    }
  }
  if (add_special_tokens) {
    const std::vector<int32_t>& after = parts_->post_processor.after;
    ids.insert(ids.end(), after.begin(), after.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids)
    if (parts_->is_token(id) && !(skip_special && parts_->is_special(id)))
      tokens.push_back(parts_->tokens[id]);
  return parts_->decoder(std::move(tokens));
}

std::string Tokenizer::token_bytes(int32_t id) const {
  if (!parts_->is_token(id) || parts_->is_special(id)) return {};
  return parts_->decoder.inside_text(parts_->tokens[id]);
}

int64_t Tokenizer::vocabulary_size() const { return static_cast<int64_t>(parts_->tokens.size()); }

std::optional<int32_t> Tokenizer::id(std::string_view token) const { return parts_->id(token); }

std::optional<int32_t> Tokenizer::bos_id() const { return parts_->bos; }

std::optional<int32_t> Tokenizer::eos_id() const { return parts_->eos; }

const PostProcessor& Tokenizer::around() const { return parts_->post_processor; }

bool Tokenizer::adds_bos() const {
  const std::vector<int32_t>& before = parts_->post_processor.before;
  return !before.empty() && before.front() == parts_->bos;
}

}  // namespace watersic
