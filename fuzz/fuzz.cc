// The door through which libFuzzer comes, and what the targets share.
#include "fuzz.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "watersic/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    watersic::fuzz_input({reinterpret_cast<const char*>(data), size});
  } catch (const watersic::Error&) {
    // What should come of a broken input.
  }
  return 0;
}

// Called by libFuzzer in place of its own mutations.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  watersic::Rng rng(seed);
  const std::string out = watersic::fuzz_mutate({reinterpret_cast<const char*>(data), size}, rng);
  const size_t length = std::min(out.size(), max_size);
  std::memcpy(data, out.data(), length);
  return length;
}

namespace watersic {
namespace {

namespace fs = std::filesystem;

// Sizes and counts at which arithmetic goes wrong.
uint64_t odd_number(Rng& rng) {
  const uint64_t power = uint64_t{1} << rng.below(64);
  switch (rng.below(5)) {
    case 0:
      return power;
    case 1:
      return power - 1;
    case 2:
      return 0 - power;
    case 3:
      return rng.below(300);
    default:
      return rng.bits();
  }
}

class Scratch {
 public:
  Scratch() : path_(fs::temp_directory_path() / ("watersic-fuzz-" + std::to_string(::getpid()))) {}
  ~Scratch() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

std::string scratch_path() {
  static const Scratch scratch;
  return scratch.path();
}

struct Piece {
  size_t begin, size;
};
Piece some_piece(const std::string& s, Rng& rng) {
  const size_t begin = rng.below(s.size() + 1);
  return {begin, rng.below(std::min<size_t>(s.size() - begin, uint64_t{1} << rng.below(10)) + 1)};
}

void mutate_once(std::string& s, Rng& rng) {
  if (s.empty()) s = "0";
  const size_t at = rng.below(s.size());
  const Piece piece = some_piece(s, rng);
  switch (rng.below(8)) {
    case 0:
      s[at] = static_cast<char>(s[at] ^ (1 << rng.below(8)));
      break;
    case 1:
      s[at] = static_cast<char>(rng.below(256));
      break;
    case 2: {  // a number, little-endian
      const uint64_t number = odd_number(rng);
      std::memcpy(s.data() + at, &number,
                  std::min<size_t>(s.size() - at, size_t{1} << rng.below(4)));
      break;
    }
    case 3: {  // a number in digits
      const size_t begin = s.find_first_of("0123456789", at);
      if (begin == std::string::npos) break;
      const size_t end = std::min(s.find_first_not_of("0123456789", begin), s.size());
      s.replace(begin, end - begin, std::to_string(odd_number(rng)));
      break;
    }
    case 4:
      s.erase(piece.begin, piece.size);
      break;
    case 5:
      s.insert(at, s.substr(piece.begin, piece.size));
      break;
    case 6:
      s.replace(at, std::min(piece.size, s.size() - at), s, piece.begin, piece.size);
      break;
    default:
      s.resize(at);
      break;
  }
}

// All values of a document, itself first.
void collect(Json& json, std::vector<Json*>& out) {
  out.push_back(&json);
  if (json.is_structured())
    for (Json& child : json) collect(child, out);
}

Json odd_value(Rng& rng) {
  switch (rng.below(10)) {
    case 0:
      return nullptr;
    case 1:
      return rng.below(2) == 0;
    case 2:
      return odd_number(rng);
    case 3:
      return static_cast<int64_t>(odd_number(rng));
    case 4:
      return std::exp2(static_cast<double>(rng.below(2000)) - 1000);
    case 5:
      return Json::array();
    case 6:
      return Json::object();
    case 7:
      return "";
    case 8:
      return std::string(1 + rng.below(3), static_cast<char>(rng.below(128)));
    default:
      return static_cast<int64_t>(rng.below(20)) - 2;
  }
}

}  // namespace

std::string mutate_bytes(std::string input, Rng& rng) {
  do mutate_once(input, rng);
  while (rng.below(3) == 0);
  return input;
}

std::string mutate_json(const std::string& input, Rng& rng) {
  Json json = Json::parse(input, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return mutate_bytes(input, rng);
  do {
    std::vector<Json*> all;
    collect(json, all);
    Json& chosen = *all[rng.below(all.size())];
    const auto in_chosen = [&] {
      return std::next(chosen.begin(), static_cast<std::ptrdiff_t>(rng.below(chosen.size())));
    };
    switch (rng.below(4)) {
      case 0:
        if (chosen.is_structured() && !chosen.empty()) {
          chosen.erase(in_chosen());
          break;
        }
        [[fallthrough]];
      case 1:
        chosen = odd_value(rng);
        break;
      case 2:
        if (chosen.is_string()) {
          chosen = mutate_bytes(chosen.get<std::string>(), rng);
          break;
        }
        [[fallthrough]];
      default: {
        const Json other = *all[rng.below(all.size())];
        if (chosen.is_array() && rng.below(2) == 0) {
          chosen.push_back(other);
        } else {
          chosen = other;
        }
      }
    }
  } while (rng.below(3) == 0);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string fuzz_file(std::string_view input) {
  std::ofstream(scratch_path(), std::ios::binary | std::ios::trunc) << input;
  return scratch_path();
}

std::string written(const std::function<void(const std::string& path)>& write) {
  write(scratch_path());
  std::ifstream in(scratch_path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace watersic
