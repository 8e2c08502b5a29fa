// Which special tokens tokenizer.json puts around a text.
#pragma once

#include <cstdint>
#include <vector>

#include "io/json.h"

namespace watersic {

struct PostProcessor {
  // Puts nothing.
  PostProcessor() = default;
  // The field "post_processor": TemplateProcessing (of which only "single" concerns us),
  // ByteLevel (which only changes offsets), RobertaProcessing, BertProcessing, Sequence. Throws
  // Error naming any other.
  explicit PostProcessor(const JsonFields& fields) { add(fields); }

  std::vector<int32_t> before, after;

 private:
  void add(const JsonFields& fields);
  void add_template(const JsonFields& fields);
};

}  // namespace watersic
