// Bad input: each a clear error, exit code 1, nothing left behind.
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "run.h"
#include "watersic/file.h"
#include "watersic/npy.h"

namespace watersic {
namespace {

class BadModel : public Cli {
 protected:
  BadModel() { write_small_checkpoint(pool_, at("model")); }

  // Both commands that read all of a checkpoint must refuse it.
  void refused(std::initializer_list<std::string> parts) const {
    bad({"quantize", at("model"), "-o", at("out.wsic"), "-b", "3", "--samples", "2", "-q"}, parts);
    write_file(at("text.txt"), text());
    bad({"eval", at("model"), "--text", at("text.txt"), "--json", at("out.json"), "-q"}, parts);
  }
  static std::string text() {
    std::string all;
    for (int i = 0; i < 200; ++i) all += "All happy families are alike. ";
    return all;
  }
  std::string weights() const { return at("model/model.safetensors"); }

  // Rewrites the header of the weights by `change`; the data stays.
  void lie(const std::function<void(Json&)>& change) const {
    const std::string bytes = contents(weights());
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    Json header = Json::parse(bytes.substr(8, length));
    change(header);
    const std::string text = header.dump();
    length = text.size();
    overwrite(weights(), std::string(reinterpret_cast<const char*>(&length), 8) + text +
                             bytes.substr(8 + contents_length(bytes)));
  }
  void change_config(const std::function<void(Json&)>& change) const {
    Json config = small_config();
    change(config);
    overwrite(at("model/config.json"), config.dump());
  }

  ThreadPool pool_{1};

