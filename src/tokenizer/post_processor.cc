#include "tokenizer/post_processor.h"

#include <nlohmann/json.hpp>
#include <string>

#include "tokenizer/bpe.h"
#include "tokenizer/pattern.h"

namespace watersic {
namespace {

int32_t checked_id(const Json& id, const JsonFields& fields, const std::string& field) {
  if (!id.is_number_integer() || id < 0 || id > kMaxTokenId) fields.fail(field, "token ids");
  return id.get<int32_t>();
}

// ["</s>", 2]
int32_t id_of_pair(const JsonFields& fields, const std::string& field) {
  const Json& pair = fields.array(field);
  if (pair.size() != 2) fields.fail(field, "a token and its id");
  return checked_id(pair[1], fields, field);
}

}  // namespace

// What is added later stands outside of what was added before.
void PostProcessor::add(const JsonFields& fields) {
  const std::string type = fields.text("type");
  if (type == "Sequence") {
    for (const JsonFields& part : fields_of(fields, "processors")) add(part);
  } else if (type == "TemplateProcessing") {
    add_template(fields);
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    before.insert(before.begin(), id_of_pair(fields, "cls"));
    after.push_back(id_of_pair(fields, "sep"));
  } else if (type != "ByteLevel") {
    fields.fail("type", "a post-processor that is implemented");
  }
}

void PostProcessor::add_template(const JsonFields& fields) {
  std::vector<int32_t> first, last;
  bool text_seen = false;
  for (const JsonFields& part : fields_of(fields, "single")) {
    if (part.has("Sequence")) {
      const JsonFields sequence = part.object("Sequence");
      if (text_seen || sequence.text("id") != "A") sequence.fail("id", "A, once");
      text_seen = true;
      continue;
    }
    const JsonFields all = fields.object("special_tokens");
    const JsonFields special = all.object(part.object("SpecialToken").text("id"));
    for (const Json& id : special.array("ids"))
      (text_seen ? last : first).push_back(checked_id(id, special, "ids"));
  }
  if (!text_seen) fields.fail("single", "a place for the text");
  before.insert(before.begin(), first.begin(), first.end());
  after.insert(after.end(), last.begin(), last.end());
}

}  // namespace watersic
