// The files of a checkpoint, besides its weights, that a .wsic file carries along where they are
// there.
#pragma once

#include <array>

namespace watersic {

inline constexpr std::array<const char*, 6> kCarriedTexts{
    "config.json",           "generation_config.json",  "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};

}  // namespace watersic