 private:
  static uint64_t contents_length(const std::string& bytes) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    return length;
  }
};

constexpr const char* kTensor = "model.layers.1.mlp.down_proj.weight";

TEST_F(BadModel, IsNotThere) {
  bad({"quantize", at("absent"), "-o", at("out.wsic"), "-b", "2", "-q"}, {at("absent")});
  bad({"eval", at("absent"), "--text", at("model/config.json")}, {at("absent")});
  bad({"sample", at("absent")}, {at("absent")});
  bad({"tokenize", at("absent"), "--text", at("model/config.json")}, {at("absent")});
  std::filesystem::create_directory(at("empty"));
  bad({"quantize", at("empty"), "-o", at("out.wsic"), "-b", "2", "-q"}, {"config.json"});
}

TEST_F(BadModel, TruncatedSafetensors) {
  const std::string bytes = contents(weights());
  for (const size_t size : {size_t{0}, size_t{4}, size_t{300}, bytes.size() - 1}) {
    overwrite(weights(), bytes.substr(0, size));
    refused({"model.safetensors"});
  }
  overwrite(weights(), bytes + "more");
  refused({"model.safetensors", "bytes of tensors"});
}

TEST_F(BadModel, LyingSafetensorsHeaders) {
  const std::string bytes = contents(weights());
  const auto lied = [&](const std::function<void(Json&)>& change,
                        std::initializer_list<std::string> parts) {
    overwrite(weights(), bytes);
    lie(change);
    refused(parts);
  };
  lied([](Json& h) { h[kTensor]["data_offsets"][1] = uint64_t{1} << 62; },
       {kTensor, "data_offsets"});
  lied([](Json& h) { h[kTensor]["shape"] = {uint64_t{1} << 40, uint64_t{1} << 40}; }, {kTensor});
  lied([](Json& h) { h[kTensor]["dtype"] = "F99"; }, {kTensor, "dtype"});
  lied([](Json& h) { h[kTensor]["data_offsets"] = "all"; }, {kTensor, "data_offsets"});
  lied([](Json& h) { h[kTensor]["shape"] = {192, 128}; }, {kTensor, "128 x 192", "192 x 128"});
  lied([](Json& h) { h.erase(kTensor); }, {"model.safetensors"});
  std::string huge = bytes;
  const uint64_t length = ~uint64_t{0};
  std::memcpy(huge.data(), &length, 8);
  overwrite(weights(), huge);
  refused({"model.safetensors", "header"});
}

TEST_F(BadModel, AMissingShard) {
  std::filesystem::remove_all(at("model"));
  synthesize(pool_, small_config(), at("model"), {.tokenizer = bundled(), .shard_bytes = 200'000});
  std::filesystem::remove(at("model/model-00002-of-00004.safetensors"));
  refused({"model-00002-of-00004.safetensors", "no such file"});
}

TEST_F(BadModel, NotANumber) {
  const SafetensorsFile file(weights());
  std::string bytes = contents(weights());
  const auto part = file.bytes(*file.find(kTensor));
  const auto* begin = file.bytes(file.entries().front()).data();
  const size_t header = bytes.size() - (file.entries().back().end);
  const size_t position = header + static_cast<size_t>(part.data() - begin) + 2 * (192 * 5 + 7);
  bytes[position] = static_cast<char>(0xC0);
  bytes[position + 1] = 0x7F;
  overwrite(weights(), bytes);
  // Found when its block is reached, after work was done and written.
  refused({kTensor, "nan", "row 5, column 7"});
}

TEST_F(BadModel, ABrokenTokenizer) {
  Json json = Json::parse(contents(at("model/tokenizer.json")));
  json["model"]["merges"][3] = "neverheard ofthis";
  overwrite(at("model/tokenizer.json"), json.dump());
  refused({"tokenizer.json", "merges"});
  overwrite(at("model/tokenizer.json"), "{");
  refused({"tokenizer.json"});
  std::filesystem::remove(at("model/tokenizer.json"));
  bad({"eval", at("model"), "--text", at("text.txt"), "-q"}, {"tokenizer.json"});
}

TEST_F(BadModel, AConfigurationThatIsNotImplemented) {
  const auto unknown = [&](const std::function<void(Json&)>& change,
                           std::initializer_list<std::string> parts) {
    change_config(change);
    refused(parts);
  };
  unknown(
      [](Json& c) {
        c["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
      },
      {"config.json", "rope_type", "yarn"});
  unknown([](Json& c) { c["hidden_act"] = "gelu"; }, {"config.json", "hidden_act", "gelu"});
  unknown(
      [](Json& c) {
        c["quantization_config"] = {{"quant_method", "gptq"}};
      },
      {"config.json", "quantization_config"});
  unknown(
      [](Json& c) {
        c["architectures"] = {"MistralForCausalLM"};
        c["sliding_window"] = 64;
      },
      {"config.json", "sliding_window", "64"});
  unknown([](Json& c) { c["architectures"] = {"BertModel"}; }, {"config.json", "BertModel"});
  unknown([](Json& c) { c.erase("hidden_size"); }, {"config.json", "hidden_size"});
  unknown([](Json& c) { c["hidden_size"] = 256; }, {"tensor"});
  overwrite(at("model/config.json"), "not json");
  refused({"config.json"});
}

class BadInput : public BadModel {
 protected:
  // A good file to start from.
  void quantize() const {
    good({"quantize", at("model"), "-o", at("model.wsic"), "-b", "3", "--calibration", "none",
          "--trellis", "8", "--coder", "pooled", "-q"});
  }
};

TEST_F(BadInput, Texts) {
  const auto refused_text = [&](const std::string& name, std::initializer_list<std::string> parts) {
    bad({"eval", at("model"), "--text", at(name), "-q"}, parts);
    bad({"quantize", at("model"), "-o", at("out.wsic"), "-b", "3", "--calibration", at(name), "-q"},
        parts);
  };
  refused_text("absent.txt", {"absent.txt"});
  overwrite(at("empty.txt"), "");
  refused_text("empty.txt", {"empty.txt", "empty"});
  overwrite(at("latin1.txt"), "caf\xE9 au lait");
  refused_text("latin1.txt", {"latin1.txt", "UTF-8"});
  overwrite(at("short.txt"), "Short.");
  refused_text("short.txt", {"short.txt", "128"});
  refused_text("model", {"model"});  // a folder
  bad({"tokenize", at("model"), "--text", at("latin1.txt")}, {"latin1.txt"});
}

TEST_F(BadInput, OutputsThatCannotBeWritten) {
  overwrite(at("text.txt"), text());
  std::filesystem::create_directory(at("folder"));
  for (const char* output : {"absent/out", "folder"}) {
    bad({"quantize", at("model"), "-o", at(output), "-b", "3", "-q"}, {at(output)});
    bad({"quantize", at("model"), "-o", at("out.wsic"), "-b", "3", "--report", at(output), "-q"},
        {at(output)});
    bad({"eval", at("model"), "--text", at("text.txt"), "--json", at(output), "-q"}, {at(output)});
  }
  quantize();
  bad({"inspect", at("model.wsic"), "--json", at("folder")}, {at("folder")});
  bad({"export", at("model.wsic"), "--to", "safetensors", "-o", at("model"), "-q"}, {at("model")});
  bad({"export", at("model.wsic"), "--to", "safetensors", "-o", at("text.txt"), "-q"},
      {at("text.txt")});
  bad({"synth", "--layer", "white", "-o", at("text.txt")}, {at("text.txt")});
  bad({"synth", "--like", "llama-3.2-1b", "--layers", "1", "-o", at("text.txt")}, {at("text.txt")});
}

TEST_F(BadInput, ADamagedFile) {
  quantize();
  overwrite(at("text.txt"), text());
  const std::string bytes = contents(at("model.wsic"));
  // In the first tensor's integers.
  std::string damaged = bytes;
  damaged[5000] ^= 0x40;
  overwrite(at("damaged.wsic"), damaged);
  bad({"verify", at("damaged.wsic")}, {"damaged.wsic", "model.layers.0", "checksum"});
  bad({"eval", at("damaged.wsic"), "--text", at("text.txt"), "-q"},
      {"damaged.wsic", "model.layers.0"});
  bad({"export", at("damaged.wsic"), "--to", "safetensors", "-o", at("exported"), "-q"},
      {"damaged.wsic", "model.layers.0"});
  for (const size_t size : {bytes.size() - 1, bytes.size() / 2, size_t{10}, size_t{0}}) {
    overwrite(at("short.wsic"), bytes.substr(0, size));
    bad({"verify", at("short.wsic")}, {"short.wsic"});
    bad({"inspect", at("short.wsic")}, {"short.wsic"});
    bad({"eval", at("short.wsic"), "--text", at("text.txt"), "-q"}, {"short.wsic"});
  }
  bad({"verify", at("text.txt")}, {"text.txt"});
  bad({"verify", at("absent.wsic")}, {"absent.wsic"});
}

TEST_F(BadInput, BitsBelowTheMinimum) {
  bad({"quantize", at("model"), "-o", at("out.wsic"), "-b", "0.05", "-q"},
      {"0.05", "side information", "needs"});
  bad({"quantize", at("model"), "-o", at("out.wsic"), "-b", "0", "-q"}, {"bits"});
  bad({"quantize", at("model"), "-o", at("out.wsic"), "-b", "17", "-q"}, {"bits"});
  bad({"quantize", at("model"), "-o", at("out.wsic"), "-b", "nan", "-q"}, {"bits"});
}

TEST_F(BadInput, LessMemoryThanTheRunTakes) {
  for (const char* extra : {"--dry-run", "-q"})
    bad({"quantize", at("model"), "-o", at("out.wsic"), "-b", "3", "--samples", "2", "--memory",
         "10M", extra},
        {"memory", "0.01 GiB", " take"});
}

TEST_F(BadInput, ContextsBeyondTheModels) {
  overwrite(at("text.txt"), text());
  bad({"eval", at("model"), "--text", at("text.txt"), "--context", "129", "-q"}, {"128", "129"});
  bad({"quantize", at("model"), "-o", at("out.wsic"), "-b", "3", "--sequence-length", "129", "-q"},
      {"128", "129"});
}

class BadLayer : public Cli {
 protected:
  BadLayer() { good({"synth", "--layer", "ar1", "--rows", "64", "--cols", "32", "-o", at("l")}); }

  void refused(const std::vector<std::string>& more,
               std::initializer_list<std::string> parts) const {
    std::vector<std::string> arguments = {"layer",       "-w",     at("l/W.npy"),  "-s",
                                          at("l/S.npy"), "--json", at("out.json"), "--dequantized",
                                          at("V.npy")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    bad(arguments, parts);
  }
};

TEST_F(BadLayer, OptionsWithoutAMeaningForTheMethod) {
  refused({"-b", "2", "--group-size", "16"}, {"group-size", "watersic"});
  refused({"-b", "2", "--activation-order"}, {"activation-order", "watersic"});
  refused({"-b", "2", "-m", "huffman-gptq", "--no-lmmse"}, {"lmmse", "huffman-gptq"});
  refused({"-b", "2", "-m", "gptq", "--no-rescalers"}, {"rescalers", "gptq"});
  refused({"-b", "2", "-m", "rtn", "--damping", "0.1"}, {"damping", "rtn"});
  refused({"-b", "2", "-m", "huffman-rtn", "--dead-threshold", "0.1"},
          {"dead-threshold", "huffman-rtn"});
  refused({"-b", "2", "-m", "gptq", "--rate", "paper"}, {"rate", "gptq"});
  refused({"-b", "2.5", "-m", "gptq"}, {"grid", "2.5"});
  refused({"-b", "2", "--damping", "-1"}, {"damping", "-1"});
  refused({"-b", "0.05"}, {"0.05", "side information"});
}

TEST_F(BadLayer, Matrices) {
  const std::string good_bytes = contents(at("l/S.npy"));
  const auto with = [&](const std::string& bytes, std::initializer_list<std::string> parts) {
    overwrite(at("l/S.npy"), bytes);
    refused({"-b", "3"}, parts);
  };
  const auto replaced = [&](const std::string& what, const std::string& by) {
    std::string bytes = good_bytes;
    return bytes.replace(bytes.find(what), what.size(), by);
  };
  with("", {"S.npy"});
  with("not npy at all", {"S.npy", ".npy"});
  with(good_bytes.substr(0, 20), {"S.npy", "header"});
  with(good_bytes.substr(0, good_bytes.size() - 1), {"S.npy", "32 x 32"});
  with(replaced("<f8", "<i8"), {"S.npy", "descr", "<i8"});
  with(replaced("False", "True "), {"S.npy", "fortran_order"});
  with(replaced("(32, 32)", "(32,) , "), {"S.npy", "shape"});
  with(replaced("(32, 32)", "(16, 32)"), {"covariance", "32 x 32", "16 x 32"});
  std::string nan = good_bytes;
  nan.replace(nan.size() - 8, 8, std::string("\0\0\0\0\0\0\xF8\x7F", 8));
  with(nan, {"S.npy", "nan", "row 31, column 31"});
  std::filesystem::remove(at("l/S.npy"));
  refused({"-b", "3"}, {"S.npy"});
  write_npy<double>(at("l/S.npy"), Matrix<double>(31, 31));
  refused({"-b", "3"}, {"covariance", "32 x 32", "31 x 31"});
  Matrix<double> S(32, 32);
  S(0, 1) = 1;
  write_npy<double>(at("l/S.npy"), S);
  refused({"-b", "3"}, {"covariance", "symmetric"});
}

TEST_F(BadLayer, OutputsThatCannotBeWritten) {
  for (const char* option : {"--json", "--dequantized"})
    bad({"layer", "-w", at("l/W.npy"), "-s", at("l/S.npy"), "-b", "3", option, at("absent/out")},
        {at("absent/out")});
}

}  // namespace
}  // namespace watersic
